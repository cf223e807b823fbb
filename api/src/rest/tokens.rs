//! Access tokens: create, list, rotate, revoke.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use chrono::{DateTime, Utc};
use fermata_engine::access::{CreatedToken, NewToken, Scope, TokenView};
use fermata_engine::id::TokenId;
use fermata_engine::read::Paged;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::body::{JsonBody, MaybeJsonBody};
use super::query::id;
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// A token to be made.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TokenRequest {
    /// For which client; the caller's own when left out, `*` for every client.
    client_id: Option<String>,
    /// Who or what will use it.
    name: String,
    /// What it is good for.
    #[schemars(length(min = 1))]
    scopes: Vec<Scope>,
    /// The command types that it may submit; every type when left out.
    command_types: Option<Vec<String>>,
    /// How long it lives; until it is revoked when left out.
    #[schemars(range(min = 1))]
    ttl_secs: Option<u64>,
}

/// How a token is replaced.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct RotateRequest {
    /// How long the old token goes on; an hour when left out.
    overlap_secs: Option<u64>,
}

/// A token was made. Its text is shown this once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenCreated {
    /// Its id.
    pub token_id: TokenId,
    /// The text to send.
    pub token: String,
    /// When it ends by itself.
    pub expires_at: Option<DateTime<Utc>>,
}

impl From<CreatedToken> for TokenCreated {
    fn from(created: CreatedToken) -> Self {
        Self { token_id: created.id, token: created.token, expires_at: created.expires_at }
    }
}

/// Make a token. Nobody can give away more than they have.
#[utoipa::path(
    post, path = "/v1/tokens", operation_id = "createToken", tag = "tokens", request_body = wire::TokenRequest,
    responses((status = 201, description = "Its text, this once.", body = wire::TokenCreated))
)]
pub(super) async fn create(
    State(app): State<AppState>,
    Caller(by): Caller,
    JsonBody(request): JsonBody<TokenRequest>,
) -> Result<(StatusCode, Json<TokenCreated>), Problem> {
    let new = NewToken {
        client_id: request.client_id.unwrap_or_else(|| by.client_id.clone()),
        name: request.name,
        scopes: request.scopes,
        command_types: request.command_types,
        ttl: request.ttl_secs.map(Duration::from_secs),
    };
    let created = app.engine.create_token(&by, new).await?;
    Ok((StatusCode::CREATED, Json(created.into())))
}

/// List tokens, newest first, ended ones too. Their texts are nowhere.
#[utoipa::path(
    get, path = "/v1/tokens", operation_id = "listTokens", tag = "tokens",
    responses((status = 200, description = "At most 1000.", body = wire::TokenList))
)]
pub(super) async fn list(State(app): State<AppState>, Caller(by): Caller) -> Result<Json<Paged<TokenView>>, Problem> {
    let items = app.engine.list_tokens(&by).await?;
    Ok(Json(Paged { items, next_cursor: None }))
}

/// Revoke a token: at once on this node, within two seconds on the others.
#[utoipa::path(
    delete, path = "/v1/tokens/{id}", operation_id = "revokeToken", tag = "tokens",
    params(("id" = String, Path, description = "The token's id.")),
    responses((status = 204, description = "It has ended."))
)]
pub(super) async fn revoke(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(token): Path<String>,
) -> Result<StatusCode, Problem> {
    app.engine.revoke_token(&by, id(&token, "token")?).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// Replace a token by another with the same rights; the old one goes on for a while.
#[utoipa::path(
    post, path = "/v1/tokens/{id}/rotate", operation_id = "rotateToken", tag = "tokens",
    params(("id" = String, Path, description = "The token's id.")), request_body = Option<wire::RotateRequest>,
    responses((status = 201, description = "The new token's text, this once.", body = wire::TokenCreated))
)]
pub(super) async fn rotate(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(token): Path<String>,
    MaybeJsonBody(request): MaybeJsonBody<RotateRequest>,
) -> Result<(StatusCode, Json<TokenCreated>), Problem> {
    let overlap = request.overlap_secs.map(Duration::from_secs);
    let created = app.engine.rotate_token(&by, id(&token, "token")?, overlap).await?;
    Ok((StatusCode::CREATED, Json(created.into())))
}
