//! What tells of the process: health, readiness, metrics, configuration.

use axum::Json;
use axum::extract::{Extension, State};
use axum::http::StatusCode;
use axum::http::header::{CONTENT_TYPE, RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use fermata_engine::access::Scope;
use fermata_engine::read::Dependency;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::wire;
use crate::app::AppState;
use crate::auth::Caller;
use crate::config::ConfigReport;
use crate::error::Problem;

/// The process answers.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Health {
    /// Always `ok`.
    pub status: String,
    /// The program's version.
    pub version: String,
}

/// Whether everything that the process needs is there.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Readiness {
    /// Whether all of them answer.
    pub ready: bool,
    /// The names of those that do not.
    pub failing: Vec<String>,
    /// Each of them.
    pub dependencies: Vec<Dependency>,
}

/// Whether the process is alive; says nothing of what it depends on.
#[utoipa::path(
    get, path = "/health", operation_id = "health", tag = "process",
    responses((status = 200, description = "It is alive.", body = wire::Health))
)]
pub(super) async fn health() -> Json<Health> {
    Json(Health { status: "ok".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() })
}

/// Whether the process can be of use, and what is missing.
#[utoipa::path(
    get, path = "/ready", operation_id = "ready", tag = "process",
    responses(
        (status = 200, description = "It can.", body = wire::Readiness),
        (status = 503, description = "It cannot: `failing` says why.", body = wire::Readiness),
    )
)]
pub(super) async fn ready(State(app): State<AppState>) -> Response {
    let mut dependencies = app.engine.dependencies().await;
    dependencies.extend((app.dependencies)().await);
    let failing: Vec<String> = dependencies.iter().filter(|it| !it.ok).map(|it| it.name.clone()).collect();
    let ready = failing.is_empty();
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let again = (!ready).then_some([(RETRY_AFTER, "1")]);
    (status, again, Json(Readiness { ready, failing, dependencies })).into_response()
}

/// The metrics page (Prometheus text).
#[utoipa::path(
    get, path = "/metrics", operation_id = "metrics", tag = "process",
    responses((status = 200, description = "The page.", content_type = "text/plain", body = String))
)]
pub(super) async fn metrics(
    State(app): State<AppState>,
    caller: Option<Extension<Caller>>,
) -> Result<impl IntoResponse, Problem> {
    // There is a caller only where probes need a token.
    if let Some(Extension(Caller(by))) = caller {
        by.require(Scope::MetricsRead)?;
    }
    Ok(([(CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], (app.metrics)().await))
}

/// Whether the configuration is complete and valid. Values are never shown.
#[utoipa::path(
    get, path = "/config/validate", operation_id = "validateConfig", tag = "process",
    responses((status = 200, description = "The report.", body = ConfigReport))
)]
pub(super) async fn config(State(app): State<AppState>) -> Json<Value> {
    Json(Value::clone(&app.config_report))
}
