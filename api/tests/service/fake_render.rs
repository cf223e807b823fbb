//! A pretend Render: its public REST API as its documentation has it, over real HTTP, which can
//! misbehave. It has a few services and knows one token.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::body::Body;
use axum::extract::{Query, Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, RETRY_AFTER};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use axum::{Json, Router};
use futures::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

/// The token that it knows.
pub(crate) const TOKEN: &str = "known-to-render-alone";
/// How long it wants to be left alone when it is busy.
pub(crate) const PAUSE_SECS: &str = "17";
/// Its services: id, name, type, whether it is suspended.
pub(crate) const SERVICES: [(&str, &str, &str, &str); 5] = [
    ("srv-cu3a559u0jms73dmnu20", "shop", "web_service", "not_suspended"),
    ("srv-ctp9cltds78s73d0crhg", "site", "static_site", "not_suspended"),
    ("srv-ctlr40hopnds73fb9ea0", "mailer", "background_worker", "not_suspended"),
    ("crn-ctlasa8gph6c739jlm0g", "nightly", "cron_job", "not_suspended"),
    ("srv-cu39r5jqf0us73e9o65g", "old-shop", "web_service", "suspended"),
];
/// How many services it lists when nothing is said, and at most.
const LIMITS: (usize, usize) = (20, 100);

/// How it behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// As documented.
    Honest,
    /// It does nothing and answers this.
    Refuses(u16),
    /// It does nothing and answers 429.
    Busy,
    /// It does nothing and sends the client elsewhere.
    Redirects,
    /// It does what it was asked, and answers this.
    Fails(u16),
    /// It does what it was asked, and never answers.
    Frozen,
    /// It does what it was asked, and breaks off in the middle of the answer.
    Cut,
    /// It does what it was asked, and answers this text.
    Says(&'static str),
    /// It does what it was asked, and its answer has no end.
    Endless,
}

struct Shared {
    mode: Mutex<Mode>,
    seen: Mutex<Vec<String>>,
}

/// A running pretend Render; gone when dropped.
pub(crate) struct FakeRender {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: JoinSet<()>,
}

impl FakeRender {
    pub(crate) async fn start() -> Self {
        let shared = Arc::new(Shared { mode: Mutex::new(Mode::Honest), seen: Mutex::default() });
        let router = Router::new()
            .route("/v1/services", get(list))
            .fallback(async || refused(404))
            .layer(from_fn_with_state(Arc::clone(&shared), behave));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { address, shared, _server: server }
    }

    /// Where it is, for `RENDER_API_BASE_URL`.
    pub(crate) fn base(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub(crate) fn behaves(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = mode;
    }

    /// Every request since the last time, as `METHOD /path?query`.
    pub(crate) fn seen(&self) -> Vec<String> {
        std::mem::take(&mut *self.shared.seen.lock().unwrap())
    }
}

/// An error as Render writes it; it quotes the token, as no provider should.
fn refused(status: u16) -> Response {
    let status = StatusCode::from_u16(status).unwrap();
    (status, Json(json!({"id": "req-1", "message": format!("not with {TOKEN}")}))).into_response()
}

async fn behave(State(shared): State<Arc<Shared>>, request: Request, next: Next) -> Response {
    let uri = request.uri().path_and_query().map(ToString::to_string).unwrap_or_default();
    shared.seen.lock().unwrap().push(format!("{} {uri}", request.method()));
    let known = format!("Bearer {TOKEN}");
    let mut given = request.headers().get_all(AUTHORIZATION).iter();
    if given.next().is_none_or(|value| *value != known) || given.next().is_some() {
        return refused(401);
    }
    let mode = *shared.mode.lock().unwrap();
    match mode {
        Mode::Refuses(status) => return refused(status),
        Mode::Busy => return ([(RETRY_AFTER, PAUSE_SECS)], refused(429)).into_response(),
        Mode::Redirects => return Redirect::temporary("/v1/elsewhere").into_response(),
        _ => {}
    }
    let answer = next.run(request).await;
    match mode {
        Mode::Fails(status) => refused(status),
        Mode::Frozen => std::future::pending().await,
        Mode::Cut => broken_off(),
        Mode::Says(text) => (answer.status(), text).into_response(),
        Mode::Endless => endless(),
        _ => answer,
    }
}

fn broken_off() -> Response {
    let parts = [Ok("[{\"cursor\": "), Err(io::Error::from(io::ErrorKind::ConnectionReset))];
    Body::from_stream(stream::iter(parts)).into_response()
}

fn endless() -> Response {
    let spaces = || Ok::<_, Infallible>(vec![b' '; 1 << 16]);
    Body::from_stream(stream::iter(std::iter::repeat_with(spaces))).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct ListQuery {
    name: Option<String>,
    r#type: Option<String>,
    limit: Option<usize>,
    cursor: Option<String>,
}

/// A cursor of characters that must be escaped in a query.
fn cursor(place: usize) -> String {
    format!("/{place}+=")
}

async fn list(Query(query): Query<ListQuery>) -> Response {
    let (default, most) = LIMITS;
    let limit = query.limit.unwrap_or(default);
    let place = |text: &str| text.strip_prefix('/')?.strip_suffix("+=")?.parse::<usize>().ok();
    let behind = query.cursor.as_deref().map_or(Some(0), |text| place(text).map(|place| place + 1));
    let Some(behind) = behind.filter(|_| (1..=most).contains(&limit)) else { return refused(400) };
    let wanted =
        |words: &Option<String>, of: &str| words.as_ref().is_none_or(|words| words.split(',').any(|word| word == of));
    let entries: Vec<Value> = SERVICES
        .iter()
        .enumerate()
        .skip(behind)
        .filter(|(_, (_, name, kind, _))| wanted(&query.name, name) && wanted(&query.r#type, kind))
        .take(limit)
        .map(|(place, service)| json!({"cursor": cursor(place), "service": whole(*service)}))
        .collect();
    Json(entries).into_response()
}

/// A service with all that Render tells of it.
fn whole((id, name, kind, suspended): (&str, &str, &str, &str)) -> Value {
    let mut details = json!({"buildPlan": "starter", "env": "docker", "plan": "free", "region": "frankfurt"});
    if matches!(kind, "web_service" | "static_site") {
        details["url"] = format!("https://{name}.onrender.com").into();
    }
    json!({
        "id": id, "name": name, "type": kind, "suspended": suspended, "suspenders": [], "autoDeploy": "yes",
        "branch": "main", "createdAt": "2026-01-14T17:44:53.851159Z", "updatedAt": "2026-02-14T19:51:50.059428Z",
        "dashboardUrl": format!("https://dashboard.render.com/{id}"), "notifyOnFail": "default", "ownerId": "tea-1",
        "repo": "https://github.com/acme/shop", "rootDir": "", "serviceDetails": details, "slug": name,
    })
}
