//! A client of Fermata as any other: REST and GraphQL over HTTP, and a history of all that it asked.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::clock;
use crate::history::{Ask, Ended, History, Told};
use crate::trouble::Trouble;

/// Then nobody knows what became of the request.
const PATIENCE: Duration = Duration::from_secs(5);
/// Before the same is asked again.
pub(crate) const AGAIN: Duration = Duration::from_millis(120);

/// One tenant's hands.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    control: String,
    token: String,
    /// The client of Fermata that it acts for.
    pub(crate) tenant: String,
    history: Arc<History>,
    /// The newest command that it knows of.
    newest: Arc<Mutex<Option<String>>>,
}

const SUBMIT: &str =
    "mutation($input: SubmitCommandInput!) { submitCommand(input: $input) { commandId replayed status } }";
const READ: &str = "query($id: ID!) { command(id: $id) { id status } }";

impl Client {
    pub(crate) fn new(control: &str, token: &str, tenant: &str, history: Arc<History>) -> Result<Self, Trouble> {
        let http = reqwest::Client::builder().timeout(PATIENCE).no_proxy().build()?;
        Ok(Self {
            http,
            control: control.to_owned(),
            token: token.to_owned(),
            tenant: tenant.to_owned(),
            history,
            newest: Arc::default(),
        })
    }

