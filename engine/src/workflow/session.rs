//! One delivery of one run, as its context and its driver share it.
//!
//! Owns the order of records, the way out, and what is in flight. The way out is never an error
//! that a workflow could swallow: whoever must leave sets [`Exit`] and never wakes again.

use std::collections::{HashMap, HashSet};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::{Notify, RwLock};
use tracing::error;

use super::Failure;
use super::parts::{Parts, Riding};
use crate::clock::Clock;
use crate::effect::ActionRow;
use crate::id::ActionId;
use crate::node::Host;
use crate::rigged::crash_point;
use crate::run::Lease;
use crate::step::{Begun, Kind, Mismatch, Replay};
use crate::store::queue::Claim;
use crate::store::record::{self, Outcome, Record};
use crate::trace::Recorder;
use crate::wait::{Mailbox, Reason, Wait};

/// How often a lease that does not hold for the moment is looked at again.
const LEASE_AGAIN: Duration = Duration::from_millis(50);
/// The most checkpoints that wait for a record to ride with, when nothing asks for one.
const MAX_RIDING: usize = 64;

/// Why a delivery ends before the workflow's code does.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Exit {
    /// The lease is not ours any more: nothing may be written.
    Lost,
    /// A record could not be written; the run is given back as it is.
    GiveBack(String),
    /// The node drains.
    HandBack,
    /// The run was cancelled.
    Cancelled,
    /// The code and the record do not agree, or the step limit was reached.
    Park(Mismatch),
    /// `continue_as_new` was recorded.
    Renewed,
}

/// Everything about one delivery that its context, its steps and its driver share.
pub(crate) struct Session {
    pub(crate) claim: Claim,
    pub(crate) lease: Lease,
    pub(crate) host: Arc<Host>,
    /// Where the run stands in its trace, and who is told of it.
    pub(crate) trace: Recorder,
    state: Mutex<State>,
    /// Something arrived, or a wait may be over.
    pub(crate) mail: Notify,
    /// A record was acknowledged.
    kept: Notify,
    /// Records that may be refused go alone, so that a refusal leaves no gap behind it.
    alone: RwLock<()>,
}

pub(crate) struct State {
    pub(crate) replay: Replay,
    pub(crate) mailbox: Mailbox,
    pub(crate) actions: HashMap<ActionId, ActionRow>,
    /// Actions of this run that may have happened and are not settled.
    pub(crate) unsettled: HashSet<ActionId>,
    pub(crate) has_children: bool,
    seq: i32,
    /// The run's `seq` after the last record that carries what is kept nowhere else, and after the last one acknowledged.
    carried: i32,
    acknowledged: i32,
    /// How much of the inbox the mailbox shows, and how much there is.
    inbox_read: i32,
    inbox: i32,
    cancel: bool,
    draining: bool,
    waits: HashMap<u64, Wait>,
    next_wait: u64,
    active: usize,
    riding: Riding,
    exit: Option<Exit>,
    driver: Option<Waker>,
}

/// A step or wait in progress; ends when dropped.
pub(crate) struct Flight<'a> {
    session: &'a Session,
    name: String,
}

impl Drop for Flight<'_> {
    fn drop(&mut self) {
        self.session.state().replay.end(&self.name);
    }
}

/// Work that keeps the run in memory: a body that runs, a record on its way.
pub(crate) struct Active<'a>(&'a Session);

impl Drop for Active<'_> {
    fn drop(&mut self) {
        self.0.state().active -= 1;
    }
}

struct Waiting<'a>(&'a Session, u64);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waits.remove(&self.1);
    }
}

/// What the driver finds when the workflow's code has nothing to do.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Standing {
    /// Somebody must leave.
    Exit(Exit),
    /// Something arrived that the mailbox does not show yet.
    Mail,
    /// Only waits are left: the run can be put away until then.
    Idle { due: Option<DateTime<Utc>>, reason: Reason, told: Vec<Value> },
    /// A body runs or a record is on its way.
    Busy,
    /// The same, and meanwhile there is something to be kept that has no record to ride with.
    Unkept,
}

