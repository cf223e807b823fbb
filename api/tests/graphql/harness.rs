//! A serving process in miniature, and a workflow that leaves a trace of every kind.

use std::net::SocketAddr;
use std::time::Duration;

use fermata_api::app::{AppOptions, AppState, app_with};
use fermata_api::graphql::{GraphqlOptions, mounts};
use fermata_engine::Engine;
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::wait::{GateKind, GateRequest};
use fermata_engine::workflow::{Attempt, Context, Failure, Registry, RetryPolicy, StepError, Workflow};
use fermata_tests::{Ledger, Post, Promises, TestDb, eventually};
use reqwest::{Client, Response, StatusCode};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::net::TcpListener;

/// An id of nothing.
pub(crate) const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Input {
    /// Makes its effect another one.
    key: String,
}

/// A step that fails once, an artifact, an effect, a child, and a gate at which it waits.
pub(crate) struct Tour(Ledger);

impl Workflow for Tour {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.tour";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        let once = RetryPolicy { max_attempts: 2, initial_ms: 1, factor: 1.0, longest_ms: 1 };
        let flaky = |attempt: Attempt| async move {
            if attempt.number == 1 { Err(StepError::retry("flaky", "not yet")) } else { Ok(attempt.number) }
        };
        context.step("flaky").retry(once).run(flaky).await?;
        context.artifact("report", "text/plain", input.key.clone().into_bytes()).await?;
        let post = Post { ledger: self.0.clone(), key: input.key, promises: Promises::default() };
        let receipt = context.effect("publish", &post).await?;
        let child = context.child("kid", Kid::NAME, json!({})).await?;
        let request = GateRequest {
            kind: GateKind::Approval,
            reason: "look".into(),
            shown: json!({"child": child}),
            expires_in: None,
        };
        let decision = context.gate("ask", request).await?;
        Ok(json!({"receipt": receipt, "approved": decision.approved}))
    }
}

struct Kid;

impl Workflow for Kid {
    type Input = Value;
    type Output = Value;
    const NAME: &'static str = "test.kid";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, _: Value) -> Result<Value, Failure> {
        context.step("play").run(|_| async { Ok(json!("played")) }).await
    }
}

/// Waits for a signal and ends with it.
struct Echo;

impl Workflow for Echo {
    type Input = Value;
    type Output = Value;
    const NAME: &'static str = "test.echo";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, _: Value) -> Result<Value, Failure> {
        context.wait_signal("go").await
    }
}

pub(crate) struct Graph {
    pub(crate) db: TestDb,
    pub(crate) engine: Engine,
    pub(crate) address: SocketAddr,
    pub(crate) http: Client,
    /// Every scope, client `acme`.
    pub(crate) token: String,
}

impl Graph {
    pub(crate) async fn new() -> Self {
        Self::with(TestDb::new().await, GraphqlOptions::default()).await
    }

    pub(crate) async fn with(db: TestDb, options: GraphqlOptions) -> Self {
        let registry = Registry::new().with(Tour(Ledger::default())).with(Kid).with(Echo);
        let engine = db.worker(registry, Duration::from_secs(30)).await;
        let state = AppState::new(engine.clone(), AppOptions::default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let router = app_with(state, mounts(options));
        tokio::spawn(async move { axum::serve(listener, router).await });
        let token = made(&engine, "acme", &[Scope::Admin]).await;
        // Whoever comes second finds it installed.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self { db, engine, address, http: Client::new(), token }
    }

    pub(crate) async fn token(&self, client: &str, scopes: &[Scope]) -> String {
        made(&self.engine, client, scopes).await
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}/graphql", self.address)
    }

    /// Posts a body as a GraphQL request.
    pub(crate) async fn post(&self, token: &str, body: &Value, accept: &str) -> Response {
        let request = self.http.post(self.url()).bearer_auth(token).header("accept", accept);
        request.json(body).send().await.unwrap()
    }

    /// Asks as somebody; what comes back is a GraphQL answer, whatever is in it.
    pub(crate) async fn ask_as(&self, token: &str, query: &str, variables: Value) -> Value {
        let body = json!({"query": query, "variables": variables});
        let answer = self.post(token, &body, "application/json").await;
        assert_eq!(answer.status(), StatusCode::OK);
        answer.json().await.unwrap()
    }

    /// Asks for data that is there.
    pub(crate) async fn data(&self, query: &str, variables: Value) -> Value {
        let mut answer = self.ask_as(&self.token, query, variables).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        answer["data"].take()
    }

    /// Asks for what is refused: the first error.
    pub(crate) async fn refused_to(&self, token: &str, query: &str, variables: Value) -> Value {
        let mut answer = self.ask_as(token, query, variables).await;
        assert!(answer["errors"].is_array(), "{answer}");
        let error = answer["errors"][0].take();
        for member in ["code", "status", "type", "requestId"] {
            assert!(!error["extensions"][member].is_null(), "{member} in {error}");
        }
        error
    }

    pub(crate) async fn refused(&self, query: &str, variables: Value) -> Value {
        self.refused_to(&self.token, query, variables).await
    }

    /// Submits a command through the mutation; answers its id.
    pub(crate) async fn submit(&self, input: Value) -> String {
        let mutation = "mutation($input: SubmitCommandInput!) { submitCommand(input: $input) { commandId } }";
        let data = self.data(mutation, json!({"input": input})).await;
        data["submitCommand"]["commandId"].as_str().unwrap().to_owned()
    }

    /// A command that has done everything and waits at its gate.
    pub(crate) async fn tour(&self, key: &str) -> String {
        let id = self.submit(json!({"type": "test.tour", "payload": {"key": key}, "accountId": key})).await;
        self.at_gate(&id).await;
        id
    }

    pub(crate) async fn at_gate(&self, id: &str) {
        self.db.reaches(&self.engine, id.parse().unwrap(), &["HUMAN_REQUIRED"]).await;
    }

    /// The id of a command's gate, once it is open.
    pub(crate) async fn gate_of(&self, command: &str) -> String {
        let query = "query($id: ID!) { command(id: $id) { gates { edges { node { id } } } } }";
        eventually("the gate is open", || async {
            let data = self.data(query, json!({"id": command})).await;
            data["command"]["gates"]["edges"][0]["node"]["id"].as_str().map(str::to_owned)
        })
        .await
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
