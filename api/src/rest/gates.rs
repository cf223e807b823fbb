//! Gates: waits for a person's decision.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use fermata_engine::read::{GateFilter, GateView};
use fermata_engine::run::Decision;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;
use utoipa::IntoParams;

use super::asked::Asked;
use super::body::JsonBody;
use super::query::{id, listed, page, words};
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// Filters of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct GateQuery {
    /// States, with commas between.
    #[serde(alias = "status")]
    state: Option<String>,
    /// The command.
    command_id: Option<String>,
    /// The client; of use to tokens of every client.
    client_id: Option<String>,
    /// 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(alias = "cursor")]
    after: Option<String>,
}

/// A person's word on a gate.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "Decision")]
#[serde(deny_unknown_fields)]
pub(crate) struct DecisionRequest {
    /// Yes or no.
    decision: Word,
    /// For the record.
    comment: Option<String>,
    /// What the person adds or corrects.
    #[serde(default)]
    outputs: Value,
}

/// Yes or no.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[schemars(rename = "DecisionWord")]
#[serde(rename_all = "snake_case")]
enum Word {
    /// Go on.
    Approve,
    /// Do not.
    Reject,
}

/// List the gates of a command, newest first.
#[utoipa::path(
    get, path = "/v1/commands/{id}/gates", operation_id = "listCommandGates", tag = "gates",
    params(("id" = String, Path, description = "The command."), GateQuery),
    responses((status = 200, description = "A page.", body = wire::GateList, headers(("Link" = String))))
)]
pub(super) async fn of_command(asked: Asked<GateQuery>) -> Result<Response, Problem> {
    found(asked).await
}

/// List gates, newest first.
#[utoipa::path(
    get, path = "/v1/gates", operation_id = "listGates", tag = "gates", params(GateQuery),
    responses((status = 200, description = "A page.", body = wire::GateList, headers(("Link" = String))))
)]
pub(super) async fn list(asked: Asked<GateQuery>) -> Result<Response, Problem> {
    found(asked).await
}

async fn found(asked: Asked<GateQuery>) -> Result<Response, Problem> {
    let run = asked.command_or(asked.query.command_id.as_deref())?;
    let Asked { app, by, uri, query, .. } = asked;
    let page = page(query.limit, query.after.as_deref())?;
    let filter = GateFilter { run, states: words(query.state.as_deref()), client_id: query.client_id };
    Ok(listed(&uri, app.engine.gates(&by, &filter, page).await?))
}

/// Read a gate.
#[utoipa::path(
    get, path = "/v1/gates/{id}", operation_id = "readGate", tag = "gates",
    params(("id" = String, Path, description = "The gate.")),
    responses((status = 200, description = "The gate.", body = wire::Gate))
)]
pub(super) async fn read(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(gate): Path<String>,
) -> Result<Json<GateView>, Problem> {
    let found = app.engine.gate(&by, id(&gate, "gate")?).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("gate"))
}

/// Decide a gate. The first decision wins; a later one gets 409 and the gate as it was decided.
#[utoipa::path(
    post, path = "/v1/gates/{id}/decisions", operation_id = "decideGate", tag = "gates",
    params(("id" = String, Path, description = "The gate.")), request_body = wire::Decision,
    responses((status = 200, description = "The gate, decided.", body = wire::Gate))
)]
pub(super) async fn decide(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(gate): Path<String>,
    JsonBody(request): JsonBody<DecisionRequest>,
) -> Result<Json<GateView>, Problem> {
    let approve = request.decision == Word::Approve;
    let decision = Decision { approve, comment: request.comment, outputs: request.outputs };
    Ok(Json(app.engine.decide(&by, id(&gate, "gate")?, decision).await?))
}
