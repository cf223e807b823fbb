//! Actions: attempts at side effects, over all commands or of one.

use axum::Json;
use axum::extract::{Path, State};
use axum::response::Response;
use fermata_engine::read::{ActionFilter, ActionView};
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked::Asked;
use super::query::{id, listed, page, words};
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// Filters of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct ActionQuery {
    /// The command.
    command_id: Option<String>,
    /// States, with commas between.
    #[serde(alias = "status")]
    state: Option<String>,
    /// The action type.
    #[serde(alias = "action_type")]
    r#type: Option<String>,
    /// The account.
    account_id: Option<String>,
    /// 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(alias = "cursor")]
    after: Option<String>,
}

/// List the actions of a command, newest first.
#[utoipa::path(
    get, path = "/v1/commands/{id}/actions", operation_id = "listCommandActions", tag = "actions",
    params(("id" = String, Path, description = "The command."), ActionQuery),
    responses((status = 200, description = "A page.", body = wire::ActionList, headers(("Link" = String))))
)]
pub(super) async fn of_command(asked: Asked<ActionQuery>) -> Result<Response, Problem> {
    found(asked).await
}

/// List actions, newest first.
#[utoipa::path(
    get, path = "/v1/actions", operation_id = "listActions", tag = "actions", params(ActionQuery),
    responses((status = 200, description = "A page.", body = wire::ActionList, headers(("Link" = String))))
)]
pub(super) async fn list(asked: Asked<ActionQuery>) -> Result<Response, Problem> {
    found(asked).await
}

/// Read an action, with what proves its outcome.
#[utoipa::path(
    get, path = "/v1/actions/{id}", operation_id = "getAction", tag = "actions",
    params(("id" = String, Path, description = "The action.")),
    responses((status = 200, description = "The action.", body = wire::Action))
)]
pub(super) async fn read(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(action): Path<String>,
) -> Result<Json<ActionView>, Problem> {
    let found = app.engine.action(&by, id(&action, "action")?).await?;
    found.map(Json).ok_or_else(|| Problem::not_found("action"))
}

async fn found(asked: Asked<ActionQuery>) -> Result<Response, Problem> {
    let run = asked.command_or(asked.query.command_id.as_deref())?;
    let Asked { app, by, uri, query, .. } = asked;
    let page = page(query.limit, query.after.as_deref())?;
    let states = words(query.state.as_deref());
    let filter = ActionFilter { run, states, account_id: query.account_id, action_type: query.r#type };
    Ok(listed(&uri, app.engine.actions(&by, &filter, page).await?))
}
