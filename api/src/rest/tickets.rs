//! Tickets for streams of browsers, which can send no header with a WebSocket (C-30).

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use fermata_engine::access::Scope;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::error::Problem;

/// A ticket. Its text is shown this once.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TicketSold {
    /// What goes into the address: `/v1/stream?ticket=…`. Good for one connection.
    pub ticket: String,
    /// How long it waits to be used, in seconds.
    pub expires_in_s: u64,
}

/// Buy a ticket for one stream.
#[utoipa::path(
    post, path = "/v1/ws-tickets", operation_id = "createTicket", tag = "events",
    responses((status = 201, description = "Its text, this once.", body = wire::TicketSold))
)]
pub(super) async fn create(
    State(app): State<AppState>,
    Caller(by): Caller,
) -> Result<(StatusCode, Json<TicketSold>), Problem> {
    by.require(Scope::EventsRead)?;
    let ticket = app.engine.ticket(&by).await?;
    Ok((StatusCode::CREATED, Json(TicketSold { ticket: ticket.text, expires_in_s: ticket.life.as_secs() })))
}
