//! The daily acts at the command line, against a real API with a worker: what is printed, and each
//! exit code of the contract.

#![cfg(test)]

use std::process::{Output, Stdio};
use std::time::Duration;

use fermata_api::app::{AppOptions, AppState, app};
use fermata_engine::Engine;
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::clock::Clock;
use fermata_engine::wait::{GateKind, GateRequest};
use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_tests::TestDb;
use fermata_workflows::{Installation, registry};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::task::JoinSet;

const NOBODY: &str = "01900000-0000-7000-8000-000000000000";

/// What the test's workflow is to do.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(tag = "act", rename_all = "snake_case")]
enum Input {
    /// Ask a person.
    Ask { kind: GateKind, reason: String },
    /// Fail with a code.
    Fail { code: String },
}

struct Act;

impl Workflow for Act {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.act";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        match input {
            Input::Fail { code } => Err(Failure::new(code, "as it was told")),
            Input::Ask { kind, reason } => {
                let request = GateRequest { kind, reason, shown: json!({"text": "hello"}), expires_in: None };
                let answer = context.gate("ask", request).await?;
                if answer.approved { Ok(answer.outputs) } else { Err(Failure::new("rejected", "a person said no")) }
            }
        }
    }
}

/// An API with a worker, and the command line that speaks to it.
struct Stage {
    db: TestDb,
    engine: Engine,
    url: String,
    token: String,
    _server: JoinSet<()>,
}

/// How a command ended, and what it printed.
struct Said {
    code: i32,
    out: String,
    err: String,
}

impl Said {
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|_| panic!("JSON, not {}{}", self.out, self.err))
    }
}

impl Stage {
    async fn new() -> Self {
        Self::hosting(Registry::new().with(Act)).await
    }

    async fn hosting(registry: Registry) -> Self {
        let db = TestDb::new().await;
        let engine = db.worker(registry, Duration::from_secs(10)).await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let router = app(AppState::new(engine.clone(), AppOptions::default()));
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        let token = token(&engine, &[Scope::Admin]).await;
        Self { db, engine, url, token, _server: server }
    }

    /// Runs the program with these words; the API and a token of every scope are in its environment.
    async fn fermata(&self, words: &[&str]) -> Said {
        self.fermata_with(words, &[], "").await
    }

    async fn fermata_with(&self, words: &[&str], environment: &[(&str, &str)], input: &str) -> Said {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fermata"));
        command.args(words).env_clear().env("PATH", std::env::var_os("PATH").unwrap());
        command.env("FERMATA_URL", &self.url).env("FERMATA_TOKEN", &self.token).envs(environment.iter().copied());
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).current_dir(std::env::temp_dir());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(input.as_bytes()).await.unwrap();
        drop(stdin);
        let Output { status, stdout, stderr } = child.wait_with_output().await.unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said { code: status.code().unwrap(), out: text(stdout), err: text(stderr) }
    }

    /// Submits a command; answers its id.
    async fn submit(&self, payload: Value) -> String {
        let body = json!({"type": "test.act", "client_id": "c", "payload": payload}).to_string();
        let said = self.fermata_with(&["submit", "-", "--json"], &[], &body).await;
        assert_eq!(said.code, 0, "{}", said.err);
        said.json()["command_id"].as_str().unwrap().to_owned()
    }

    /// A command that waits for a person; answers it and its gate.
    async fn asking(&self, kind: &str, reason: &str) -> (String, String) {
        let id = self.submit(json!({"act": "ask", "kind": kind, "reason": reason})).await;
        self.db.reaches(&self.engine, id.parse().unwrap(), &["HUMAN_REQUIRED"]).await;
        let gates = self.fermata(&["gates", "list", "--command", &id, "--json"]).await.json();
        (id, gates["items"][0]["gate_id"].as_str().unwrap().to_owned())
    }

    async fn close(self) {
        self.engine.close(Duration::from_secs(5)).await;
    }
}

async fn token(engine: &Engine, scopes: &[Scope]) -> String {
    let new = NewToken {
        client_id: "c".into(),
        name: "test".into(),
        scopes: scopes.to_vec(),
        command_types: None,
        ttl: None,
    };
    engine.create_token(&Principal::operator(), new).await.unwrap().token
}