    /// Some command of this client, if it knows one.
    pub(crate) fn any_command(&self) -> Option<String> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A request to `path`.
    fn to(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.control)).bearer_auth(&self.token)
    }

    async fn send(&self, ask: Ask, request: RequestBuilder) -> Result<Told, Trouble> {
        let told = match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                let body: Option<Value> = answer.json().await.ok();
                let ended = match (status, &body) {
                    (200..300, Some(_)) => Ended::Ok,
                    // It was not done, or it was and could not be told.
                    (_, None) | (408 | 500..600, _) => Ended::Unknown,
                    _ => Ended::Fail,
                };
                Told { ended, status: Some(status), answer: body.unwrap_or(Value::Null) }
            }
            Err(_) => Told { ended: Ended::Unknown, status: None, answer: Value::Null },
        };
        let answered = (told.ended != Ended::Unknown || told.status.is_some()).then(clock::now);
        self.history.note(&ask, answered, &told)?;
        Ok(told)
    }

    fn ask(who: &'static str, via: &'static str, op: &'static str, what: Value) -> Ask {
        Ask { who, via, op, what, sent_at: clock::now() }
    }

    /// Submits a command once.
    pub(crate) async fn submit(
        &self,
        payload: &(&str, Value),
        about: &Value,
        key: Option<&str>,
        by_graphql: bool,
    ) -> Result<Told, Trouble> {
        let (kind, payload) = payload;
        let via = if by_graphql { "graphql" } else { "rest" };
        let ask =
            json!({"client_id": self.tenant, "idempotency_key": key, "type": kind, "payload": payload, "about": about});
        let ask = Self::ask("orchestrator", via, "submit", ask);
        let told = if by_graphql {
            let input = json!({"type": kind, "payload": payload, "clientId": self.tenant, "idempotencyKey": key});
            let found = |data: &Value| {
                let told = &data["submitCommand"];
                let answer = json!({"command_id": told["commandId"], "replayed": told["replayed"]});
                told["commandId"].is_string().then_some(answer)
            };
            self.graphql(ask, SUBMIT, json!({"input": input}), found).await?
        } else {
            let body = json!({"type": kind, "payload": payload, "client_id": self.tenant});
            let request = self.to(Method::POST, "/v1/commands").json(&body);
            let request = match key {
                Some(key) => request.header("idempotency-key", key),
                None => request,
            };
            self.send(ask, request).await?
        };
        if let Some(command) = told.answer["command_id"].as_str().filter(|_| told.ended == Ended::Ok) {
            *self.newest.lock().unwrap_or_else(PoisonError::into_inner) = Some(command.to_owned());
        }
        Ok(told)
    }

    /// A GraphQL request; errors are refusals only where the server says so.
    async fn graphql(
        &self,
        ask: Ask,
        document: &str,
        variables: Value,
        found: impl Fn(&Value) -> Option<Value>,
    ) -> Result<Told, Trouble> {
        let request = self.http.post(format!("{}/graphql", self.control)).bearer_auth(&self.token);
        let answer = request.json(&json!({"query": document, "variables": variables})).send().await;
        let told = match answer {
            Err(_) => Told { ended: Ended::Unknown, status: None, answer: Value::Null },
            Ok(answer) => {
                let status = answer.status().as_u16();
                let body: Value = answer.json().await.unwrap_or(Value::Null);
                match found(&body["data"]) {
                    Some(answer) => Told { ended: Ended::Ok, status: Some(status), answer },
                    None => Told { ended: refusal(&body), status: Some(status), answer: body },
                }
            }
        };
        let answered = told.status.map(|_| clock::now());
        self.history.note(&ask, answered, &told)?;
        Ok(told)
    }

    /// Reads a command.
    pub(crate) async fn read(&self, command: &str, by_graphql: bool) -> Result<Told, Trouble> {
        let via = if by_graphql { "graphql" } else { "rest" };
        let ask = Self::ask("dashboard", via, "read", json!({"command_id": command}));
        if by_graphql {
            let found = |data: &Value| data["command"].is_object().then(|| data["command"].clone());
            return self.graphql(ask, READ, json!({"id": command}), found).await;
        }
        self.send(ask, self.to(Method::GET, &format!("/v1/commands/{command}"))).await
    }

    /// Sends the signal `go`; with an id of its own, so that it may be sent again.
    pub(crate) async fn signal(&self, command: &str, id: uuid::Uuid) -> Result<Told, Trouble> {
        let ask = json!({"command_id": command, "name": "go", "signal_id": id});
        let ask = Self::ask("orchestrator", "rest", "signal", ask);
        let body = json!({"signal_id": id, "payload": {}});
        self.send(ask, self.to(Method::POST, &format!("/v1/commands/{command}/signals/go")).json(&body)).await
    }

    pub(crate) async fn cancel(&self, command: &str) -> Result<Told, Trouble> {
        let ask = Self::ask("orchestrator", "rest", "cancel", json!({"command_id": command}));
        self.send(ask, self.to(Method::POST, &format!("/v1/commands/{command}/cancel")).json(&json!({}))).await
    }

    /// The open gates of a command.
    pub(crate) async fn gates(&self, command: &str) -> Result<Vec<Value>, Trouble> {
        let url = format!("{}/v1/gates?state=open&command_id={command}", self.control);
        let Ok(answer) = self.http.get(url).bearer_auth(&self.token).send().await else { return Ok(Vec::new()) };
        let page: Value = answer.json().await.unwrap_or(Value::Null);
        Ok(page["items"].as_array().cloned().unwrap_or_default())
    }

    pub(crate) async fn decide(&self, command: &str, gate: &str, approve: bool) -> Result<Told, Trouble> {
        let ask = json!({"command_id": command, "gate_id": gate, "approve": approve, "repeat": false});
        let ask = Self::ask("reviewer", "rest", "decide", ask);
        let body = json!({"decision": if approve { "approve" } else { "reject" }});
        self.send(ask, self.to(Method::POST, &format!("/v1/gates/{gate}/decisions")).json(&body)).await
    }

    /// Turns the client's kill switch.
    pub(crate) async fn switch(&self, engaged: bool) -> Result<Told, Trouble> {
        let ask = json!({"scope": format!("client:{}", self.tenant)});
        let ask = Self::ask("operator", "rest", if engaged { "trip" } else { "lift" }, ask);
        let body = json!({"engaged": engaged, "reason": "the plan says so"});
        self.send(ask, self.to(Method::PUT, &format!("/v1/kill-switches/clients/{}", self.tenant)).json(&body)).await
    }

    /// Puts a policy in force for the client.
    pub(crate) async fn policy(&self, document: &Value) -> Result<Told, Trouble> {
        let scope = format!("client:{}", self.tenant);
        let ask = Self::ask("operator", "rest", "policy", json!({"scope": scope, "document": document}));
        self.send(ask, self.to(Method::PUT, &format!("/v1/policies/{scope}")).json(document)).await
    }

    /// A signal to nobody in particular whose sender hangs up before it is answered.
    pub(crate) async fn abandon(&self, command: &str, id: uuid::Uuid, after: Duration) {
        let url = format!("{}/v1/commands/{command}/signals/nobody", self.control);
        let request = self.http.post(url).bearer_auth(&self.token).json(&json!({"signal_id": id, "payload": {}}));
        // Nobody is told anything: that is the point.
        drop(tokio::time::timeout(after, request.send()).await);
    }

    /// The newest place in the stream.
    pub(crate) async fn head(&self) -> Result<String, Trouble> {
        let request = self.http.post(format!("{}/graphql", self.control)).bearer_auth(&self.token);
        let answer: Value = request.json(&json!({"query": "{ stream { head } }"})).send().await?.json().await?;
        let head = answer["data"]["stream"]["head"].as_str();
        head.map(str::to_owned).ok_or_else(|| Trouble::Answer(format!("no head in {answer}")))
    }
}

/// What errors of GraphQL mean for a change: known refusals are refusals, all else is not known.
fn refusal(body: &Value) -> Ended {
    let status = body["errors"][0]["extensions"]["status"].as_u64();
    match status {
        Some(status) if (400..500).contains(&status) && status != 408 && status != 429 => Ended::Fail,
        _ => Ended::Unknown,
    }
}
