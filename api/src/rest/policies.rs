//! Policies: put in force, read, and asked what they would say.

use axum::Json;
use axum::extract::{Path, State};
use fermata_engine::policy::{Evaluation, PolicyDocument, PolicyScope, PolicyView, Proposal};
use fermata_engine::read::Paged;
use serde::Deserialize;
use utoipa::IntoParams;

use super::body::JsonBody;
use super::query::Params;
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// Which version.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct VersionQuery {
    /// The version; the one in force when left out.
    #[param(minimum = 1)]
    version: Option<i64>,
}

/// What the caller goes by.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct PutQuery {
    /// Only if this is the version in force, 0 for none; otherwise 409 `version_moved`.
    #[param(minimum = 0)]
    if_version: Option<i64>,
}

fn scope(word: &str) -> Result<PolicyScope, Problem> {
    word.parse()
        .map_err(|error: fermata_engine::policy::ScopeError| Problem::invalid("/scope", format!("{word:?} {error}")))
}

/// List the policies in force that the token may see.
#[utoipa::path(
    get, path = "/v1/policies", operation_id = "listPolicies", tag = "policies",
    responses((status = 200, description = "At most 1000, by scope.", body = wire::PolicyList))
)]
pub(super) async fn list(State(app): State<AppState>, Caller(by): Caller) -> Result<Json<Paged<PolicyView>>, Problem> {
    let items = app.engine.policies(&by).await?;
    Ok(Json(Paged { items, next_cursor: None }))
}

/// Read a scope's policy.
#[utoipa::path(
    get, path = "/v1/policies/{scope}", operation_id = "getPolicy", tag = "policies",
    params(("scope" = String, Path, description = "`global`, `platform:…`, `client:…` or `account:<client>/<account>`."), VersionQuery),
    responses((status = 200, description = "The policy.", body = wire::Policy))
)]
pub(super) async fn read(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(word): Path<String>,
    Params(query): Params<VersionQuery>,
) -> Result<Json<PolicyView>, Problem> {
    Ok(Json(app.engine.policy(&by, &scope(&word)?, query.version).await?))
}

/// Put a policy in force. When it has answered, no effect begins under the one before it.
#[utoipa::path(
    put, path = "/v1/policies/{scope}", operation_id = "putPolicy", tag = "policies",
    params(("scope" = String, Path, description = "`global`, `platform:…`, `client:…` or `account:<client>/<account>`."), PutQuery),
    request_body = wire::PolicyDocument,
    responses((status = 200, description = "The policy, as its newest version.", body = wire::Policy))
)]
pub(super) async fn put(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(word): Path<String>,
    Params(query): Params<PutQuery>,
    JsonBody(document): JsonBody<PolicyDocument>,
) -> Result<Json<PolicyView>, Problem> {
    Ok(Json(app.engine.put_policy(&by, &scope(&word)?, &document, query.if_version).await?))
}

/// Ask what would become of an action, and why. Nothing is done.
#[utoipa::path(
    post, path = "/v1/policies/evaluate", operation_id = "evaluatePolicy", tag = "policies",
    request_body = wire::Proposal,
    responses((status = 200, description = "The verdict, and what it was judged by.", body = wire::PolicyEvaluation))
)]
pub(super) async fn evaluate(
    State(app): State<AppState>,
    Caller(by): Caller,
    JsonBody(proposal): JsonBody<Proposal>,
) -> Result<Json<Evaluation>, Problem> {
    Ok(Json(app.engine.evaluate(&by, &proposal).await?))
}
