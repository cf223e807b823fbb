//! Pages about the service: probes, documentation, headers.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use fermata_api::openapi;
use serde_json::json;

use super::harness::{Answer, Rest, envelope};

async fn open(rest: &Rest, path: &str) -> Answer {
    rest.send(Request::get(path).body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn the_documentation_loads_nothing_from_elsewhere() {
    let rest = Rest::new().await;
    assert_eq!(open(&rest, "/openapi.json").await.json(), openapi::document());
    for path in ["/docs", "/docs/docs.js", "/docs/docs.css"] {
        let page = open(&rest, path).await;
        let text = String::from_utf8(page.bytes.to_vec()).unwrap();
        assert_eq!(page.status, 200, "{path}");
        assert!(page.header("content-security-policy").contains("script-src 'self'"));
        assert!(!text.contains("http://") && !text.contains("https://") && !text.contains("innerHTML"), "{path}");
        assert!(!text.contains("<script>") && !text.contains(" style="), "{path}: the policy forbids it");
    }
}

#[tokio::test]
async fn every_answer_has_headers_that_keep_browsers_in_bounds() {
    let rest = Rest::new().await;
    for path in ["/health", "/nothing", "/v1/commands", "/docs"] {
        let answer = open(&rest, path).await;
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(answer.header("x-frame-options"), "DENY", "{path}");
        assert!(!answer.header("content-security-policy").is_empty(), "{path}");
        assert!(!answer.header("x-request-id").is_empty(), "{path}");
    }
}

#[tokio::test]
async fn without_its_database_the_process_is_alive_not_ready_and_says_when_to_come_back() {
    let rest = Rest::new().await;
    assert_eq!(open(&rest, "/ready").await.json()["ready"], true);
    // A token that is known a moment ago outlives the database.
    assert_eq!(rest.get("/v1/commands").await.status, 200);
    rest.engine.close(Duration::from_secs(5)).await;
    assert_eq!(open(&rest, "/health").await.status, 200);
    let ready = open(&rest, "/ready").await;
    assert_eq!((ready.status.as_u16(), ready.json()["failing"].clone()), (503, json!(["database"])));
    for answer in [rest.get("/v1/commands").await, rest.post("/v1/commands", &envelope(&json!({}))).await] {
        assert_eq!(answer.status, 503, "{:?}", answer.bytes);
        assert_eq!(answer.header("retry-after"), "1");
    }
}
