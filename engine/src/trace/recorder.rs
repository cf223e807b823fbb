//! Tells of a run's spans, for as long as one delivery of it lasts. Costs next to nothing when
//! nobody listens: no span is made then, only places, which travel with calls to the outside.

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::context::{RunTrace, TraceContext};
use super::span::{Attribute, Span, SpanKind, Traces};
use crate::clock::Clock;
use crate::effect::EffectSpec;
use crate::event::data::{Status, StatusChanged};
use crate::id::{ActionId, NodeId};
use crate::store::queue::Claim;
use crate::workflow::Attempt;

/// What a span of a killed holder says that it ended with.
const NODE_LOST: &str = "node_lost";

/// The spans of one delivery.
pub(crate) struct Recorder {
    traces: Traces,
    clock: Clock,
    trace: RunTrace,
    episode: TraceContext,
    epoch: i32,
    node: NodeId,
    began: DateTime<Utc>,
}

/// What is done for an effect below its attempt.
#[derive(Clone, Copy)]
pub(crate) enum Part<'a> {
    /// A read-only look for it.
    Look,
    /// A read-only look at as whom it would be done.
    Identity,
    /// The one call.
    Call(Called<'a>),
}

/// What is called, for whom.
#[derive(Clone, Copy)]
pub(crate) struct Called<'a> {
    pub(crate) action: ActionId,
    pub(crate) episode: Uuid,
    pub(crate) client: &'a str,
    pub(crate) spec: &'a EffectSpec,
}

/// An episode that its own holder could not tell of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Lost {
    pub(crate) began: DateTime<Utc>,
    pub(crate) found: DateTime<Utc>,
    pub(crate) node: Option<NodeId>,
}

impl Recorder {
    /// Begins the episode of a claim on this node.
    pub(crate) fn begin(traces: &Traces, clock: &Clock, claim: &Claim, node: NodeId) -> Self {
        let trace = RunTrace::new(claim.run, claim.generation, &claim.trace_id, claim.caller.as_deref(), claim.parent);
        Self {
            traces: traces.clone(),
            clock: clock.clone(),
            trace,
            episode: trace.episode(claim.epoch),
            epoch: claim.epoch,
            node,
            began: clock.now(),
        }
    }

    /// Whether anybody listens, and the caller wants this trace to be recorded.
    pub(crate) fn is_heard(&self) -> bool {
        self.traces.sink().is_some() && self.trace.command().sampled()
    }

    /// The place of the command itself.
    pub(crate) fn command(&self) -> TraceContext {
        self.trace.command()
    }

    /// The nth attempt at a step, the same one whoever makes it.
    pub(crate) fn attempt(&self, key: &str, number: u16) -> Attempt {
        Attempt { number, trace: self.trace.attempt(key, number) }
    }

    /// A step's body is run at that time for its value alone, in this delivery and for it.
    pub(crate) fn again(&self, key: &str, at: DateTime<Utc>) -> Attempt {
        Attempt { number: 0, trace: self.trace.within(self.episode, key, nth(at)) }
    }

    /// An attempt at a step that began then has ended.
    pub(crate) fn attempt_ended(&self, key: &str, attempt: Attempt, began: DateTime<Utc>, error: Option<&str>) {
        self.tell(error, || Span {
            parent: Some(self.episode.span_bytes()),
            attributes: vec![("fermata.step.key", key.into()), ("fermata.step.attempt", attempt.number.into())],
            ..self.span("engine.step.attempt", attempt.trace, began)
        });
    }

    /// A part of an effect's attempt that began then has ended.
    pub(crate) fn part_ended(&self, above: TraceContext, part: Part<'_>, began: DateTime<Utc>, error: Option<&str>) {
        self.tell(error, || {
            let (name, kind, attributes) = match part {
                Part::Look => ("engine.effect.look", SpanKind::Client, Vec::new()),
                Part::Identity => ("engine.effect.identity", SpanKind::Client, Vec::new()),
                // The names of the safety document (S-084, S-086).
                Part::Call(call) => ("side_effect.action", SpanKind::Client, called(&call)),
            };
            let context = self.trace.within(above, name, nth(began));
            Span { parent: Some(above.span_bytes()), kind, attributes, ..self.span(name, context, began) }
        });
    }

