//! What the ledger says of a request besides its effect: the caller's fence, and when it came.

use std::fs;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::running::Running;

/// Times in one format and zone compare as text.
fn time(entry: &Value, field: &str) -> String {
    entry[field].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_fence_is_kept_as_it_came_on_both_lanes() {
    let site = Running::start();
    let api = site.api("/api/messages", &json!({ "to": "bob", "text": "hi" })).await;
    let form = site.http.post(site.address("/messages/bob")).header("cookie", site.cookie().await);
    let form = form.header("content-type", "application/x-www-form-urlencoded").body("text=ho");

    api.header("Fermata-Fence", " lease=7; ünread ").send().await.unwrap();
    form.header("fermata-fence", "8").send().await.unwrap();
    site.post("k-1", "no fence").await;

    let fences: Vec<Value> = site.ledger().await.iter().map(|entry| entry["fence"].clone()).collect();
    assert_eq!(fences, [json!("lease=7; ünread"), json!("8"), json!(null)]);
}

#[tokio::test]
async fn a_fence_beyond_its_bound_is_refused() {
    let site = Running::start();
    for (fence, status) in [("f".repeat(256), StatusCode::CREATED), ("f".repeat(257), StatusCode::BAD_REQUEST)] {
        let request = site.api("/api/posts", &json!({ "caption": "a" })).await;
        assert_eq!(request.header("Fermata-Fence", fence).send().await.unwrap().status(), status);
    }
    assert_eq!(site.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_request_is_received_before_its_delay_and_applied_after() {
    let site = Running::start();
    site.mode(json!({ "delay_ms": 1_500 })).await;

    site.post("k-1", "late").await;

    let entry = &site.ledger().await[0];
    let [received, applied] = ["received", "time"].map(|field| time(entry, field));
    assert!(received[..19] < applied[..19], "{received} {applied}");
}

#[tokio::test]
async fn a_fence_and_its_time_last_and_a_ledger_from_before_them_is_read() {
    let mut site = Running::start();
    site.post("k-1", "old").await;
    let old = fs::read_to_string(site.ledger_file()).unwrap();
    let mut old: Value = serde_json::from_str(&old).unwrap();
    for field in ["fence", "received"] {
        assert!(old.as_object_mut().unwrap().remove(field).is_some());
    }
    fs::write(site.ledger_file(), format!("{old}\n")).unwrap();
    site.restart();
    let new = site.api("/api/posts", &json!({ "caption": "new" })).await;
    new.header("Fermata-Fence", "2").send().await.unwrap();
    let before = site.ledger().await;

    site.restart();

    assert_eq!(site.ledger().await, before);
    assert_eq!((&before[0]["fence"], &before[0]["received"]), (&json!(null), &json!(null)));
    assert_eq!(before[1]["fence"], "2");
    assert!(time(&before[1], "received") <= time(&before[1], "time"));
}

#[tokio::test]
async fn a_prefix_lists_what_is_named_by_it_reference_or_key() {
    let site = Running::start();
    site.refer("t1-a").await.unwrap();
    site.refer("t2-a").await.unwrap();
    site.post("t1-b", "by key").await;
    let both = site.api("/api/posts", &json!({ "caption": "both", "reference": "t1-c" })).await;
    both.header("Idempotency-Key", "other").send().await.unwrap();

    let seqs =
        |entries: Value| entries.as_array().unwrap().iter().map(|entry| entry["seq"].clone()).collect::<Vec<_>>();
    assert_eq!(seqs(site.get("/_ledger?prefix=t1-").await), [1, 3, 4]);
    assert_eq!(seqs(site.get("/_ledger?prefix=t1-&key=t1-b&kind=post").await), [3]);
    assert_eq!(seqs(site.get("/_ledger?prefix=-").await), Vec::<Value>::new());
}