impl Session {
    pub(crate) fn new(claim: Claim, lease: Lease, host: Arc<Host>) -> Self {
        let state = State {
            replay: Replay::default(),
            mailbox: Mailbox::default(),
            actions: HashMap::new(),
            unsettled: HashSet::new(),
            has_children: false,
            seq: claim.seq,
            carried: claim.seq,
            acknowledged: claim.seq,
            inbox_read: claim.inbox,
            inbox: claim.inbox,
            cancel: claim.cancel,
            draining: false,
            waits: HashMap::new(),
            next_wait: 0,
            active: 0,
            riding: Riding::default(),
            exit: None,
            driver: None,
        };
        let trace = Recorder::begin(&host.traces, &host.clock, &claim, lease.node());
        let (mail, kept) = (Notify::new(), Notify::new());
        Self { claim, lease, host, trace, state: Mutex::new(state), mail, kept, alone: RwLock::new(()) }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.host.clock
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        // A workflow's panic happens outside of this lock, so what it guards is whole.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The code calls a step; leaves when the record does not agree.
    pub(crate) async fn begin(
        &self,
        name: &str,
        explicit: Option<&str>,
        kind: Kind,
        input_hash: &str,
    ) -> Result<(Begun, Flight<'_>), Failure> {
        let begun = self.state().replay.begin(name, explicit, kind, input_hash);
        match begun {
            Ok(begun) => Ok((begun, Flight { session: self, name: name.to_owned() })),
            Err(Mismatch::Ambiguous { name }) => Err(Failure::new(
                "ambiguous_step",
                format!("the step `{name}` is in flight already: steps side by side need explicit keys"),
            )),
            Err(mismatch) => match self.leave(Exit::Park(mismatch)).await {},
        }
    }

    /// Keeps the run in memory until the guard is dropped.
    pub(crate) fn active(&self) -> Active<'_> {
        self.state().active += 1;
        Active(self)
    }

    /// Leaves the delivery: the driver ends it, and this never returns.
    pub(crate) async fn leave(&self, exit: Exit) -> Infallible {
        self.leave_now(exit);
        std::future::pending().await
    }

    /// Tells the driver to end the delivery, from outside of the workflow's code.
    pub(crate) fn leave_now(&self, exit: Exit) {
        let mut state = self.state();
        state.exit.get_or_insert(exit);
        if let Some(driver) = state.driver.take() {
            driver.wake();
        }
    }

    /// The node drains: the run goes back at its next quiet moment.
    pub(crate) fn hand_back(&self) {
        let mut state = self.state();
        state.draining = true;
        if let Some(driver) = state.driver.take() {
            driver.wake();
        }
    }

    /// Waits until something arrives or `due`; the run may be put away meanwhile, and then the
    /// code after this call never runs in this delivery.
    pub(crate) async fn wait(&self, wait: Wait) {
        let (arrived, due) = (self.mail.notified(), wait.due);
        let _waiting = {
            let mut state = self.state();
            let id = state.next_wait;
            state.next_wait += 1;
            state.waits.insert(id, wait);
            Waiting(self, id)
        };
        match due {
            None => arrived.await,
            Some(due) => {
                tokio::select! {
                    () = arrived => {}
                    () = self.clock().wait_until(due) => {}
                }
            }
        }
    }

    /// The law of design section 4, asked before anything outside is touched: everything that the code went by is
    /// durable, and the lease provably holds.
    pub(crate) async fn cleared(&self) {
        self.keep().await;
        while !self.lease.holds(self.clock().monotonic()) {
            if self.lease.is_lost() {
                match self.leave(Exit::Lost).await {}
            }
            // The node renews it, or takes itself for dead and ends this delivery.
            self.clock().wait(LEASE_AGAIN).await;
        }
    }

