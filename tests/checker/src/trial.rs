//! A trial in memory: what [`crate::read`] makes of a folder and [`crate::check`] judges.

use chrono::{DateTime, TimeDelta, Utc};
use serde::Deserialize;

use crate::history::Request;
use crate::ledger::{Call, Line};
use crate::rows::{Audit, Dump};
use crate::stream::Reader;

/// Everything that is known about one trial.
#[derive(Debug, Clone, PartialEq)]
pub struct Trial {
    /// `trial.json`.
    pub facts: Facts,
    /// `history.jsonl`.
    pub history: Vec<Request>,
    /// `ledger.jsonl`.
    pub ledger: Vec<Line>,
    /// `calls.jsonl`.
    pub calls: Vec<Call>,
    /// `dump/`.
    pub dump: Dump,
    /// `earlier/audit.jsonl`; empty when there is none.
    pub earlier: Vec<Audit>,
    /// `streams/`.
    pub readers: Vec<Reader>,
}

/// What the rig says about the trial itself.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Facts {
    /// What its choices came from.
    pub seed: u64,
    /// Its number.
    pub trial: u64,
    /// What was done to the programs.
    pub fault: String,
    /// The tenants whose runs belong to it.
    pub clients: Vec<String>,
    /// Its part of the event stream.
    pub window: Window,
    /// Its part of the audit.
    pub audit_window: Window,
    /// How far the clocks of the witnesses may be apart, in milliseconds.
    pub tolerance_ms: u32,
    /// When it began.
    pub began_at: DateTime<Utc>,
    /// When all was calm again.
    pub calm_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: DateTime<Utc>,
    /// What the policy of its clients rationed, if it did.
    #[serde(default)]
    pub rations: Option<Rations>,
}

/// How many effects of an account there may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Rations {
    /// Calls under way at once.
    pub concurrency: usize,
    /// Effects in a window.
    pub max: usize,
    /// How long a window is, in seconds; they follow each other from 1970 on.
    pub window_s: u32,
    /// The least pause between two attempts, in seconds.
    pub min_s: Option<u32>,
}

/// Positions behind `after`, up to and with `upto`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub struct Window {
    /// The last position before it.
    pub after: i64,
    /// The last position in it.
    pub upto: i64,
}

impl Window {
    /// Whether a position is in it.
    pub fn holds(self, position: i64) -> bool {
        self.after < position && position <= self.upto
    }
}

impl Facts {
    /// How far the clocks of the witnesses may be apart.
    pub fn tolerance(&self) -> TimeDelta {
        TimeDelta::milliseconds(self.tolerance_ms.into())
    }

    /// Whether a tenant's rows belong to the trial.
    pub fn is_ours(&self, client: &str) -> bool {
        self.clients.iter().any(|ours| ours == client)
    }
}
