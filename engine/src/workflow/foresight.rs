//! What a run would do outside, told before it runs and without doing anything.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::effect::Lane;

/// Everything that a run would do outside, as far as its workflow knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Foresight {
    /// Its actions, in the order in which they would be done.
    pub actions: Vec<Foreseen>,
    /// Steps that may do something outside of which nothing is known here, such as those that start another workflow.
    pub unseen: Vec<String>,
}

/// One action that a run would ask for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Foreseen {
    /// The step that would ask for it.
    pub step: String,
    /// What is done.
    pub action_type: String,
    /// On which platform.
    pub platform: String,
    /// For which account; `None` where only the run will know.
    pub account_id: Option<String>,
    /// How the platform is reached.
    pub lane: Lane,
    /// What it would carry, for people: what is not known yet stands as it is written in the workflow.
    pub payload: Value,
    /// What it would carry, without what is not known yet.
    pub known_payload: Value,
    /// What makes it another one than its like; `None` within `Some` for nothing, `None` where only the run will know.
    pub dedupe: Option<Option<String>>,
    /// What only the run will know, as the workflow names it.
    pub not_known: Vec<String>,
    /// Whether it is asked for at all.
    pub reached: Reached,
    /// On what that depends.
    pub conditions: Vec<String>,
    /// Why the run would fail there, if that is certain.
    pub failure: Option<String>,
}

/// Whether a run gets to an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reached {
    /// It does, if everything before it succeeds.
    Always,
    /// It depends on what only the run will know.
    Perhaps,
    /// It does not, with this input.
    Never,
}
