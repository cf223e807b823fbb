//! The HTTP face: reads fence and deadline, and hands the command to the desk.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, Method, StatusCode, Uri, header};
use axum::response::{IntoResponse, Json, Response};
use axum::routing::{any, get, post};
use chrono::{DateTime, Utc};
use fermata_workflows::browser::{DEADLINE_HEADER, FENCE_HEADER};
use serde_json::{Value, json};

use super::command::{Command, Desk};
use super::ledger::Fence;

/// The largest command: an upload of 40 MB as base64, with room.
const COMMAND_MAX_BYTES: usize = 64 * 1024 * 1024;
/// When to come again when all sessions are taken.
const RETRY_AFTER_SECS: u64 = 2;

/// What goes back to the worker.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

impl Answer {
    /// An error in the shape of the WebDriver specification. `carried_out` in its data tells a worker
    /// whether the command may have had an effect.
    pub(super) fn error(status: StatusCode, code: &str, message: &str, carried_out: Option<bool>) -> Self {
        let value = json!({"error": code, "message": message, "stacktrace": "", "data": {"carried_out": carried_out}});
        Self { status, body: json!({ "value": value }).to_string().into() }
    }

    /// An error before anything was carried out.
    pub(super) fn refused(status: StatusCode, code: &str, message: &str) -> Self {
        Self::error(status, code, message, Some(false))
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        let mut response = (self.status, self.body).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, header::HeaderValue::from_static("no-store"));
        if self.status == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, RETRY_AFTER_SECS.into());
        }
        response
    }
}

/// All routes.
pub(super) fn router(desk: Arc<Desk>) -> Router {
    Router::new()
        .route("/status", get(status))
        .route("/_sessions", get(sessions))
        .route("/session", post(open))
        .route("/session/{id}", any(command_on_session))
        .route("/session/{id}/{*rest}", any(command_below_session))
        .fallback(unknown)
        .layer(DefaultBodyLimit::max(COMMAND_MAX_BYTES))
        .with_state(desk)
}

async fn status(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(json!({ "value": desk.status() }))
}

async fn sessions(State(desk): State<Arc<Desk>>) -> Json<Value> {
    Json(json!({ "value": desk.sessions() }))
}

async fn open(State(desk): State<Arc<Desk>>, headers: HeaderMap, body: Bytes) -> Result<Answer, Answer> {
    let (fence, deadline) = authority(&headers)?;
    Ok(desk.open(fence, deadline, body).await)
}

async fn command_on_session(
    State(desk): State<Arc<Desk>>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Answer, Answer> {
    request.forward(desk, id).await
}

async fn command_below_session(
    State(desk): State<Arc<Desk>>,
    Path((id, _)): Path<(String, String)>,
    request: Request,
) -> Result<Answer, Answer> {
    request.forward(desk, id).await
}

async fn unknown() -> Answer {
    Answer::refused(StatusCode::NOT_FOUND, "unknown command", "there is no such WebDriver command")
}

/// The parts of a request that travel on.
#[derive(Debug, axum::extract::FromRequest)]
struct Request {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
}

impl Request {
    async fn forward(self, desk: Arc<Desk>, session: String) -> Result<Answer, Answer> {
        let (fence, deadline) = authority(&self.headers)?;
        let path = self.uri.path();
        if !is_plain(path) {
            return Err(Answer::refused(StatusCode::BAD_REQUEST, "invalid argument", "the path climbs"));
        }
        let command = Command { fence, deadline, session, method: self.method, path: path.to_owned(), body: self.body };
        Ok(desk.command(command).await)
    }
}

/// A path that means what it says: no segment leads out of its session.
fn is_plain(path: &str) -> bool {
    let encoded_dot = path.to_ascii_lowercase().contains("%2e");
    !encoded_dot && !path.contains('\\') && path.split('/').all(|segment| segment != "." && segment != "..")
}

/// Who asks, and until when it may happen.
fn authority(headers: &HeaderMap) -> Result<(Fence, Option<DateTime<Utc>>), Answer> {
    let refused = |message| Answer::refused(StatusCode::BAD_REQUEST, "invalid argument", message);
    if headers.contains_key(header::ORIGIN) {
        // A page in one of our own browsers, or in anybody's: workers send none.
        return Err(Answer::refused(StatusCode::FORBIDDEN, "invalid argument", "web pages may not drive browsers"));
    }
    let fence = headers
        .get(FENCE_HEADER)
        .and_then(|value| value.to_str().ok())
        .and_then(Fence::parse)
        .ok_or_else(|| refused("the header Fermata-Fence must be `<run>:<epoch>`"))?;
    let deadline = match headers.get(DEADLINE_HEADER) {
        None => None,
        Some(value) => {
            let text = value.to_str().unwrap_or_default();
            let parsed = DateTime::parse_from_rfc3339(text);
            Some(parsed.map_err(|_| refused("the header Fermata-Deadline must be an RFC 3339 time"))?.to_utc())
        }
    };
    Ok((fence, deadline))
}

#[cfg(test)]
mod tests {
    use super::is_plain;

    #[test]
    fn no_path_leads_into_another_session() {
        assert!(is_plain("/session/a/element/f.1.d.2.e.3/click"));
        for path in ["/session/a/../b/url", "/session/a/%2E%2e/b/url", "/session/a/./url", "/session/a/..\\b"] {
            assert!(!is_plain(path), "{path}");
        }
    }
}
