//! How much is taken: of one token, and of all together. Over real sockets.

use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use fermata_api::app::{AppOptions, Mounts};
use fermata_api::rest::RateLimit;
use fermata_engine::access::Scope;
use fermata_tests::eventually;
use futures::future::join_all;
use serde_json::json;
use tokio::sync::Semaphore;

use super::harness::{Rest, Served, counted, envelope, heard};

fn limited(per_minute: u32, burst: u32) -> AppOptions {
    AppOptions { rate_limit: RateLimit::new(per_minute, burst), ..AppOptions::default() }
}

#[tokio::test]
async fn a_token_beyond_its_burst_is_told_when_to_come_back_and_no_other_is() {
    let refusals = || counted("api_rate_limited_requests_total{limiter=\"principal\"}");
    let before = refusals();
    let rest = Rest::with(limited(2, 3)).await;
    let other = rest.token("acme", &[Scope::CommandsRead]).await;
    let served = Served::new(rest.router.clone()).await;
    for left in [2, 1, 0] {
        let answer = served.get("/v1/commands", &rest.token).await;
        assert_eq!(answer.status, 200, "{:?}", answer.bytes);
        assert_eq!(answer.header("ratelimit-policy"), "\"principal\";q=3;w=90");
        assert!(answer.header("ratelimit").starts_with(&format!("\"principal\";r={left};t=")), "{:?}", answer.headers);
    }
    let refused = served.get("/v1/commands", &rest.token).await;
    let body = refused.problem(429, "rate_limited");
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((25..=30).contains(&wait), "one place comes back every 30 s: {wait}");
    assert_eq!(body["retry_after_s"], wait);
    assert_eq!(body["type"], "https://fermata.example/problems/rate-limited");
    assert_eq!(refused.header("ratelimit"), format!("\"principal\";r=0;t={wait}"));
    assert!(refusals() > before, "it is counted");
    assert_eq!(served.get("/v1/commands", &other).await.status, 200, "another token has its own");
    assert_eq!(heard(served.request("GET", "/health")).await.status, 200);
}

#[tokio::test]
async fn what_is_beyond_the_rate_is_not_carried_out() {
    let rest = Rest::with(limited(1, 2)).await;
    let body = envelope(&json!({}));
    let answers = join_all((0..10).map(|_| rest.post("/v1/commands", &body))).await;
    let accepted = answers.iter().filter(|answer| answer.status == 202).count();
    assert_eq!((accepted, rest.commands().await), (2, 2));
}

#[tokio::test]
async fn without_a_configured_rate_nothing_is_said_of_one() {
    let rest = Rest::new().await;
    let answers = join_all((0..50).map(|_| rest.get("/v1/schemas"))).await;
    assert!(answers.iter().all(|answer| answer.status == 200 && answer.header("ratelimit").is_empty()));
}

#[tokio::test]
async fn when_all_places_are_taken_the_next_is_turned_away_and_health_is_not() {
    // Each held request waits for a permit that only the test gives.
    let (entered, leave) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let hold = {
        let (entered, leave) = (Arc::clone(&entered), Arc::clone(&leave));
        move || async move {
            entered.add_permits(1);
            leave.acquire().await.unwrap().forget();
            "left"
        }
    };
    let mounts = Mounts { open: Router::new().route("/hold", get(hold)), ..Mounts::default() };
    let rest = Rest::mounted(AppOptions { max_in_flight: 2, ..AppOptions::default() }, mounts).await;
    let served = Served::new(rest.router.clone()).await;
    let asked: Vec<_> = (0..2).map(|_| tokio::spawn(heard(served.request("GET", "/hold")))).collect();
    entered.acquire_many(2).await.unwrap().forget();

    let refused = served.get("/v1/commands", &rest.token).await;
    let body = refused.problem(503, "busy");
    assert_eq!((refused.header("retry-after"), body["retry_after_s"].as_u64()), ("1", Some(1)));
    assert!(body["type"].as_str().unwrap().ends_with("/problems/not-ready"));
    assert_eq!(heard(served.request("GET", "/ready")).await.status, 503, "a balancer sends the next elsewhere");
    assert_eq!(heard(served.request("GET", "/health")).await.status, 200);

    leave.add_permits(2);
    for answer in join_all(asked).await {
        assert_eq!(answer.unwrap().status, 200, "who was in is answered");
    }
    eventually("there is room again", || async {
        (served.get("/v1/commands", &rest.token).await.status == 200).then_some(())
    })
    .await;
}
