//! An action as the database keeps it.

use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

use super::{ActionState, Evidence, Receipt};
use crate::id::ActionId;

/// One attempt at an intent, as far as carrying it on needs to know.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct ActionRow {
    pub(crate) id: ActionId,
    pub(crate) step_key: String,
    #[serde(with = "word")]
    pub(crate) state: ActionState,
    pub(crate) call_deadline: Option<DateTime<Utc>>,
    pub(crate) resends: u16,
    pub(crate) looks: u16,
    /// Looks since nobody knows.
    #[serde(default)]
    pub(crate) doubts: u16,
    pub(crate) effect: Option<bool>,
    pub(crate) receipt: Option<Value>,
    pub(crate) policy_hash: String,
    /// Whether the platform says that it acts as the account; `None` where nobody could say.
    #[serde(default)]
    pub(crate) identity_ok: Option<bool>,
    /// What the platform said, while nobody has seen it there yet.
    pub(crate) answer: Option<Answer>,
    pub(crate) updated_at: DateTime<Utc>,
}

/// What the platform said that it had done.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub(crate) struct Answer {
    pub(crate) output: Value,
    #[serde(default)]
    pub(crate) evidence: Evidence,
}

impl From<Answer> for Receipt {
    fn from(answer: Answer) -> Self {
        Self { output: answer.output, evidence: answer.evidence }
    }
}

impl ActionRow {
    /// It may have happened, and nobody has said so or otherwise.
    pub(crate) fn unsettled(&self) -> bool {
        matches!(self.state, ActionState::Attempted | ActionState::Unknown)
    }

    /// It happened: the intent is fulfilled.
    pub(crate) fn fulfilled(&self) -> bool {
        matches!(self.state, ActionState::ConfirmedSuccess | ActionState::PostcheckComplete)
            && (self.effect == Some(true) || self.receipt.is_some())
    }
}

mod word {
    use serde::{Deserialize, Deserializer, de::Error};

    use super::ActionState;

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<ActionState, D::Error> {
        let word = String::deserialize(from)?;
        ActionState::parse(&word).ok_or_else(|| D::Error::custom(format!("no such action state: {word}")))
    }
}
