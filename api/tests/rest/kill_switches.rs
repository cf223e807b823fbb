//! Kill switches over REST: who may turn which, and what is refused. What they stop is a law of the engine.

use axum::body::Body;
use axum::http::Request;
use fermata_engine::access::Scope;
use serde_json::{Value, json};

use super::harness::{Answer, Rest};

const GLOBAL: &str = "/v1/kill-switches/global";

async fn put(rest: &Rest, path: &str, token: &str, body: &str) -> Answer {
    let request = Request::put(path).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {token}"));
    rest.send(request.body(Body::from(body.to_owned())).unwrap()).await
}

fn on() -> String {
    json!({"engaged": true, "reason": "wrong price list"}).to_string()
}

async fn listed(rest: &Rest, token: &str) -> Vec<String> {
    let page = rest.ask("GET", "/v1/kill-switches", token).await.json();
    let scope = |it: &Value| it["scope"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(scope).collect()
}

#[tokio::test]
async fn a_switch_is_turned_named_and_listed() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::KillWrite]).await;
    let paths = [
        (GLOBAL, "global", Value::Null, Value::Null),
        ("/v1/kill-switches/clients/acme", "client:acme", json!("acme"), Value::Null),
        ("/v1/kill-switches/accounts/main?client_id=acme", "account:acme/main", json!("acme"), json!("main")),
        ("/v1/kill-switches/accounts/a%20b", "account:*/a b", Value::Null, json!("a b")),
    ];
    for (path, scope, client, account) in paths {
        let answer = put(&rest, path, &operator, &on()).await;
        let body = answer.json();
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!((&body["scope"], &body["client_id"], &body["account_id"]), (&json!(scope), &client, &account));
        assert_eq!((&body["engaged"], &body["version"], &body["under_way"]), (&json!(true), &json!(1), &json!([])));
        assert_eq!((&body["reason"], &body["actor"]), (&json!("wrong price list"), &json!("test")));
    }
    let off = json!({"engaged": false, "reason": "mended"}).to_string();
    let answer = put(&rest, &format!("{GLOBAL}?wait=drain"), &operator, &off).await;
    assert_eq!((&answer.json()["engaged"], &answer.json()["version"]), (&json!(false), &json!(2)));
    assert_eq!(listed(&rest, &operator).await, ["account:*/a b", "account:acme/main", "client:acme", "global"]);
}

#[tokio::test]
async fn a_client_turns_its_own_switches_and_sees_those_that_stop_it() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::KillWrite]).await;
    let acme = rest.token("acme", &[Scope::KillWrite]).await;
    put(&rest, "/v1/kill-switches/clients/other", &operator, &on()).await;
    put(&rest, GLOBAL, &operator, &on()).await;

    assert_eq!(put(&rest, "/v1/kill-switches/clients/acme", &acme, &on()).await.status, 200);
    let own = put(&rest, "/v1/kill-switches/accounts/main", &acme, &on()).await.json();
    assert_eq!(own["scope"], "account:acme/main");
    for path in [GLOBAL, "/v1/kill-switches/clients/other", "/v1/kill-switches/accounts/main?client_id=other"] {
        put(&rest, path, &acme, &on()).await.problem(403, "client_not_allowed");
    }
    let reader = rest.token("acme", &[Scope::CommandsRead]).await;
    put(&rest, "/v1/kill-switches/clients/acme", &reader, &on()).await.problem(403, "scope_missing");
    assert_eq!(listed(&rest, &reader).await, ["account:acme/main", "client:acme", "global"]);
    let blind = rest.token("acme", &[Scope::EventsRead]).await;
    rest.ask("GET", "/v1/kill-switches", &blind).await.problem(403, "scope_missing");
}

#[tokio::test]
async fn what_does_not_fit_turns_nothing() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::Admin]).await;
    let long = json!({"engaged": true, "reason": "x".repeat(2_001)}).to_string();
    let bodies = [
        "{}",
        r#"{"engaged": true}"#,
        r#"{"engaged": true, "reason": ""}"#,
        r#"{"engaged": 1, "reason": "x"}"#,
        r#"{"engaged": true, "reason": "x\u0000"}"#,
        r#"{"engaged": true, "reason": "x", "more": 1}"#,
        &long,
    ];
    for body in bodies {
        let answer = put(&rest, GLOBAL, &operator, body).await;
        assert_eq!(answer.status, 400, "{body}: {}", answer.json());
    }
    for path in ["global?wait=for-ever", "clients/*", "accounts/*", "accounts/main?client_id=*", "clients/a%00b"] {
        let answer = put(&rest, &format!("/v1/kill-switches/{path}"), &operator, &on()).await;
        assert_eq!(answer.status, 400, "{path}: {}", answer.json());
    }
    assert_eq!(put(&rest, "/v1/kill-switches/everything", &operator, &on()).await.status, 404);
    assert_eq!(listed(&rest, &operator).await, Vec::<String>::new());
}
