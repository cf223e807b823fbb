//! Policies over REST: who may put and read which, what is refused, and what an evaluation answers. What they decide is a
//! law of the engine.

use axum::body::Body;
use axum::http::Request;
use fermata_api::app::{AppOptions, Mounts};
use fermata_engine::access::Scope;
use fermata_engine::clock::Clock;
use fermata_workflows::{Installation, registry};
use serde_json::{Value, json};

use super::harness::{Answer, Rest};

async fn send(rest: &Rest, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {token}"));
    rest.send(request.body(Body::from(body.to_string())).unwrap()).await
}

async fn put(rest: &Rest, scope: &str, token: &str, document: Value) -> Answer {
    send(rest, "PUT", &format!("/v1/policies/{scope}"), token, &document).await
}

#[tokio::test]
async fn a_policy_is_put_read_and_listed_by_its_scope() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::PoliciesWrite]).await;
    let paths = [
        ("global", "global", Value::Null, Value::Null, Value::Null),
        ("platform:demo", "platform:demo", Value::Null, json!("demo"), Value::Null),
        ("client:acme", "client:acme", json!("acme"), Value::Null, Value::Null),
        ("account:acme%2Fmain", "account:acme/main", json!("acme"), Value::Null, json!("main")),
    ];
    for (path, scope, client, platform, account) in paths {
        let answer = put(&rest, path, &operator, json!({"autonomy": "manual"})).await;
        let body = answer.json();
        assert_eq!(answer.status, 200, "{body}");
        assert_eq!((&body["scope"], &body["version"]), (&json!(scope), &json!(1)));
        assert_eq!((&body["client_id"], &body["platform"], &body["account_id"]), (&client, &platform, &account));
        let second = put(&rest, &format!("{path}?if_version=1"), &operator, json!({})).await.json();
        assert_eq!((&second["version"], &second["document"]), (&json!(2), &json!({})));
        let first = rest.ask("GET", &format!("/v1/policies/{path}?version=1"), &operator).await.json();
        assert_eq!(first["document"], json!({"autonomy": "manual"}));
        assert_eq!(rest.ask("GET", &format!("/v1/policies/{path}"), &operator).await.json(), second);
        put(&rest, &format!("{path}?if_version=1"), &operator, json!({})).await.problem(409, "version_moved");
    }
    let listed = rest.ask("GET", "/v1/policies", &operator).await.json();
    let scopes: Vec<_> = listed["items"].as_array().unwrap().iter().map(|it| it["scope"].as_str().unwrap()).collect();
    assert_eq!(scopes, ["account:acme/main", "client:acme", "global", "platform:demo"]);
}

#[tokio::test]
async fn a_client_puts_its_own_policies_and_sees_those_that_bind_it() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::PoliciesWrite]).await;
    let acme = rest.token("acme", &[Scope::PoliciesWrite]).await;
    for scope in ["global", "client:other"] {
        assert_eq!(put(&rest, scope, &operator, json!({})).await.status, 200);
    }
    assert_eq!(put(&rest, "client:acme", &acme, json!({})).await.status, 200);
    for scope in ["global", "platform:demo", "client:other", "account:other%2Fmain"] {
        put(&rest, scope, &acme, json!({})).await.problem(403, "client_not_allowed");
    }
    rest.ask("GET", "/v1/policies/client:other", &acme).await.problem(404, "not_found");
    let listed = rest.ask("GET", "/v1/policies", &acme).await.json();
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "{listed}");
    let reader = rest.token("acme", &[Scope::CommandsRead]).await;
    put(&rest, "client:acme", &reader, json!({})).await.problem(403, "scope_missing");
    assert_eq!(rest.ask("GET", "/v1/policies/client:acme", &reader).await.status, 200);
    let ask = json!({"client_id": "other", "platform": "demo", "account_id": "a", "action_type": "publish"});
    send(&rest, "POST", "/v1/policies/evaluate", &reader, &ask).await.problem(403, "client_not_allowed");
}

