//! What the database held when all was calm: the rows of `dump/`.
//!
//! Each struct names the columns that an invariant looks at, as Postgres' `row_to_json` writes
//! them; other columns are ignored. Ids stay text: the checker compares them and never makes one.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

/// A row of `run`: the command as accepted.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Run {
    /// The command, which is its run.
    pub id: String,
    /// Whose it is.
    pub client_id: String,
    /// The command type.
    pub kind: String,
    /// The key that it was submitted with.
    pub idempotency_key: Option<String>,
    /// The payload, verbatim.
    pub input: Value,
    /// The run that started it, for a child.
    pub parent_id: Option<String>,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
}

/// A row of `live`: a run that has not ended.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Live {
    /// The run.
    pub id: String,
    /// 0 ready, 1 running, 2 waiting, 3 parked.
    pub state: i16,
    /// How often it was claimed.
    pub epoch: i32,
    /// How many records were applied to it.
    pub seq: i32,
    /// Somebody asked to cancel it.
    pub cancel: bool,
    /// What it waits for.
    pub wait_reason: Option<String>,
}

/// A row of `outcome`: how a run ended.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Outcome {
    /// The run.
    pub id: String,
    /// `SUCCEEDED`, `FAILED` or `CANCELLED`.
    pub status: String,
    /// How often it was claimed.
    pub epoch: i32,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
}

/// A row of `step`: a checkpoint, or a failed attempt before one.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Step {
    /// Its run.
    pub run_id: String,
    /// Which renewal of the run.
    pub generation: i32,
    /// The step.
    pub key: String,
    /// The attempt, from 1.
    pub attempt: i16,
    /// The record that wrote it.
    pub seq: i32,
    /// The epoch that wrote it.
    pub epoch: i32,
    /// What kind of step; see [`Step::SIGNAL`].
    pub kind: i16,
    /// The result; `None` for an attempt that failed, or a result of JSON `null`.
    pub output: Option<Value>,
    /// Why the attempt failed.
    pub error: Option<Value>,
    /// When the attempt began.
    pub started_at: DateTime<Utc>,
    /// When it was recorded.
    pub ended_at: DateTime<Utc>,
}

/// A row of `event`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Event {
    /// Its place in the stream.
    pub position: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Whose it is; `*` is everybody's.
    pub client_id: String,
    /// The run that it is about.
    pub run_id: Option<String>,
    /// Its name.
    pub r#type: String,
    /// What happened.
    pub data: Value,
}

/// A row of `audit`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Audit {
    /// Its place in the audit.
    pub position: i64,
    /// When it was written.
    pub at: DateTime<Utc>,
    /// Whose it is.
    pub client_id: String,
    /// The run that it is about.
    pub run_id: Option<String>,
    /// The action that it is about.
    pub action_id: Option<String>,
    /// Who did it.
    pub actor: String,
    /// What was done: a state of an action, or another word.
    pub phase: String,
    /// The facts.
    pub body: Value,
}

/// A row of `action`: one attempt at an intent.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Action {
    /// The action.
    pub id: String,
    /// What it is an attempt at.
    pub intent_id: String,
    /// Its run.
    pub run_id: String,
    /// Whose it is.
    pub client_id: String,
    /// The step that asked for it.
    pub step_key: String,
    /// Where it stands.
    pub state: String,
    /// The account acted for.
    pub account_id: String,
    /// The key that travels with the call.
    pub idempotency_key: String,
    /// The epoch that planned it, or that attempted it last.
    pub epoch: i32,
    /// When its last call must have ended.
    pub call_deadline: Option<DateTime<Utc>>,
    /// How often the call was sent again.
    pub resends: i32,
    /// Whether it changed the outside world, as far as somebody knows.
    pub effect: Option<bool>,
    /// What the platform, or a person, gave as proof.
    pub receipt: Option<Value>,
}

/// A row of `intent`: the business identity of an effect.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Intent {
    /// The intent.
    pub id: String,
    /// Its declared nature: `honours_keys`, `absence`, `visible_within_ms` and more.
    pub spec: Value,
}

/// A row of `gate`: a question to a person.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Gate {
    /// The gate.
    pub id: String,
    /// The run that asks.
    pub run_id: String,
    /// The step that asks.
    pub key: String,
    /// `open`, `approved`, `rejected`, `completed`, `expired` or `cancelled`.
    pub state: String,
    /// When it was closed.
    pub decided_at: Option<DateTime<Utc>>,
    /// By whom.
    pub actor: Option<String>,
}

/// A row of `signal`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Signal {
    /// The signal.
    pub id: String,
    /// The run that it is for.
    pub run_id: String,
    /// Its name.
    pub name: String,
}

/// A row of `idempotency`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub struct Key {
    /// Whose key it is.
    pub client_id: String,
    /// What it is a key of; commands have `commands`.
    pub family: String,
    /// The key.
    pub key: String,
    /// The run that it names.
    pub run_id: String,
}

/// A row of `kill_switch`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Switch {
    /// What it is called.
    pub scope: String,
    /// Whether it stops effects now.
    pub engaged: bool,
}

/// Everything in `dump/`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Dump {
    /// `run.jsonl`.
    pub run: Vec<Run>,
    /// `live.jsonl`.
    pub live: Vec<Live>,
    /// `outcome.jsonl`.
    pub outcome: Vec<Outcome>,
    /// `step.jsonl`.
    pub step: Vec<Step>,
    /// `event.jsonl`.
    pub event: Vec<Event>,
    /// `audit.jsonl`.
    pub audit: Vec<Audit>,
    /// `action.jsonl`.
    pub action: Vec<Action>,
    /// `intent.jsonl`.
    pub intent: Vec<Intent>,
    /// `gate.jsonl`.
    pub gate: Vec<Gate>,
    /// `signal.jsonl`.
    pub signal: Vec<Signal>,
    /// `idempotency.jsonl`.
    pub idempotency: Vec<Key>,
    /// `kill_switch.jsonl`.
    pub kill_switch: Vec<Switch>,
}

impl Step {
    /// The kind of a step that waited for a signal.
    pub const SIGNAL: i16 = 3;

    /// Whether the step is done. A result of JSON `null` looks like no result once the row is
    /// JSON itself, so it is the missing error that tells.
    pub fn succeeded(&self) -> bool {
        self.error.is_none()
    }

    /// Whether it is the step of that name, in whatever scope.
    pub fn is_named(&self, name: &str) -> bool {
        is_named(&self.key, name)
    }
}

impl Action {
    /// It happened, or was found to have happened: there is an effect or a receipt.
    pub fn fulfilled(&self) -> bool {
        matches!(self.state.as_str(), "confirmed_success" | "postcheck_complete")
            && (self.effect == Some(true) || self.receipt.is_some())
    }
}

/// Whether a key of a step or a gate is that name, in whatever scope and in whatever turn.
pub(crate) fn is_named(key: &str, name: &str) -> bool {
    let last = key.rsplit('/').next().unwrap_or(key);
    last == name || last.strip_prefix(name).is_some_and(|rest| rest.starts_with('#'))
}
