//! Who may open a stream: origin, credentials, room.

use axum::extract::State;
use axum::extract::ws::{WebSocketUpgrade, rejection::WebSocketUpgradeRejection};
use axum::http::HeaderMap;
use axum::http::header::{HOST, ORIGIN, SEC_WEBSOCKET_PROTOCOL};
use axum::response::{IntoResponse, Response};
use fermata_engine::access::{Principal, Scope};

use super::frame::StreamQuery;
use super::session::Session;
use super::{MAX_FRAME_BYTES, PROTOCOL, READ_BUFFER_BYTES};
use crate::app::AppState;
use crate::auth;
use crate::error::{Kind, Problem};
use crate::rest::query::Params;

/// What precedes a token among the offered subprotocols.
const BEARER: &str = "bearer.";

/// `GET /v1/stream`, on both ports.
pub(crate) async fn open(
    State(app): State<AppState>,
    headers: HeaderMap,
    query: Result<Params<StreamQuery>, Problem>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Problem> {
    let upgrade = upgrade.map_err(|refused| {
        let detail = format!("this is a WebSocket: {}; /asyncapi.json describes it", refused.body_text());
        Problem::new(Kind::Validation, detail).with_code("not_a_websocket")
    })?;
    known_origin(&app, &headers)?;
    let Params(query) = query?;
    let caller = caller(&app, &headers, query.ticket.as_deref()).await?;
    let wanted = query.wanted();
    if let Some(by) = &caller {
        by.require(Scope::EventsRead)?;
    }
    let place = app.streams.places.clone().try_acquire_owned().map_err(|_| {
        let detail = "this node holds as many streams as it may (MAX_STREAMS); try again, or another node";
        Problem::new(Kind::NotReady, detail).with_code("too_many_streams").retry_after(1)
    })?;
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(READ_BUFFER_BYTES)
        .max_message_size(MAX_FRAME_BYTES)
        .max_frame_size(MAX_FRAME_BYTES);
    Ok(upgrade
        .on_upgrade(async move |socket| Session::new(app, place).run(socket, caller, wanted).await)
        .into_response())
}

/// A page of somebody else's site must not open a stream with what the browser sends along.
pub(crate) fn known_origin(app: &AppState, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(origin) = headers.get(ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().unwrap_or_default();
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let same = origin.split_once("://").is_some_and(|(_, of)| of == host && !host.is_empty());
    if same || app.streams.origins.iter().any(|allowed| allowed == origin) {
        return Ok(());
    }
    let detail = format!("pages of {origin:?} may not connect; add the origin to ALLOWED_ORIGINS if they should");
    Err(Problem::new(Kind::Forbidden, detail).with_code("origin_not_allowed"))
}

/// Who connects: by header, by subprotocol or by ticket; at most one of them. `None` says it in its
/// first frame.
pub(crate) async fn caller(
    app: &AppState,
    headers: &HeaderMap,
    ticket: Option<&str>,
) -> Result<Option<Principal>, Problem> {
    let offered = headers.get_all(SEC_WEBSOCKET_PROTOCOL).iter().filter_map(|value| value.to_str().ok());
    let offered = offered.flat_map(|value| value.split(',')).find_map(|word| word.trim().strip_prefix(BEARER));
    match (auth::principal(app, headers).await?, offered, ticket) {
        (by_header, None, None) => Ok(by_header),
        (None, Some(token), None) => Ok(Some(app.engine.authenticate(token).await?)),
        (None, None, Some(ticket)) => Ok(Some(app.engine.redeem(ticket).await?)),
        _ => {
            let detail = "say who you are once: by header, by subprotocol, by ticket, or in the first frame";
            Err(Problem::new(Kind::Validation, detail).with_code("two_credentials"))
        }
    }
}
