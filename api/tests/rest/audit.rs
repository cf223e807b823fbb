//! The audit trail over REST: who sees which rows, how they are searched, and who may verify. What it holds is a law of the
//! engine (`tests/tests/audit.rs`).

use axum::body::Body;
use axum::http::Request;
use fermata_engine::access::Scope;
use serde_json::{Value, json};

use super::harness::{Answer, NOBODY, Rest};

async fn send(rest: &Rest, method: &str, path: &str, token: &str, body: &Value) -> Answer {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {token}"));
    rest.send(request.body(Body::from(body.to_string())).unwrap()).await
}

/// A switch of each of these clients is turned on and off.
async fn acts(rest: &Rest, token: &str) {
    for client in ["acme", "other"] {
        for engaged in [true, false] {
            let path = format!("/v1/kill-switches/clients/{client}");
            let turned = send(rest, "PUT", &path, token, &json!({"engaged": engaged, "reason": "a test"})).await;
            assert_eq!(turned.status, 200);
        }
    }
}

async fn found(rest: &Rest, token: &str, query: &str) -> Vec<Value> {
    let answer = rest.ask("GET", &format!("/v1/audit{query}"), token).await;
    assert_eq!(answer.status, 200, "{query}");
    answer.json()["items"].as_array().unwrap().clone()
}

#[tokio::test]
async fn rows_are_searched_newest_first_and_only_ones_own_are_found() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::KillWrite, Scope::AuditRead]).await;
    let acme = rest.token("acme", &[Scope::AuditRead]).await;
    acts(&rest, &operator).await;
    assert_eq!(found(&rest, &operator, "?phase=kill_switch").await.len(), 4);
    let mine = found(&rest, &acme, "?phase=kill_switch").await;
    let told: Vec<_> = mine.iter().map(|row| (&row["client_id"], &row["detail"]["engaged"])).collect();
    assert_eq!(told, [(&json!("acme"), &json!(false)), (&json!("acme"), &json!(true))]);
    let schema = rest.ask("GET", "/v1/schemas/audit-event", &acme).await.json();
    let schema = jsonschema::validator_for(&schema).unwrap();
    assert!(mine.iter().all(|row| schema.is_valid(row)), "{mine:#?}");
    let first = mine[0]["timestamp"].as_str().unwrap();
    for (query, count) in [
        (format!("?since={first}&phase=kill_switch"), 1),
        (format!("?until={first}&phase=kill_switch"), 1),
        ("?actor=nobody".to_owned(), 0),
        ("?account_id=main".to_owned(), 0),
        ("?client_id=other".to_owned(), 0),
        ("?limit=1&phase=kill_switch".to_owned(), 1),
    ] {
        assert_eq!(found(&rest, &acme, &query).await.len(), count, "{query}");
    }
    rest.ask("GET", "/v1/audit?since=yesterday", &acme).await.problem(400, "validation");
    rest.ask("GET", &format!("/v1/audit?command_id={NOBODY}"), &acme).await.problem(404, "not_found");
}

#[tokio::test]
async fn only_a_token_of_every_client_verifies_and_a_bad_head_is_refused_or_told() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::KillWrite, Scope::AuditRead]).await;
    let acme = rest.token("acme", &[Scope::AuditRead]).await;
    acts(&rest, &operator).await;
    let verify = async |token: &str, body: Value| send(&rest, "POST", "/v1/audit/verify", token, &body).await;
    verify(&acme, json!({})).await.problem(403, "client_not_allowed");
    let honest = verify(&operator, json!({})).await.json();
    // Nobody seals here.
    assert_eq!((&honest["ok"], &honest["sealed"]), (&json!(true), &json!(0)), "{honest}");
    assert!(honest["rows"].as_u64().unwrap() >= 4);
    let mut head = json!({
        "format": "fermata-audit-head/1", "client_id": "acme", "seq": 9, "hash": "00", "issued_at": "2026-01-01T00:00:00Z",
        "key_id": "0000000000000000", "public_key": "AAAA", "signature": "AAAA",
    });
    let told = verify(&operator, json!({"heads": [head]})).await.json();
    assert_eq!((&told["ok"], &told["findings"][0]["kind"]), (&json!(false), &json!("unsigned")), "{told}");
    head["seq"] = json!("nine");
    assert_eq!(verify(&operator, json!({"heads": [head]})).await.status, 400);
}

#[tokio::test]
async fn what_is_not_there_or_not_to_be_seen_has_no_proof_and_is_no_action() {
    let rest = Rest::new().await;
    let reader = rest.token("acme", &[Scope::CommandsRead]).await;
    let auditor = rest.token("acme", &[Scope::CommandsRead, Scope::AuditRead]).await;
    rest.ask("GET", &format!("/v1/commands/{NOBODY}/proof"), &reader).await.problem(403, "scope_missing");
    for path in [format!("/v1/commands/{NOBODY}/proof"), format!("/v1/actions/{NOBODY}"), "/v1/actions/x".to_owned()] {
        rest.ask("GET", &path, &auditor).await.problem(404, "not_found");
    }
}
