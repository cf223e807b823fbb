//! One delivery of one run, from claim to end, suspension or loss.
//!
//! The workflow's code is polled here and nowhere else, inside of an apalis worker's call.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tracing::{error, info, warn};

use super::Lease;
use crate::document;
use crate::event::{Severity, name};
use crate::id::GateId;
use crate::node::Host;
use crate::rigged::crash_point;
use crate::step::Replay;
use crate::store::history::History;
use crate::store::outside::Target;
use crate::store::queue::Claim;
use crate::store::record::{EventRow, Kind, Outcome, Record};
use crate::telemetry;
use crate::trace;
use crate::wait::{GateKind, GateRequest, Reason};
use crate::workflow::session::{Exit, Session, Standing};
use crate::workflow::{Context, Failure, Parts, gate_parts};

/// The longest pause after a panic before the run is delivered again.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);

/// How many changes of status there can be between two deliveries, and one more delivery.
const CHANGES: i64 = 8;

/// A claimed run on its way to a worker, with the slot that it takes.
pub(crate) struct Delivery {
    pub(crate) claim: Claim,
    pub(crate) lease: Lease,
    pub(crate) slot: OwnedSemaphorePermit,
}

type Body<'a> = Pin<Box<dyn Future<Output = Result<Result<Value, Failure>, Box<dyn Any + Send>>> + Send + 'a>>;

/// What ended the polling of the code.
enum Ended {
    /// The code returned.
    Code(Result<Value, Failure>),
    /// The code panicked.
    Panic(String),
    /// Somebody must leave.
    Exit(Exit),
    /// Only waits are left.
    Idle { due: Option<DateTime<Utc>>, reason: Reason, told: Vec<Value> },
    /// The command's deadline has passed.
    Deadline,
}

/// Carries a run on as far as it goes.
#[tracing::instrument(name = "engine.run.drive", skip_all,
    fields(run.id = %delivery.claim.run, trace_id = %delivery.claim.trace_id, epoch = delivery.claim.epoch))]
pub(crate) async fn drive(host: Arc<Host>, delivery: Delivery) {
    let Delivery { claim, lease, slot } = delivery;
    let session = Arc::new(Session::new(claim, lease, Arc::clone(&host)));
    host.enter(&session);
    tell_of_the_lost(&session).await;
    let how = carry(&session).await;
    host.exit(&session);
    session.trace.episode_ended(how);
    telemetry::delivered(how);
    drop(slot);
}

/// Tells of the episode before this one, if its holder died and cannot.
async fn tell_of_the_lost(session: &Session) {
    if session.claim.epoch <= 1 || !session.trace.is_heard() {
        return;
    }
    match session.host.store.status_changes(session.claim.run, CHANGES).await {
        Ok(changes) => {
            if let Some(lost) = trace::lost(&changes) {
                session.trace.episode_lost(lost);
            }
        }
        Err(error) => info!(error = %error, "the episode before this one cannot be looked for"),
    }
}

async fn carry(session: &Arc<Session>) -> &'static str {
    if let Err(error) = read_history(session).await {
        warn!(error = %error, "the record of run {} cannot be read, it is given back", session.claim.run);
        return give_back(session, "the record cannot be read").await;
    }
    let host = Arc::clone(&session.host);
    let Some(workflow) = host.registry.get(&session.claim.kind) else {
        return give_back(session, "the workflow is not hosted here").await;
    };
    if session.cancelled() && session.state().unsettled.is_empty() {
        return cancelled(session).await;
    }
    let context = Context::new(Arc::clone(session));
    let running = workflow.run(context, session.claim.input.clone());
    let mut body: Body<'_> = Box::pin(AssertUnwindSafe(running).catch_unwind());
    let ended = follow(session, &mut body).await;
    drop(body);
    conclude(session, ended).await
}

