//! The audit trail: searched, verified, and handed out as proof.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use fermata_engine::audit::{AuditEvent, ProofBundle, SignedHead, Verification};
use fermata_engine::read::{AuditFilter, Paged};
use schemars::JsonSchema;
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked::Asked;
use super::body::JsonBody;
use super::query::{id, id_param, listed, page, time, words};
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// Filters of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AuditQuery {
    /// About this command.
    command_id: Option<String>,
    /// About this action.
    action_id: Option<String>,
    /// By this actor.
    actor: Option<String>,
    /// Phases, with commas between.
    phase: Option<String>,
    /// Of this client; of use to tokens of every client.
    client_id: Option<String>,
    /// On this platform.
    platform: Option<String>,
    /// For this account.
    #[serde(alias = "platform_account_id")]
    account_id: Option<String>,
    /// Of this action type.
    action_type: Option<String>,
    /// Not before this time (RFC 3339).
    since: Option<String>,
    /// Before this time (RFC 3339).
    until: Option<String>,
    /// 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(alias = "cursor")]
    after: Option<String>,
}

/// What the trail is compared with.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct VerifyRequest {
    /// Signed heads that were kept outside of the database.
    heads: Vec<SignedHead>,
    /// The public keys (base64url) whose heads count; every key when empty.
    trusted_keys: Vec<String>,
}

/// Search the audit trail, newest first.
#[utoipa::path(
    get, path = "/v1/audit", operation_id = "listAudit", tag = "audit", params(AuditQuery),
    responses((status = 200, description = "A page.", body = wire::AuditEventList, headers(("Link" = String))))
)]
pub(super) async fn list(asked: Asked<AuditQuery>) -> Result<Response, Problem> {
    let run = asked.command_or(asked.query.command_id.as_deref())?;
    let Asked { app, by, uri, query, .. } = asked;
    let page = page(query.limit, query.after.as_deref())?;
    let filter = AuditFilter {
        run,
        action: id_param("action_id", query.action_id.as_deref())?,
        actor: query.actor,
        phases: words(query.phase.as_deref()),
        client_id: query.client_id,
        platform: query.platform,
        account_id: query.account_id,
        action_type: query.action_type,
        since: time("since", query.since.as_deref())?,
        until: time("until", query.until.as_deref())?,
    };
    let Paged { items, next_cursor } = app.engine.audit(&by, &filter, page).await?;
    let items: Vec<AuditEvent> = items.into_iter().map(|row| row.event).collect();
    Ok(listed(&uri, Paged { items, next_cursor }))
}

/// Look at the whole trail: whether every row is the one that was written. For tokens of every client.
#[utoipa::path(
    post, path = "/v1/audit/verify", operation_id = "verifyAudit", tag = "audit", request_body = wire::VerifyRequest,
    responses((status = 200, description = "What was found; `ok` says whether nothing is wrong.", body = wire::Verification))
)]
pub(super) async fn verify(
    State(app): State<AppState>,
    Caller(by): Caller,
    JsonBody(asked): JsonBody<VerifyRequest>,
) -> Result<Json<Verification>, Problem> {
    Ok(Json(app.engine.verify_audit(&by, asked.heads, &asked.trusted_keys).await?))
}

/// Export what proves a command to somebody who has no database.
#[utoipa::path(
    get, path = "/v1/commands/{id}/proof", operation_id = "exportProof", tag = "audit",
    params(("id" = String, Path, description = "The command.")),
    responses((status = 200, description = "The bundle.", body = wire::ProofBundle))
)]
pub(super) async fn proof(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(command): Path<String>,
) -> Result<Json<ProofBundle>, Problem> {
    Ok(Json(app.engine.proof_bundle(&by, id(&command, "command")?).await?))
}
