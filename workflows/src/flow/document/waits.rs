//! Steps that wait or compute: people, time, signals, values, other workflows.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::is_false;
use crate::flow::late::{Late, Seconds, Text};

/// Waits for a person. Its result has `approved`, `actor`, `comment` and `outputs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct HumanStep {
    /// Whether a decision or a hand in the browser is asked for; an approval when left out.
    #[serde(default, skip_serializing_if = "HumanKind::is_approval")]
    pub kind: HumanKind,
    /// Why a person is asked.
    pub reason: Late<Text>,
    /// What the person is shown: a value with templates.
    #[serde(default)]
    pub shown: Value,
    /// When the question lapses, in seconds; never when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_in_s: Option<Late<Seconds>>,
    /// What a "no" means; the end of the run when left out.
    #[serde(default, skip_serializing_if = "OnReject::is_fail")]
    pub on_reject: OnReject,
}

/// What is asked of a person.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HumanKind {
    /// A decision.
    #[default]
    Approval,
    /// A hand in the browser.
    Takeover,
}

impl HumanKind {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_approval(&self) -> bool {
        *self == Self::Approval
    }
}

/// What a "no" means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnReject {
    /// The run fails.
    #[default]
    Fail,
    /// The run goes on and can see it in `steps.<id>.approved`.
    Continue,
}

impl OnReject {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_fail(&self) -> bool {
        *self == Self::Fail
    }
}

/// Waits for a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SleepStep {
    /// How long.
    pub seconds: Late<Seconds>,
}

/// Waits for a signal; its result is the signal's payload.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SignalStep {
    /// The signal's name.
    pub name: String,
}

/// Computes values; they are its result.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SetStep {
    /// Names and values with templates.
    pub values: Map<String, Value>,
}

/// Starts another workflow; its result is that one's output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChildStep {
    /// An installed flow. Either this or `workflow`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flow: Option<String>,
    /// A workflow in code, by its command type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workflow: Option<String>,
    /// The flow's inputs or the workflow's payload: a value with templates.
    #[serde(default)]
    pub input: Value,
    /// Goes on without waiting for its end.
    #[serde(default, skip_serializing_if = "is_false")]
    pub detached: bool,
}