async fn read_history(session: &Session) -> Result<(), crate::store::StoreError> {
    let claim = &session.claim;
    if claim.seq == 0 && claim.inbox == 0 && claim.deliveries <= 1 {
        return Ok(());
    }
    let history = match &claim.history {
        Some(history) => History::read(history)?,
        None => session.host.store.history(claim.run, claim.generation).await?,
    };
    let mut state = session.state();
    state.has_children = history.steps.iter().any(|row| row.kind == crate::step::Kind::Child);
    state.replay = Replay::new(history.steps);
    state.unsettled = history.actions.iter().filter(|action| action.unsettled()).map(|action| action.id).collect();
    state.actions = history.actions.into_iter().map(|action| (action.id, action)).collect();
    state.mailbox.refresh(history.mailbox);
    Ok(())
}

/// Polls the code until it ends or has nothing left to do.
async fn follow(session: &Session, body: &mut Body<'_>) -> Ended {
    // What has no record to ride with while the code waits for something else.
    let mut keeping: Option<BoxFuture<'_, ()>> = None;
    loop {
        let deadline = session.claim.deadline.filter(|deadline| *deadline > session.clock().now());
        let standing = {
            let polled = std::future::poll_fn(|cx| match body.as_mut().poll(cx) {
                Poll::Ready(Ok(result)) => Poll::Ready(Err(Ended::Code(result))),
                Poll::Ready(Err(panic)) => Poll::Ready(Err(Ended::Panic(words(&*panic)))),
                Poll::Pending => loop {
                    if keeping.as_mut().is_some_and(|keeping| keeping.poll_unpin(cx).is_ready()) {
                        keeping = None;
                    }
                    match session.standing(cx.waker()) {
                        Standing::Unkept if keeping.is_none() => keeping = Some(session.keep().boxed()),
                        Standing::Busy | Standing::Unkept => break Poll::Pending,
                        standing => break Poll::Ready(Ok(standing)),
                    }
                },
            });
            tokio::select! {
                biased;
                polled = polled => polled,
                () = until(session, deadline) => Ok(Standing::Busy),
            }
        };
        // An action in flight is settled before a deadline ends the run.
        let late = session.claim.deadline.is_some_and(|deadline| deadline <= session.clock().now());
        let overdue = late && session.state().unsettled.is_empty();
        match standing {
            Err(ended) => return ended,
            Ok(Standing::Exit(exit)) => return Ended::Exit(exit),
            Ok(_) if overdue => return Ended::Deadline,
            Ok(Standing::Idle { due, reason, told }) => return Ended::Idle { due, reason, told },
            Ok(Standing::Mail) => {
                if let Err(error) = read_mail(session).await {
                    return Ended::Exit(Exit::GiveBack(error.to_string()));
                }
            }
            Ok(Standing::Busy | Standing::Unkept) => {}
        }
    }
}

async fn until(session: &Session, deadline: Option<DateTime<Utc>>) {
    match deadline {
        Some(deadline) => session.clock().wait_until(deadline).await,
        None => std::future::pending().await,
    }
}

async fn read_mail(session: &Session) -> Result<(), crate::store::StoreError> {
    let inbox = session.inbox();
    let rows = session.host.store.mailbox(session.claim.run, session.claim.generation).await?;
    session.state().mailbox.refresh(rows);
    session.mailbox_read(inbox);
    Ok(())
}

