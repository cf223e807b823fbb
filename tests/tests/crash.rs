//! The table of the contract (section 3, last point): what each row ends in when the worker is
//! killed, in both lanes, on real processes, a real Postgres and a real Chromium.

use fermata_tests::Dev;
use serde_json::{Value, json};

/// An API-lane post whose platform promises this.
fn api(reference: &str, keys: bool, absence: &str) -> Value {
    json!({
        "caption": format!("crash {reference}"), "reference": reference, "honours_keys": keys, "absence": absence,
        "call_timeout_s": 3, "visible_within_s": 0,
    })
}

fn browser(reference: &str, absence: &str) -> Value {
    json!({
        "caption": format!("crash {reference}"), "reference": reference, "absence": absence,
        "call_timeout_s": 4, "visible_within_s": 0,
    })
}

/// Kills the worker while its call hangs unapplied, then lets the site drop that call.
async fn killed_before_the_call_applied(dev: &Dev, flow: &str, inputs: Value) -> String {
    dev.mode(json!({"freeze": true})).await;
    let command = dev.flow(flow, inputs).await;
    dev.action(&command, "attempted").await;
    Dev::signal(dev.holder(&command).await, "KILL");
    command
}

/// Kills the worker after the platform applied the call and before the answer reaches it.
async fn killed_after_the_call(dev: &Dev, flow: &str, inputs: Value, hide_ms: u64) -> String {
    let reference = inputs["reference"].as_str().unwrap_or_default().to_owned();
    dev.mode(json!({"hold_answer_ms": 20_000, "hide_ms": hide_ms, "times": 1, "keys": "ignore"})).await;
    let command = dev.flow(flow, inputs).await;
    fermata_tests::eventually("the call is applied", || async { (dev.applied(&reference).await == 1).then_some(()) })
        .await;
    Dev::signal(dev.holder(&command).await, "KILL");
    command
}

async fn ends(dev: &Dev, command: &str, reference: &str) {
    let ended = dev.reaches(command, &["SUCCEEDED", "FAILED", "CANCELLED", "HUMAN_REQUIRED"]).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    assert_eq!(dev.applied(reference).await, 1);
}

async fn is_unknown(dev: &Dev, command: &str, reference: &str, count: usize) {
    dev.action(command, "unknown").await;
    let waits = dev.reaches(command, &["HUMAN_REQUIRED", "FAILED", "SUCCEEDED"]).await;
    assert_eq!(waits["status"], "HUMAN_REQUIRED", "{waits}");
    let gates = dev.get("/v1/gates?state=open").await;
    let open = gates["items"].as_array().is_some_and(|gates| gates.iter().any(|gate| gate["command_id"] == *command));
    assert!(open, "a gate of {command} is open: {gates}");
    assert_eq!(dev.applied(reference).await, count);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_api_lane_ends_as_the_contract_says() {
    let mut dev = Dev::start().await;

    let run = killed_before_the_call_applied(&dev, "demo.http_publish", api("keys", true, "inconclusive")).await;
    dev.mode(json!({})).await;
    ends(&dev, &run, "keys").await;

    let run = killed_before_the_call_applied(&dev, "demo.http_publish", api("conclusive", false, "conclusive")).await;
    dev.mode(json!({"keys": "ignore"})).await;
    ends(&dev, &run, "conclusive").await;
    let actions = dev.get(&format!("/v1/commands/{run}/actions")).await;
    assert_eq!(actions["items"].as_array().map(Vec::len), Some(2), "one successor: {actions}");

    let run =
        killed_before_the_call_applied(&dev, "demo.http_publish", api("inconclusive", false, "inconclusive")).await;
    dev.mode(json!({"keys": "ignore"})).await;
    is_unknown(&dev, &run, "inconclusive", 0).await;

    let run = killed_after_the_call(&dev, "demo.http_publish", api("after", false, "inconclusive"), 0).await;
    ends(&dev, &run, "after").await;

    let run = killed_after_the_call(&dev, "demo.http_publish", api("hidden", false, "inconclusive"), 600_000).await;
    is_unknown(&dev, &run, "hidden", 1).await;
    assert_eq!(dev.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_browser_lane_ends_as_the_contract_says() {
    let mut dev = Dev::start().await;

    let run = killed_after_the_call(&dev, "demo.publish", browser("after", "inconclusive"), 0).await;
    ends(&dev, &run, "after").await;

    let run = killed_before_the_call_applied(&dev, "demo.publish", browser("conclusive", "conclusive")).await;
    dev.mode(json!({})).await;
    ends(&dev, &run, "conclusive").await;

    let run = killed_before_the_call_applied(&dev, "demo.publish", browser("inconclusive", "inconclusive")).await;
    dev.mode(json!({})).await;
    is_unknown(&dev, &run, "inconclusive", 0).await;

    let run = killed_after_the_call(&dev, "demo.publish", browser("hidden", "inconclusive"), 600_000).await;
    is_unknown(&dev, &run, "hidden", 1).await;
    assert_eq!(dev.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_is_stopped_past_its_lease_and_woken_changes_nothing() {
    let mut dev = Dev::start().await;
    dev.mode(json!({"hold_answer_ms": 30_000, "times": 1})).await;
    let command = dev.flow("demo.publish", browser("frozen", "inconclusive")).await;
    fermata_tests::eventually("the click is applied", || async { (dev.applied("frozen").await == 1).then_some(()) })
        .await;
    let frozen = dev.holder(&command).await;
    Dev::signal(frozen, "STOP");
    ends(&dev, &command, "frozen").await;
    let before = dev.get(&format!("/v1/commands/{command}/events?limit=200")).await;
    Dev::signal(frozen, "CONT");
    let next = dev.flow("demo.http_publish", api("later", true, "inconclusive")).await;
    ends(&dev, &next, "later").await;
    let after = dev.get(&format!("/v1/commands/{command}/events?limit=200")).await;
    assert_eq!(before["items"], after["items"]);
    assert_eq!(dev.applied("frozen").await, 1);
    assert_eq!(dev.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_accepted_or_that_waits_outlives_every_worker() {
    let mut dev = Dev::start().await;
    let waiting = dev.flow("bench.steps", json!({"steps": 3, "wait_signal": true})).await;
    dev.reaches(&waiting, &["WAITING"]).await;
    for worker in dev.workers().await {
        Dev::signal(worker, "KILL");
    }
    let accepted = dev.flow("demo.http_publish", api("accepted", true, "inconclusive")).await;
    ends(&dev, &accepted, "accepted").await;
    let (status, _) = dev.post(&format!("/v1/commands/{waiting}/signals/go"), &json!({"payload": {}})).await;
    assert!(status < 300, "{status}");
    let ended = dev.reaches(&waiting, &["SUCCEEDED", "FAILED"]).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    assert_eq!(dev.stop().await, Some(0));
}
