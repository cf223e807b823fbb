//! The audit event as it is shown: the schema of the safety document (S-075 to S-083, C-10).

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use super::chain::AuditRow;
use crate::effect::{ActionState, Evidence, Lane, Vocabulary};
use crate::id::{ActionId, ArtifactId, RunId};

/// What carries a call: which part of this program, and which version of it.
const TOOL_VERSION: &str = env!("CARGO_PKG_VERSION");

/// One event of the audit trail.
///
/// What is about no action (a kill switch, a policy, an account, a token) has `null` where an action would be described,
/// and its particulars in `detail`. Of what is sent it has hashes, ids and pointers only (S-082).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AuditEvent {
    /// The event.
    pub audit_event_id: Uuid,
    /// When.
    pub timestamp: DateTime<Utc>,
    /// Whose it is; `*` for what is about everybody.
    pub client_id: String,
    /// The command that it is about.
    pub command_id: Option<RunId>,
    /// The attempt to carry it out.
    pub episode_id: Option<Uuid>,
    /// The action that it is about.
    pub action_id: Option<ActionId>,
    /// Who acted: a token's name, or `fermata`.
    pub actor: String,
    /// What happened: a state of the action machine, or such as `gate_approved`.
    pub phase: String,
    /// What is said of the action.
    #[serde(flatten)]
    pub action: AuditedAction,
    /// Further particulars. What a person said (a comment, a reason, a policy) stands here as it was said.
    pub detail: Value,
}

/// What an audit event says of its action; all `null` where it is about none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct AuditedAction {
    /// On which platform.
    pub platform: Option<String>,
    /// For which account.
    pub platform_account_id: Option<String>,
    /// How the platform is reached.
    pub lane: Option<Lane>,
    /// What is done.
    pub action_type: Option<String>,
    /// The same for every attempt at the same thing.
    pub idempotency_key: Option<String>,
    /// The hash of the policy that it was judged by: `GET /v1/policies/snapshots/{hash}`.
    pub policy_snapshot_id: Option<String>,
    /// Whether the account has the fingerprint that was stored for it; `null` when nobody has looked.
    pub identity_fingerprint_ok: Option<bool>,
    /// How well the outcome is proven, 0 to 3.
    pub verification_level: Option<u8>,
    /// What is asked.
    pub request: Option<AuditRequest>,
    /// What came of it, as far as is known.
    pub result: Option<AuditResult>,
    /// What shows it.
    pub proof: Option<AuditProof>,
    /// For attribution; reserved (S-096).
    pub experiment_id: Option<String>,
    /// For attribution; reserved (S-096).
    pub variant_id: Option<String>,
}

/// What an action asks of its platform.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditRequest {
    /// SHA-256 of what is sent, in hex.
    #[schemars(regex(pattern = "^[0-9a-f]{64}$"))]
    pub safe_payload_hash: String,
    /// What carries it.
    pub tool: AuditTool,
    /// Its version (SemVer).
    #[schemars(regex(pattern = r"^[0-9]+\.[0-9]+\.[0-9]+"))]
    pub tool_version: String,
}

/// What carries a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditTool {
    /// Requests to the platform's API.
    Connector,
    /// A real browser.
    BrowserRunner,
}

/// What came of an action. What a policy or a person stopped is `confirmed_failed`: nothing was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditResult {
    /// How it stands (C-10).
    pub status: AuditStatus,
    /// What the platform calls what was made.
    pub platform_object_id: Option<String>,
    /// Where it is.
    pub permalink: Option<String>,
    /// What the platform answered with.
    pub http_status: Option<u16>,
    /// Why it failed, or why nobody knows.
    pub error_code: Option<String>,
}

/// The five results of the safety document; `phase` has the exact state (C-10).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AuditStatus {
    /// Nothing was sent yet.
    Queued,
    /// It may have happened.
    Attempted,
    /// It happened.
    ConfirmedSuccess,
    /// It did not happen.
    ConfirmedFailed,
    /// Nobody can tell.
    Unknown,
}

/// What shows an outcome: pointers only.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct AuditProof {
    /// What the platform called its answer.
    pub artifact_refs: Vec<String>,
    /// Pictures.
    pub screenshots: Vec<ArtifactId>,
    /// SHA-256 of the page, in hex.
    pub dom_hash: Option<String>,
}