async fn conclude(session: &Arc<Session>, ended: Ended) -> &'static str {
    match ended {
        Ended::Code(result) => {
            let finished = session.state().replay.finish();
            match (finished, result) {
                (Err(mismatch), _) => park(session, "replay_mismatch", json!(mismatch)).await,
                (Ok(()), Ok(output)) => match document::check(&output) {
                    Ok(()) => finish(session, "SUCCEEDED", &output).await,
                    Err(error) => {
                        finish(session, "FAILED", &json!(Failure::new("output_unstorable", error.to_string()))).await
                    }
                },
                (Ok(()), Err(failure)) => finish(session, "FAILED", &json!(failure)).await,
            }
        }
        Ended::Panic(why) => {
            error!(error = why, "the code of run {} panicked: {why}", session.claim.run);
            let pause =
                Duration::from_secs(1).saturating_mul(1 << session.claim.deliveries.clamp(0, 10)).min(LONGEST_BACKOFF);
            let due = session.clock().now() + TimeDelta::from_std(pause).unwrap_or_default();
            suspend(session, Some(due), Reason::Backoff, Parts::default()).await
        }
        Ended::Idle { due, reason, told } => {
            suspend(session, due, reason, Parts { rare: told, ..Parts::default() }).await
        }
        Ended::Deadline => {
            finish(session, "FAILED", &json!(Failure::new("deadline_exceeded", "the command's deadline has passed")))
                .await
        }
        Ended::Exit(Exit::Lost) => {
            info!("the lease of run {} is not ours any more", session.claim.run);
            "lost"
        }
        Ended::Exit(Exit::GiveBack(why)) => give_back(session, &why).await,
        Ended::Exit(Exit::Cancelled) => cancelled(session).await,
        Ended::Exit(Exit::Park(mismatch)) => park(session, "replay_mismatch", json!(mismatch)).await,
        Ended::Exit(exit @ (Exit::Renewed | Exit::HandBack)) => {
            let change = json!({"from": "RUNNING", "to": "QUEUED"});
            let record = moved(session, Kind::HandBack, Parts::default(), (Severity::Info, change));
            let how = if exit == Exit::Renewed { "renewed" } else { "handed_back" };
            written(session, record, how).await
        }
    }
}

/// A record that moves the command to another status, and tells so with the version that it then has.
fn moved(session: &Session, kind: Kind, parts: Parts, (severity, mut change): (Severity, Value)) -> Record {
    let mut record = session.record(kind, parts);
    change["version"] = record.next.into();
    record.events.push(EventRow { kind: name::STATUS_CHANGED, severity, data: document::raw(&change) });
    record
}

async fn suspend(session: &Session, due: Option<DateTime<Utc>>, reason: Reason, parts: Parts) -> &'static str {
    // A deadline that has passed already waits for the action in flight, not for the clock.
    let deadline = session.claim.deadline.filter(|deadline| *deadline > session.clock().now());
    let due = match (due, deadline) {
        (Some(due), Some(deadline)) => Some(due.min(deadline)),
        (due, deadline) => due.or(deadline),
    };
    let to = match reason {
        Reason::Approval | Reason::Takeover => "HUMAN_REQUIRED",
        _ => "WAITING",
    };
    let change = json!({"from": "RUNNING", "to": to, "wait_reason": reason.as_str(), "due": due});
    let mut record = moved(session, Kind::Suspend, parts, (Severity::Info, change));
    record.due = due;
    record.word = Some(reason.as_str());
    crash_point!("suspend-before-commit");
    let how = written(session, record, "suspended").await;
    crash_point!("suspend-after-commit");
    if let Some(due) = due {
        session.host.wakes.timer(due);
    }
    how
}