#[tokio::test]
async fn what_does_not_fit_is_said_all_at_once() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::PoliciesWrite, Scope::CommandsRead]).await;
    let document = json!({"concurrency": 0, "quiet_hours": [{"tz": "Mars", "from": "22:00", "to": "07:00"}]});
    let problem = put(&rest, "global", &operator, document).await.problem(400, "validation");
    let places: Vec<_> =
        problem["errors"].as_array().unwrap().iter().map(|it| it["pointer"].as_str().unwrap()).collect();
    assert_eq!(places, ["/quiet_hours/0/tz", "/concurrency"]);
    put(&rest, "global", &operator, json!({"quiet_hour": []})).await.problem(400, "validation");
    put(&rest, "everybody", &operator, json!({})).await.problem(400, "validation");
    let ask = json!({"platform": "demo", "account_id": "", "action_type": "publish"});
    send(&rest, "POST", "/v1/policies/evaluate", &operator, &ask).await.problem(400, "validation");
    assert_eq!(rest.ask("GET", "/v1/policies", &operator).await.json()["items"], json!([]));
}

#[tokio::test]
async fn an_evaluation_names_the_rule_that_decides() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::PoliciesWrite, Scope::CommandsRead, Scope::KillWrite]).await;
    put(&rest, "platform:demo", &operator, json!({"allowed_actions": {"demo": ["like"]}})).await;
    let ask =
        json!({"client_id": "acme", "platform": "demo", "account_id": "main", "action_type": "publish", "payload": {}});
    let said = send(&rest, "POST", "/v1/policies/evaluate", &operator, &ask).await.json();
    assert_eq!((&said["verdict"]["decision"], &said["verdict"]["rule"]), (&json!("block"), &json!("allowed_actions")));
    assert_eq!(said["verdict"]["heads"], json!({"platform:demo": 1}));
    let off = json!({"engaged": true, "reason": "a test"});
    assert_eq!(send(&rest, "PUT", "/v1/kill-switches/clients/acme", &operator, &off).await.status, 200);
    let said = send(&rest, "POST", "/v1/policies/evaluate", &operator, &ask).await.json();
    assert_eq!(said["verdict"]["rule"], "kill_switch", "a switch comes first");
}

#[tokio::test]
async fn an_account_is_put_into_another_mode_by_whoever_acts_for_it() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::AccountsWrite, Scope::CommandsRead]).await;
    let acme = rest.token("acme", &[Scope::AccountsWrite]).await;
    let mode = |mode: &str| json!({"mode": mode, "reason": "a test"});
    let path = "/v1/platform-accounts/demo/main%2F1/mode";
    let turned = send(&rest, "PUT", path, &acme, &mode("read_only")).await.json();
    assert_eq!(
        (&turned["client_id"], &turned["account_id"], &turned["mode"]),
        (&json!("acme"), &json!("main/1"), &json!("read_only"))
    );
    send(&rest, "PUT", &format!("{path}?client_id=other"), &acme, &mode("normal"))
        .await
        .problem(403, "client_not_allowed");
    send(&rest, "PUT", path, &acme, &mode("frozen")).await.problem(400, "validation");
    let ask = json!({"client_id": "acme", "platform": "demo", "account_id": "main/1", "action_type": "publish"});
    let said = send(&rest, "POST", "/v1/policies/evaluate", &operator, &ask).await.json();
    assert_eq!((&said["verdict"]["decision"], &said["verdict"]["rule"]), (&json!("block"), &json!("account_mode")));
    let other = rest.token("other", &[Scope::AccountsWrite]).await;
    assert_eq!(rest.ask("GET", "/v1/platform-accounts", &other).await.json()["items"], json!([]));
    assert_eq!(rest.ask("GET", "/v1/platform-accounts", &acme).await.json()["items"], json!([turned]));
}

