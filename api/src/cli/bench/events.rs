//! The stream under load: subscribers on real WebSockets, and how long each event takes to them.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use chrono::{DateTime, Utc};
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::clock::Clock;
use futures::{SinkExt as _, StreamExt as _};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Barrier;
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::failed;
use super::workload::{Measured, Plan, between, submit_all};
use crate::app::{AppOptions, AppState, telemetry};
use crate::process::{Exit, Trouble};

/// Runs that are submitted at once: the load under which the stream is measured.
const CALLERS: usize = 8;
/// A subscriber that gets nothing for this long has failed.
const PATIENCE: Duration = Duration::from_mins(1);

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// From an event's own time, which its transaction takes before it commits, to its receipt by each
/// of `plan.callers` subscribers. Each follows one of the plan's clients; all of it when there is one.
pub(super) async fn events(plan: &Plan<'_>) -> Result<Measured, Trouble> {
    let clock = plan.engine.clock().clone();
    let listener = TcpListener::bind("127.0.0.1:0").await.map_err(|error| failed("no socket", &error))?;
    let address = listener.local_addr().map_err(|error| failed("no socket", &error))?;
    let router = telemetry(AppState::new(plan.engine.clone(), AppOptions::default()), Router::new());
    let mut server = JoinSet::new();
    server.spawn(async move { axum::serve(listener, router).await });
    let token = token(plan).await?;
    let ready = Arc::new(Barrier::new(plan.callers + 1));
    let mut subscribers = JoinSet::new();
    for n in 0..plan.callers {
        let client = (plan.clients > 1).then(|| plan.client(n));
        let (url, token, clock) = (format!("ws://{address}/v1/stream"), token.clone(), clock.clone());
        let (ready, runs) = (Arc::clone(&ready), plan.runs_of(n));
        subscribers.spawn(async move {
            let socket = subscribe(&url, &token, client).await;
            // Whoever failed says so below; the others must not wait for it.
            ready.wait().await;
            receive(socket?, &clock, runs).await
        });
    }
    ready.wait().await;
    let began = clock.monotonic();
    submit_all(&Plan { callers: CALLERS, ..*plan }).await?;
    let mut times = Vec::new();
    while let Some(received) = subscribers.join_next().await {
        times.extend(received.map_err(|error| failed("a subscriber failed", &error))??);
    }
    Ok(Measured { took: clock.monotonic().duration_since(began), times, ..Measured::default() })
}

async fn token(plan: &Plan<'_>) -> Result<String, Trouble> {
    let new = NewToken {
        client_id: "*".to_owned(),
        name: "bench".to_owned(),
        scopes: vec![Scope::EventsRead],
        command_types: None,
        ttl: Some(Duration::from_hours(1)),
    };
    let made = plan.engine.create_token(&Principal::operator(), new).await;
    made.map(|made| made.token).map_err(|error| failed("no token", &error))
}

async fn subscribe(url: &str, token: &str, client: Option<String>) -> Result<Socket, Trouble> {
    let mut request = url.into_client_request().map_err(|error| failed("no address", &error))?;
    let bearer = HeaderValue::from_str(&format!("Bearer {token}")).map_err(|error| failed("no token", &error))?;
    request.headers_mut().insert(AUTHORIZATION, bearer);
    let (mut socket, _) = connect_async(request).await.map_err(|error| failed("no stream", &error))?;
    let filter = client.map_or_else(|| json!({}), |client| json!({ "client_id": client }));
    let frame = json!({ "op": "subscribe", "cursor": "latest", "filter": filter }).to_string();
    socket.send(Message::text(frame)).await.map_err(|error| failed("no stream", &error))?;
    loop {
        if next(&mut socket).await?["op"] == "caught_up" {
            return Ok(socket);
        }
    }
}

/// Receives until all runs have ended; answers how long each event took.
async fn receive(mut socket: Socket, clock: &Clock, runs: usize) -> Result<Vec<f64>, Trouble> {
    let (mut times, mut ended) = (Vec::new(), 0);
    while ended < runs {
        let text = next_text(&mut socket).await?;
        let frame: Frame = read(&text)?;
        if let Some(event) = frame.event {
            times.push(between(event.time, clock.now()));
            ended += usize::from(event.data.to == Some("SUCCEEDED"));
        }
    }
    Ok(times)
}

/// What is looked at of a frame; reading all of it would be measured too.
#[derive(Deserialize)]
struct Frame<'a> {
    #[serde(borrow)]
    event: Option<Seen<'a>>,
}

#[derive(Deserialize)]
struct Seen<'a> {
    time: DateTime<Utc>,
    #[serde(borrow)]
    data: Change<'a>,
}

#[derive(Deserialize)]
struct Change<'a> {
    #[serde(borrow)]
    to: Option<&'a str>,
}

async fn next(socket: &mut Socket) -> Result<Value, Trouble> {
    read(&next_text(socket).await?)
}

fn read<'a, T: Deserialize<'a>>(text: &'a Utf8Bytes) -> Result<T, Trouble> {
    serde_json::from_str(text).map_err(|error| failed("an unreadable frame", &error))
}

async fn next_text(socket: &mut Socket) -> Result<Utf8Bytes, Trouble> {
    loop {
        let heard = tokio::time::timeout(PATIENCE, socket.next()).await;
        match heard.map_err(|error| failed("the stream fell silent", &error))? {
            Some(Ok(Message::Text(text))) => return Ok(text),
            Some(Ok(Message::Close(frame))) => {
                let why = frame.map(|frame| frame.reason.to_string()).unwrap_or_default();
                return Err(Trouble::new(Exit::Unreachable, "the stream was closed").why(why));
            }
            Some(Ok(_)) => {}
            Some(Err(error)) => return Err(failed("the stream broke", &error)),
            None => return Err(Trouble::new(Exit::Unreachable, "the stream ended")),
        }
    }
}
