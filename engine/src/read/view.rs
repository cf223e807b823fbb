//! What is shown of commands, steps, actions, gates and artifacts. Plain `snake_case` (C-03).

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::audit::AuditEvent;
use crate::effect::Evidence;
use crate::id::{ActionId, ArtifactId, GateId, IntentId, NodeId, RunId};

/// Where a command's resources are, as paths.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Links {
    /// The command.
    #[serde(rename = "self")]
    #[schemars(rename = "self")]
    pub own: String,
    /// Its events as they happen (WebSocket).
    pub stream: String,
    /// Where to cancel it (POST).
    pub cancel: String,
}

impl Links {
    /// The links of a command.
    pub fn of(command: RunId) -> Self {
        Self {
            own: format!("/v1/commands/{command}"),
            stream: format!("/v1/stream?command_id={command}&cursor=earliest"),
            cancel: format!("/v1/commands/{command}/cancel"),
        }
    }
}

/// One change of a command's status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lifecycle {
    /// What it became.
    pub status: String,
    /// When.
    pub at: DateTime<Utc>,
    /// Why, where there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// A command: what was asked, where it stands, how it ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Command")]
pub struct CommandView {
    /// The command, and the run that carries it out.
    pub command_id: RunId,
    /// Whose it is.
    pub client_id: String,
    /// The command type, such as `flow.run`.
    pub r#type: String,
    /// The workflow that carries it out, as `name@version`.
    pub workflow: String,
    /// `QUEUED`, `RUNNING`, `WAITING`, `POLLING`, `HUMAN_REQUIRED`, `CANCELLING`, `SUCCEEDED`,
    /// `FAILED` or `CANCELLED`.
    pub status: String,
    /// What it waits for, while it waits.
    pub wait_reason: Option<String>,
    /// When it goes on by itself, while it waits.
    pub due_at: Option<DateTime<Utc>>,
    /// The platform that it is about.
    pub platform: Option<String>,
    /// The account that it acts for.
    pub account_id: Option<String>,
    /// The browser session that it uses.
    pub session_id: Option<String>,
    /// Ties commands together for the client.
    pub correlation_id: Option<String>,
    /// The key under which it was submitted.
    pub idempotency_key: Option<String>,
    /// 0 to 9, higher first.
    pub priority: i16,
    /// Not started before.
    pub not_before: Option<DateTime<Utc>>,
    /// Failed when not ended by then.
    pub deadline: Option<DateTime<Utc>>,
    /// Its bounds.
    pub policy: Option<Value>,
    /// What was submitted.
    pub payload: Value,
    /// What it ended with, when it succeeded.
    pub result: Option<Value>,
    /// Why it ended, when it did not succeed: `{code, message, details}`.
    pub error: Option<Value>,
    /// The W3C trace id.
    pub trace_id: String,
    /// The command that started this one.
    pub parent_id: Option<RunId>,
    /// Who submitted it.
    pub submitted_by: String,
    /// When it was accepted.
    pub created_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// How often it was taken up: grows with each lease.
    pub epoch: Option<i32>,
    /// The node that carries it now.
    pub node: Option<NodeId>,
    /// Grows with each change, until it has ended.
    pub version: Option<i32>,
    /// The history of its status, oldest first; empty in lists.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lifecycle: Vec<Lifecycle>,
    /// Where its resources are.
    pub links: Links,
}

/// How an attempt of a step ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum StepState {
    /// Its result is the checkpoint.
    Succeeded,
    /// Another attempt may follow.
    Failed,
}

/// A checkpoint, or a failed attempt before it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Step")]
pub struct StepView {
    /// The step's key: its name, with a counter where it repeats.
    pub key: String,
    /// 1 for the first attempt.
    pub attempt: i16,
    /// `step`, `pure`, `sleep`, `signal`, `gate`, `effect`, `child`, `child_result`, `race` or
    /// `unrecorded`.
    pub kind: String,
    /// How it ended.
    pub state: StepState,
    /// SHA-256 of its input, in hex.
    pub input_hash: String,
    /// The checkpoint, when it succeeded.
    pub output: Option<Value>,
    /// Why it failed: `{code, message, details}`.
    pub error: Option<Value>,
    /// When the attempt began.
    pub started_at: DateTime<Utc>,
    /// When its end was durable.
    pub ended_at: DateTime<Utc>,
    /// The time between.
    pub duration_ms: i64,
    /// Under which lease it ran.
    pub epoch: i32,
    /// Which generation of the run it belongs to.
    pub generation: i32,
}

/// A step as a whole: its newest attempt, and since when there were any.
#[derive(Debug, Clone, PartialEq)]
pub struct StepSummary {
    /// The command that it is a step of.
    pub command_id: RunId,
    /// When its first attempt began.
    pub began_at: DateTime<Utc>,
    /// The newest attempt; its number is how many there were.
    pub newest: StepView,
}

/// Names one step among all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct StepId {
    /// The command.
    pub command_id: RunId,
    /// Which generation of the run.
    pub generation: i32,
    /// The step's key.
    pub key: String,
}

/// The business identity of a side effect: unique for ever.
#[derive(Debug, Clone, PartialEq)]
pub struct IntentView {
    /// The intent.
    pub intent_id: IntentId,
    /// Whose it is.
    pub client_id: String,
    /// The hash over everything that makes it itself, in hex.
    pub key: String,
    /// What is meant, and what its platform promises: an `EffectSpec`.
    pub spec: Value,
    /// The newest action that attempts it.
    pub current_action: Option<ActionId>,
    /// Whether an operator allowed that it happens again.
    pub repeat_allowed: bool,
    /// When it was first meant.
    pub created_at: DateTime<Utc>,
}

