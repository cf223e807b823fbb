//! Plans: whom they concern, that they are the same in every run, and that they account for it.

use std::time::Duration;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::running::Running;

/// Longer than any request takes; waiting it out shows that none was answered.
const PATIENCE: Duration = Duration::from_millis(400);
const REQUESTS_EACH: u64 = 4;

/// A plan that fails every request before it is applied.
fn failing(status: u16) -> Value {
    json!({ "seed": 1, "chances": { "fail_before": 1.0 }, "status": [status] })
}

async fn status_of(site: &Running, reference: &str) -> u16 {
    site.refer(reference).await.unwrap().status().as_u16()
}

/// What the plan of `t-` decided, without the times, in one order whatever the order of arrival.
async fn decided(site: &Running) -> Vec<(String, u64, String)> {
    let log = site.get("/_plans/t-/log").await;
    let text = |decision: &Value, field: &str| decision[field].as_str().unwrap().to_owned();
    let row =
        |decision: &Value| (text(decision, "reference"), decision["n"].as_u64().unwrap(), text(decision, "conduct"));
    let mut decided: Vec<_> = log["decisions"].as_array().unwrap().iter().map(row).collect();
    decided.sort();
    decided
}

/// Sends each reference several times, under a plan of everything that does not hang.
async fn trial(seed: u64, references: [&str; 3]) -> Vec<(String, u64, String)> {
    let site = Running::start();
    let chances =
        json!({ "drop_answer": 0.2, "fail_before": 0.2, "fail_after": 0.2, "hide": 0.3, "keys_ignored": 0.3 });
    let plan =
        json!({ "seed": seed, "chances": chances, "delay_ms": [0, 9], "hold_answer_ms": [0, 9], "status": [500, 429] });
    site.plan("t-", plan).await;
    for _ in 0..REQUESTS_EACH {
        for reference in references {
            // An answer that was dropped is an error here, and as planned.
            let _ = site.refer(reference).await;
        }
    }
    decided(&site).await
}

#[tokio::test]
async fn the_same_seed_misbehaves_the_same_in_any_order_and_another_seed_does_not() {
    let first = trial(7, ["t-a", "t-b", "t-c"]).await;

    assert_eq!(first.len(), 12);
    assert_eq!(trial(7, ["t-c", "t-a", "t-b"]).await, first);
    assert_ne!(trial(8, ["t-a", "t-b", "t-c"]).await, first);
}

#[tokio::test]
async fn the_traffic_is_every_request_but_those_to_the_side_door() {
    let site = Running::start();
    site.plan("t-", failing(500)).await;
    site.refer("t-1").await.unwrap();
    let before = site.get("/_traffic").await["requests"].as_u64().unwrap();
    site.refer("t-2").await.unwrap();
    site.get("/api/posts").await;

    assert!(before > 0);
    assert!(site.get("/_traffic").await["requests"].as_u64().unwrap() >= before + 2);
    let asked = site.get("/_traffic").await;
    assert_eq!(site.get("/_traffic").await, asked);
    site.http.post(site.address("/_reset")).send().await.unwrap();
    assert_eq!(site.get("/_traffic").await["requests"], 0);
}

#[tokio::test]
async fn the_longest_prefix_wins_and_the_mode_has_no_say_in_what_a_plan_concerns() {
    let site = Running::start();
    site.mode(json!({ "fail": "before", "times": 1 })).await;
    site.plan("t-", failing(500)).await;
    site.plan("t-1", json!({ "seed": 1 })).await;

    assert_eq!(status_of(&site, "t-1").await, 201);
    assert_eq!(status_of(&site, "t-2").await, 500);
    assert_eq!(status_of(&site, "other").await, 503);
    assert_eq!(site.post("t-3", "a key is a name too").await.status(), 500);
    assert_eq!(site.get("/_mode").await["times"], 0);
}