#[tokio::test]
async fn an_approval_lets_a_run_go_on_and_is_given_once() {
    let stage = Stage::new().await;
    let (id, gate) = stage.asking("approval", "dm_send").await;
    let listed = stage.fermata(&["gates", "list"]).await;
    assert!([&*gate, "dm_send", "hello"].iter().all(|it| listed.out.contains(it)), "{}", listed.out);
    let waiting = stage.fermata(&["watch", &id, "--until-wait"]).await;
    assert_eq!(waiting.code, 9, "{}{}", waiting.out, waiting.err);
    let approve = ["gates", "approve", &gate, "--comment", "fine", "--outputs", r#"{"n": 1}"#];
    let approved = stage.fermata(&approve).await;
    assert_eq!((approved.code, approved.out.contains("approved")), (0, true), "{}", approved.err);
    let watched = stage.fermata(&["watch", &id, "--json"]).await;
    assert_eq!((watched.code, watched.json()["result"].clone()), (0, json!({"n": 1})));
    assert_eq!(stage.fermata(&approve).await.code, 5, "the first word holds");
    assert_eq!(stage.fermata(&["gates", "reject", &gate]).await.code, 5);
    assert_eq!(stage.fermata(&["gates", "approve", NOBODY]).await.code, 3);
    let decided = stage.fermata(&["gates", "list", "--state", "approved", "--json"]).await.json();
    assert_eq!(decided["items"][0]["gate_id"], gate);
    stage.close().await;
}

#[tokio::test]
async fn a_rejection_ends_the_run_as_failed() {
    let stage = Stage::new().await;
    let (id, gate) = stage.asking("approval", "dm_send").await;
    assert_eq!(stage.fermata(&["gates", "reject", &gate, "--comment", "no"]).await.code, 0);
    let watched = stage.fermata(&["watch", &id]).await;
    assert_eq!((watched.code, watched.out.contains("rejected: a person said no")), (1, true), "{}", watched.out);
    stage.close().await;
}

#[tokio::test]
async fn only_a_takeover_is_resumed_and_its_outputs_reach_the_run() {
    let stage = Stage::new().await;
    let (approval, _) = stage.asking("approval", "dm_send").await;
    let refused = stage.fermata(&["runs", "resume", &approval]).await;
    assert_eq!(refused.code, 5, "{}", refused.err);
    assert!(refused.err.contains("try: fermata explain not_waiting"), "{}", refused.err);
    let (takeover, _) = stage.asking("takeover", "two_fa").await;
    let resume = ["runs", "resume", &takeover, "--outputs", r#"{"code": "123"}"#];
    assert_eq!(stage.fermata(&resume).await.code, 0);
    let watched = stage.fermata(&["watch", &takeover, "--json"]).await;
    assert_eq!((watched.code, watched.json()["result"].clone()), (0, json!({"code": "123"})));
    assert_eq!(stage.fermata(&resume).await.code, 5);
    assert_eq!(stage.fermata(&["runs", "resume", NOBODY]).await.code, 3);
    assert_eq!(stage.fermata(&["runs", "resume", &approval, "--outputs", "{"]).await.code, 2);
    stage.close().await;
}

#[tokio::test]
async fn a_cancelled_run_is_shown_as_such_and_cancelled_once() {
    let stage = Stage::new().await;
    let (id, _) = stage.asking("approval", "dm_send").await;
    let cancelled = stage.fermata(&["runs", "cancel", &id, "--reason", "no more"]).await;
    assert_eq!((cancelled.code, cancelled.out.contains("CANCELL")), (0, true), "{}", cancelled.err);
    assert_eq!(stage.fermata(&["watch", &id]).await.code, 1);
    assert_eq!(stage.fermata(&["runs", "cancel", &id]).await.code, 5);
    assert_eq!(stage.fermata(&["runs", "cancel", NOBODY]).await.code, 3);
    let shown = stage.fermata(&["runs", "show", &id]).await;
    assert!(shown.out.contains("status       CANCELLED"), "{}", shown.out);
    let listed = stage.fermata(&["runs", "list", "--state", "CANCELLED", "--json"]).await.json();
    assert_eq!(listed["items"][0]["command_id"], id);
    assert_eq!(stage.fermata(&["runs", "list", "--state", "GONE"]).await.code, 1);
    stage.close().await;
}

#[tokio::test]
async fn each_way_a_run_fails_has_its_exit_code() {
    let stage = Stage::new().await;
    for (code, wanted) in [
        ("rejected", 1),
        ("kill_switch", 7),
        ("effect_denied", 7),
        ("budget_spent", 7),
        ("policy_denied", 7),
        ("outcome_unknown", 8),
    ] {
        let id = stage.submit(json!({"act": "fail", "code": code})).await;
        let watched = stage.fermata(&["watch", &id]).await;
        assert_eq!(watched.code, wanted, "{code}: {}{}", watched.out, watched.err);
        assert!(watched.out.contains(code), "{}", watched.out);
    }
    let (doubtful, _) = stage.asking("takeover", "outcome_unknown").await;
    assert_eq!(stage.fermata(&["watch", &doubtful, "--until-wait"]).await.code, 8);
    assert_eq!(stage.fermata(&["watch", NOBODY]).await.code, 3);
    stage.close().await;
}

#[tokio::test]
async fn a_submission_is_refused_with_what_and_where_and_is_one_command_for_its_key() {
    let stage = Stage::new().await;
    let fail = |code: &str| json!({"type": "test.act", "client_id": "c", "payload": {"act": "fail", "code": code}});
    let keyed = ["submit", "-", "--idempotency-key", "k", "--json"];
    let first = stage.fermata_with(&keyed, &[], &fail("a").to_string()).await;
    let again = stage.fermata_with(&keyed, &[], &fail("a").to_string()).await;
    assert_eq!((first.code, first.json()["command_id"].clone()), (0, again.json()["command_id"].clone()));
    let other = stage.fermata_with(&keyed, &[], &fail("b").to_string()).await;
    assert_eq!(other.code, 5);
    let trouble: Value = serde_json::from_str(&other.err).unwrap();
    assert_eq!(trouble["error"]["code"], "idempotency_mismatch");
    let dry = stage.fermata_with(&["submit", "-", "--dry-run"], &[], &fail("a").to_string()).await;
    assert_eq!((dry.code, dry.out.contains("would be accepted")), (0, true));
    let unfit = json!({"type": "test.act", "client_id": "c", "payload": {"act": "dance"}}).to_string();
    let unfit = stage.fermata_with(&["submit", "-"], &[], &unfit).await;
    assert_eq!((unfit.code, unfit.err.contains("/payload")), (1, true), "{}", unfit.err);
    stage.close().await;
}

#[tokio::test]
async fn a_token_is_made_used_rotated_and_revoked() {
    let stage = Stage::new().await;
    let made = stage.fermata(&["token", "create", "--client", "c", "--scope", "commands:read", "--ttl", "1h"]).await;
    let text = made.out.trim().to_owned();
    assert_eq!((made.code, made.out.lines().count()), (0, 1), "the text alone, so that it can go to a file");
    let with = |token: String| [("FERMATA_TOKEN", token)];
    let asking = async |token: &str, words: &[&str]| {
        let environment = with(token.to_owned());
        stage.fermata_with(words, &[(environment[0].0, &environment[0].1)], "").await.code
    };
    assert_eq!(asking(&text, &["runs", "list"]).await, 0);
    assert_eq!(asking(&text, &["gates", "approve", NOBODY]).await, 4, "it lacks the scope");
    assert_eq!(asking("hunter2", &["runs", "list"]).await, 4);

    let listed = stage.fermata(&["token", "list", "--json"]).await.json();
    let id = listed["items"][0]["token_id"].as_str().unwrap().to_owned();
    assert_eq!(listed["items"][0]["scopes"], json!(["commands:read"]));
    let shown = stage.fermata(&["token", "list"]).await.out;
    assert!(shown.contains(&id) && shown.contains("until ") && !shown.contains(&text), "{shown}");

    let next = stage.fermata(&["token", "rotate", &id, "--overlap", "1h"]).await;
    assert_eq!(asking(next.out.trim(), &["runs", "list"]).await, 0, "{}", next.err);
    assert_eq!(asking(&text, &["runs", "list"]).await, 0, "the old one goes on for a while");
    assert_eq!(stage.fermata(&["token", "revoke", &id]).await.code, 0);
    assert_eq!(asking(&text, &["runs", "list"]).await, 4);
    assert_eq!(asking(next.out.trim(), &["runs", "list"]).await, 0);
    for verb in ["revoke", "rotate"] {
        assert_eq!(stage.fermata(&["token", verb, &id]).await.code, 3, "{verb} of one that has ended");
    }
    assert_eq!(stage.fermata(&["token", "create", "--client", "c", "--scope", "everything"]).await.code, 2);
    stage.close().await;
}

#[tokio::test]
async fn tokens_are_kept_straight_in_the_database_where_no_api_is_meant() {
    let stage = Stage::new().await;
    let at = [("DATABASE_URL", stage.db.url.as_str()), ("FERMATA_URL", ""), ("FERMATA_TOKEN", "")];
    let direct = async |words: &[&str]| stage.fermata_with(words, &at, "").await;
    let made = direct(&["token", "create", "--client", "c", "--scope", "admin", "--json"]).await;
    assert_eq!(made.code, 0, "{}", made.err);
    let (text, id) = (made.json()["token"].clone(), made.json()["token_id"].as_str().unwrap().to_owned());
    let used = [("FERMATA_TOKEN", text.as_str().unwrap())];
    assert_eq!(stage.fermata_with(&["runs", "list"], &used, "").await.code, 0);
    assert_eq!(direct(&["token", "list"]).await.code, 0);
    assert_eq!(direct(&["token", "rotate", &id]).await.code, 0);
    assert_eq!(direct(&["token", "revoke", &id]).await.code, 0);
    assert_eq!(direct(&["token", "revoke", &id]).await.code, 3);
    assert_eq!(direct(&["token", "revoke", "x"]).await.code, 2);
    stage.close().await;
}

#[tokio::test]
async fn whatever_a_refusal_names_is_explained() {
    let stage = Stage::new().await;
    let refused = stage.fermata(&["runs", "show", NOBODY, "--json"]).await;
    let trouble: Value = serde_json::from_str(&refused.err).unwrap();
    let code = trouble["error"]["code"].as_str().unwrap().to_owned();
    for word in [code.as_str(), "not-found", "https://fermata.example/problems/not-found", "3"] {
        let page = stage.fermata(&["explain", word]).await;
        assert_eq!((page.code, page.out.contains("try: ")), (0, true), "{word}");
    }
    let page = stage.fermata(&["explain", "rate-limited", "--json"]).await.json();
    assert_eq!((page["code"].as_str(), page["status"].as_u64()), (Some("rate_limited"), Some(429)));
    assert_eq!(stage.fermata(&["explain", "no-such-word"]).await.code, 3);
    let all = stage.fermata(&["explain", "--json"]).await.json();
    assert!(all["items"].as_array().unwrap().len() > 60);
    stage.close().await;
}

#[tokio::test]
async fn effects_are_stopped_and_let_go_on_over_the_api_and_straight_in_the_database() {
    let stage = Stage::new().await;
    let on = stage.fermata(&["kill", "on", "--client", "c", "--reason", "wrong prices", "--json"]).await;
    assert_eq!(
        (on.code, on.json()["scope"].as_str(), on.json()["engaged"].as_bool()),
        (0, Some("client:c"), Some(true))
    );
    // No API is named: the database is enough.
    let down = [("FERMATA_URL", ""), ("FERMATA_TOKEN", ""), ("DATABASE_URL", stage.db.url.as_str())];
    let global = stage.fermata_with(&["kill", "on", "--wait", "--reason", "everything"], &down, "").await;
    assert_eq!((global.code, global.out.trim()), (0, "global  on"), "{}", global.err);
    let account = stage.fermata_with(&["kill", "on", "--account", "a b", "--client", "c"], &down, "").await;
    assert_eq!(account.out.trim(), "account:c/a b  on");
    let listed = stage.fermata(&["kill", "list"]).await;
    for wanted in ["client:c", "global", "wrong prices", "everything", "account:c/a b"] {
        assert!(listed.out.contains(wanted), "{wanted} in {}", listed.out);
    }
    assert_eq!(stage.fermata(&["kill", "off"]).await.code, 4, "the token is one client's");
    assert_eq!(stage.fermata_with(&["kill", "off"], &down, "").await.out.trim(), "global  off");
    assert_eq!(stage.fermata_with(&["kill", "list", "--json"], &down, "").await.json()["items"][2]["engaged"], false);
    let reader = token(&stage.engine, &[Scope::CommandsRead]).await;
    let refused = stage.fermata_with(&["kill", "on", "--client", "c"], &[("FERMATA_TOKEN", &reader)], "").await;
    assert_eq!(refused.code, 4, "{}", refused.err);
    assert_eq!(stage.fermata(&["kill", "on", "--client", "*"]).await.code, 1);
    stage.close().await;
}

#[tokio::test]
async fn a_policy_is_put_shown_and_asked_at_the_command_line() {
    let stage = Stage::new().await;
    let yaml = "allowed_actions:\n  demo: [like]\ngates: {like: required}\n";
    let put = stage.fermata_with(&["policy", "put", "client:c", "-"], &[], yaml).await;
    assert_eq!((put.code, put.out.trim()), (0, "client:c  version 1"), "{}", put.err);
    let again = stage.fermata_with(&["policy", "put", "client:c", "-", "--if-version", "0"], &[], "{}").await;
    assert_eq!(again.code, 5, "{}", again.err);
    let wrong = stage.fermata_with(&["policy", "put", "client:c", "-"], &[], r#"{"concurrency": 0}"#).await;
    assert!(wrong.code == 1 && wrong.err.contains("/concurrency"), "{}", wrong.err);
    let shown: Value = serde_json::from_str(&stage.fermata(&["policy", "show", "client:c"]).await.out).unwrap();
    assert_eq!(shown["allowed_actions"]["demo"][0], "like");
    assert!(stage.fermata(&["policy", "list"]).await.out.contains("client:c"));
    assert_eq!(stage.fermata(&["policy", "show", "client:c", "--version", "9"]).await.code, 3);
    let ask = |action| ["policy", "evaluate", "--platform", "demo", "--account", "a", "--action", action];
    let blocked = stage.fermata(&ask("publish")).await;
    assert_eq!((blocked.code, blocked.out.lines().next()), (7, Some("block  allowed_actions")), "{}", blocked.err);
    assert_eq!(stage.fermata(&ask("like")).await.code, 9);
    stage.close().await;
}

#[tokio::test]
async fn a_flow_is_told_in_advance_at_the_command_line_and_what_would_be_blocked_is_an_exit_code() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut installation = Installation::with_packs(Clock::system()).unwrap();
    installation.sites.insert("demo_site".to_owned(), "http://127.0.0.1:1".to_owned());
    let stage = Stage::hosting(registry(installation).unwrap()).await;
    let ask = ["policy", "evaluate", "--flow", "demo.dm", "--inputs", "-"];
    let inputs = r#"{"to": "bob", "text": "free money"}"#;
    let told = stage.fermata_with(&ask, &[], inputs).await;
    assert_eq!(told.code, 0, "{}", told.err);
    let banned = r#"{"compliance": {"banned_terms": ["free money"]}}"#;
    assert_eq!(stage.fermata_with(&["policy", "put", "client:c", "-"], &[], banned).await.code, 0);
    let told = stage.fermata_with(&ask, &[], inputs).await;
    assert_eq!(told.code, 7, "{}", told.err);
    for word in ["dm_send", "reached", "perhaps", "a person agrees", "block", "compliance/banned_terms"] {
        assert!(told.out.contains(word), "{word} in {}", told.out);
    }
    let json = stage.fermata_with(&[&ask[..], &["--json"]].concat(), &[], inputs).await;
    assert_eq!((json.code, &json.json()["actions"][0]["verdict"]["decision"]), (7, &json!("block")), "{}", json.err);
    let file = std::env::temp_dir().join(format!("told-{}.yaml", std::process::id()));
    let flow = "name: my.flow\nversion: '1'\nplatform: demo\nlane: api\nsteps:\n  - id: nap\n    sleep: {seconds: 1}\n";
    std::fs::write(&file, flow).unwrap();
    let nap = stage.fermata(&["policy", "evaluate", "--flow", file.to_str().unwrap()]).await;
    std::fs::remove_file(&file).unwrap();
    assert!(nap.code == 0 && nap.out.contains("It does nothing outside."), "{}{}", nap.out, nap.err);
    let both = stage.fermata(&["policy", "evaluate", "--flow", "demo.dm", "--platform", "demo"]).await;
    assert_eq!(both.code, 2, "{}", both.err);
    stage.close().await;
}