    /// This delivery has ended, in `how`. An episode that lost its lease is told by the next holder.
    pub(crate) fn episode_ended(&self, how: &'static str) {
        if how == "lost" {
            return;
        }
        let error = (how == "given_back").then_some(how);
        self.tell(error, || {
            let mut span = self.episode_span(self.epoch, self.began, Some(self.node));
            span.attributes.push(("fermata.ended", how.into()));
            span
        });
    }

    /// The episode before this one has ended without anybody to tell of it.
    pub(crate) fn episode_lost(&self, lost: Lost) {
        self.tell(Some(NODE_LOST), || Span {
            ended: lost.found,
            ..self.episode_span(self.epoch - 1, lost.began, lost.node)
        });
    }

    /// The command has ended.
    pub(crate) fn command_ended(&self, claim: &Claim, how: &'static str, error: Option<&str>) {
        self.tell(error, || Span {
            parent: self.trace.parent(),
            kind: SpanKind::Consumer,
            attributes: vec![
                ("fermata.run.id", claim.run.to_string().into()),
                ("fermata.client.id", Attribute::from(&*claim.client)),
                ("fermata.command.type", claim.kind.as_str().into()),
                ("fermata.ended", how.into()),
            ],
            ..self.span("engine.command.carry", self.trace.command(), claim.accepted_at)
        });
    }

    fn episode_span(&self, epoch: i32, began: DateTime<Utc>, node: Option<NodeId>) -> Span {
        let mut attributes = vec![("fermata.episode", epoch.into())];
        attributes.extend(node.map(|node| ("fermata.node.id", node.to_string().into())));
        Span {
            parent: Some(self.trace.command().span_bytes()),
            attributes,
            ..self.span("engine.run.drive", self.trace.episode(epoch), began)
        }
    }

    fn span(&self, name: &'static str, context: TraceContext, began: DateTime<Utc>) -> Span {
        Span {
            context,
            parent: None,
            name,
            kind: SpanKind::Internal,
            began,
            ended: self.clock.now(),
            attributes: Vec::new(),
            error: None,
        }
    }

    fn tell(&self, error: Option<&str>, make: impl FnOnce() -> Span) {
        if let Some(sink) = self.traces.sink().filter(|_| self.trace.command().sampled()) {
            sink.take(Span { error: error.map(str::to_owned), ..make() });
        }
    }
}

/// Tells what happens one after the other apart.
fn nth(at: DateTime<Utc>) -> u64 {
    u64::try_from(at.timestamp_micros()).unwrap_or_default()
}

fn called(call: &Called<'_>) -> Vec<(&'static str, Attribute)> {
    vec![
        ("episode_id", call.episode.to_string().into()),
        ("action_id", call.action.to_string().into()),
        ("client_id", call.client.into()),
        ("platform_account_id", call.spec.account_id.as_str().into()),
        ("action_type", call.spec.action_type.as_str().into()),
        ("platform", call.spec.platform.as_str().into()),
        ("lane", call.spec.lane.as_str().into()),
    ]
}