#[tokio::test]
async fn a_plan_concerns_forms_as_well() {
    let site = Running::start();
    site.plan("t-", failing(500)).await;

    let sent = site.submit("/messages/bob", "text=hi&reference=t-1").await;

    assert_eq!(sent.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(site.ledger().await.is_empty());
}

#[tokio::test]
async fn a_log_says_what_was_decided_and_begins_again_with_the_plan() {
    let site = Running::start();
    site.plan("t-", failing(429)).await;
    status_of(&site, "t-a").await;
    status_of(&site, "t-a").await;
    status_of(&site, "t-b").await;

    let logged = decided(&site).await;
    let listed = site.get("/_plans").await;

    let row = |reference: &str, n| (reference.to_owned(), n, "fail before with 429".to_owned());
    assert_eq!(logged, [row("t-a", 1), row("t-a", 2), row("t-b", 1)]);
    assert_eq!((&listed["plans"][0]["prefix"], &listed["plans"][0]["decided"]), (&json!("t-"), &json!(3)));
    assert_eq!(listed["plans"][0]["plan"]["status"], json!([429]));
    site.plan("t-", failing(500)).await;
    assert_eq!(site.get("/_plans/t-/log").await, json!({ "prefix": "t-", "decisions": [], "forgotten": 0 }));
    assert_eq!(site.delete("/_plans/t-").await, StatusCode::OK);
    assert_eq!(status_of(&site, "t-a").await, 201);
    assert_eq!(site.delete("/_plans/t-").await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn each_planned_fault_does_what_its_mode_does() {
    let site = Running::start();
    for (prefix, chances) in [
        ("before-", json!({ "fail_before": 1.0 })),
        ("after-", json!({ "fail_after": 1.0 })),
        ("drop-", json!({ "drop_answer": 1.0 })),
        ("hide-", json!({ "hide": 1.0 })),
    ] {
        site.plan(prefix, json!({ "seed": 1, "chances": chances, "hide_ms": [60_000, 60_000] })).await;
    }

    assert_eq!(status_of(&site, "before-1").await, 503);
    assert_eq!(status_of(&site, "after-1").await, 503);
    assert!(site.refer("drop-1").await.is_err());
    assert_eq!(status_of(&site, "hide-1").await, 201);

    let ledger = site.ledger().await;
    let applied: Vec<&str> = ledger.iter().map(|entry| entry["reference"].as_str().unwrap()).collect();
    assert_eq!(applied, ["after-1", "drop-1", "hide-1"]);
    assert_eq!(site.get("/api/posts?reference=hide-1").await["posts"], json!([]));
}

#[tokio::test]
async fn keys_are_ignored_where_the_plan_says_so() {
    let site = Running::start();
    site.plan("always-", json!({ "seed": 1, "keys": "ignore" })).await;
    site.plan("chance-", json!({ "seed": 1, "chances": { "keys_ignored": 1.0 } })).await;
    for key in ["always-1", "chance-1", "plain-1"] {
        site.post(key, "hello").await;
        site.post(key, "hello").await;
    }

    let ledger = site.ledger().await;
    let keys: Vec<&str> = ledger.iter().map(|entry| entry["key"].as_str().unwrap()).collect();
    assert_eq!(keys, ["always-1", "always-1", "chance-1", "chance-1", "plain-1"]);
}

#[tokio::test]
async fn a_request_that_a_plan_freezes_is_dropped_unapplied_when_that_plan_ends() {
    let site = Running::start();
    let freezing = json!({ "seed": 1, "chances": { "freeze": 1.0 } });
    site.plan("t-", freezing.clone()).await;
    site.plan("other-", freezing).await;
    let request = site.api("/api/posts", &json!({ "caption": "held", "reference": "t-1" })).await;
    let mut held = tokio::spawn(request.send());
    while decided(&site).await.is_empty() {}

    site.mode(json!({})).await;
    site.delete("/_plans/other-").await;
    assert!(tokio::time::timeout(PATIENCE, &mut held).await.is_err());
    site.delete("/_plans/t-").await;

    assert!(held.await.unwrap().is_err());
    assert!(site.ledger().await.is_empty());
}

#[tokio::test]
async fn senseless_plans_are_refused_and_so_is_one_too_many() {
    let site = Running::start();
    for senseless in [
        json!({}),
        json!({ "seed": -1 }),
        json!({ "seed": 1, "drop": 1 }),
        json!({ "seed": 1, "chances": { "explode": 0.1 } }),
        json!({ "seed": 1, "chances": { "hide": 2.0 } }),
        json!({ "seed": 1, "delay_ms": 5 }),
        json!({ "seed": 1, "status": [200] }),
    ] {
        assert_eq!(site.plan("t-", senseless.clone()).await, StatusCode::BAD_REQUEST, "{senseless}");
    }
    assert_eq!(site.plan(&"p".repeat(257), failing(500)).await, StatusCode::BAD_REQUEST);
    for n in 0..1_000 {
        assert_eq!(site.plan(&format!("t-{n}-"), failing(500)).await, StatusCode::OK);
    }

    assert_eq!(site.plan("u-", failing(500)).await, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(site.plan("t-7-", failing(429)).await, StatusCode::OK);
    site.http.post(site.address("/_reset")).send().await.unwrap();
    assert_eq!(site.get("/_plans").await, json!({ "plans": [] }));
}
