//! Faults of our own: a handler that panics, one that never answers.

use std::future::pending;
use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use fermata_api::app::{AppOptions, AppState, Mounts};

use super::harness::{Answer, Rest, Served, counted, heard};

async fn broken() -> &'static str {
    panic!("a test breaks a handler: secret-word")
}

async fn stuck() -> &'static str {
    pending().await
}

async fn served(limit: Duration) -> (Rest, Served) {
    let routes = || Router::<AppState>::new().route("/x/broken", get(broken)).route("/x/stuck", get(stuck).post(stuck));
    let protected = Router::new().route("/x/guarded", post(broken));
    let options = AppOptions { request_timeout: limit, ..AppOptions::default() };
    let rest = Rest::mounted(options, Mounts { protected, open: routes(), ..Mounts::default() }).await;
    let served = Served::new(rest.router.clone()).await;
    (rest, served)
}

fn names_its_request(answer: &Answer, status: u16, code: &str) -> String {
    let body = answer.problem(status, code);
    assert_eq!((body["requestId"].as_str(), answer.header("x-request-id")), (Some("mine"), "mine"));
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    body["detail"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn a_panic_is_a_counted_problem_that_tells_nothing_and_the_server_goes_on() {
    let before = counted("http_handler_panics_total");
    let (rest, served) = served(Duration::from_secs(30)).await;
    for (method, path) in [("GET", "/x/broken"), ("POST", "/x/guarded")] {
        let asked = served.request(method, path).bearer_auth(&rest.token).header("x-request-id", "mine");
        let detail = names_its_request(&heard(asked).await, 500, "internal");
        assert!(!detail.contains("secret-word"), "{detail}");
    }
    assert!(counted("http_handler_panics_total") >= before + 2.0);
    assert_eq!(served.get("/v1/commands", &rest.token).await.status, 200);
}

#[tokio::test]
async fn an_answer_that_does_not_come_is_a_timeout_and_a_change_is_said_to_be_in_doubt() {
    let (_rest, served) = served(Duration::from_millis(50)).await;
    let ask = |method| heard(served.request(method, "/x/stuck").header("x-request-id", "mine"));
    let read = ask("GET").await;
    assert!(!names_its_request(&read, 503, "timeout").contains("idempotency"));
    let change = ask("POST").await;
    assert!(names_its_request(&change, 503, "commit_unknown").contains("same idempotency key"));
    for answer in [read, change] {
        assert_eq!(answer.header("retry-after"), "1");
        assert!(answer.json()["type"].as_str().unwrap().ends_with("/problems/timeout"));
    }
    assert_eq!(heard(served.request("GET", "/health")).await.status, 200);
}