/// Ends the run, unless somebody cancelled it before: then that is how it ends.
async fn finish(session: &Session, status: &'static str, body: &Value) -> &'static str {
    match end(session, status, body).await {
        Some(how) => how,
        None => cancelled(session).await,
    }
}

/// Ends the run; `None` if it was cancelled and is to end otherwise.
async fn end(session: &Session, status: &'static str, body: &Value) -> Option<&'static str> {
    if status != "SUCCEEDED" && session.state().has_children {
        // Other runs hear of this: what the code went by must be durable.
        if !session.is_kept() {
            let kept = written(session, session.record(Kind::Advance, Parts::default()), "kept").await;
            if kept != "kept" {
                return Some(kept);
            }
        }
        cancel_children(session).await;
    }
    let riding = session.riding();
    let from = if session.cancelled() { "CANCELLING" } else { "RUNNING" };
    let severity = if status == "FAILED" { Severity::Error } else { Severity::Info };
    let mut change = json!({"from": from, "to": status});
    let code = body.get("code").filter(|_| status != "SUCCEEDED");
    if let Some(code) = code {
        change["code"] = code.clone();
    }
    let mut record = moved(session, Kind::Finish, Parts::default(), (severity, change));
    record.word = Some(status);
    record.body = Some(document::raw(body));
    record.parent = session.claim.parent;
    let how = match status {
        "SUCCEEDED" => "succeeded",
        "FAILED" => "failed",
        _ => "cancelled",
    };
    let seq = record.seq;
    crash_point!("finish-before-commit");
    let outcome = session.send(record).await;
    crash_point!("finish-after-commit");
    if outcome == Outcome::Cancelled {
        session.cancelled_first(seq, riding);
        return None;
    }
    let ended = concluded(session, outcome, how).await;
    if ended == how {
        session.host.endings.tell(session.claim.run, status, body);
        session.trace.command_ended(&session.claim, how, code.and_then(Value::as_str));
    }
    Some(ended)
}

async fn cancelled(session: &Session) -> &'static str {
    let effects: Vec<_> = {
        let state = session.state();
        let done = state.actions.values().filter(|action| action.fulfilled());
        done.map(|action| json!({"action_id": action.id, "step": action.step_key, "receipt": action.receipt})).collect()
    };
    let failure = Failure::new("cancelled", "the command was cancelled").with_details(json!({"effects_done": effects}));
    match end(session, "CANCELLED", &json!(failure)).await {
        Some(how) => how,
        None => give_back(session, "its end as cancelled was not applied").await,
    }
}

async fn cancel_children(session: &Session) {
    let store = &session.host.store;
    let children = match store.open_children(session.claim.run).await {
        Ok(children) => children,
        Err(error) => {
            warn!(error = %error, "the children of run {} cannot be listed", session.claim.run);
            return;
        }
    };
    for child in children {
        let done = store
            .cancel_run(Target { run: child, client: &session.claim.client, actor: "fermata" }, "its parent has ended")
            .await;
        if let Err(error) = done {
            warn!(error = %error, "child {child} of run {} cannot be cancelled", session.claim.run);
        }
    }
    session.host.wakes.ready();
}

/// Puts a run away for a person: its code and its record do not agree.
async fn park(session: &Session, reason: &str, shown: Value) -> &'static str {
    warn!(error_code = reason, "run {} is parked: {shown}", session.claim.run);
    let request = GateRequest { kind: GateKind::Takeover, reason: reason.into(), shown, expires_in: None };
    let parts = gate_parts(session, GateId::new(session.clock()), "@parked", &request, None);
    suspend(session, None, Reason::Takeover, parts).await
}

async fn written(session: &Session, record: Record, how: &'static str) -> &'static str {
    let outcome = session.send(record).await;
    concluded(session, outcome, how).await
}

async fn concluded(session: &Session, outcome: Outcome, how: &'static str) -> &'static str {
    match outcome {
        Outcome::Applied { .. } | Outcome::Replayed => how,
        Outcome::Fenced => "lost",
        other => give_back(session, &format!("{other:?}")).await,
    }
}

/// Gives a run back without a record. Another delivery replays what is recorded.
async fn give_back(session: &Session, why: &str) -> &'static str {
    warn!(error = why, "run {} is given back: {why}", session.claim.run);
    match session.host.store.release(session.claim.run, session.claim.epoch).await {
        Ok(_) => session.host.wakes.ready(),
        Err(error) => {
            error!(error = %error, "run {} cannot be given back yet, it will be", session.claim.run);
            session.host.doubt();
            session.host.wakes.ready();
        }
    }
    "given_back"
}

fn words(panic: &(dyn Any + Send)) -> String {
    panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without words".into())
}
