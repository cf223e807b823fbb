//! Gates: waits for a person's decision.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What a person is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateKind {
    /// To say yes or no.
    Approval,
    /// To help: do or judge something by hand.
    Takeover,
}

impl GateKind {
    /// The word in the database and on every surface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Approval => "approval",
            Self::Takeover => "takeover",
        }
    }
}

/// A question to a person.
#[derive(Debug, Clone)]
pub struct GateRequest {
    /// What kind of answer is wanted.
    pub kind: GateKind,
    /// Why, in a word for programs: `dm_send`, `two_fa`, `unknown_outcome`, ...
    pub reason: String,
    /// Everything that the person must see to decide.
    pub shown: Value,
    /// How long the question stands; for ever when absent.
    pub expires_in: Option<Duration>,
}

/// A person's answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GateDecision {
    /// Yes (approved or completed), or no.
    pub approved: bool,
    /// Who.
    pub actor: String,
    /// Why.
    pub comment: Option<String>,
    /// What the person added or corrected.
    pub outputs: Value,
}