    /// Makes durable what the code went by so far, of which a part may be on its way with another record.
    pub(crate) async fn keep(&self) {
        loop {
            let acknowledged = self.kept.notified();
            let (unkept, underway) = {
                let state = self.state();
                (state.riding.unkept, state.carried > state.acknowledged)
            };
            if unkept {
                self.write(Parts::default()).await;
                crash_point!("step-after-checkpoint");
            } else if underway {
                acknowledged.await;
            } else {
                return;
            }
        }
    }

    /// Lets parts ride with the run's next record, which is written before anything outside is touched.
    pub(crate) fn ride(&self, parts: Parts) {
        let mut state = self.state();
        state.riding.unkept = true;
        state.riding.parts.append(parts);
    }

    /// Records an attempt of a step that has ended: the code goes on with its result at once, and the record rides with
    /// the next one, which is the run's end if that comes next.
    pub(crate) async fn step_ended(&self, parts: Parts) {
        self.ride(parts);
        self.leave_if_told().await;
    }

    /// Records what the code was given from the mailbox: a signal, a decision, the end of a child.
    ///
    /// That is durable where it came from, and every replay finds the same, in the same order: the code goes on with it
    /// at once, and the record rides with the next one. Not so with others in flight, any of which could be given it.
    pub(crate) async fn found(&self, parts: Parts) {
        let rides = {
            let state = self.state();
            state.replay.is_alone() && state.riding.parts.steps.len() < MAX_RIDING
        };
        if !rides {
            return self.write(parts).await;
        }
        self.state().riding.parts.append(parts);
        self.leave_if_told().await;
    }

    /// Writes parts, and everything that was to ride, as one record; returns when it is durable.
    pub(crate) async fn write(&self, parts: Parts) {
        let _active = self.active();
        let _shared = self.alone.read().await;
        let record = self.record(record::Kind::Advance, parts);
        match self.send(record).await {
            Outcome::Applied { .. } | Outcome::Replayed => self.leave_if_told().await,
            other => match self.leave(unwritten(other)).await {},
        }
    }

    /// Writes a record that the database may refuse for a reason, such as a held intent.
    pub(crate) async fn write_or_conflict(&self, parts: Parts) -> Result<(), Value> {
        let _active = self.active();
        let _exclusive = self.alone.write().await;
        if !self.state().riding.parts.is_empty() {
            let record = self.record(record::Kind::Advance, Parts::default());
            match self.send(record).await {
                Outcome::Applied { .. } | Outcome::Replayed => {}
                other => match self.leave(unwritten(other)).await {},
            }
        }
        let record = self.record(record::Kind::Advance, parts);
        let seq = record.seq;
        match self.send(record).await {
            Outcome::Applied { .. } | Outcome::Replayed => Ok(()),
            Outcome::Conflict(why) => {
                self.state().seq = seq;
                Err(why)
            }
            other => match self.leave(unwritten(other)).await {},
        }
    }

    /// A checkpoint is where a cancelled run ends and a draining node lets go, unless an action
    /// is in flight.
    async fn leave_if_told(&self) {
        let exit = {
            let state = self.state();
            match (state.unsettled.is_empty(), state.cancel, state.draining) {
                (true, true, _) => Some(Exit::Cancelled),
                (true, false, true) => Some(Exit::HandBack),
                _ => None,
            }
        };
        if let Some(exit) = exit {
            match self.leave(exit).await {}
        }
    }

    /// Whether everything that the code went by is durable.
    pub(crate) fn is_kept(&self) -> bool {
        let state = self.state();
        !state.riding.unkept && state.carried <= state.acknowledged
    }

    /// What rides, for a record that is not applied if somebody cancelled the run.
    pub(crate) fn riding(&self) -> Riding {
        self.state().riding.clone()
    }

    /// A record was not applied because somebody cancelled the run: what rode with it rides with the next.
    pub(crate) fn cancelled_first(&self, seq: i32, riding: Riding) {
        let mut state = self.state();
        state.cancel = true;
        state.seq = seq;
        state.riding = riding;
    }

