//! The steps of a command.

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::query::{Params, id, listed, page};
use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StepQuery {
    /// 1 to 200; 50 when left out.
    limit: Option<u32>,
    /// `next_cursor` of the page before.
    #[serde(alias = "cursor")]
    after: Option<String>,
}

/// List the steps of a command, in the order in which they ended, failed attempts too.
#[utoipa::path(
    get, path = "/v1/commands/{id}/steps", operation_id = "listSteps", tag = "commands",
    params(("id" = String, Path, description = "The command."), StepQuery),
    responses((status = 200, description = "A page.", body = wire::StepList, headers(("Link" = String))))
)]
pub(super) async fn list(
    State(app): State<AppState>,
    Caller(by): Caller,
    Path(command): Path<String>,
    uri: Uri,
    Params(query): Params<StepQuery>,
) -> Result<Response, Problem> {
    let page = page(query.limit, query.after.as_deref())?;
    let steps = app.engine.steps(&by, id(&command, "command")?, page).await?;
    Ok(listed(&uri, steps))
}
