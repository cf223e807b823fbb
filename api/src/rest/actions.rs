//! Actions: attempts at side effects, over all commands or of one.

use axum::response::Response;
use fermata_engine::read::ActionFilter;
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked::Asked;
use super::query::{listed, page, words};
use super::wire;
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

async fn found(asked: Asked<ActionQuery>) -> Result<Response, Problem> {
    let run = asked.command_or(asked.query.command_id.as_deref())?;
    let Asked { app, by, uri, query, .. } = asked;
    let page = page(query.limit, query.after.as_deref())?;
    let states = words(query.state.as_deref());
    let filter = ActionFilter { run, states, account_id: query.account_id, action_type: query.r#type };
    Ok(listed(&uri, app.engine.actions(&by, &filter, page).await?))
}
