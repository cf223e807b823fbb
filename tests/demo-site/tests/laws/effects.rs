//! What is applied, how often, and that it lasts.

use std::fs::OpenOptions;
use std::io::Write as _;

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::running::Running;

#[tokio::test]
async fn a_key_honoured_applies_once() {
    let site = Running::start();

    let first = site.post("k-1", "hello").await;
    let second = site.post("k-1", "hello").await;

    assert_eq!((first.status(), second.status()), (StatusCode::CREATED, StatusCode::OK));
    let (first, second): (Value, Value) = (first.json().await.unwrap(), second.json().await.unwrap());
    assert_eq!(first, second);
    let ledger = site.ledger().await;
    assert_eq!(ledger.len(), 1);
    assert_eq!((&ledger[0]["key"], &ledger[0]["lane"]), (&json!("k-1"), &json!("api")));
    assert_eq!(ledger[0]["content_hash"], first["content_hash"]);
}

#[tokio::test]
async fn a_key_ignored_applies_twice() {
    let site = Running::start();
    site.mode(json!({ "keys": "ignore" })).await;

    site.post("k-1", "hello").await;
    let second = site.post("k-1", "hello").await;

    assert_eq!(second.status(), StatusCode::CREATED);
    assert_eq!(site.ledger().await.len(), 2);
}

#[tokio::test]
async fn a_key_with_another_body_is_refused() {
    let site = Running::start();

    site.post("k-1", "hello").await;
    let other = site.post("k-1", "goodbye").await;

    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(site.ledger().await.len(), 1);
}

#[tokio::test]
async fn a_reference_is_the_key_where_no_header_is_but_is_never_honoured() {
    let site = Running::start();
    let message = json!({ "to": "bob", "text": "hi", "reference": "r-1" });

    for _ in 0..2 {
        let request = site.api("/api/messages", &message).await;
        assert_eq!(request.send().await.unwrap().status(), StatusCode::CREATED);
    }

    let named = site.get("/_ledger?key=r-1&kind=message").await;
    assert_eq!(named.as_array().unwrap().len(), 2);
    assert_eq!(named[1]["to"], "bob");
    assert_eq!(named[1]["seq"], 2);
}

#[tokio::test]
async fn a_restart_keeps_the_ledger_and_the_sessions() {
    let mut site = Running::start();
    let token = site.token("ada").await;
    let post: Value = site.post("k-1", "hello").await.json().await.unwrap();
    let comments = format!("/api/posts/{}/comments", post["id"].as_str().unwrap());
    let comment = site.api(&comments, &json!({ "text": "nice" })).await;
    comment.send().await.unwrap();
    let before = site.ledger().await;

    site.restart();

    assert_eq!(site.ledger().await, before);
    assert_eq!(site.get(&comments).await["comments"][0]["text"], "nice");
    let me = site.http.get(site.address("/api/me")).bearer_auth(&token);
    assert_eq!(me.send().await.unwrap().status(), StatusCode::OK);
    let again = site.post("k-1", "hello").await;
    assert_eq!(again.status(), StatusCode::OK);
    assert_eq!(again.json::<Value>().await.unwrap()["id"], post["id"]);
}

#[tokio::test]
async fn half_a_line_at_the_end_of_the_ledger_never_happened() {
    let mut site = Running::start();
    site.post("k-1", "hello").await;
    let file = OpenOptions::new().append(true).open(site.ledger_file());
    file.unwrap().write_all(b"{\"seq\":2,\"key\":\"k-2").unwrap();

    site.restart();
    site.post("k-3", "again").await;
    site.restart();

    let seqs: Vec<Value> = site.ledger().await.iter().map(|line| line["seq"].clone()).collect();
    assert_eq!(seqs, [1, 2]);
}

#[tokio::test]
async fn a_reset_forgets_everything_and_sets_the_ledger_aside() {
    let site = Running::start();
    let token = site.token("ada").await;
    site.post("k-1", "hello").await;
    site.mode(json!({ "keys": "ignore" })).await;

    site.http.post(site.address("/_reset")).send().await.unwrap();

    assert!(site.ledger().await.is_empty());
    assert_eq!(site.get("/_mode").await["keys"], "honour");
    assert!(site.ledger_file().with_extension("jsonl.1").exists());
    let me = site.http.get(site.address("/api/me")).bearer_auth(token);
    assert_eq!(me.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn lists_are_filtered_by_author_reference_and_thread() {
    let site = Running::start();
    for (path, body) in [
        ("/api/posts", json!({ "caption": "one", "reference": "r-1" })),
        ("/api/posts", json!({ "caption": "two" })),
        ("/api/messages", json!({ "to": "bob", "text": "hi" })),
        ("/api/messages", json!({ "to": "eve", "text": "ho" })),
    ] {
        site.api(path, &body).await.send().await.unwrap();
    }

    let posts = site.get("/api/posts?author=ada&reference=r-1").await;
    assert_eq!(posts["posts"].as_array().unwrap().len(), 1);
    assert_eq!(posts["posts"][0]["caption"], "one");
    assert_eq!(site.get("/api/posts?author=bob").await["posts"], json!([]));
    let thread = site.http.get(site.address("/api/messages?with=bob"));
    let thread = thread.bearer_auth(site.token("ada").await).send().await;
    let thread: Value = thread.unwrap().json().await.unwrap();
    assert_eq!(thread["messages"].as_array().unwrap().len(), 1);
    assert_eq!(thread["messages"][0]["text"], "hi");
}

#[tokio::test]
async fn a_termination_signal_ends_the_site_with_success_even_when_frozen() {
    let mut site = Running::start();
    site.mode(json!({ "freeze": true })).await;
    let _held = site.bare_post("held").await;

    assert_eq!(site.terminate(), Some(0));
}