/// The episode before the one that has just begun, if its holder was found dead: out of the run's
/// newest changes of status, the newest first.
pub(crate) fn lost(changes: &[(DateTime<Utc>, StatusChanged)]) -> Option<Lost> {
    let is_taken = |change: &StatusChanged| {
        change.to == Status::Running || (change.to == Status::Cancelling && change.from == Some(Status::Cancelling))
    };
    let ours = changes.iter().position(|(_, change)| is_taken(change))?;
    let before = changes.get(ours + 1..)?;
    let theirs = before.iter().position(|(_, change)| is_taken(change))?;
    let (began, _) = before.get(theirs)?;
    let found = before.get(..theirs)?.iter().find(|(_, change)| change.reason.as_deref() == Some(NODE_LOST))?;
    Some(Lost { began: *began, found: found.0, node: found.1.node })
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use serde_json::{Value, json};

    use super::*;
    use crate::id::RunId;
    use crate::trace::SpanSink;

    #[derive(Clone, Default)]
    struct Heard(Arc<Mutex<Vec<Span>>>);

    impl SpanSink for Heard {
        fn take(&self, span: Span) {
            self.0.lock().unwrap().push(span);
        }
    }

    fn claim(epoch: i32, caller: Option<&str>) -> Claim {
        let run = RunId(Uuid::from_u128(0x0192_0000_0000_7000_8000_0000_0000_00aa));
        Claim {
            epoch,
            client: "acme".into(),
            kind: "flow.run".into(),
            trace_id: "4bf92f3577b34da6a3ce929d0e0e4736".into(),
            caller: caller.map(str::to_owned),
            ..Claim::example(run)
        }
    }

    fn recorder(heard: &Heard, claim: &Claim) -> Recorder {
        Recorder::begin(&Traces::to(heard.clone()), &Clock::system(), claim, NodeId(Uuid::from_u128(5)))
    }

    #[test]
    fn what_one_node_began_another_one_ends_under_the_same_id() {
        let heard = Heard::default();
        let (first, second) = (claim(1, None), claim(2, None));
        let (killed, heir) = (recorder(&heard, &first), recorder(&heard, &second));
        let sent_out = killed.attempt("publish", 1);
        let at = DateTime::UNIX_EPOCH;
        heir.episode_lost(Lost { began: at, found: at, node: Some(NodeId(Uuid::from_u128(4))) });
        heir.attempt_ended("publish", heir.attempt("publish", 1), at, None);
        heir.episode_ended("succeeded");
        heir.command_ended(&second, "succeeded", None);
        let told = heard.0.lock().unwrap();
        let episode = |epoch| killed.trace.episode(epoch);
        let places = [episode(1), sent_out.trace, episode(2), killed.command()];
        assert_eq!(told.iter().map(|span| span.context).collect::<Vec<_>>(), places);
        let parents = [Some(killed.command()), Some(episode(2)), Some(killed.command()), None];
        assert_eq!(told.iter().map(|span| span.parent).collect::<Vec<_>>(), parents.map(|p| Some(p?.span_bytes())));
        assert_eq!(told[0].error.as_deref(), Some(NODE_LOST));
    }

    #[test]
    fn nothing_is_told_of_a_trace_that_its_caller_does_not_record_or_of_a_lost_lease() {
        let heard = Heard::default();
        let quiet = claim(1, Some("00f067aa0ba902b7-00"));
        assert!(!recorder(&heard, &quiet).is_heard());
        recorder(&heard, &quiet).command_ended(&quiet, "succeeded", None);
        recorder(&heard, &claim(1, None)).episode_ended("lost");
        assert_eq!(heard.0.lock().unwrap().len(), 0);
    }

    fn changes(newest_first: &Value) -> Vec<(DateTime<Utc>, StatusChanged)> {
        let all = newest_first.as_array().unwrap().iter().enumerate();
        let at = |n: usize| DateTime::from_timestamp(100 - i64::try_from(n).unwrap(), 0).unwrap();
        all.map(|(n, change)| (at(n), serde_json::from_value(change.clone()).unwrap())).collect()
    }

    #[test]
    fn only_the_episode_just_before_is_lost_and_only_when_its_node_was() {
        let ours = json!({"from": "QUEUED", "to": "RUNNING"});
        let node = Uuid::from_u128(9);
        let reaped = json!({"from": "RUNNING", "to": "QUEUED", "reason": "node_lost", "node": node});
        let asked = json!({"from": "RUNNING", "to": "CANCELLING"});
        let cancelled = json!({"from": "CANCELLING", "to": "CANCELLING"});
        let put_away = json!({"from": "RUNNING", "to": "WAITING", "wait_reason": "timer"});
        let at = |n: i64| DateTime::from_timestamp(100 - n, 0).unwrap();
        let died = |began, found| Some(Lost { began: at(began), found: at(found), node: Some(NodeId(node)) });
        for (story, wanted) in [
            (json!([ours]), None),
            (json!([ours, reaped, ours]), died(2, 1)),
            (json!([cancelled, reaped, asked, ours]), died(3, 1)),
            (json!([cancelled, asked, reaped, ours]), died(3, 2)),
            (json!([cancelled, reaped, cancelled, asked]), died(2, 1)),
            (json!([ours, put_away, ours]), None),
            (json!([ours, put_away, ours, reaped, ours]), None),
            (json!([ours, reaped]), None),
        ] {
            assert_eq!(lost(&changes(&story)), wanted, "{story}");
        }
    }
}
