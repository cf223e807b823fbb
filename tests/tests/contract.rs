//! The contract (G-112, G-117): whatever the program takes and tells fits the schemas that it
//! publishes, for every command type and every type of event, over real HTTP and a real Postgres.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod commands;
mod events;
mod program;
mod workflows;

use std::sync::Arc;

use fermata_api::app::{AppOptions, AppState, app};
use fermata_engine::Engine;
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_workflows::Catalog;
use jsonschema::Validator;
use serde_json::Value;
use tokio::net::TcpListener;

/// The API of an engine on a socket, and a client with a token of client `c`.
struct Served {
    base: String,
    token: String,
    http: reqwest::Client,
}

impl Served {
    async fn start(engine: &Engine) -> Self {
        Self::start_with(engine, Catalog::default()).await
    }

    async fn start_with(engine: &Engine, flows: Catalog) -> Self {
        drop(rustls::crypto::ring::default_provider().install_default());
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let mut state = AppState::new(engine.clone(), AppOptions::default());
        state.flow_schema = Arc::new(fermata_workflows::flow::schema());
        state.catalog = Arc::new(flows.with_code(engine.registry()));
        let router = app(state);
        tokio::spawn(async move { axum::serve(listener, router).await });
        let new = NewToken {
            client_id: "c".into(),
            name: "contract".into(),
            scopes: vec![Scope::Admin],
            command_types: None,
            ttl: None,
        };
        let token = engine.create_token(&Principal::operator(), new).await.unwrap().token;
        Self { base, token, http: reqwest::Client::builder().no_proxy().build().unwrap() }
    }

    async fn get(&self, path: &str) -> Value {
        let answer = self.http.get(format!("{}{path}", self.base)).bearer_auth(&self.token).send().await.unwrap();
        assert_eq!(answer.status().as_u16(), 200, "GET {path}");
        answer.json().await.unwrap()
    }

    async fn post(&self, path: &str, body: &Value) -> (u16, Value) {
        let request = self.http.post(format!("{}{path}", self.base)).bearer_auth(&self.token).json(body);
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.json().await.unwrap())
    }

    /// A validator of a published schema that minds formats.
    async fn schema(&self, path: &str) -> Validator {
        validator(&self.get(path).await)
    }
}

fn validator(schema: &Value) -> Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}
