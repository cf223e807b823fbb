//! The single action that a flow is offered as.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The single action that the command `action.run` starts a flow for (G-087): the flow has this effect and no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// The kind of its effect: `publish`, `dm_send`, `comment_reply`, `like`, ...
    pub action_type: String,
    /// Where people see it: `post`, `reel`, `story`, `short`, `comment`, `dm`, ... (C-09).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub surface: Option<String>,
    /// The input that takes the command's `account_id`; without one the command may name no account.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub account: Option<String>,
    /// The input that takes the command's `target_ref`; without one the command may name no target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}
