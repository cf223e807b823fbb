//! What each kind of misbehaviour does, and does not, apply.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::running::{Running, rest_of};

const FOR_EVER_MS: u64 = 4_102_444_800_000;
/// Longer than any request takes; waiting it out shows that none was answered.
const PATIENCE: Duration = Duration::from_millis(400);

#[tokio::test]
async fn a_dropped_answer_applies_and_closes_without_a_byte() {
    let site = Running::start();
    site.mode(json!({ "drop_answer": true, "times": 1 })).await;

    let mut dropped = site.bare_post("hello").await;

    assert_eq!(rest_of(&mut dropped), b"");
    assert_eq!(site.ledger().await.len(), 1);
    assert_eq!(site.post("k-2", "next").await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_browsers_dropped_answer_is_torn_so_that_it_does_not_send_again() {
    let site = Running::start();
    site.mode(json!({ "drop_answer": true })).await;

    let mut dropped = site.bare_form("/messages/bob", "text=psst").await;

    assert_eq!(rest_of(&mut dropped), b"\0");
    assert_eq!(site.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_failure_before_applies_nothing() {
    let site = Running::start();
    site.mode(json!({ "fail": "before" })).await;

    let refused = site.post("k-1", "hello").await;

    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.json::<Value>().await.unwrap()["error"].is_string());
    assert!(site.ledger().await.is_empty());
}

#[tokio::test]
async fn a_failure_after_has_applied() {
    let site = Running::start();
    site.mode(json!({ "fail": "after", "status": 500 })).await;

    let lied = site.post("k-1", "hello").await;

    assert_eq!(lied.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(site.ledger().await.len(), 1);
}

#[tokio::test]
async fn misbehaviour_ends_after_its_times_and_touches_only_its_kinds() {
    let site = Running::start();
    let mode = json!({ "fail": "before", "times": 1, "only": ["post"] });
    site.mode(mode).await;
    let message = json!({ "to": "bob", "text": "hi" });

    let message = site.api("/api/messages", &message).await.send().await.unwrap();
    let first = site.post("k-1", "hello").await;
    let second = site.post("k-1", "hello").await;

    assert_eq!(message.status(), StatusCode::CREATED);
    assert_eq!(first.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(second.status(), StatusCode::CREATED);
    assert_eq!(site.get("/_mode").await["times"], 0);
}

#[tokio::test]
async fn a_frozen_request_is_dropped_unapplied_when_the_mode_changes() {
    let site = Running::start();
    site.mode(json!({ "freeze": true })).await;
    let mut held = site.bare_post("hello").await;
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    assert_eq!(rest_of(&mut held), b"");
    assert!(site.ledger().await.is_empty());

    site.mode(json!({})).await;

    held.set_read_timeout(None).unwrap();
    assert_eq!(rest_of(&mut held), b"");
    assert!(site.ledger().await.is_empty());
    assert_eq!(site.post("k-1", "hello").await.status(), StatusCode::CREATED);
}

#[tokio::test]
async fn a_delayed_request_is_applied_though_its_client_left() {
    let site = Running::start();
    site.mode(json!({ "delay_ms": 300 })).await;
    let request = site.api("/api/posts", &json!({ "caption": "late" })).await;

    let gave_up = request.timeout(Duration::from_millis(50)).send().await;

    assert!(gave_up.unwrap_err().is_timeout());
    while site.ledger().await.is_empty() {}
    assert_eq!(site.get("/_ledger").await[0]["kind"], "post");
}

#[tokio::test]
async fn a_hidden_post_is_in_the_ledger_but_on_no_page_and_in_no_answer() {
    let site = Running::start();
    site.mode(json!({ "hide_ms": FOR_EVER_MS })).await;
    let hidden: Value = site.post("k-1", "unseen words").await.json().await.unwrap();
    let id = hidden["id"].as_str().unwrap();

    assert_eq!(site.ledger().await[0]["id"], hidden["id"]);
    assert_eq!(site.get("/api/posts").await["posts"], json!([]));
    let read = site.http.get(site.address(&format!("/api/posts/{id}")));
    assert_eq!(read.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(site.page(&format!("/posts/{id}")).await.0, StatusCode::NOT_FOUND);
    for path in ["/", "/u/ada"] {
        assert!(!site.page(path).await.1.contains("unseen words"), "{path}");
    }
}

#[tokio::test]
async fn a_post_hidden_for_a_while_appears_by_itself() {
    let site = Running::start();
    site.mode(json!({ "hide_ms": 300 })).await;

    site.post("k-1", "soon").await;

    assert_eq!(site.get("/api/posts").await["posts"], json!([]));
    while site.get("/api/posts").await["posts"] == json!([]) {}
    assert!(site.page("/u/ada").await.1.contains("soon"));
}

#[tokio::test]
async fn who_is_signed_in_is_told_wrongly_not_at_all_or_not_now_as_the_mode_says() {
    let site = Running::start();
    let token = site.token("ada").await;
    let me = || site.http.get(site.address("/api/me")).bearer_auth(&token).send();
    let truth: Value = me().await.unwrap().json().await.unwrap();
    assert_eq!(truth["handle"], "ada");

    site.mode(json!({ "me": { "account": "bob" } })).await;
    let other: Value = me().await.unwrap().json().await.unwrap();
    assert_eq!(other["handle"], "bob");
    assert_ne!(other["id"], truth["id"]);

    site.mode(json!({ "me": "busy" })).await;
    assert_eq!(me().await.unwrap().status(), StatusCode::SERVICE_UNAVAILABLE);

    site.mode(json!({ "me": "nobody" })).await;
    assert_eq!(me().await.unwrap().json::<Value>().await.unwrap(), json!({}));

    site.mode(json!({})).await;
    assert_eq!(me().await.unwrap().json::<Value>().await.unwrap(), truth);
}
