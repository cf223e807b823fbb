//! `/graphql/ws`: operations over a WebSocket, as `graphql-transport-ws` says.
//!
//! Owns the handshake and who may speak (`mod.rs`), the words (`protocol.rs`) and the life of one
//! connection (`connection.rs`). The token comes with the handshake, as for `/v1/stream`, or in
//! `connection_init`; no cookie is ever looked at.

mod connection;
mod protocol;

use axum::Router;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use tokio::sync::OwnedSemaphorePermit;

use super::Surface;
use super::refusal::Words;
use crate::app::AppState;
use crate::error::{Kind, Problem};
use crate::rest::RequestContext;
use crate::rest::query::Params;
use crate::stream;
use connection::Connection;
use protocol::{Closing, SUBPROTOCOL};

/// Where connections come in.
pub(crate) const PATH: &str = "/graphql/ws";

/// The route; it looks after tokens itself.
pub(super) fn route(surface: Surface) -> Router<AppState> {
    Router::new().route(PATH, get(connect)).layer(Extension(surface))
}

/// What may stand in the address.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Ticket {
    /// A one-time ticket of POST /v1/ws-tickets.
    ticket: Option<String>,
}

#[expect(clippy::too_many_arguments, reason = "each is an extractor")]
async fn connect(
    State(app): State<AppState>,
    Extension(surface): Extension<Surface>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    query: Result<Params<Ticket>, Problem>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|refused| {
        let detail = format!("this is a WebSocket: {}; it speaks {SUBPROTOCOL}", refused.body_text());
        Problem::new(Kind::Validation, detail).with_code("not_a_websocket")
    })?;
    stream::known_origin(&app, &headers)?;
    let Params(Ticket { ticket }) = query?;
    let by = stream::caller(&app, &headers, ticket.as_deref()).await?;
    let place = app.streams.places.clone().try_acquire_owned().map_err(|_| {
        let detail = "this node holds as many streams as it may (MAX_STREAMS); try again, or another node";
        Problem::new(Kind::NotReady, detail).with_code("too_many_streams").retry_after(1)
    })?;
    let limit = app.options.max_body_bytes;
    let words = Words::new(&app, PATH, &context.id);
    let connection = Connection::new(app, surface, (words, context.trace), by);
    let upgrade = upgrade
        .protocols([SUBPROTOCOL])
        .read_buffer_size(stream::READ_BUFFER_BYTES)
        .max_message_size(limit)
        .max_frame_size(limit);
    Ok(upgrade.on_upgrade(move |socket| serve(socket, connection, place)))
}

/// Serves one connection to its end. The place is free when this returns.
async fn serve(mut socket: WebSocket, connection: Connection, place: OwnedSemaphorePermit) {
    let closing = if socket.protocol().is_some_and(|chosen| chosen.as_bytes() == SUBPROTOCOL.as_bytes()) {
        Box::pin(connection.serve(&mut socket)).await
    } else {
        Some(Closing::unknown_subprotocol())
    };
    if let Some(Closing { code, reason }) = closing {
        tracing::debug!(code, "a GraphQL connection is closed: {reason}");
        let frame = CloseFrame { code, reason: reason.into() };
        // Whoever is gone already needs no farewell.
        drop(connection::within_patience(socket.send(Message::Close(Some(frame)))).await);
    }
    drop(place);
}