impl AuditStatus {
    /// What a state of the machine is in the five words; `ended` is the one that a closed action was in.
    pub(crate) fn of(state: ActionState, ended: Option<ActionState>) -> Self {
        match (state, ended) {
            (ActionState::PostcheckComplete, Some(ended)) if ended != ActionState::PostcheckComplete => {
                Self::of(ended, None)
            }
            (ActionState::Queued | ActionState::PreflightPassed | ActionState::IdentityVerified, _) => Self::Queued,
            (ActionState::Attempted, _) => Self::Attempted,
            (ActionState::ConfirmedSuccess, _) => Self::ConfirmedSuccess,
            (ActionState::ConfirmedFailed | ActionState::Blocked | ActionState::Cancelled, _) => Self::ConfirmedFailed,
            (ActionState::Unknown | ActionState::PostcheckComplete, _) => Self::Unknown,
        }
    }
}

impl AuditTool {
    /// What carries calls of that lane.
    pub(crate) fn of(lane: Lane) -> Self {
        match lane {
            Lane::Api => Self::Connector,
            Lane::Browser | Lane::Hybrid => Self::BrowserRunner,
        }
    }
}

impl AuditRequest {
    /// A request of that lane.
    pub(crate) fn of(payload_hash: &str, lane: Lane) -> Self {
        Self {
            safe_payload_hash: payload_hash.to_owned(),
            tool: AuditTool::of(lane),
            tool_version: TOOL_VERSION.to_owned(),
        }
    }
}

impl AuditResult {
    /// What is known of an outcome.
    pub(crate) fn of(status: AuditStatus, evidence: &Evidence, error: Option<&Value>) -> Self {
        let text = |name: &str| error.and_then(|error| error.get(name)).and_then(Value::as_str).map(str::to_owned);
        let answered = error.and_then(|error| error.pointer("/details/status")).and_then(Value::as_u64);
        Self {
            status,
            platform_object_id: evidence.object_id.clone(),
            permalink: evidence.permalink.clone(),
            http_status: evidence.http_status.or(answered.and_then(|status| u16::try_from(status).ok())),
            error_code: text("code"),
        }
    }
}

impl AuditProof {
    /// Pointers to what was kept.
    pub(crate) fn of(evidence: &Evidence) -> Self {
        Self {
            artifact_refs: evidence.request_id.iter().chain(&evidence.response_id).cloned().collect(),
            screenshots: evidence.screenshots.clone(),
            dom_hash: evidence.dom_hash.clone(),
        }
    }
}

/// The attempt to carry out a run under that lease (S-011): the same id wherever it is made (UUID version 8, RFC 9562).
pub fn episode_id(run: RunId, epoch: i32) -> Uuid {
    let hash = Sha256::new().chain_update(run.0.as_bytes()).chain_update(epoch.to_be_bytes()).finalize();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash[..16]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// What is stored of an action's event besides its columns.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Particulars {
    pub(crate) episode_id: Uuid,
    #[serde(flatten)]
    pub(crate) action: AuditedAction,
    pub(crate) detail: Value,
}

impl From<AuditRow> for AuditEvent {
    fn from(row: AuditRow) -> Self {
        // What was written before there was a schema, and what is about no action, is all detail.
        let (episode_id, action, detail) = match serde_json::from_value::<Particulars>(row.body.clone()) {
            Ok(Particulars { episode_id, action, detail }) => (Some(episode_id), action, detail),
            Err(_) => (None, AuditedAction::default(), row.body),
        };
        Self {
            audit_event_id: row.id,
            timestamp: row.at,
            client_id: row.client_id,
            command_id: row.run_id.map(RunId),
            episode_id,
            action_id: row.action_id.map(ActionId),
            actor: row.actor,
            phase: row.phase,
            action,
            detail,
        }
    }
}

/// The schema of audit events. The platforms and kinds of action are closed (S-076, S-078): those that an installation
/// knows, beside which nothing is planned.
pub fn schema(known: &Vocabulary) -> Value {
    let mut schema = Value::from(schemars::schema_for!(AuditEvent));
    let words = |words: Vec<&str>| words.into_iter().map(Value::from).chain([Value::Null]).collect::<Value>();
    schema["$id"] = format!("{}/audit-event/1", crate::document::SCHEMA_BASE).into();
    schema["title"] = "Audit event".into();
    for (name, known) in
        [("platform", words(known.platforms().collect())), ("action_type", words(known.action_types().collect()))]
    {
        if let Some(property) = schema.pointer_mut(&format!("/properties/{name}")) {
            property["enum"] = known;
        }
    }
    schema
}
