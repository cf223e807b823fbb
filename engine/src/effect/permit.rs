//! The proof that an action passed its guard. Nothing outside the engine can make one.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

use crate::id::{ActionId, RunId};
use crate::rigged::mutant;
use crate::trace::TraceContext;

/// Permission for exactly one call, valid until its deadline and only for the lease that got it.
///
/// Whoever is given one can use it:
/// ```
/// fn call(permit: fermata_engine::effect::EffectPermit) -> String {
///     permit.fence()
/// }
/// ```
/// and nobody outside of the guard can make one (style, habit 9):
/// ```compile_fail
/// fn forge(action_id: fermata_engine::id::ActionId) -> fermata_engine::effect::EffectPermit {
///     fermata_engine::effect::EffectPermit { action_id }
/// }
/// ```
#[derive(Debug)]
#[non_exhaustive]
pub struct EffectPermit {
    action_id: ActionId,
    run_id: RunId,
    epoch: i32,
    idempotency_key: String,
    call_deadline: DateTime<Utc>,
    trace: TraceContext,
    ends: Instant,
}

impl EffectPermit {
    /// The action that may be attempted.
    pub fn action_id(&self) -> ActionId {
        self.action_id
    }

    /// The key to send with the call.
    pub fn idempotency_key(&self) -> &str {
        &self.idempotency_key
    }

    /// The fencing token that travels with the call (`Fermata-Fence: run:epoch`).
    pub fn fence(&self) -> String {
        format!("{}:{}", self.run_id, self.epoch)
    }

    /// The place in the command's trace, to be sent along (`traceparent`).
    pub fn trace(&self) -> TraceContext {
        self.trace
    }

    /// When the call must have ended, in database time.
    pub fn call_deadline(&self) -> DateTime<Utc> {
        self.call_deadline
    }

    /// How much of the call's time is left at `now` (monotonic); zero when it is over.
    pub fn time_left(&self, now: Instant) -> Duration {
        self.ends.saturating_duration_since(now)
    }
}

/// What the guard knows when it lets an action pass.
#[derive(Debug)]
pub(crate) struct Passed {
    pub(crate) action_id: ActionId,
    pub(crate) run_id: RunId,
    pub(crate) epoch: i32,
    pub(crate) idempotency_key: String,
    pub(crate) call_deadline: DateTime<Utc>,
    pub(crate) trace: TraceContext,
    /// The call's deadline on the monotonic clock, taken *before* `attempted` was committed.
    pub(crate) ends: Instant,
    /// The lease's deadline on the monotonic clock.
    pub(crate) lease_ends: Instant,
}

/// The last check before a call: no permit once the lease or the call's time has run out (I6).
pub(crate) fn guard(passed: Passed, now: Instant) -> Option<EffectPermit> {
    let holds = now < passed.lease_ends && now < passed.ends;
    (holds || mutant!("no-fencing")).then_some(EffectPermit {
        action_id: passed.action_id,
        run_id: passed.run_id,
        epoch: passed.epoch,
        idempotency_key: passed.idempotency_key,
        call_deadline: passed.call_deadline,
        trace: passed.trace,
        ends: passed.ends,
    })
}
