//! What a record is made of, and what waits for a record to ride with.

use serde_json::{Value, json};

use crate::event::{Severity, name};
use crate::store::record::{EventRow, StepRow};

/// What goes with the run's next record.
#[derive(Debug, Default, Clone)]
pub(crate) struct Riding {
    pub(super) parts: Parts,
    /// Something of it is kept nowhere else yet.
    pub(super) unkept: bool,
}

/// Parts of a record on their way.
#[derive(Debug, Default, Clone)]
pub(crate) struct Parts {
    pub(crate) steps: Vec<StepRow>,
    pub(crate) events: Vec<EventRow>,
    pub(crate) rare: Vec<Value>,
    pub(crate) audits: Vec<Value>,
}

impl Parts {
    pub(super) fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.events.is_empty() && self.rare.is_empty() && self.audits.is_empty()
    }

    pub(super) fn append(&mut self, mut other: Self) {
        self.steps.append(&mut other.steps);
        self.events.append(&mut other.events);
        self.rare.append(&mut other.rare);
        self.audits.append(&mut other.audits);
    }

    /// Adds an event.
    pub(crate) fn event(mut self, kind: &'static str, severity: Severity, data: &Value) -> Self {
        self.events.push(EventRow { kind, severity, data: crate::document::raw(data) });
        self
    }

    /// Adds a rare part.
    pub(crate) fn rare(mut self, part: Value) -> Self {
        self.rare.push(part);
        self
    }

    /// Adds a checkpoint with its event.
    pub(crate) fn step(mut self, row: StepRow) -> Self {
        let data = json!({"key": row.key, "attempt": row.attempt});
        self.steps.push(row);
        self.event(name::STEP_SUCCEEDED, Severity::Info, &data)
    }
}
