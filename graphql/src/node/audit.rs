//! The audit trail.

use crate::scalar::Time;
use async_graphql::{ComplexObject, Context, ID, Result, SimpleObject};
use fermata_engine::id::{ActionId, RunId};
use fermata_engine::read::AuditView;
use serde_json::{Value, json};

use super::{Action, Command};

/// One event of the audit trail. Its schema, with what may be in `request`, `result` and `proof`, is published at
/// `/v1/schemas/audit-event`.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct AuditEntry {
    /// The event: a UUID.
    id: ID,
    /// When.
    at: Time,
    /// Whose it is.
    client_id: String,
    /// Who acted: a token's name, or `fermata`.
    actor: String,
    /// What happened: a state of the action machine, or such as `gate_approved`.
    phase: String,
    /// The attempt to carry out its command.
    episode_id: Option<ID>,
    /// On which platform.
    platform: Option<String>,
    /// For which account.
    platform_account_id: Option<String>,
    /// What is done.
    action_type: Option<String>,
    /// The same for every attempt at the same thing.
    idempotency_key: Option<String>,
    /// The hash of the policy that it was judged by.
    policy_snapshot_id: Option<String>,
    /// Whether the account has the fingerprint that was stored for it; `null` when nobody has looked.
    identity_fingerprint_ok: Option<bool>,
    /// How well the outcome is proven, 0 to 3.
    verification_level: Option<i32>,
    /// What is asked: `{safe_payload_hash, tool, tool_version}`.
    request: Option<Value>,
    /// What came of it: `{status, platform_object_id, permalink, http_status, error_code}`.
    result: Option<Value>,
    /// What shows it: `{artifact_refs, screenshots, dom_hash}`.
    proof: Option<Value>,
    /// Further particulars.
    detail: Value,
    #[graphql(skip)]
    run: Option<RunId>,
    #[graphql(skip)]
    action: Option<ActionId>,
}

impl From<AuditView> for AuditEntry {
    fn from(view: AuditView) -> Self {
        let event = view.event;
        let about = event.action;
        Self {
            id: ID(event.audit_event_id.to_string()),
            at: Time(event.timestamp),
            client_id: event.client_id,
            actor: event.actor,
            phase: event.phase,
            episode_id: event.episode_id.map(|id| ID(id.to_string())),
            platform: about.platform,
            platform_account_id: about.platform_account_id,
            action_type: about.action_type,
            idempotency_key: about.idempotency_key,
            policy_snapshot_id: about.policy_snapshot_id,
            identity_fingerprint_ok: about.identity_fingerprint_ok,
            verification_level: about.verification_level.map(i32::from),
            request: about.request.map(|it| json!(it)),
            result: about.result.map(|it| json!(it)),
            proof: about.proof.map(|it| json!(it)),
            detail: event.detail,
            run: event.command_id,
            action: event.action_id,
        }
    }
}

#[ComplexObject]
impl AuditEntry {
    /// The command that it is about.
    async fn command(&self, context: &Context<'_>) -> Result<Option<Command>> {
        match self.run {
            Some(run) => Command::by_id(context, run).await,
            None => Ok(None),
        }
    }

    /// The action that it is about.
    async fn action(&self, context: &Context<'_>) -> Result<Option<Action>> {
        match self.action {
            Some(action) => Action::by_id(context, action).await,
            None => Ok(None),
        }
    }
}
