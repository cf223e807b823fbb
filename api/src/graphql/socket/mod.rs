//! `/graphql/ws`: operations over a WebSocket, as `graphql-transport-ws` says.
//!
//! Owns the handshake and who may speak (`mod.rs`), the words (`protocol.rs`) and the life of one
//! connection (`connection.rs`). The token comes in the header of the handshake or in
//! `connection_init`; no cookie is ever looked at, so another site's page has nothing to ride on.

mod connection;
mod protocol;

use std::sync::Arc;

use axum::Router;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::extract::{Extension, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::routing::get;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::{Surface, refusal};
use crate::app::AppState;
use crate::auth::presented;
use crate::error::{Kind, Problem};
use crate::rest::RequestContext;
use connection::Connection;
use protocol::{Closing, SUBPROTOCOL};

/// Where connections come in.
pub(crate) const PATH: &str = "/graphql/ws";
/// The most connections that one listener holds at once.
const MAX_CONNECTIONS: usize = 1_000;

/// The route; it looks after tokens itself.
pub(super) fn route(surface: Surface) -> Router<AppState> {
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    Router::new().route(PATH, get(connect)).layer(Extension(places)).layer(Extension(surface))
}

async fn connect(
    State(app): State<AppState>,
    Extension(surface): Extension<Surface>,
    Extension(places): Extension<Arc<Semaphore>>,
    Extension(context): Extension<RequestContext>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Result<Response, Problem> {
    let by = match presented(&headers)? {
        Some(token) => Some(app.engine.authenticate(token).await?),
        None => None,
    };
    let place = places.try_acquire_owned().map_err(|_| {
        let detail = format!("this node holds {MAX_CONNECTIONS} connections already; try again in a moment");
        Problem::new(Kind::NotReady, detail).with_code("busy").retry_after(1)
    })?;
    let limit = app.options.max_body_bytes;
    let explain = refusal::explain(&app, PATH, &context.id);
    let trace_id = context.trace.map(|trace| trace.trace_id());
    let connection = Connection::new(app.engine, surface, (explain, trace_id), by);
    let upgrade = upgrade.protocols([SUBPROTOCOL]).max_message_size(limit).max_frame_size(limit);
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
