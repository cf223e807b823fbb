//! The documentation page and the document that it shows. Nothing loads from elsewhere.

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::app::AppState;
use crate::{openapi, stream};

/// The page may load its own script and style, and ask this server; nothing else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// `/openapi.json`, `/asyncapi.json` and `/docs`.
pub(crate) fn pages() -> Router<AppState> {
    let document = openapi::document().to_string();
    let asyncapi = stream::asyncapi::document().to_string();
    Router::new()
        .route("/openapi.json", get(async move || ([(CONTENT_TYPE, "application/json")], document)))
        .route("/asyncapi.json", get(async move || ([(CONTENT_TYPE, "application/json")], asyncapi)))
        .route("/docs", get(async || page("text/html; charset=utf-8", include_str!("../../assets/docs.html"))))
        .route(
            "/docs/docs.js",
            get(async || page("text/javascript; charset=utf-8", include_str!("../../assets/docs.js"))),
        )
        .route("/docs/docs.css", get(async || page("text/css; charset=utf-8", include_str!("../../assets/docs.css"))))
}

/// A page of ours for people.
pub(super) fn html(content: String) -> impl IntoResponse {
    page("text/html; charset=utf-8", content)
}

fn page(kind: &'static str, content: impl IntoResponse) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, POLICY)], content)
}