    /// Shapes a record of this run; what was to ride rides with it.
    pub(crate) fn record(&self, kind: record::Kind, parts: Parts) -> Record {
        let mut state = self.state();
        let Riding { parts: mut all, unkept } = std::mem::take(&mut state.riding);
        all.append(parts);
        let seq = state.seq;
        state.seq += 1;
        if unkept {
            state.carried = state.seq;
        }
        Record {
            run: self.claim.run,
            client: Arc::clone(&self.claim.client),
            kind,
            epoch: self.claim.epoch,
            seq,
            next: seq + 1,
            generation: self.claim.generation,
            inbox: state.inbox_read,
            due: None,
            word: None,
            body: None,
            steps: all.steps,
            events: all.events,
            rare: all.rare,
            audits: all.audits,
            parent: None,
        }
    }

    /// Sends a record and takes in what its answer says of the run.
    pub(crate) async fn send(&self, record: Record) -> Outcome {
        let next = record.next;
        match self.host.writer.write(record).await {
            Ok(outcome) => {
                if let Outcome::Applied { inbox, cancel } = outcome {
                    self.arrived(inbox, cancel);
                }
                if matches!(outcome, Outcome::Applied { .. } | Outcome::Replayed) {
                    let mut state = self.state();
                    // Records of a run are applied in their order.
                    state.acknowledged = state.acknowledged.max(next);
                    self.kept.notify_waiters();
                }
                outcome
            }
            Err(error) => Outcome::Unstorable(error.to_string()),
        }
    }

    /// The run's inbox or cancel flag, as somebody just saw it.
    pub(crate) fn arrived(&self, inbox: i32, cancel: bool) {
        let mut state = self.state();
        state.cancel |= cancel;
        if inbox > state.inbox {
            state.inbox = inbox;
            if let Some(driver) = state.driver.take() {
                driver.wake();
            }
        }
    }

    /// Where the delivery stands; `waker` is told when that may change.
    pub(crate) fn standing(&self, waker: &Waker) -> Standing {
        let mut state = self.state();
        state.driver = Some(waker.clone());
        if let Some(exit) = &state.exit {
            return Standing::Exit(exit.clone());
        }
        if state.inbox > state.inbox_read {
            return Standing::Mail;
        }
        let busy = if state.riding.unkept { Standing::Unkept } else { Standing::Busy };
        if state.active > 0 {
            return busy;
        }
        if state.draining {
            return Standing::Exit(Exit::HandBack);
        }
        if state.waits.is_empty() {
            return busy;
        }
        if state.cancel && state.unsettled.is_empty() {
            return Standing::Exit(Exit::Cancelled);
        }
        let due = state.waits.values().filter_map(|wait| wait.due).min();
        // The lowest reason is the one that a person most wants to know of.
        let reason = state.waits.values().map(|wait| wait.reason).min().unwrap_or(Reason::Timer);
        let told = state.waits.values().filter_map(|wait| wait.told.clone()).collect();
        Standing::Idle { due, reason, told }
    }

    /// How much of the inbox there is, before the mailbox is read.
    pub(crate) fn inbox(&self) -> i32 {
        self.state().inbox
    }

    /// The mailbox now shows the inbox up to `inbox`.
    pub(crate) fn mailbox_read(&self, inbox: i32) {
        self.state().inbox_read = inbox;
        self.mail.notify_waiters();
    }

    /// Whether the run was cancelled.
    pub(crate) fn cancelled(&self) -> bool {
        self.state().cancel
    }
}

/// The way out after a record that was not applied.
fn unwritten(outcome: Outcome) -> Exit {
    match outcome {
        Outcome::Fenced => Exit::Lost,
        Outcome::Unstorable(why) => Exit::GiveBack(why),
        other => {
            error!(outcome = ?other, "a record was refused that never should be");
            Exit::GiveBack(format!("{other:?}"))
        }
    }
}
