//! What the one write path takes, and what it answers.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::document::Raw;

use crate::event::Severity;
use crate::id::{RunId, SignalId};

/// What a record does to its run's row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The run goes on in the same hands.
    Advance,
    /// The run waits; nobody holds it.
    Suspend,
    /// The run is ready for somebody else.
    HandBack,
    /// The run has ended.
    Finish,
}

/// A checkpoint, or a failed attempt before it.
#[derive(Debug, Clone)]
pub(crate) struct StepRow {
    pub(crate) key: String,
    pub(crate) attempt: u16,
    pub(crate) kind: i16,
    pub(crate) beside: bool,
    pub(crate) input_hash: String,
    pub(crate) output: Option<Raw>,
    pub(crate) error: Option<Raw>,
    pub(crate) started_at: DateTime<Utc>,
}

/// An event of the record's run.
#[derive(Debug, Clone)]
pub(crate) struct EventRow {
    pub(crate) kind: &'static str,
    pub(crate) severity: Severity,
    pub(crate) data: Raw,
}

/// One change of one run by the holder of its lease. Applied whole or not at all.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    pub(crate) run: RunId,
    pub(crate) client: Arc<str>,
    pub(crate) kind: Kind,
    /// The lease's epoch: an old one changes nothing (I6).
    pub(crate) epoch: i32,
    /// The `seq` that the run must have; it then has `next`.
    pub(crate) seq: i32,
    pub(crate) next: i32,
    /// The generation that its steps belong to.
    pub(crate) generation: i32,
    /// How much of the inbox the holder had seen, for [`Kind::Suspend`].
    pub(crate) inbox: i32,
    /// When a waiting run is to be woken.
    pub(crate) due: Option<DateTime<Utc>>,
    /// Why it waits, or how it ended.
    pub(crate) word: Option<&'static str>,
    /// The result or error of a run that ends.
    pub(crate) body: Option<Raw>,
    pub(crate) steps: Vec<StepRow>,
    pub(crate) events: Vec<EventRow>,
    /// Parts that few records have (see `apply_parts` in the migrations); `ord` is added here.
    pub(crate) rare: Vec<Value>,
    pub(crate) audits: Vec<Value>,
    /// The parent to tell, when a child ends.
    pub(crate) parent: Option<RunId>,
}

/// What became of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Outcome {
    /// It is durable. `inbox` and `cancel` are the run's, as of now.
    Applied { inbox: i32, cancel: bool },
    /// An earlier sending of it is durable.
    Replayed,
    /// The lease is not ours any more.
    Fenced,
    /// The run belongs to another client: a mistake of ours, never a request's.
    Refused,
    /// Not applied, for the reason in the value: an intent is held, a kill switch is on.
    Conflict(Value),
    /// Not applied: it would have ended a run otherwise that somebody has cancelled.
    Cancelled,
    /// Postgres will not take its content; nothing of it is stored.
    Unstorable(String),
}

impl Record {
    /// About how many bytes it adds to a batch.
    pub(crate) fn bytes(&self) -> usize {
        let raw = |raw: &Option<Raw>| raw.as_ref().map_or(0, |raw| raw.get().len());
        let steps: usize = self.steps.iter().map(|s| s.key.len() + raw(&s.output) + raw(&s.error)).sum();
        let events: usize = self.events.iter().map(|e| e.data.get().len()).sum();
        RECORD_OVERHEAD_BYTES + steps + events + raw(&self.body) + RARE_BYTES * self.rare.len()
    }
}

/// What a record costs in a batch beside its documents.
const RECORD_OVERHEAD_BYTES: usize = 128;
/// A guess at a rare part: these are small and few.
const RARE_BYTES: usize = 2_048;

/// A command on its way into the database.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Acceptance {
    pub(crate) run: RunId,
    pub(crate) client: String,
    pub(crate) kind: String,
    pub(crate) workflow: String,
    pub(crate) input: Raw,
    pub(crate) envelope: Raw,
    pub(crate) key: Option<String>,
    pub(crate) fingerprint: String,
    pub(crate) trace_id: String,
    pub(crate) submitted_by: String,
    /// The size of its documents.
    pub(crate) bytes: usize,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) enum Accepted {
    /// It is durable under its own id.
    New,
    /// The same command was accepted before, under this id.
    Replayed(RunId),
    /// Another command was accepted before under the same key.
    Mismatch(RunId),
    /// Postgres will not take its content.
    Unstorable(String),
}

/// A signal on its way to a run.
#[derive(Debug, Clone)]
pub(crate) struct Sending {
    pub(crate) id: SignalId,
    pub(crate) run: RunId,
    /// Whose run it must be; `*` for any.
    pub(crate) client: String,
    pub(crate) actor: String,
    pub(crate) name: String,
    pub(crate) payload: Raw,
}

/// What became of a signal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Sent {
    /// The run finds it when it next looks, or has just become ready.
    Applied,
    /// The run is in some node's hands, which is to be told.
    Held,
    /// It was sent before.
    Replayed,
    /// The run has ended.
    Ended,
    /// There is no such run.
    Missing,
    /// Postgres will not take its content.
    Unstorable(String),
}

impl Sent {
    /// In the words of `fermata.leave_signal`.
    pub(crate) fn of(word: &str) -> Self {
        match word {
            "applied" => Self::Applied,
            "held" => Self::Held,
            "replayed" => Self::Replayed,
            "ended" => Self::Ended,
            _ => Self::Missing,
        }
    }
}
