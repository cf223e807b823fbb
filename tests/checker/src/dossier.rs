//! A trial sorted by what its facts are about: built once, read by every invariant.
//!
//! It decides nothing. The one thing that it works out is the *epoch* of a run at a position: how
//! often the run had been claimed by then, counted from the events alone. A claim is a
//! `status.changed` that leaves anything but `RUNNING` for `RUNNING`; or that ends in
//! `HUMAN_REQUIRED` without coming from `RUNNING` (a run delivered too often is claimed and parked
//! at once); or that goes from `CANCELLING` to `CANCELLING`.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::Value;

use crate::history::{About, Answered, Op, Publish, Receipt, Request, Submit};
use crate::ledger::Line;
use crate::rows::{Action, Event, Live, Outcome, Run, Step};
use crate::trial::Trial;

/// How much later than its deadline a call may still arrive: the network's share.
pub(crate) const NETWORK_GRACE: TimeDelta = TimeDelta::seconds(1);
/// The longest line of parents that is followed.
const MAX_PARENTS: usize = 32;

/// A trial sorted by what its facts are about.
pub(crate) struct Dossier<'a> {
    pub(crate) trial: &'a Trial,
    /// The runs of the trial's clients.
    pub(crate) runs: BTreeMap<&'a str, &'a Run>,
    pub(crate) live: BTreeMap<&'a str, &'a Live>,
    pub(crate) outcome: BTreeMap<&'a str, &'a Outcome>,
    pub(crate) actions: BTreeMap<&'a str, &'a Action>,
    /// What was submitted, in the order of the history.
    pub(crate) submits: Vec<Submitted<'a>>,
    /// The submit that explains a run, by its place in `submits`.
    pub(crate) explained: BTreeMap<&'a str, usize>,
    /// The events of the trial's runs in the order of their positions, by run.
    pub(crate) events: BTreeMap<&'a str, Vec<&'a Event>>,
    /// How a run's status changed.
    pub(crate) changes: BTreeMap<&'a str, Vec<Change<'a>>>,
    /// How an action moved.
    pub(crate) moves: BTreeMap<&'a str, Vec<Move<'a>>>,
    /// The steps of a run in the order of their records.
    pub(crate) steps: BTreeMap<&'a str, Vec<&'a Step>>,
}

/// A submit, read.
pub(crate) struct Submitted<'a> {
    pub(crate) request: &'a Request,
    pub(crate) submit: Submit,
    /// The command, when the answer names one.
    pub(crate) command: Option<String>,
}

/// One `status.changed`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Change<'a> {
    pub(crate) position: i64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) from: Option<&'a str>,
    pub(crate) to: &'a str,
    pub(crate) version: Option<i64>,
}

/// One `action.moved`, `action.attempted` or `action.verified`.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Move<'a> {
    pub(crate) position: i64,
    pub(crate) at: DateTime<Utc>,
    pub(crate) action: &'a str,
    pub(crate) run: &'a str,
    pub(crate) account: &'a str,
    pub(crate) state: &'a str,
    pub(crate) detail: &'a Value,
    /// How often the run had been claimed by then.
    pub(crate) epoch: i32,
}

impl Change<'_> {
    /// Whether a node took the run by it.
    pub(crate) fn is_claim(&self) -> bool {
        match (self.from, self.to) {
            (None | Some("RUNNING"), _) => false,
            (_, "RUNNING" | "HUMAN_REQUIRED") | (Some("CANCELLING"), "CANCELLING") => true,
            _ => false,
        }
    }
}

impl Move<'_> {
    /// Whether the same call was sent again.
    pub(crate) fn is_resend(&self) -> bool {
        self.detail.get("resend").and_then(Value::as_bool) == Some(true)
    }

    /// Whether a call may follow it.
    pub(crate) fn is_attempt(&self) -> bool {
        self.state == "attempted"
    }

    /// When the call must have ended.
    pub(crate) fn deadline(&self) -> Option<DateTime<Utc>> {
        self.detail.get("call_deadline").and_then(Value::as_str).and_then(|text| text.parse().ok())
    }

    /// Whether it is said to have changed the outside world.
    pub(crate) fn effect(&self) -> Option<bool> {
        self.detail.get("effect").and_then(Value::as_bool)
    }

    /// What went wrong.
    pub(crate) fn code(&self) -> Option<&str> {
        self.detail.get("error")?.get("code")?.as_str()
    }

    /// How many looks it took.
    pub(crate) fn looks(&self) -> i64 {
        self.detail.get("looks").and_then(Value::as_i64).unwrap_or_default()
    }

    /// How it is pointed at in evidence.
    pub(crate) fn name(&self) -> String {
        format!(
            "event {} at {}: action {} is {} in epoch {}",
            self.position, self.at, self.action, self.state, self.epoch
        )
    }
}

