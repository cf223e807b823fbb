//! The test's own side door: the ledger, logins, the mode, the plans, a fresh start. No sign-in: it
//! is a test double. What concerns webhooks is in `webhook/routes.rs`.

use std::sync::Arc;

use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::account::Handle;
use crate::api::{Body, Params};
use crate::app::App;
use crate::mode::Mode;
use crate::plan::Plan;
use crate::problem::Problem;
use crate::site::EntryFilter;

/// The routes that begin with `/_`.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/_health", get(health))
        .route("/_ledger", get(ledger))
        .route("/_logins", get(logins))
        .route("/_mode", get(show_mode).put(set_mode))
        .route("/_plans", get(list_plans))
        .route("/_plans/{prefix}", put(set_plan).delete(remove_plan))
        .route("/_plans/{prefix}/log", get(plan_log))
        .route("/_reset", post(reset))
        .route("/_traffic", get(traffic))
}

async fn health(State(app): State<Arc<App>>) -> Json<Value> {
    // Taking the lock says more than a constant: a site stuck in its storage is not healthy.
    drop(app.site.lock().await);
    Json(json!({ "ok": true }))
}

async fn ledger(State(app): State<Arc<App>>, Params(filter): Params<EntryFilter>) -> Result<Json<Value>, Problem> {
    let site = app.site.lock().await;
    serde_json::to_value(site.entries(&filter)).map(Json).map_err(|_| Problem::Broken)
}

async fn traffic(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "requests": app.traffic.requests() }))
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

async fn list_plans(State(app): State<Arc<App>>) -> Json<Value> {
    Json(json!({ "plans": app.switchboard.plans.list() }))
}

async fn set_plan(
    State(app): State<Arc<App>>,
    Path(prefix): Path<String>,
    Body(plan): Body<Plan>,
) -> Result<Json<Plan>, Problem> {
    let plan = plan.checked().map_err(Problem::Malformed)?;
    app.switchboard.plans.put(&prefix, plan.clone())?;
    Ok(Json(plan))
}

async fn remove_plan(State(app): State<Arc<App>>, Path(prefix): Path<String>) -> Result<Json<Value>, Problem> {
    if !app.switchboard.plans.remove(&prefix) {
        return Err(Problem::NotFound("plan"));
    }
    Ok(Json(json!({ "ok": true })))
}

async fn plan_log(State(app): State<Arc<App>>, Path(prefix): Path<String>) -> Result<Json<Value>, Problem> {
    let (decisions, forgotten) = app.switchboard.plans.log(&prefix).ok_or(Problem::NotFound("plan"))?;
    Ok(Json(json!({ "prefix": prefix, "decisions": decisions, "forgotten": forgotten })))
}

async fn reset(State(app): State<Arc<App>>) -> Result<Json<Value>, Problem> {
    let aside = app.site.lock().await.start_over();
    let aside = aside.map_err(Problem::Storage)?;
    app.switchboard.start_over();
    app.traffic.start_over();
    app.courier.start_over().await;
    Ok(Json(json!({ "ok": true, "set_aside": aside })))
}
