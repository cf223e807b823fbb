//! What each event carries in `data` (Q-07). Stored for as long as the events are kept.
//!
//! Fields are only ever added: a reader ignores those that it does not know. The events are written
//! where things happen, some of them in SQL; that each one fits its struct here is a law of
//! `tests/tests/contract.rs`.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use crate::effect::{AccountMode, AccountSettings, ActionState, Evidence, Lane};
use crate::id::{ActionId, ArtifactId, GateId, NodeId, SignalId};
use crate::wait::GateKind;

/// Where a command stands (A.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Status {
    /// Accepted; a node will take it.
    Queued,
    /// In the hands of a node.
    Running,
    /// Put away until a time, a signal or a child.
    Waiting,
    /// Put away between two looks at another system.
    Polling,
    /// Put away until a person decides.
    HumanRequired,
    /// Ends at its next checkpoint.
    Cancelling,
    /// Ended with a result.
    Succeeded,
    /// Ended with an error.
    Failed,
    /// Ended by a cancellation.
    Cancelled,
}

/// A command changed its status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StatusChanged {
    /// What it was; `null` when it has just been accepted.
    pub from: Option<Status>,
    /// What it is.
    pub to: Status,
    /// The version that the command then has: it grows with each record of the run. Left out by
    /// events of before it was told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<i32>,
    /// What it waits for: `approval`, `takeover`, `reverify`, `retry`, `signal`, `child`, `timer`,
    /// `intent_held`, `backoff`, `rate_limited`, `cooldown`, `quiet_hours` or `external_poll`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wait_reason: Option<String>,
    /// When it goes on by itself; `null` when only something from outside can wake it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub due: Option<DateTime<Utc>>,
    /// Why it was taken from its node: `node_lost` or `released`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The node that it was taken from, when that was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeId>,
    /// Who asked for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
    /// The code of the error that it ended with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
}

/// A step's checkpoint is durable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepSucceeded {
    /// The step.
    pub key: String,
    /// The attempt that succeeded, from 1.
    pub attempt: u16,
}

/// An attempt of a step failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StepFailed {
    /// The step.
    pub key: String,
    /// The attempt that failed, from 1.
    pub attempt: u16,
    /// Why, for programs.
    pub code: String,
    /// Why, for people.
    pub message: String,
    /// When the next attempt may begin; `null` when there is none.
    pub retry_at: Option<DateTime<Utc>>,
}

/// An action moved: one shape for `action.moved`, `action.attempted` and `action.verified`, which
/// differ in the states that they tell of.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActionChanged {
    /// The action.
    pub action_id: ActionId,
    /// The step that it belongs to.
    pub name: String,
    /// What is done: `publish`, `dm_send`, ...
    pub action_type: String,
    /// On which platform.
    pub platform: String,
    /// For which account.
    pub account_id: String,
    /// How the platform is reached.
    pub lane: Lane,
    /// Which attempt of its step it is, from 1.
    pub attempt: u16,
    /// What the action became.
    pub status: ActionState,
    /// How well the outcome is proven by this move, 0 to 3.
    #[schemars(range(max = 3))]
    pub level: u8,
    /// The key that travels with the call.
    pub idempotency_key: String,
    /// SHA-256 of the payload, which itself is in no event.
    pub payload_hash: String,
    /// What is known about the move.
    pub detail: Option<ActionDetail>,
}

/// What is known about a move of an action. The receipt is in the action itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct ActionDetail {
    /// What the policy said, and which one it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verdict: Option<Value>,
    /// The attempt.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt_id: Option<Uuid>,
    /// When the call must have ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub call_deadline: Option<DateTime<Utc>>,
    /// The same call is sent again with the same key.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resend: Option<bool>,
    /// Whether this action changed the outside world.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub effect: Option<bool>,
    /// How well that is proven, 0 to 3.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 3))]
    pub level: Option<u8>,
    /// How many looks it took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub looks: Option<u16>,
    /// What shows it: ids and pointers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
    /// What went wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ActionError>,
}

/// What went wrong with an action.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct ActionError {
    /// For programs.
    pub code: String,
    /// For people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// More for programs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Value>,
}