impl<'a> Dossier<'a> {
    /// Sorts a trial.
    pub(crate) fn of(trial: &'a Trial) -> Self {
        let ours = trial.dump.run.iter().filter(|run| trial.facts.is_ours(&run.client_id));
        let runs: BTreeMap<_, _> = ours.map(|run| (run.id.as_str(), run)).collect();
        let mut dossier = Self {
            trial,
            live: trial.dump.live.iter().map(|row| (row.id.as_str(), row)).collect(),
            outcome: trial.dump.outcome.iter().map(|row| (row.id.as_str(), row)).collect(),
            actions: trial.dump.action.iter().map(|row| (row.id.as_str(), row)).collect(),
            submits: trial.history.iter().filter_map(Submitted::of).collect(),
            explained: BTreeMap::new(),
            events: BTreeMap::new(),
            changes: BTreeMap::new(),
            moves: BTreeMap::new(),
            steps: BTreeMap::new(),
            runs,
        };
        dossier.explain();
        dossier.sort_events();
        for step in &trial.dump.step {
            dossier.steps.entry(&step.run_id).or_default().push(step);
        }
        for steps in dossier.steps.values_mut() {
            steps.sort_by_key(|step| (step.seq, step.attempt));
        }
        dossier
    }

    /// Finds the submit behind each run: the one that was told its id, else one with its key, else
    /// an unanswered one with its content, each of which can be behind one run only.
    fn explain(&mut self) {
        let mut spent = BTreeSet::new();
        for (id, run) in &self.runs {
            let told = self.submits.iter().position(|one| one.command.as_deref() == Some(id));
            let keyed = || {
                let key = run.idempotency_key.as_ref()?;
                let same = |one: &Submitted<'_>| {
                    one.submit.client_id == run.client_id && one.submit.idempotency_key.as_ref() == Some(key)
                };
                let asked = self.submits.iter().enumerate().filter(|(_, one)| same(one));
                asked.min_by_key(|(_, one)| one.request.result == Answered::Fail).map(|(n, _)| n)
            };
            let lost = || {
                let fits = |one: &Submitted<'_>| {
                    one.request.result == Answered::Unknown
                        && one.submit.idempotency_key.is_none()
                        && one.submit.made(run)
                };
                (0..self.submits.len()).find(|n| !spent.contains(n) && self.submits.get(*n).is_some_and(fits))
            };
            if let Some(n) = told.or_else(keyed).or_else(lost) {
                spent.insert(n);
                self.explained.insert(id, n);
            }
        }
    }

    fn sort_events(&mut self) {
        let mut events: Vec<_> = self.trial.dump.event.iter().collect();
        events.sort_by_key(|event| event.position);
        for event in events {
            let Some(run) = event.run_id.as_deref().filter(|run| self.runs.contains_key(run)) else { continue };
            self.events.entry(run).or_default().push(event);
            if event.r#type == "status.changed" {
                let change = Change {
                    position: event.position,
                    at: event.at,
                    from: text(&event.data, "from"),
                    to: text(&event.data, "to").unwrap_or_default(),
                    version: event.data.get("version").and_then(Value::as_i64),
                };
                self.changes.entry(run).or_default().push(change);
            } else if event.r#type.starts_with("action.") {
                let action = text(&event.data, "action_id").unwrap_or_default();
                let moved = Move {
                    position: event.position,
                    at: event.at,
                    action,
                    run,
                    account: text(&event.data, "account_id").unwrap_or_default(),
                    state: text(&event.data, "status").unwrap_or_default(),
                    detail: event.data.get("detail").unwrap_or(&Value::Null),
                    epoch: self.epoch_at(run, event.position),
                };
                self.moves.entry(action).or_default().push(moved);
            }
        }
    }

    /// How often a run had been claimed before a position.
    pub(crate) fn epoch_at(&self, run: &str, position: i64) -> i32 {
        let earlier = self.claims(run).filter(|claim| claim.position < position);
        i32::try_from(earlier.count()).unwrap_or(i32::MAX)
    }

    /// The claims of a run, in order.
    pub(crate) fn claims(&self, run: &str) -> impl Iterator<Item = &Change<'a>> {
        self.changes_of(run).iter().filter(|change| change.is_claim())
    }

    /// How a run's status changed.
    pub(crate) fn changes_of(&self, run: &str) -> &[Change<'a>] {
        self.changes.get(run).map_or(&[], Vec::as_slice)
    }

    /// How an action moved.
    pub(crate) fn moves_of(&self, action: &str) -> &[Move<'a>] {
        self.moves.get(action).map_or(&[], Vec::as_slice)
    }

    /// The steps of a run in the order of their records.
    pub(crate) fn steps_of(&self, run: &str) -> &[&'a Step] {
        self.steps.get(run).map_or(&[], Vec::as_slice)
    }

    /// Whether an action was ever `unknown`.
    pub(crate) fn was_unknown(&self, action: &Action) -> bool {
        action.state == "unknown" || self.moves_of(&action.id).iter().any(|moved| moved.state == "unknown")
    }

    /// What a run was meant to do; a child does what its parent was meant to.
    pub(crate) fn about(&self, run: &str) -> Option<&About> {
        let mut run = run;
        for _ in 0..MAX_PARENTS {
            if let Some(n) = self.explained.get(run) {
                return self.submits.get(*n).map(|one| &one.submit.about);
            }
            run = self.runs.get(run)?.parent_id.as_deref()?;
        }
        None
    }

    /// The effect that a run was meant to have.
    pub(crate) fn publish(&self, run: &str) -> Option<&Publish> {
        self.about(run).and_then(About::publish)
    }

    /// The runs that were meant to have an effect of that reference.
    pub(crate) fn runs_of(&self, reference: &str) -> Vec<&'a str> {
        let all = self.runs.keys().copied();
        all.filter(|run| self.publish(run).is_some_and(|publish| publish.reference == reference)).collect()
    }

    /// The actions of the runs that were meant to have an effect of that reference.
    pub(crate) fn actions_of(&self, reference: &str) -> Vec<&'a Action> {
        let runs = self.runs_of(reference);
        self.actions.values().copied().filter(|action| runs.contains(&action.run_id.as_str())).collect()
    }

    /// The ledger by reference; lines without one are nobody's.
    pub(crate) fn lines(&self) -> BTreeMap<&'a str, Vec<&'a Line>> {
        let mut lines: BTreeMap<&str, Vec<&Line>> = BTreeMap::new();
        for line in &self.trial.ledger {
            if let Some(reference) = line.reference.as_deref() {
                lines.entry(reference).or_default().push(line);
            }
        }
        lines
    }

    /// The attempts of the runs that a line can be from: the run of its fence, else those that
    /// were meant to have an effect of its reference.
    pub(crate) fn attempts_for(&self, line: &Line) -> Vec<&Move<'a>> {
        let runs = self.runs_of(line.reference.as_deref().unwrap_or_default());
        let fence = line.fence();
        let from =
            |moved: &&Move<'a>| runs.contains(&moved.run) && fence.as_ref().is_none_or(|fence| fence.run == moved.run);
        let moves = self.moves.values().flatten();
        moves.filter(|moved| moved.is_attempt()).filter(from).collect()
    }

    /// The attempts that can have made the call behind a line: recorded before it arrived, and it
    /// arrived before the call had to end.
    pub(crate) fn causes(&self, line: &Line) -> Vec<&Move<'a>> {
        let (arrived, tolerance) = (line.arrived(), self.trial.facts.tolerance());
        let fence = line.fence();
        let mut causes = self.attempts_for(line);
        causes.retain(|moved| {
            fence.as_ref().is_none_or(|fence| fence.epoch == moved.epoch)
                && moved.at <= arrived + tolerance
                && moved.deadline().is_none_or(|deadline| arrived <= deadline + tolerance + NETWORK_GRACE)
        });
        causes
    }

    /// The requests of one kind.
    pub(crate) fn requests(&self, op: Op) -> impl Iterator<Item = &'a Request> + use<'a> {
        self.trial.history.iter().filter(move |request| request.op == op)
    }
}

impl<'a> Submitted<'a> {
    fn of(request: &'a Request) -> Option<Self> {
        if request.op != Op::Submit {
            return None;
        }
        let command = match request.result {
            Answered::Ok => request.told::<Receipt>().map(|receipt| receipt.command_id),
            Answered::Fail | Answered::Unknown => None,
        };
        Some(Self { request, submit: request.asked()?, command })
    }
}

impl Submit {
    /// Whether a run is what was submitted: same client, type and payload.
    ///
    /// `run.input` holds the payload verbatim; a later engine may add fields to it, so each field
    /// of the payload must be in the input, and the input may have more.
    pub(crate) fn made(&self, run: &Run) -> bool {
        let same = match (&self.payload, &run.input) {
            (Value::Object(payload), Value::Object(input)) => {
                payload.iter().all(|(name, value)| input.get(name) == Some(value))
            }
            (payload, input) => payload == input,
        };
        same && run.client_id == self.client_id && run.kind == self.r#type
    }
}

/// A field of text.
pub(crate) fn text<'a>(data: &'a Value, field: &str) -> Option<&'a str> {
    data.get(field).and_then(Value::as_str)
}