/// One row of the audit trail.
#[derive(Debug, Clone, PartialEq)]
pub struct AuditView {
    /// Its place in the trail; only for paging, since it counts every client's rows.
    pub(crate) position: i64,
    /// What it says.
    pub event: AuditEvent,
}

impl AuditView {
    /// What its cursor is made of.
    pub fn place(&self) -> uuid::Uuid {
        uuid::Uuid::from_u128(u128::try_from(self.position).unwrap_or(0))
    }
}

/// Evidence that an action occurred or did not (S-013).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Proof")]
pub struct ProofView {
    /// The proof.
    pub proof_id: uuid::Uuid,
    /// `request` (it was sent), `answer` (what the platform said), `look` (what it shows), `surface` (where people see it),
    /// `person` (somebody's word).
    pub kind: String,
    /// Ids and pointers.
    pub evidence: Evidence,
    /// Since when.
    pub created_at: DateTime<Utc>,
}

/// One attempt at an intent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Action")]
pub struct ActionView {
    /// The action.
    pub action_id: ActionId,
    /// The business identity that it is an attempt at.
    pub intent_id: IntentId,
    /// The command that it belongs to.
    pub command_id: RunId,
    /// Whose it is.
    pub client_id: String,
    /// The step that performs it.
    pub step_key: String,
    /// 1 for the first action of the intent.
    pub number: i32,
    /// Where it stands in the action machine.
    pub state: String,
    /// What kind of side effect.
    pub action_type: String,
    /// On which platform.
    pub platform: String,
    /// For which account.
    pub account_id: String,
    /// `api`, `browser` or `hybrid`.
    pub lane: String,
    /// The key that the platform is sent, where it honours keys.
    pub idempotency_key: String,
    /// SHA-256 of what is sent, in hex.
    pub payload_hash: String,
    /// The policy that it was judged under.
    pub policy_hash: String,
    /// The judgement.
    pub verdict: Value,
    /// The last sending.
    pub attempt_id: Option<uuid::Uuid>,
    /// Under which lease.
    pub epoch: i32,
    /// Until when the call can still take effect.
    pub call_deadline: Option<DateTime<Utc>>,
    /// How often the same call was sent again.
    pub resends: i32,
    /// How often the platform was looked at.
    pub looks: i32,
    /// Whether the platform said that the call would be made as the account that was connected; `null` where nobody knows.
    #[serde(default)]
    pub identity_fingerprint_ok: Option<bool>,
    /// Whether this action changed the outside; `null` while nobody can tell.
    pub effect: Option<bool>,
    /// What the platform answered, or what was found.
    pub receipt: Option<Value>,
    /// Why it failed: `{code, message, details}`.
    pub error: Option<Value>,
    /// How well the outcome is proven, 0 to 3.
    pub level: i16,
    /// What shows it, in the order in which it was found (S-013).
    pub proofs: Vec<ProofView>,
    /// When it was planned.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
}

/// A wait for a person's decision. Reads from the row of its table as well as from our own JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Gate")]
pub struct GateView {
    /// The gate.
    #[serde(alias = "id")]
    pub gate_id: GateId,
    /// The command that waits.
    #[serde(alias = "run_id")]
    pub command_id: RunId,
    /// Whose it is.
    pub client_id: String,
    /// The step that waits.
    pub key: String,
    /// Which generation of the run it belongs to.
    pub generation: i32,
    /// `approval` or `takeover`.
    pub kind: String,
    /// Why a person is asked.
    pub reason: String,
    /// What the person is shown.
    pub shown: Value,
    /// `open`, `approved`, `rejected`, `completed`, `expired` or `cancelled`.
    pub state: String,
    /// Since when it waits.
    pub opened_at: DateTime<Utc>,
    /// When it gives up.
    pub expires_at: Option<DateTime<Utc>>,
    /// When it was decided or closed.
    pub decided_at: Option<DateTime<Utc>>,
    /// Who decided.
    pub actor: Option<String>,
    /// Why, in the person's words.
    pub comment: Option<String>,
    /// What the person added or corrected.
    pub outputs: Option<Value>,
}

/// A file or document kept for a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Artifact")]
pub struct ArtifactView {
    /// The artifact.
    pub artifact_id: ArtifactId,
    /// Whose it is.
    pub client_id: String,
    /// The command that it was kept for.
    pub command_id: Option<RunId>,
    /// What it is, such as `screenshot`.
    pub kind: String,
    /// Its media type.
    pub content_type: String,
    /// SHA-256 of the content, in hex.
    pub checksum: String,
    /// Its size.
    pub bytes: i64,
    /// When it was kept.
    pub created_at: DateTime<Utc>,
    /// Where its content is, as a path.
    pub content: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_gate_reads_from_its_row_and_from_its_own_json() {
        let row = json!({
            "id": "01900000-0000-7000-8000-000000000001", "run_id": "01900000-0000-7000-8000-000000000002",
            "client_id": "acme", "key": "approve", "generation": 0, "kind": "approval", "reason": "dm", "shown": {},
            "state": "open", "opened_at": "2026-01-02T03:04:05.678901+00:00", "expires_at": null,
            "decided_at": null, "actor": null, "comment": null, "outputs": null,
        });
        let gate: GateView = serde_json::from_value(row).unwrap();
        let own = serde_json::to_value(&gate).unwrap();
        assert_eq!(own["gate_id"], "01900000-0000-7000-8000-000000000001");
        assert_eq!(serde_json::from_value::<GateView>(own).unwrap(), gate);
    }

    #[test]
    fn the_links_are_named_as_the_contract_names_them() {
        let links = serde_json::to_value(Links::of(RunId(uuid::Uuid::nil()))).unwrap();
        let mut names: Vec<_> = links.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(names, ["cancel", "self", "stream"]);
    }
}
