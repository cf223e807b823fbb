//! What happens around every request: its id and trace, its log line and metrics, its time limit,
//! its safety headers, and the writing of problems.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::header::{self, HeaderName};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use fermata_engine::id::uuid_at;
use fermata_engine::trace::TraceContext;
use futures::FutureExt as _;
use tracing::Instrument as _;

use super::doubt;
use crate::app::AppState;
use crate::auth::Actor;
use crate::error::{Kind, Problem};

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const MAX_REQUEST_ID_BYTES: usize = 128;
const PROBLEM_JSON: HeaderValue = HeaderValue::from_static("application/problem+json");

/// What is known of a request before any handler sees it.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Its id: the caller's `X-Request-Id` when it is fit for a log, otherwise ours.
    pub id: String,
    /// The caller's trace.
    pub trace: Option<TraceContext>,
}

/// The outermost layer.
pub(crate) async fn observe(State(app): State<AppState>, mut request: Request, next: Next) -> Response {
    let began = app.engine.clock().monotonic();
    let context = context(request.headers(), || uuid_at(app.engine.clock().now()).to_string());
    let method = method_label(request.method());
    let path = request.uri().path().to_owned();
    let matched = request.extensions().get::<MatchedPath>();
    let route = matched.map_or_else(|| "(none)".to_owned(), |path| path.as_str().to_owned());
    let trace_id = context.trace.map(|trace| trace.trace_id()).unwrap_or_default();
    let span = tracing::info_span!("rest.request", request.id = %context.id, trace.id = %trace_id);
    request.extensions_mut().insert(context.clone());
    let answer = next.run(request).instrument(span.clone()).await;
    let mut response = written(answer, &app.options.public_base_url, &path, &context.id);
    if let Ok(id) = HeaderValue::from_str(&context.id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    let taken = app.engine.clock().monotonic().saturating_duration_since(began);
    span.in_scope(|| log(&response, method, &route, taken));
    measure(response.status(), method, route, taken);
    response
}

/// Ends a request that takes too long, and turns a panic into a problem.
pub(crate) async fn bound(State(app): State<AppState>, request: Request, next: Next) -> Response {
    let limit = app.options.request_timeout;
    let method = request.method().clone();
    let answer = AssertUnwindSafe(tokio::time::timeout(limit, next.run(request))).catch_unwind().await;
    match answer {
        Ok(Ok(response)) => response,
        Ok(Err(_)) => doubt::too_slow(&method, limit),
        // The panic hook has logged what it was.
        Err(_) => {
            metrics::counter!("http_handler_panics_total").increment(1);
            Problem::broken().into_response()
        }
    }
}

/// Headers that keep browsers from doing more with an answer than they should. A page that needs
/// more (the docs) has set its own.
pub(crate) async fn secure(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    for (name, value) in [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::CACHE_CONTROL, "no-store"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        headers.entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

fn context(headers: &HeaderMap, make: impl FnOnce() -> String) -> RequestContext {
    let text = |name: &HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let sane = |id: &&str| {
        let fit = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
        (1..=MAX_REQUEST_ID_BYTES).contains(&id.len()) && id.bytes().all(fit)
    };
    let id = text(&REQUEST_ID).filter(sane).map_or_else(make, str::to_owned);
    let trace = text(&HeaderName::from_static("traceparent")).and_then(TraceContext::parse);
    RequestContext { id, trace }
}

/// Writes the body of a problem. Refusals that are not ours (an unknown method, an unreadable
/// path) become problems too, unless somebody gave them a JSON body.
fn written(mut response: Response, base: &str, path: &str, id: &str) -> Response {
    let problem = match response.extensions_mut().remove::<Problem>() {
        Some(problem) => problem,
        None if is_foreign(&response) => foreign(response.status()),
        None => return response,
    };
    let (mut parts, _) = response.into_parts();
    let mut body = problem.body(base, path, id);
    // A status without a kind of its own keeps its number.
    body["status"] = parts.status.as_u16().into();
    parts.headers.insert(header::CONTENT_TYPE, PROBLEM_JSON);
    parts.headers.remove(header::CONTENT_LENGTH);
    Response::from_parts(parts, Body::from(body.to_string()))
}

fn is_foreign(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    let status = response.status();
    (status.is_client_error() || status.is_server_error()) && !kind.is_some_and(|kind| kind.contains("json"))
}

fn foreign(status: StatusCode) -> Problem {
    let found = Kind::ALL.iter().find(|kind| kind.status() == status).copied();
    let kind = found.unwrap_or(if status.is_server_error() { Kind::Internal } else { Kind::Validation });
    match kind {
        Kind::Method => Problem::new(kind, "the `Allow` header lists the methods of this route"),
        kind => Problem::new(kind, status.canonical_reason().unwrap_or("refused")),
    }
}

fn log(response: &Response, method: &'static str, route: &str, taken: Duration) {
    let actor = response.extensions().get::<Actor>().map_or("-", |actor| actor.0.as_str());
    let status = response.status().as_u16();
    let latency_ms = taken.as_secs_f64() * 1000.0;
    if response.status().is_server_error() {
        tracing::warn!(method, route, status, latency_ms, actor, "{method} {route} answered {status}");
    } else {
        tracing::info!(method, route, status, latency_ms, actor, "{method} {route} answered {status}");
    }
}

fn measure(status: StatusCode, method: &'static str, route: String, taken: Duration) {
    let status = status.as_u16().to_string();
    let labels = [("route", route.clone()), ("method", method.to_owned()), ("status", status)];
    metrics::counter!("http_requests_total", &labels).increment(1);
    let labels = [("route", route), ("method", method.to_owned())];
    metrics::histogram!("http_request_duration_seconds", &labels).record(taken.as_secs_f64());
}

/// Methods that anybody may invent must not become labels.
fn method_label(method: &Method) -> &'static str {
    match method.as_str() {
        "GET" => "GET",
        "HEAD" => "HEAD",
        "POST" => "POST",
        "PUT" => "PUT",
        "PATCH" => "PATCH",
        "DELETE" => "DELETE",
        "OPTIONS" => "OPTIONS",
        _ => "OTHER",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_id(id: &str) -> HeaderMap {
        HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_bytes(id.as_bytes()).unwrap())])
    }

    #[test]
    fn a_sane_request_id_is_kept_and_any_other_replaced() {
        let id = |given: &str| context(&with_id(given), || "ours".to_owned()).id;
        assert_eq!(id("req-1.a_b:C"), "req-1.a_b:C");
        for bad in ["", "a b", "a\"b", "{}", "é", &"x".repeat(MAX_REQUEST_ID_BYTES + 1)] {
            assert_eq!(id(bad), "ours", "{bad}");
        }
        assert_eq!(context(&HeaderMap::new(), || "ours".to_owned()).id, "ours");
    }

    #[test]
    fn a_refusal_of_the_framework_becomes_a_problem_and_keeps_its_headers() {
        let bare = (StatusCode::METHOD_NOT_ALLOWED, [(header::ALLOW, "GET")]).into_response();
        let response = written(bare, "", "/v1/commands/x", "r");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/problem+json");
        assert_eq!(response.headers()[header::ALLOW], "GET");
    }

    #[tokio::test]
    async fn a_foreign_status_without_a_kind_keeps_its_number() {
        let response = written(StatusCode::UPGRADE_REQUIRED.into_response(), "", "/", "r");
        let body = axum::body::to_bytes(response.into_body(), 4096).await.unwrap();
        let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
        assert_eq!((body["status"].as_u64(), body["code"].as_str()), (Some(426), Some("validation")));
    }

    #[test]
    fn a_success_is_left_alone() {
        let response = written("fine".into_response(), "", "/", "r");
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/plain; charset=utf-8");
    }

    #[test]
    fn an_invented_method_is_no_label() {
        assert_eq!(method_label(&Method::from_bytes(b"BREW").unwrap()), "OTHER");
    }
}
