//! What is accepted, once and for good.

use futures::future::join_all;
use serde_json::json;

use super::harness::{Rest, envelope};

const COMMANDS: &str = "/v1/commands";

#[tokio::test]
async fn an_accepted_command_says_where_it_is() {
    let rest = Rest::new().await;
    let trace = [("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01")];
    let answer = rest.post_with(COMMANDS, envelope(&json!({"priority": 7})).to_string(), &trace).await;
    let body = answer.json();
    let id = body["command_id"].as_str().unwrap();
    assert_eq!((answer.status.as_u16(), body["status"].as_str()), (202, Some("QUEUED")));
    assert_eq!(answer.header("location"), format!("/v1/commands/{id}"));
    assert_eq!(body["links"]["self"], answer.header("location"));
    assert_eq!(body["links"]["cancel"], format!("/v1/commands/{id}/cancel"));
    assert!(body["links"]["stream"].is_string());
    let command = rest.get(answer.header("location")).await.json();
    assert_eq!(command["client_id"], "acme");
    assert_eq!(command["priority"], 7);
    assert_eq!(command["payload"], json!({"text": "hi"}));
    assert_eq!(command["trace_id"], "4bf92f3577b34da6a3ce929d0e0e4736");
    assert_eq!(command["lifecycle"][0]["status"], "QUEUED");
}

#[tokio::test]
async fn the_same_key_and_content_is_the_same_command() {
    let rest = Rest::new().await;
    let body = r#"{"type": "test.echo", "payload": {"text": "x", "times": 2}, "idempotency_key": "k"}"#;
    let other_order = r#"{"idempotency_key": "k", "payload": {"times": 2, "text": "x"}, "type": "test.echo"}"#;
    let first = rest.post_with(COMMANDS, body, &[]).await;
    let again = rest.post_with(COMMANDS, other_order, &[]).await;
    assert_eq!((first.header("idempotent-replayed"), again.header("idempotent-replayed")), ("", "true"));
    assert_eq!((again.status.as_u16(), &again.json()["command_id"]), (202, &first.json()["command_id"]));
    let differs = rest.post_with(COMMANDS, body.replace('2', "3"), &[]).await;
    assert_eq!(differs.problem(409, "idempotency_mismatch")["command_id"], first.json()["command_id"]);
    assert_eq!(rest.commands().await, 1);
}

#[tokio::test]
async fn the_key_may_come_in_the_header_but_not_another_one_in_the_body() {
    let rest = Rest::new().await;
    let header = [("idempotency-key", "k")];
    let first = rest.post_with(COMMANDS, envelope(&json!({})).to_string(), &header).await;
    let in_body = rest.post(COMMANDS, &envelope(&json!({"idempotency_key": "k"}))).await;
    assert_eq!(first.json()["command_id"], in_body.json()["command_id"]);
    let both = envelope(&json!({"idempotency_key": "other"})).to_string();
    rest.post_with(COMMANDS, both, &header).await.problem(400, "validation");
}

#[tokio::test]
async fn a_replay_tells_the_status_of_now() {
    let rest = Rest::new().await;
    let body = envelope(&json!({"idempotency_key": "k"}));
    let id = rest.post(COMMANDS, &body).await.json()["command_id"].as_str().unwrap().to_owned();
    rest.post(&format!("/v1/commands/{id}/cancel"), &json!({})).await;
    let again = rest.post(COMMANDS, &body).await.json();
    assert_eq!((again["command_id"].as_str(), again["status"].as_str()), (Some(&*id), Some("CANCELLED")));
}

#[tokio::test]
async fn fifty_identical_submissions_at_once_are_one_command() {
    let rest = Rest::new().await;
    let body = envelope(&json!({"idempotency_key": "k"}));
    let answers = join_all((0..50).map(|_| rest.post(COMMANDS, &body))).await;
    let mut ids: Vec<_> = answers.iter().map(|answer| answer.json()["command_id"].to_string()).collect();
    ids.dedup();
    assert_eq!(ids.len(), 1);
    assert_eq!(answers.iter().filter(|answer| answer.header("idempotent-replayed").is_empty()).count(), 1);
    assert_eq!(rest.commands().await, 1);
}

#[tokio::test]
async fn a_dry_run_judges_and_queues_nothing() {
    let rest = Rest::new().await;
    let fit = rest.post(COMMANDS, &envelope(&json!({"dry_run": true}))).await;
    assert_eq!((fit.status.as_u16(), fit.json()), (200, json!({"valid": true})));
    let unfit = envelope(&json!({"dry_run": true, "payload": {}}));
    assert_eq!(rest.post(COMMANDS, &unfit).await.problem(400, "validation")["errors"][0]["pointer"], "/payload/text");
    assert_eq!(rest.commands().await, 0);
}

#[tokio::test]
async fn a_queued_command_is_cancelled_at_once_and_an_ended_one_never() {
    let rest = Rest::new().await;
    let id = rest.submit(&json!({})).await;
    let path = format!("/v1/commands/{id}/cancel");
    let cancelled = rest.post(&path, &json!({"reason": "no more"})).await;
    assert_eq!((cancelled.status.as_u16(), cancelled.json()["status"].as_str()), (200, Some("CANCELLED")));
    rest.post(&path, &json!({})).await.problem(409, "command_ended");
    rest.post(&format!("/v1/commands/{id}/signals/go"), &json!({})).await.problem(409, "command_ended");
    let lifecycle = rest.get(&format!("/v1/commands/{id}")).await.json()["lifecycle"].clone();
    let statuses: Vec<_> = lifecycle.as_array().unwrap().iter().map(|change| change["status"].clone()).collect();
    assert_eq!(statuses, ["QUEUED", "CANCELLED"]);
}
