//! Filters of lists: everything absent matches everything.

use chrono::{DateTime, Utc};

use super::ReadError;
use crate::effect::ActionState;
use crate::event::Severity;
use crate::id::{ActionId, RunId};

/// The statuses of a command (A.2), as the view `command` derives them.
pub const STATUSES: &[&str] =
    &["QUEUED", "RUNNING", "WAITING", "POLLING", "HUMAN_REQUIRED", "CANCELLING", "SUCCEEDED", "FAILED", "CANCELLED"];

const GATE_STATES: &[&str] = &["open", "approved", "rejected", "completed", "expired", "cancelled"];

/// Which commands.
#[derive(Debug, Clone, Default)]
pub struct CommandFilter {
    /// Any of these statuses; empty is every one.
    pub statuses: Vec<String>,
    /// Of this type.
    pub kind: Option<String>,
    /// For this account.
    pub account_id: Option<String>,
    /// Of this client; of use to principals of every client.
    pub client_id: Option<String>,
    /// With this correlation id.
    pub correlation_id: Option<String>,
    /// Children of this command.
    pub parent_id: Option<RunId>,
    /// Accepted at or after.
    pub since: Option<DateTime<Utc>>,
    /// Accepted before.
    pub until: Option<DateTime<Utc>>,
}

/// Which actions.
#[derive(Debug, Clone, Default)]
pub struct ActionFilter {
    /// Of this command.
    pub run: Option<RunId>,
    /// In any of these states; empty is every one.
    pub states: Vec<String>,
    /// For this account.
    pub account_id: Option<String>,
    /// Of this action type.
    pub action_type: Option<String>,
}

/// Which gates.
#[derive(Debug, Clone, Default)]
pub struct GateFilter {
    /// Of this command.
    pub run: Option<RunId>,
    /// In any of these states; empty is every one.
    pub states: Vec<String>,
    /// Of this client; of use to principals of every client.
    pub client_id: Option<String>,
}

/// Which artifacts.
#[derive(Debug, Clone, Default)]
pub struct ArtifactFilter {
    /// Of this command.
    pub run: Option<RunId>,
    /// Of this kind, such as `screenshot`.
    pub kind: Option<String>,
}

/// Which rows of the audit trail.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct AuditFilter {
    /// About this command.
    pub run: Option<RunId>,
    /// About this action.
    pub action: Option<ActionId>,
    /// By this actor.
    pub actor: Option<String>,
    /// Of any of these phases; empty is every one.
    pub phases: Vec<String>,
    /// Of this client; of use to principals of every client.
    pub client_id: Option<String>,
    /// About actions on this platform.
    pub platform: Option<String>,
    /// About actions for this account.
    pub account_id: Option<String>,
    /// About actions of this type.
    pub action_type: Option<String>,
    /// Not before this time.
    pub since: Option<DateTime<Utc>>,
    /// Before this time.
    pub until: Option<DateTime<Utc>>,
}

/// Which events.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Of this command.
    pub run: Option<RunId>,
    /// Of any of these types; empty is every one.
    pub types: Vec<String>,
    /// At least this severe.
    pub min_severity: Option<Severity>,
    /// Of this client; of use to principals of every client.
    pub client_id: Option<String>,
    /// About commands for this account.
    pub account_id: Option<String>,
    /// About commands of this session.
    pub session_id: Option<String>,
}

impl CommandFilter {
    pub(super) fn check(&self) -> Result<(), ReadError> {
        known("state", &self.statuses, STATUSES)
    }
}

impl ActionFilter {
    pub(super) fn check(&self) -> Result<(), ReadError> {
        known("state", &self.states, &ActionState::ALL.map(ActionState::as_str))
    }
}

impl GateFilter {
    pub(super) fn check(&self) -> Result<(), ReadError> {
        known("state", &self.states, GATE_STATES)
    }
}

fn known(name: &'static str, given: &[String], words: &[&str]) -> Result<(), ReadError> {
    match given.iter().find(|given| !words.contains(&given.as_str())) {
        None => Ok(()),
        Some(_) => Err(ReadError::Filter { name, message: format!("must be one of {}", words.join(", ")) }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_that_cannot_match_is_refused() {
        let filter = |state: &str| CommandFilter { statuses: vec![state.into()], ..CommandFilter::default() };
        assert!(filter("FAILED").check().is_ok());
        assert!(matches!(filter("failed").check(), Err(ReadError::Filter { name: "state", .. })));
        assert!(ActionFilter { states: vec!["unknown".into()], ..ActionFilter::default() }.check().is_ok());
        assert!(GateFilter { states: vec!["shut".into()], ..GateFilter::default() }.check().is_err());
    }
}
