//! One effect from its call in a workflow to its receipt: guard, attempt, outcome, look, person.
//!
//! The order is the contract of design section 5. Everything before `attempted` is free to be
//! repeated; after it only looking is, unless the platform honours keys or absence is proven.

use std::pin::pin;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use tracing::{Instrument as _, info_span, warn};

use super::permit::{Passed, guard};
use super::preflight::{Judged, kill_switch, unread};
use super::record::{Identity, attempt_parts, move_parts, resend_parts};
use super::{
    ActionRow, ActionState, CallOutcome, Effect, EffectSpec, Look, Next, Prepared, Receipt, Settling, Sighting,
    THROTTLED, next,
};
use crate::id::ActionId;
use crate::rigged::{crash_point, mutant};
use crate::step::{Begun, Kind};
use crate::store::record::StepRow;
use crate::telemetry;
use crate::trace::{Called, Part};
use crate::wait::Reason;
use crate::workflow::Parts;
use crate::workflow::session::Exit;
use crate::workflow::{Attempt, Context, FailedAttempt, Failure, RetryPolicy, StepError, failure_parts};

/// The first pause between two looks at an action that is too young to be judged; it doubles.
const FIRST_LOOK_AGAIN: Duration = Duration::from_millis(500);
/// The longest such pause.
const LAST_LOOK_AGAIN: Duration = Duration::from_secs(30);

/// Carries out one effect; see `Context::effect`.
pub(crate) async fn perform(context: &Context, name: &str, effect: &dyn Effect) -> Result<Value, Failure> {
    let identity = Identity::of(context, name, effect.spec());
    let (begun, _flight) = context.session.begin(name, None, Kind::Effect, &identity.hash).await?;
    if let Some(receipt) = begun.output {
        return Ok(receipt);
    }
    let failed = begun.failed.iter().filter_map(|row| serde_json::from_value(row.clone()).ok()).collect();
    let mut performance = Performance { context, effect, identity, begun, failed, judged: None };
    performance.identity.attempt = performance.nth_attempt();
    // Boxed: this is the largest future of the engine, and most steps are no effects.
    Box::pin(performance.run()).await
}

/// One effect of one delivery, on its way.
pub(super) struct Performance<'a> {
    pub(super) context: &'a Context,
    pub(super) effect: &'a dyn Effect,
    pub(super) identity: Identity,
    pub(super) begun: Begun,
    failed: Vec<FailedAttempt>,
    /// What the newest plan was judged by.
    pub(super) judged: Option<Judged>,
}

/// What one stage says.
pub(super) enum Stage {
    /// The receipt.
    Done(Value),
    /// Look at the action again: it has moved.
    Again,
    /// An attempt failed; whether there is another is up to the policy.
    Failed { failure: Failure, retry: bool, after: Option<Duration>, parts: Parts },
}

