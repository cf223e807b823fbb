//! Kill switches: stop all effects, those of a client, or those of an account.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use fermata_engine::effect::{DRAIN_PATIENCE, KillSwitch, SwitchScope, SwitchTurn};
use fermata_engine::read::Paged;
use schemars::JsonSchema;
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::body::JsonBody;
use super::query::Params;
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// How a switch is to stand.
#[derive(Debug, Deserialize, JsonSchema)]
#[schemars(rename = "KillSwitchRequest")]
#[serde(deny_unknown_fields)]
pub(crate) struct SwitchRequest {
    /// `true` stops effects, `false` lets them go on.
    engaged: bool,
    /// Why, for the record.
    #[schemars(length(min = 1, max = 2000))]
    reason: String,
}

impl SwitchRequest {
    fn turn(self, wait: Option<Wait>) -> SwitchTurn {
        let patience = wait.map_or(Duration::ZERO, |Wait::Drain| DRAIN_PATIENCE);
        SwitchTurn { engaged: self.engaged, reason: self.reason, patience }
    }
}

/// What an answer waits for.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum Wait {
    /// The calls that had begun have ended.
    Drain,
}

/// What to wait for.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct SwitchQuery {
    /// `drain`: answer when the calls that had begun have ended, at the latest after 20 s.
    #[param(inline)]
    wait: Option<Wait>,
}

/// Whose account is meant.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct AccountSwitchQuery {
    /// `drain`: answer when the calls that had begun have ended, at the latest after 20 s.
    #[param(inline)]
    wait: Option<Wait>,
    /// Whose account; the caller's own client when left out, every client's account of that name for a
    /// token of every client.
    client_id: Option<String>,
}

/// List the switches that were ever turned and that the token may see, those that are on first.
#[utoipa::path(
    get, path = "/v1/kill-switches", operation_id = "listKillSwitches", tag = "kill switches",
    responses((status = 200, description = "At most 1000.", body = wire::KillSwitchList))
)]
pub(super) async fn list(State(app): State<AppState>, Caller(by): Caller) -> Result<Json<Paged<KillSwitch>>, Problem> {
    let items = app.engine.kill_switches(&by).await?;
    Ok(Json(Paged { items, next_cursor: None }))
}

/// Turn the switch of everything. When it has answered, no further effect begins anywhere.
#[utoipa::path(
    put, path = "/v1/kill-switches/global", operation_id = "turnGlobalKillSwitch", tag = "kill switches",
    params(SwitchQuery), request_body = wire::KillSwitchRequest,
    responses((status = 200, description = "The switch, and what is under way.", body = wire::KillSwitch))
)]
pub(super) async fn global(
    State(app): State<AppState>,
    Caller(by): Caller,
    Params(query): Params<SwitchQuery>,
    JsonBody(request): JsonBody<SwitchRequest>,
) -> Result<Json<KillSwitch>, Problem> {
    let turn = request.turn(query.wait);
    Ok(Json(app.engine.turn_switch(&by, &SwitchScope::Global, turn).await?))
}

/// Turn the switch of a client. When it has answered, none of its effects begins any more.
#[utoipa::path(
    put, path = "/v1/kill-switches/clients/{client}", operation_id = "turnClientKillSwitch", tag = "kill switches",
    params(("client" = String, Path, description = "The client."), SwitchQuery),
    request_body = wire::KillSwitchRequest,
    responses((status = 200, description = "The switch, and what is under way.", body = wire::KillSwitch))
)]
pub(super) async fn client(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(client): Path<String>,
    Params(query): Params<SwitchQuery>,
    JsonBody(request): JsonBody<SwitchRequest>,
) -> Result<Json<KillSwitch>, Problem> {
    let turn = request.turn(query.wait);
    Ok(Json(app.engine.turn_switch(&by, &SwitchScope::Client(client), turn).await?))
}

/// Turn the switch of an account. When it has answered, none of its effects begins any more.
#[utoipa::path(
    put, path = "/v1/kill-switches/accounts/{account}", operation_id = "turnAccountKillSwitch", tag = "kill switches",
    params(("account" = String, Path, description = "The account."), AccountSwitchQuery),
    request_body = wire::KillSwitchRequest,
    responses((status = 200, description = "The switch, and what is under way.", body = wire::KillSwitch))
)]
pub(super) async fn account(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(account): Path<String>,
    Params(query): Params<AccountSwitchQuery>,
    JsonBody(request): JsonBody<SwitchRequest>,
) -> Result<Json<KillSwitch>, Problem> {
    let turn = request.turn(query.wait);
    let scope = SwitchScope::Account { client: query.client_id, account };
    Ok(Json(app.engine.turn_switch(&by, &scope, turn).await?))
}
