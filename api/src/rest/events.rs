//! Events, read in pages. To follow them as they happen there is the stream.

use axum::Json;
use axum::response::Response;
use fermata_engine::event::{Cursor, Severity};
use fermata_engine::read::{DEFAULT_LIMIT, EventFilter, Page};
use serde::Deserialize;
use utoipa::IntoParams;

use super::asked::Asked;
use super::query::{answered, next_link, page, words};
use super::wire;
use crate::error::Problem;

/// Filters of the list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(crate) struct EventQuery {
    /// The command.
    command_id: Option<String>,
    /// Types, with commas between.
    #[serde(alias = "types")]
    r#type: Option<String>,
    /// The client; of use to tokens of every client.
    client_id: Option<String>,
    /// The account of the command.
    account_id: Option<String>,
    /// The session of the command.
    session_id: Option<String>,
    /// `debug`, `info`, `warn` or `error`: at least this severe.
    min_severity: Option<String>,
    /// 1 to 200; 50 when left out.
    #[param(minimum = 1, maximum = 200)]
    limit: Option<u32>,
    /// The `cursor` of an event, or `next_cursor`: what comes behind it. From the oldest kept
    /// event when left out.
    #[serde(alias = "cursor")]
    after: Option<String>,
}

/// List the events of a command, in the order of the stream.
#[utoipa::path(
    get, path = "/v1/commands/{id}/events", operation_id = "listCommandEvents", tag = "events",
    params(("id" = String, Path, description = "The command."), EventQuery),
    responses((status = 200, description = "A page.", body = wire::EventList, headers(("Link" = String))))
)]
pub(super) async fn of_command(asked: Asked<EventQuery>) -> Result<Response, Problem> {
    found(asked).await
}

/// List events, in the order of the stream.
#[utoipa::path(
    get, path = "/v1/events", operation_id = "listEvents", tag = "events", params(EventQuery),
    responses((status = 200, description = "A page.", body = wire::EventList, headers(("Link" = String))))
)]
pub(super) async fn list(asked: Asked<EventQuery>) -> Result<Response, Problem> {
    found(asked).await
}

async fn found(asked: Asked<EventQuery>) -> Result<Response, Problem> {
    let run = asked.command_or(asked.query.command_id.as_deref())?;
    let Asked { app, by, uri, query, .. } = asked;
    // The bounds of a limit are those of every list.
    let _: Page = page(query.limit, None)?;
    let after = query.after.as_deref().map(str::parse::<Cursor>).transpose()?;
    let min_severity = query.min_severity.as_deref().map(severity).transpose()?;
    let filter = EventFilter {
        run,
        types: words(query.r#type.as_deref()),
        min_severity,
        client_id: query.client_id,
        account_id: query.account_id,
        session_id: query.session_id,
    };
    let events = app.engine.events(&by, &filter, after, query.limit.unwrap_or(DEFAULT_LIMIT)).await?;
    let link = events.next_cursor.map(|cursor| next_link(&uri, &cursor.to_string()));
    Ok(answered(link, Json(events)))
}

fn severity(word: &str) -> Result<Severity, Problem> {
    match word {
        "debug" => Ok(Severity::Debug),
        "info" => Ok(Severity::Info),
        "warn" => Ok(Severity::Warn),
        "error" => Ok(Severity::Error),
        _ => Err(Problem::invalid("/min_severity", "must be debug, info, warn or error")),
    }
}
