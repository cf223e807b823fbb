//! The steps of a command.

use axum::response::Response;
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked::Asked;
use super::query::{listed, page};
use super::wire;
use crate::error::Problem;

/// Which page.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct StepQuery {
    /// 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
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
pub(super) async fn list(asked: Asked<StepQuery>) -> Result<Response, Problem> {
    let run = asked.command()?;
    let Asked { app, by, uri, query, .. } = asked;
    let page = page(query.limit, query.after.as_deref())?;
    Ok(listed(&uri, app.engine.steps(&by, run, page).await?))
}
