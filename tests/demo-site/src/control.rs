//! The test's own side door: the ledger, logins, the mode, a fresh start. No sign-in: it is a test double.

use std::sync::Arc;

use axum::extract::State;
use axum::routing::{get, post};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::Handle;
use crate::api::{Body, Params};
use crate::app::App;
use crate::effect::Kind;
use crate::mode::Mode;
use crate::problem::Problem;

/// The routes that begin with `/_`.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_health", get(health))
        .route("/_ledger", get(ledger))
        .route("/_logins", get(logins))
        .route("/_mode", get(show_mode).put(set_mode))
        .route("/_reset", post(reset))
}

async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    // Taking the lock says more than a constant: a site stuck in its storage is not healthy.
    drop(app.site.lock().await);
    Json(json!({ "ok": true }))
}

#[derive(Deserialize)]
struct LedgerParams {
    key: Option<String>,
    kind: Option<Kind>,
}

async fn ledger(State(app): State<Arc<App>>, Params(params): Params<LedgerParams>) -> Result<Json<Value>, Problem> {
    let site = app.site.lock().await;
    let entries = site.entries(params.key.as_deref(), params.kind);
    serde_json::to_value(entries).map(Json).map_err(|_| Problem::Broken)
}

#[derive(Deserialize)]
struct LoginParams {
    handle: Handle,
}

async fn logins(State(app): State<Arc<App>>, Params(params): Params<LoginParams>) -> Json<Value> {
    let (count, token) = app.site.lock().await.logins(&params.handle);
    Json(json!({ "handle": params.handle, "count": count, "token": token }))
}

async fn show_mode(State(app): State<Arc<App>>) -> Json<Mode> {
    Json(app.switchboard.mode())
}

async fn set_mode(State(app): State<Arc<App>>, Body(mode): Body<Mode>) -> Result<Json<Mode>, Problem> {
    app.switchboard.set(mode.checked().map_err(Problem::Malformed)?);
    Ok(Json(app.switchboard.mode()))
}

async fn reset(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    let aside = app.site.lock().await.start_over();
    let aside = aside.map_err(Problem::Storage)?;
    app.switchboard.set(Mode::default());
    Ok(Json(json!({ "ok": true, "set_aside": aside })))
}
