//! All addresses of the site in one table, with what holds for every answer.

use std::sync::Arc;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::http::{HeaderValue, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};

use crate::app::App;
use crate::problem::Problem;
use crate::session::PageProblem;
use crate::{api, control, forms, pages, traffic, webhook};

/// The most that any request may carry.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;
const CONTENT_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; \
    script-src 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; media-src 'self'; form-action 'self'; \
    base-uri 'none'; frame-ancestors 'none'";

/// The whole site.
pub(crate) fn routes(app: Arc<App>) -> Router {
    Router::new()
        .merge(pages_and_forms())
        .merge(api::routes())
        .merge(control::routes())
        .merge(webhook::routes::routes())
        .fallback(unknown)
        .method_not_allowed_fallback(wrong_method)
        .layer(DefaultBodyLimit::max(MAX_BODY_BYTES))
        .layer(axum::middleware::from_fn_with_state(Arc::clone(&app), traffic::count))
        .with_state(app)
}

fn pages_and_forms() -> Router<Arc<App>> {
    Router::new()
        .route("/", get(pages::feed))
        .route("/login", get(pages::login).post(forms::log_in))
        .route("/logout", post(forms::log_out))
        .route("/compose", get(pages::compose).post(forms::publish))
        .route("/posts/{id}", get(pages::post))
        .route("/posts/{id}/comments", post(forms::reply))
        .route("/posts/{id}/likes", post(forms::like))
        .route("/u/{handle}", get(pages::profile))
        .route("/messages", get(pages::conversations))
        .route("/messages/{handle}", get(pages::thread).post(forms::send))
        .route("/studio", get(pages::studio).post(forms::submit))
        .route("/studio/drafts/{id}/video", get(pages::video))
        .route("/media/{sha256}", get(pages::medium))
        .layer(axum::middleware::map_response(for_browsers))
}

/// Pages load nothing from elsewhere, and none of them is kept: what is visible changes with time.
async fn for_browsers(mut response: Response) -> Response {
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_POLICY));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

async fn unknown(uri: Uri) -> Response {
    refused(&uri, Problem::NotFound("page"))
}

async fn wrong_method(uri: Uri) -> Response {
    refused(&uri, Problem::WrongMethod)
}

/// Programs get JSON, people get a page.
fn refused(uri: &Uri, problem: Problem) -> Response {
    if uri.path().starts_with("/api/") || uri.path().starts_with("/_") {
        problem.into_response()
    } else {
        PageProblem(problem).into_response()
    }
}