/// A person is needed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct HumanRequired {
    /// The gate to decide.
    pub gate_id: GateId,
    /// What kind of answer is wanted.
    pub kind: GateKind,
    /// Why, in a word for programs.
    pub reason: String,
    /// How long the question stands; `null` for ever.
    pub expires_at: Option<DateTime<Utc>>,
    /// Where the gate is, as a path.
    pub url: String,
}

/// How a gate was closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum GateEnd {
    /// A person said yes.
    Approved,
    /// A person said no.
    Rejected,
    /// A person has done what was asked, or nothing had to be asked any more.
    Completed,
    /// Nobody decided in time.
    Expired,
}

/// A gate was closed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GateResolved {
    /// The gate.
    pub gate_id: GateId,
    /// How.
    pub state: GateEnd,
    /// By whom; left out when time did it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actor: Option<String>,
}

/// A signal arrived. What it carries goes to the run only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct SignalReceived {
    /// The signal.
    pub signal_id: SignalId,
    /// What the run waits for.
    pub name: String,
}

/// An artifact was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ArtifactCaptured {
    /// The artifact.
    pub artifact_id: ArtifactId,
    /// What it is: `screenshot`, ...
    pub r#type: String,
    /// SHA-256 of its content, hex.
    #[schemars(regex(pattern = r"^[0-9a-f]{64}$"))]
    pub checksum: String,
    /// Its size.
    pub bytes: u64,
}

/// A kill switch was turned. It is of no command; whose it is says `clientid`, `*` for everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KillSwitchChanged {
    /// What it is called: `global`, `client:<client>` or `account:<client>/<account>`.
    pub scope: String,
    /// The client that it is about; `null` for every client.
    pub client_id: Option<String>,
    /// The account that it is about; `null` for every account.
    pub account_id: Option<String>,
    /// Whether it stops effects now.
    pub engaged: bool,
    /// Why it was turned.
    pub reason: String,
    /// Who turned it.
    pub actor: String,
    /// How often it was turned.
    pub version: i64,
}

/// An action has to wait: a budget is spent, a pause is not over, the platform asked for it, or it is quiet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RateLimited {
    /// On which platform.
    pub platform: String,
    /// For which account.
    pub account_id: String,
    /// What was to be done.
    pub action_type: String,
    /// What it waits for: `budgets/<name>`, `ceilings/<name>`, `spacing`, `concurrency`, `retry_after` or `quiet_hours`.
    pub rule: String,
    /// When it is tried again.
    pub until: Option<DateTime<Utc>>,
    /// The policy that says so; `null` when the platform does.
    pub policy_hash: Option<String>,
}

/// A policy was put in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PolicyChanged {
    /// Whose: `global`, `platform:<platform>`, `client:<client>` or `account:<client>/<account>`.
    pub scope: String,
    /// Which of its versions.
    pub version: i64,
    /// Who put it.
    pub actor: String,
    /// The client that it is about; `null` for every client.
    pub client_id: Option<String>,
    /// The platform that it is about; `null` for every platform.
    pub platform: Option<String>,
    /// The account that it is about; `null` for every account.
    pub account_id: Option<String>,
}

/// An account is in another mode.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountChanged {
    /// Whose.
    pub client_id: String,
    /// On which platform.
    pub platform: String,
    /// The account.
    pub account_id: String,
    /// What it was.
    pub from: AccountMode,
    /// What it is.
    pub to: AccountMode,
    /// Why: what a person said, or `account_auth`, `account_challenge`, `account_layout`, `identity_mismatch`.
    pub reason: String,
    /// Who put it there; `fermata` for the program itself.
    pub actor: String,
}

/// An account was connected: who it is on its platform is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountConnected {
    /// Whose.
    pub client_id: String,
    /// On which platform.
    pub platform: String,
    /// The account.
    pub account_id: String,
    /// The platform's id of it, which never changes there.
    pub id: String,
    /// The id that was stored before; `null` when none was.
    pub before: Option<String>,
    /// Who connected it.
    pub actor: String,
}

/// It was said how an account posts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AccountConfigured {
    /// Whose.
    pub client_id: String,
    /// On which platform.
    pub platform: String,
    /// The account.
    pub account_id: String,
    /// How it posts now.
    pub settings: AccountSettings,
    /// Who said so.
    pub actor: String,
}
