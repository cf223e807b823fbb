//! What has arrived for a run from outside.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::GateDecision;
use crate::id::{GateId, RunId, SignalId};

/// Signals not yet consumed, gates, and children that have ended.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    signals: Vec<SignalRow>,
    /// Taken in this delivery: perhaps not consumed in the database yet.
    taken: HashSet<SignalId>,
    gates: HashMap<String, GateRow>,
    children: HashMap<RunId, ChildEnd>,
}

/// The mailbox as the database sends it.
#[derive(Debug, Deserialize)]
pub(crate) struct MailboxRows {
    signals: Vec<SignalRow>,
    gates: Vec<GateRow>,
    children: Vec<ChildRow>,
}

#[derive(Debug, Clone, Deserialize)]
struct SignalRow {
    id: SignalId,
    name: String,
    payload: Value,
}

/// A gate of this run.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct GateRow {
    pub(crate) id: GateId,
    pub(crate) key: String,
    pub(crate) state: String,
    pub(crate) expires_at: Option<DateTime<Utc>>,
    actor: Option<String>,
    comment: Option<String>,
    outputs: Option<Value>,
}

#[derive(Debug, Deserialize)]
struct ChildRow {
    id: RunId,
    status: String,
    result: Option<Value>,
    error: Option<Value>,
}

/// How a child ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ChildEnd {
    pub(crate) status: String,
    pub(crate) result: Option<Value>,
    pub(crate) error: Option<Value>,
}

impl Mailbox {
    /// Takes over what the database has now; what was taken since stays taken.
    pub(crate) fn refresh(&mut self, rows: MailboxRows) {
        self.signals = rows.signals;
        self.signals.retain(|signal| !self.taken.contains(&signal.id));
        self.gates = rows.gates.into_iter().map(|gate| (gate.key.clone(), gate)).collect();
        let ends = rows
            .children
            .into_iter()
            .map(|child| (child.id, ChildEnd { status: child.status, result: child.result, error: child.error }));
        self.children = ends.collect();
    }

    /// Takes the first signal of that name, in the order in which they were left.
    pub(crate) fn take_signal(&mut self, name: &str) -> Option<(SignalId, Value)> {
        let at = self.signals.iter().position(|signal| signal.name == name)?;
        let signal = self.signals.remove(at);
        self.taken.insert(signal.id);
        Some((signal.id, signal.payload))
    }

    /// The newest gate of that key.
    pub(crate) fn gate(&self, key: &str) -> Option<&GateRow> {
        self.gates.get(key)
    }

    /// Remembers a gate that this delivery opened.
    pub(crate) fn opened(&mut self, key: &str, id: GateId, expires_at: Option<DateTime<Utc>>) {
        let row = GateRow {
            id,
            key: key.into(),
            state: "open".into(),
            expires_at,
            actor: None,
            comment: None,
            outputs: None,
        };
        self.gates.insert(key.into(), row);
    }

    /// Forgets a gate that was dealt with, so that its key can be asked again.
    pub(crate) fn forget_gate(&mut self, key: &str) {
        self.gates.remove(key);
    }

    pub(crate) fn child(&self, run: RunId) -> Option<&ChildEnd> {
        self.children.get(&run)
    }
}

impl GateRow {
    /// The decision, once there is one.
    pub(crate) fn decision(&self) -> Option<GateDecision> {
        let approved = match self.state.as_str() {
            "approved" | "completed" => true,
            "rejected" => false,
            _ => return None,
        };
        Some(GateDecision {
            approved,
            actor: self.actor.clone().unwrap_or_default(),
            comment: self.comment.clone(),
            outputs: self.outputs.clone().unwrap_or(Value::Null),
        })
    }
}
