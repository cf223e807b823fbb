//! Webhooks that go well: who is told what, by which signature, and how persistently.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::inbox::{Inbox, Letter, deliveries};
use crate::running::Running;

#[tokio::test]
async fn an_applied_effect_is_told_signed_by_the_secret_that_was_told_once() {
    let site = Running::start();
    let inbox = Inbox::of(&site, &["post.created"]).await;

    site.refer("r-1").await.unwrap();
    let sent = deliveries(&site, |sent| !sent.is_empty()).await;

    let [event] = &inbox.events()[..] else { panic!("{:?}", inbox.letters()) };
    let (body, entry) = (event.json(), &site.ledger().await[0]);
    assert_eq!((&body["type"], &body["timestamp"]), (&json!("post.created"), &entry["time"]));
    assert_eq!((&body["data"]["id"], &body["data"]["reference"]), (&entry["id"], &json!("r-1")));
    assert_eq!((&body["data"]["kind"], &body["data"]["account"]), (&json!("post"), &json!("ada")));
    assert_eq!((&sent[0]["id"], &sent[0]["status"]), (&json!(event.id), &json!(200)));
    assert_eq!((&sent[0]["attempt"], &sent[0]["conduct"]), (&json!(1), &json!("behave")));
    let listed = site.http.get(site.address("/api/webhooks")).bearer_auth(site.token("ada").await);
    let listed: Value = listed.send().await.unwrap().json().await.unwrap();
    assert_eq!(listed["webhooks"][0]["events"], json!(["post.created"]));
    assert!(listed["webhooks"][0].get("secret").is_none());
}

#[tokio::test]
async fn an_endpoint_is_told_its_own_accounts_events_of_its_types_alone() {
    let site = Running::start();
    let inbox = Inbox::of(&site, &["message.created", "video.ready"]).await;
    let to_ada = site.http.post(site.address("/api/messages")).bearer_auth(site.token("bob").await);

    to_ada.json(&json!({ "to": "ada", "text": "not hers" })).send().await.unwrap();
    site.refer("r-1").await.unwrap();
    site.submit("/studio", "prompt=a+fox&reference=v-1").await;
    site.submit("/messages/bob", "text=hi").await;
    deliveries(&site, |sent| sent.len() >= 2).await;

    let events: BTreeSet<String> = inbox.events().iter().map(|event| event.json()["type"].to_string()).collect();
    assert_eq!(events, BTreeSet::from([r#""message.created""#.to_owned(), r#""video.ready""#.to_owned()]));
    assert_eq!(inbox.letters().len(), 2);
}

#[tokio::test]
async fn a_video_is_told_when_it_is_ready_and_not_before() {
    let site = Running::start();
    let inbox = Inbox::of(&site, &["video.created", "video.ready"]).await;
    site.mode(json!({ "render_ms": 700 })).await;

    site.submit("/studio", "prompt=a+fox").await;
    deliveries(&site, |sent| sent.len() >= 2).await;

    let [created, ready] = &inbox.events()[..] else { panic!("{:?}", inbox.letters()) };
    let time = |event: &Letter| event.json()["timestamp"].as_str().unwrap().parse::<DateTime<Utc>>().unwrap();
    assert_eq!((&created.json()["type"], &ready.json()["type"]), (&json!("video.created"), &json!("video.ready")));
    assert_eq!((time(ready) - time(created)).num_milliseconds(), 700);
    assert!(ready.at >= time(ready));
    assert_ne!(created.id, ready.id);
}

#[tokio::test]
async fn what_is_applied_is_told_once_though_its_answer_was_dropped_and_its_key_came_again() {
    let site = Running::start();
    let inbox = Inbox::of(&site, &["post.created"]).await;
    site.plan("k-", json!({ "seed": 1, "chances": { "drop_answer": 1.0 } })).await;
    let dropped = site.api("/api/posts", &json!({ "caption": "hello" })).await;
    assert!(dropped.header("Idempotency-Key", "k-1").send().await.is_err());
    site.delete("/_plans/k-").await;

    assert_eq!(site.post("k-1", "hello").await.status(), StatusCode::OK);
    site.post("k-2", "the last").await;
    deliveries(&site, |sent| sent.len() >= 2).await;

    assert_eq!(inbox.letters().len(), 2);
    assert_eq!(inbox.events().len(), 2);
}

#[tokio::test]
async fn a_webhook_is_tried_until_it_is_accepted() {
    let site = Running::start();
    let inbox = Inbox::of(&site, &["post.created"]).await;
    inbox.refuse(&[StatusCode::SERVICE_UNAVAILABLE, StatusCode::FOUND]);

    site.refer("r-1").await.unwrap();
    let sent = deliveries(&site, |sent| sent.len() >= 3).await;

    let tried: Vec<(u64, u64)> =
        sent.iter().map(|sent| (sent["attempt"].as_u64().unwrap(), sent["status"].as_u64().unwrap())).collect();
    assert_eq!(tried, [(1, 503), (2, 302), (3, 200)]);
    let letters = inbox.letters();
    assert!(letters.iter().all(|letter| letter.id == letters[0].id));
    assert_eq!(inbox.events().len(), 1);
}

#[tokio::test]
async fn a_removed_endpoint_is_told_nothing_more() {
    let site = Running::start();
    let inbox = Inbox::open().await;
    inbox.refuse(&[StatusCode::SERVICE_UNAVAILABLE; 9]);
    let id = inbox.register(&site, &["post.created"]).await["id"].as_str().unwrap().to_owned();
    let other = Inbox::of(&site, &["post.created"]).await;
    site.refer("r-1").await.unwrap();
    deliveries(&site, |sent| sent.iter().any(|sent| sent["status"] == 503)).await;

    assert_eq!(site.delete(&format!("/api/webhooks/{id}")).await, StatusCode::NO_CONTENT);
    let tried = inbox.letters().len();
    site.refer("r-2").await.unwrap();
    deliveries(&site, |sent| sent.iter().filter(|sent| sent["status"] == 200).count() == 2).await;

    assert_eq!(other.events().len(), 2);
    assert_eq!(inbox.letters().len(), tried);
    assert_eq!(site.delete(&format!("/api/webhooks/{id}")).await, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn an_endpoint_is_its_accounts_alone_and_on_this_machine() {
    let site = Running::start();
    let inbox = Inbox::open().await;
    let id = inbox.register(&site, &["post.created"]).await["id"].as_str().unwrap().to_owned();
    for senseless in [
        json!({}),
        json!({ "url": "http://example.com/" }),
        json!({ "url": "http://127.0.0.1:1/", "events": [] }),
        json!({ "url": "http://127.0.0.1:1/", "events": ["post.deleted"] }),
    ] {
        let refused = site.api("/api/webhooks", &senseless).await.send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{senseless}");
    }

    let bob = site.token("bob").await;
    let removed = site.http.delete(site.address(&format!("/api/webhooks/{id}"))).bearer_auth(&bob);
    let listed = site.http.get(site.address("/api/webhooks")).bearer_auth(&bob);
    let stranger = site.http.get(site.address("/api/webhooks"));

    assert_eq!(removed.send().await.unwrap().status(), StatusCode::NOT_FOUND);
    assert_eq!(listed.send().await.unwrap().json::<Value>().await.unwrap(), json!({ "webhooks": [] }));
    assert_eq!(stranger.send().await.unwrap().status(), StatusCode::UNAUTHORIZED);
}
