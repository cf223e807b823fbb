//! GraphiQL, for `fermata dev`: vendored, nothing loads from elsewhere. The token is typed into
//! the page and stays in its memory.

use axum::Router;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::get;

use crate::app::AppState;

/// The page may load its own scripts and styles, and ask this server; nothing else. Its editor
/// sets styles by script and brings its fonts along as data.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; font-src data:; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const TEXT: &str = "text/plain; charset=utf-8";

macro_rules! asset {
    ($kind:expr, $name:literal) => {
        get(async || {
            let content: &'static [u8] = include_bytes!(concat!("../../assets/graphiql/", $name));
            ([(CONTENT_TYPE, $kind), (CONTENT_SECURITY_POLICY, POLICY)], content).into_response()
        })
    };
}

/// `/graphiql` and what it loads.
pub(super) fn pages() -> Router<AppState> {
    Router::new()
        .route("/graphiql", asset!(HTML, "index.html"))
        .route("/graphiql/page.js", asset!(SCRIPT, "page.js"))
        .route("/graphiql/page.css", asset!(STYLE, "page.css"))
        .route("/graphiql/graphiql.js", asset!(SCRIPT, "graphiql.min.js"))
        .route("/graphiql/graphiql.css", asset!(STYLE, "graphiql.min.css"))
        .route("/graphiql/react.js", asset!(SCRIPT, "react.production.min.js"))
        .route("/graphiql/react-dom.js", asset!(SCRIPT, "react-dom.production.min.js"))
        .route("/graphiql/LICENSES", asset!(TEXT, "LICENSES"))
}