/// An API of an installation with the flows that come with Fermata.
async fn installed() -> Rest {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut installation = Installation::with_packs(Clock::system()).unwrap();
    installation.sites.insert("demo_site".to_owned(), "http://127.0.0.1:1".to_owned());
    Rest::hosting(registry(installation).unwrap(), AppOptions::default(), Mounts::default()).await
}

#[tokio::test]
async fn a_flow_is_told_in_advance_by_its_name_or_as_a_document_and_by_whoever_may() {
    let rest = installed().await;
    let all = [Scope::PoliciesWrite, Scope::CommandsRead, Scope::FlowsInline];
    let (acme, operator) = (rest.token("acme", &all).await, rest.token("*", &all).await);
    let evaluate = async |token: &str, ask: Value| send(&rest, "POST", "/v1/policies/evaluate", token, &ask).await;
    put(&rest, "client:acme", &acme, json!({"gates": {"dm_send": "required"}})).await;
    let told = evaluate(&acme, json!({"workflow_name": "demo.dm", "inputs": {"to": "bob", "text": "hi"}})).await;
    let body = told.json();
    assert_eq!(told.status, 200, "{body}");
    assert_eq!(
        (&body["verdict"]["rule"], &body["actions"][0]["action_type"]),
        (&json!("gates/dm_send"), &json!("dm_send"))
    );
    let flow = json!({"name": "a.b", "version": "1", "platform": "demo", "lane": "api", "steps": [{"id": "s", "effect": {
        "action_type": "like", "account": "ada", "payload": {}, "call": {"http": {"method": "POST", "url": "http://h"}}}}]});
    let inline = |client: Value| json!({"flow": flow, "client_id": client});
    let body = evaluate(&acme, inline(Value::Null)).await.json();
    assert_eq!((&body["actions"][0]["step"], &body["verdict"]["decision"]), (&json!("s"), &json!("allow")), "{body}");
    assert_eq!(evaluate(&operator, inline(json!("acme"))).await.status, 200);
    evaluate(&operator, inline(Value::Null)).await.problem(400, "validation");
    evaluate(&acme, inline(json!("other"))).await.problem(403, "client_not_allowed");
    let reader = rest.token("acme", &[Scope::CommandsRead]).await;
    evaluate(&reader, inline(Value::Null)).await.problem(403, "scope_missing");
}

#[tokio::test]
async fn a_question_is_about_one_action_or_one_flow_and_what_is_missing_is_said_at_once() {
    let rest = installed().await;
    let token = rest.token("acme", &[Scope::CommandsRead, Scope::FlowsInline]).await;
    for (ask, wanted) in [
        (json!({}), vec!["/platform", "/account_id", "/action_type"]),
        (json!({"platform": "demo", "account_id": "a"}), vec!["/action_type"]),
        (json!({"workflow_name": "demo.dm", "platform": "demo", "payload": {}}), vec!["/platform", "/payload"]),
        (json!({"workflow_name": "demo.dm", "flow": {}}), vec!["/flow"]),
        (json!({"platform": "demo", "account_id": "a", "action_type": "like", "inputs": {}}), vec!["/inputs"]),
        (json!({"workflow_name": "nobody.knows"}), vec!["/workflow_name"]),
        (json!({"workflow_name": "demo.dm", "inputs": {"to": "bob", "text": 7}}), vec!["/inputs/text"]),
        (json!({"platform": "demo", "account_id": "a", "action_type": "pubish"}), vec!["/action_type"]),
        (json!({"platform": "myspace", "account_id": "a", "action_type": "like"}), vec!["/platform"]),
        (json!({"workflow_name": "demo.dm", "inputs": []}), vec!["/inputs"]),
    ] {
        let problem = send(&rest, "POST", "/v1/policies/evaluate", &token, &ask).await.problem(400, "validation");
        let places = problem["errors"].as_array().unwrap().iter().map(|it| it["pointer"].as_str().unwrap());
        assert_eq!(places.collect::<Vec<_>>(), wanted, "{ask}: {problem}");
    }
}