impl Performance<'_> {
    pub(super) fn spec(&self) -> &EffectSpec {
        &self.identity.spec
    }

    async fn run(mut self) -> Result<Value, Failure> {
        let mut began = None;
        loop {
            if let Some(last) = self.failed.last() {
                let Some(retry_at) = last.retry_at else { return Err(last.failure.clone()) };
                self.context.wait_until(retry_at, Reason::Retry).await;
            }
            self.context.session.cleared().await;
            let began_at = *began.get_or_insert_with(|| self.context.clock().now());
            let current = self.current();
            if let Some(action) = &current {
                self.identity.policy_hash.clone_from(&action.policy_hash);
                self.identity.fingerprint_ok = action.identity_ok;
            }
            let stage = match current {
                Some(action) if action.state == ActionState::Attempted => self.settle(action).await,
                Some(action) if action.state == ActionState::Unknown => self.unknown(action).await,
                Some(action) if action.fulfilled() => self.fulfilled(&action).await,
                Some(action) if action.state == ActionState::PreflightPassed => self.attempt(action).await,
                _ => self.plan().await,
            };
            match stage {
                Stage::Done(receipt) => {
                    self.ended(self.traced(), began_at, None);
                    return Ok(receipt);
                }
                Stage::Again => {}
                Stage::Failed { failure, retry, after, parts } => {
                    let (code, attempt) = (failure.code.clone(), self.traced());
                    self.record_failure(failure, retry, after, parts).await;
                    self.ended(attempt, began_at, Some(&code));
                    began = None;
                }
            }
        }
    }

    fn ended(&self, attempt: Attempt, began: DateTime<Utc>, error: Option<&str>) {
        self.context.session.trace.attempt_ended(&self.begun.key, attempt, began, error);
    }

    /// The newest action of this step.
    fn current(&self) -> Option<ActionRow> {
        let state = self.context.session.state();
        let mine = state.actions.values().filter(|action| action.step_key == self.begun.key);
        mine.max_by_key(|action| action.id).cloned()
    }

    pub(super) fn look(&self, action: Option<&ActionRow>) -> Look {
        Look {
            action_id: action.map(|action| action.id),
            idempotency_key: self.identity.idempotency_key.clone(),
            trace: self.traced().trace,
            ..self.context.look()
        }
    }

    /// The attempt that is under way, as its trace knows it.
    pub(super) fn traced(&self) -> Attempt {
        self.context.session.trace.attempt(&self.begun.key, self.nth_attempt())
    }

    /// Looks for the effect, read-only.
    pub(super) async fn sight(&self, action: Option<&ActionRow>) -> Result<Sighting, StepError> {
        let began = self.context.clock().now();
        let sighting = self.effect.look(&self.look(action)).await;
        let error = sighting.as_ref().err().map(|error| error.failure().code.as_str());
        self.context.session.trace.part_ended(self.traced().trace, Part::Look, began, error);
        match sighting {
            Err(StepError::Retry { failure, after }) => {
                let after = self.look_failed(&failure, after).await;
                Err(StepError::Retry { failure, after })
            }
            other => other,
        }
    }

    /// What a plan of another delivery is judged by now, and as whom it would be done.
    async fn judged_again(&mut self, action: &ActionRow) -> Result<Judged, Stage> {
        let judged = self.judge().await.map_err(unread)?;
        if judged.policy.hash() != action.policy_hash {
            return Err(self.turned_away(action, &judged, &Value::Null).await);
        }
        let context = self.context;
        let _active = context.session.active();
        self.identified_again(action, judged).await
    }

    /// Gets ready, records the attempt, and calls: the only way to a permit.
    async fn attempt(&mut self, action: ActionRow) -> Stage {
        let judged = match self.judged.take() {
            Some(judged) => judged,
            None => match self.judged_again(&action).await {
                Ok(judged) => judged,
                Err(stage) => return stage,
            },
        };
        let active = self.context.session.active();
        let prepared = match self.effect.prepare(&self.look(Some(&action))).await {
            Ok(prepared) => prepared,
            Err(error) => return self.withdraw(&action, error),
        };
        if let Some(why) = self.overtaken(&judged) {
            drop(active);
            return self.turned_away(&action, &judged, &why).await;
        }
        let ends = self.context.clock().monotonic() + self.spec().call_timeout();
        let deadline = self.context.clock().now() + self.identity.call_timeout();
        let parts = attempt_parts(self.context, &self.identity, action.id, deadline, self.asks(&judged));
        let mut call = pin!(self.call(&action, prepared, deadline, ends));
        let early = if mutant!("effect-before-commit") { Some(call.as_mut().await) } else { None };
        crash_point!("effect-before-attempted");
        if let Err(why) = self.context.session.write_or_conflict(parts).await {
            drop(active);
            return self.turned_away(&action, &judged, &why).await;
        }
        crash_point!("effect-after-attempted");
        self.remember(action.id, ActionState::Attempted, |row| {
            row.call_deadline = Some(deadline);
            row.identity_ok = judged.identified.ok();
        });
        let outcome = match early {
            Some(outcome) => outcome,
            None => call.await,
        };
        let stage = match outcome {
            CallOutcome::Done(receipt) => self.answered(&action, receipt).await,
            CallOutcome::Refused { failure, retry, after } => self.refused(&action, &failure, retry, after),
            CallOutcome::Ambiguous(failure) if mutant!("retry-after-timeout") => {
                self.refused(&action, &failure, true, None)
            }
            CallOutcome::Ambiguous(failure) => self.ambiguous(&action, &failure),
        };
        drop(active);
        stage
    }

    /// The one call, after the last checks before it.
    async fn call(
        &self,
        action: &ActionRow,
        prepared: Prepared,
        call_deadline: DateTime<Utc>,
        ends: std::time::Instant,
    ) -> CallOutcome {
        let session = &self.context.session;
        match session.host.kill_switch(self.context.client_id(), &self.spec().account_id).await {
            Ok(None) => {}
            Ok(Some(switch)) => {
                return CallOutcome::Refused { failure: kill_switch(&switch), retry: false, after: None };
            }
            // Nobody knows whether a switch is on, so nothing is called.
            Err(error) => {
                let failure = Failure::new("kill_switch_unread", error.to_string());
                return CallOutcome::Refused { failure, retry: true, after: None };
            }
        }
        let now = self.context.clock().monotonic();
        let passed = Passed {
            action_id: action.id,
            run_id: self.context.run_id(),
            epoch: session.claim.epoch,
            idempotency_key: self.identity.idempotency_key.clone(),
            call_deadline,
            trace: self.traced().trace,
            ends,
            lease_ends: session.lease.ends(now),
        };
        let Some(permit) = guard(passed, now) else {
            if session.lease.is_lost() {
                match session.leave(Exit::Lost).await {}
            }
            // The run is still ours: left alone it would be carried by nobody.
            let why = "the call's time, or the node's lease, had run out before the call began; nothing was sent";
            let failure = Failure::new("call_too_late", why);
            return CallOutcome::Refused { failure, retry: true, after: None };
        };
        let lane = self.spec().lane.as_str();
        telemetry::effect_attempted(lane);
        let began = self.context.clock().now();
        crash_point!("effect-before-call");
        let span = info_span!(
            "side_effect.action", episode_id = %self.episode(), action_id = %action.id,
            client_id = self.context.client_id(), platform_account_id = self.spec().account_id,
            action_type = self.spec().action_type, lane,
        );
        let answer = self.context.clock().before(ends, self.effect.call(permit, prepared).instrument(span)).await;
        crash_point!("effect-after-call");
        telemetry::effect_returned(lane, self.context.clock().monotonic() - now);
        let outcome = answer.unwrap_or_else(|| {
            CallOutcome::Ambiguous(Failure::new("call_timeout", "no answer within the call's time"))
        });
        let error = match &outcome {
            CallOutcome::Done(_) => None,
            CallOutcome::Refused { failure, .. } | CallOutcome::Ambiguous(failure) => Some(failure.code.as_str()),
        };
        let called =
            Called { action: action.id, episode: self.episode(), client: self.context.client_id(), spec: self.spec() };
        session.trace.part_ended(self.traced().trace, Part::Call(called), began, error);
        outcome
    }

    fn ambiguous(&self, action: &ActionRow, failure: &Failure) -> Stage {
        warn!(run.id = %self.context.run_id(), action.id = %action.id, error_code = failure.code,
            "the answer to action {} was lost, will look: {failure}", action.id);
        Stage::Again
    }

    /// It may have happened: looks, and does what the sighting proves.
    async fn settle(&self, action: ActionRow) -> Stage {
        let active = self.context.session.active();
        crash_point!("settle-before-look");
        let mut asked = Duration::ZERO;
        let seen = match self.sight(Some(&action)).await {
            Ok(Sighting::Present(seen)) => Ok((Sighting::Present(seen), false)),
            Ok(sighting) => self.resendable(&action).await.map(|resendable| (sighting, resendable)),
            Err(error) => Err(error),
        };
        let seen = match seen {
            Ok(seen) => Some(seen),
            Err(StepError::Retry { after, .. }) => {
                asked = after.unwrap_or_default().min(RetryPolicy::LONGEST);
                None
            }
            Err(error) => return self.unknown_now(&action, error.failure()).await,
        };
        crash_point!("settle-after-look");
        let clock = self.context.clock();
        let (now, soon) = (clock.now(), clock.now() + pause(action.looks).max(asked));
        let settling = Settling {
            spec: self.spec(),
            call_deadline: action.call_deadline.unwrap_or(now),
            call_skew: TimeDelta::from_std(self.context.session.host.call_skew).unwrap_or_default(),
            now,
            resendable: seen.as_ref().is_some_and(|(_, resendable)| *resendable),
            answered: action.answer.is_some(),
        };
        let move_on = match seen {
            Some((sighting, _)) => next(&settling, sighting),
            None if action.looks >= patience() => Next::Unknown,
            None => Next::LookAgain(soon),
        };
        match move_on {
            Next::Confirm(seen) => {
                let shown = seen.evidence.clone();
                // What the platform answered is what the step returns, if it is known.
                let receipt = action.answer.clone().map_or(seen, Receipt::from);
                self.confirm(&action, receipt, Some(shown), Parts::default()).await
            }
            Next::Disprove => {
                self.refused(&action, &Failure::new("effect_absent", "the call never took effect"), true, None)
            }
            Next::Resend if action.resends < patience() => self.resend(action).await,
            Next::Resend | Next::Unknown => {
                let failure = Failure::new("outcome_unknown", "it cannot be proven whether the effect happened");
                self.unknown_now(&action, &failure).await
            }
            Next::LookAgain(at) => {
                self.remember(action.id, ActionState::Attempted, |row| row.looks += 1);
                let looked = json!({"op": "look", "action_id": action.id});
                self.context.session.write(Parts::default().rare(looked)).await;
                drop(active);
                self.context.wait_until(at.min(soon), Reason::Reverify).await;
                Stage::Again
            }
        }
    }

    /// Sends the call of the same action again, with the same key.
    async fn resend(&self, action: ActionRow) -> Stage {
        if action.resends > 0 {
            let due = self.context.clock().now() + pause(action.resends);
            self.context.wait_until(due, Reason::Retry).await;
        }
        let active = self.context.session.active();
        let prepared = match self.effect.prepare(&self.look(Some(&action))).await {
            Ok(prepared) => prepared,
            // The call that may have happened stays what is to be settled.
            Err(error) => return self.unknown_now(&action, error.failure()).await,
        };
        let ends = self.context.clock().monotonic() + self.spec().call_timeout();
        let deadline = self.context.clock().now() + self.identity.call_timeout();
        self.context.session.write(resend_parts(self.context, &self.identity, action.id, deadline)).await;
        crash_point!("resend-after-recorded");
        self.remember(action.id, ActionState::Attempted, |row| {
            row.call_deadline = Some(deadline);
            row.resends += 1;
        });
        // The first call may have been applied whatever this one is told, so a refusal proves nothing.
        let outcome = self.call(&action, prepared, deadline, ends).await;
        let asked = match &outcome {
            CallOutcome::Refused { failure, after, .. } => self.asked_for(failure, *after),
            CallOutcome::Done(_) | CallOutcome::Ambiguous(_) => None,
        };
        let stage = match outcome {
            CallOutcome::Done(receipt) => self.answered(&action, receipt).await,
            CallOutcome::Ambiguous(failure) | CallOutcome::Refused { failure, retry: true, .. } => {
                self.ambiguous(&action, &failure)
            }
            CallOutcome::Refused { failure, retry: false, .. } => self.unknown_now(&action, &failure).await,
        };
        if let Some(asked) = asked {
            self.context.session.write(self.throttled(asked)).await;
            drop(active);
            self.context.wait_until(self.context.clock().now() + asked, Reason::Retry).await;
        }
        stage
    }

    /// Nothing was sent: the plan is withdrawn, and its attempt counts as failed.
    pub(super) fn withdraw(&self, action: &ActionRow, error: StepError) -> Stage {
        let detail = json!({"effect": false, "error": error.failure()});
        let mut parts = move_parts(self.context, &self.identity, action.id, ActionState::Cancelled, &detail);
        self.remember(action.id, ActionState::Cancelled, |_| {});
        match failed(error) {
            Stage::Failed { failure, retry, after, .. } => {
                let asked = if failure.code == THROTTLED { self.asked_for(&failure, after) } else { None };
                parts.extend(asked.map_or_else(Parts::default, |asked| self.throttled(asked)));
                Stage::Failed { failure, retry, after: asked.or(after), parts }
            }
            other => other,
        }
    }

    async fn record_failure(&mut self, failure: Failure, retry: bool, after: Option<Duration>, mut parts: Parts) {
        let attempts = self.nth_attempt();
        let delay = if retry { RetryPolicy::default().delay(attempts, rand::random(), after) } else { None };
        let clock = self.context.clock();
        let outcome = FailedAttempt { failure, retry_at: delay.map(|delay| clock.now() + delay), pause: false };
        let row = StepRow {
            attempt: attempts,
            output: None,
            error: Some(crate::document::raw(&outcome)),
            ..self.checkpoint(&Value::Null)
        };
        parts.extend(self.troubled(&outcome.failure));
        parts.extend(failure_parts(row, &outcome));
        self.context.session.write(parts).await;
        self.failed.push(outcome);
        self.identity.attempt = self.nth_attempt();
    }

    /// The attempt that is under way, from 1.
    fn nth_attempt(&self) -> u16 {
        u16::try_from(self.failed.len() + 1).unwrap_or(u16::MAX)
    }

    pub(super) fn checkpoint(&self, receipt: &Value) -> StepRow {
        let attempt = self.nth_attempt();
        StepRow { attempt, ..self.context.checkpoint(&self.begun, Kind::Effect, &self.identity.hash, receipt) }
    }

    /// Keeps the action as it now stands, so that the next stage sees it.
    pub(super) fn remember(&self, id: ActionId, to: ActionState, change: impl FnOnce(&mut ActionRow)) {
        let now = self.context.clock().now();
        let mut state = self.context.session.state();
        let row = state.actions.entry(id).or_insert_with(|| ActionRow {
            id,
            step_key: self.begun.key.clone(),
            state: to,
            call_deadline: None,
            resends: 0,
            looks: 0,
            doubts: 0,
            effect: None,
            receipt: None,
            policy_hash: String::new(),
            identity_ok: None,
            answer: None,
            updated_at: now,
        });
        row.state = to;
        change(row);
        let unsettled = row.unsettled();
        if unsettled {
            state.unsettled.insert(id);
        } else {
            state.unsettled.remove(&id);
        }
    }
}

pub(super) fn failed(error: StepError) -> Stage {
    let (failure, retry, after) = match error {
        StepError::Retry { failure, after } => (failure, true, after),
        StepError::Fail(failure) | StepError::Pause(failure) => (failure, false, None),
    };
    Stage::Failed { failure, retry, after, parts: Parts::default() }
}

/// How many looks or resends a lost answer is worth before somebody is asked.
fn patience() -> u16 {
    RetryPolicy::default().max_attempts
}

fn pause(looks: u16) -> Duration {
    FIRST_LOOK_AGAIN.saturating_mul(1 << looks.min(10)).min(LAST_LOOK_AGAIN)
}
