//! The router on a fresh database, asked without a socket, or over one ([`Served`]).

use std::sync::OnceLock;

use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::http::{HeaderMap, Request, StatusCode};
use fermata_api::app::{AppOptions, AppState, Mounts, app_with};
use fermata_api::telemetry::{PrometheusHandle, install_metrics, render_metrics};
use fermata_engine::Engine;
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_tests::TestDb;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tower::ServiceExt as _;

/// The largest body that these tests let through.
pub(crate) const MAX_BODY: usize = 64 * 1024;
/// An id of nothing.
pub(crate) const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    text: String,
    #[serde(default)]
    times: Option<u8>,
    #[serde(default)]
    more: Value,
}

/// Waits for a signal and ends with it. Only its input matters here: most tests carry no runs.
pub(crate) struct Echo;

impl Workflow for Echo {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.echo";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        let said: Value = context.step("say").run(|_| async { Ok(json!(input.text)) }).await?;
        let got: Value = context.wait_signal("go").await?;
        Ok(json!({"said": said, "got": got, "times": input.times, "more": input.more}))
    }
}

pub(crate) struct Rest {
    pub(crate) db: TestDb,
    pub(crate) engine: Engine,
    pub(crate) router: Router,
    /// Every scope, client `acme`.
    pub(crate) token: String,
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) bytes: Bytes,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.bytes).unwrap_or_else(|_| panic!("JSON, not {:?}", self.bytes))
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    /// The body of a refusal, checked to be one.
    pub(crate) fn problem(&self, status: u16, code: &str) -> Value {
        let body = self.json();
        assert_eq!((self.status.as_u16(), body["code"].as_str()), (status, Some(code)), "{body}");
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(body["status"], status);
        assert_eq!(body["requestId"], self.header("x-request-id"));
        assert!(body["type"].as_str().unwrap().starts_with("https://fermata.example/problems/"));
        for member in ["title", "detail", "instance"] {
            assert!(body[member].is_string(), "{member} in {body}");
        }
        body
    }
}

/// A router behind a socket, as clients meet it.
pub(crate) struct Served {
    base: String,
    client: reqwest::Client,
    _server: JoinSet<()>,
}

impl Served {
    pub(crate) async fn new(router: Router) -> Self {
        // Another test of this process may have installed it; either way there is one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { base, client: reqwest::Client::new(), _server: server }
    }

    pub(crate) fn request(&self, method: &str, path: &str) -> reqwest::RequestBuilder {
        self.client.request(method.parse().unwrap(), format!("{}{path}", self.base))
    }

    pub(crate) async fn get(&self, path: &str, token: &str) -> Answer {
        heard(self.request("GET", path).bearer_auth(token)).await
    }
}

/// Sends a request and reads its answer whole.
pub(crate) async fn heard(request: reqwest::RequestBuilder) -> Answer {
    let answer = request.send().await.unwrap();
    let (status, headers) = (answer.status(), answer.headers().clone());
    Answer { status, headers, bytes: answer.bytes().await.unwrap() }
}

/// The number of a counter on this process' metrics page. Other tests may count there too.
pub(crate) fn counted(line: &str) -> f64 {
    static RECORDER: OnceLock<PrometheusHandle> = OnceLock::new();
    let page = render_metrics(RECORDER.get_or_init(|| install_metrics().unwrap()));
    let found = page.lines().find_map(|it| it.strip_prefix(line)?.trim().parse().ok());
    found.unwrap_or_default()
}

impl Rest {
    pub(crate) async fn new() -> Self {
        Self::with(AppOptions::default()).await
    }

    pub(crate) async fn with(options: AppOptions) -> Self {
        Self::mounted(options, Mounts::default()).await
    }

    /// With routes of the test's own behind the real layers.
    pub(crate) async fn mounted(options: AppOptions, mounts: Mounts) -> Self {
        Self::hosting(Registry::new().with(Echo), options, mounts).await
    }

    /// With workflows of the test's own.
    pub(crate) async fn hosting(registry: Registry, options: AppOptions, mounts: Mounts) -> Self {
        let db = TestDb::new().await;
        let engine = db.engine(registry).await;
        let options =
            AppOptions { max_body_bytes: MAX_BODY, public_base_url: "https://fermata.example/".into(), ..options };
        let router = app_with(AppState::new(engine.clone(), options), mounts);
        let token = made(&engine, "acme", &[Scope::Admin]).await;
        Self { db, engine, router, token }
    }

    pub(crate) async fn token(&self, client: &str, scopes: &[Scope]) -> String {
        made(&self.engine, client, scopes).await
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let bytes = to_bytes(body, usize::MAX).await.unwrap();
        Answer { status: parts.status, headers: parts.headers, bytes }
    }

    /// Asks with a token, without a body.
    pub(crate) async fn ask(&self, method: &str, path: &str, token: &str) -> Answer {
        let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {token}"));
        self.send(request.body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.ask("GET", path, &self.token).await
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_with(path, body.to_string(), &[]).await
    }

    /// Posts text as JSON, with further headers.
    pub(crate) async fn post_with(&self, path: &str, body: impl Into<Body>, headers: &[(&str, &str)]) -> Answer {
        let mut request = Request::post(path).header("content-type", "application/json");
        if !headers.iter().any(|(name, _)| *name == "authorization") {
            request = request.header("authorization", format!("Bearer {}", self.token));
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        self.send(request.body(body.into()).unwrap()).await
    }

    /// Submits a command that is accepted; answers its id.
    pub(crate) async fn submit(&self, more: &Value) -> String {
        let answer = self.post("/v1/commands", &envelope(more)).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.json());
        answer.json()["command_id"].as_str().unwrap().to_owned()
    }

    pub(crate) async fn commands(&self) -> i64 {
        self.db.count("select count(*) from fermata.run").await
    }
}

async fn made(engine: &Engine, client: &str, scopes: &[Scope]) -> String {
    let new = NewToken {
        client_id: client.into(),
        name: "test".into(),
        scopes: scopes.to_vec(),
        command_types: None,
        ttl: None,
    };
    engine.create_token(&Principal::operator(), new).await.unwrap().token
}

/// A fit command, with further or other fields.
pub(crate) fn envelope(more: &Value) -> Value {
    let mut envelope = json!({"type": "test.echo", "payload": {"text": "hi"}});
    envelope.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    envelope
}
