//! Webhooks over HTTP: an account's endpoints under `/api`, their misbehaviour at the side door.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::{delete, get};
use axum::{Json, Router};
use serde::Deserialize;
use serde_json::{Value, json};

use super::endpoint::EndpointView;
use super::event::EventType;
use super::fate::Odds;
use crate::api::{Bearer, Body};
use crate::app::App;
use crate::problem::Problem;

/// The routes of webhooks.
pub(crate) fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/webhooks", get(list).post(register))
        .route("/api/webhooks/{id}", delete(remove))
        .route("/_webhooks/conduct", get(show_odds).put(set_odds))
        .route("/_webhooks/deliveries", get(deliveries))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEndpoint {
    url: String,
    events: Option<BTreeSet<EventType>>,
}

async fn register(
    State(app): State<Arc<App>>,
    Bearer(account): Bearer,
    Body(body): Body<NewEndpoint>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let events = body.events.unwrap_or_else(|| EventType::ALL.into());
    if events.is_empty() {
        return Err(Problem::malformed("`events` is empty; leave it out to be told everything"));
    }
    let endpoint = app.courier.register(account, &body.url, events).await?;
    let told_once = json!({
        "id": endpoint.id,
        "url": endpoint.url.as_str(),
        "events": endpoint.events,
        "created_at": endpoint.created_at,
        "secret": endpoint.secret.told(),
    });
    Ok((StatusCode::CREATED, Json(told_once)))
}

async fn list(State(app): State<Arc<App>>, Bearer(account): Bearer) -> Json<Value> {
    let endpoints = app.courier.endpoints(&account).await;
    let views: Vec<EndpointView> = endpoints.iter().map(|endpoint| endpoint.view()).collect();
    Json(json!({ "webhooks": views }))
}

async fn remove(
    State(app): State<Arc<App>>,
    Bearer(account): Bearer,
    Path(id): Path<String>,
) -> Result<StatusCode, Problem> {
    if app.courier.remove(&account, &id).await {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::NotFound("webhook endpoint"))
    }
}

async fn show_odds(State(app): State<Arc<App>>) -> Json<Odds> {
    Json(app.courier.odds().await)
}

async fn set_odds(State(app): State<Arc<App>>, Body(odds): Body<Odds>) -> Result<Json<Odds>, Problem> {
    let odds = odds.checked().map_err(Problem::Malformed)?;
    app.courier.set_odds(odds).await;
    Ok(Json(odds))
}

async fn deliveries(State(app): State<Arc<App>>) -> Json<Value> {
    let (deliveries, forgotten) = app.courier.deliveries().await;
    Json(json!({ "deliveries": deliveries, "forgotten": forgotten }))
}
