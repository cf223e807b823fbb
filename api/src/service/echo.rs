//! The demo agent (echo-agent-svc): mirrors what it is sent (O-033).

use axum::routing::post;
use axum::{Json, Router};
use fermata_engine::access::Scope;
use serde_json::Value;

use crate::app::{AppState, service};
use crate::auth::Caller;
use crate::error::Problem;
use crate::rest::body::JsonBody;

/// The whole service.
pub(super) fn echo(state: AppState) -> Router {
    service(Router::new().route("/echo", post(mirror)), state)
}

/// Any JSON in, the same JSON out.
async fn mirror(Caller(by): Caller, JsonBody(said): JsonBody<Value>) -> Result<Json<Value>, Problem> {
    by.require(Scope::Internal)?;
    Ok(Json(said))
}
