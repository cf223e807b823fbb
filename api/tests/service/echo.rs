//! The demo agent mirrors for those who have the internal key (O-032, O-033, O-034).

use fermata_engine::access::Scope;
use fermata_tests::TestDb;
use serde_json::{Value, json};

use super::harness::{Answer, INTERNAL_KEY, Process, bearer};

async fn started() -> (TestDb, Process) {
    let db = TestDb::new().await;
    let echo = Process::start("echo", &db, &[]).await;
    (db, echo)
}

async fn said(echo: &Process, credential: Option<(&str, &str)>, body: &str) -> Answer {
    let headers: Vec<_> = [("content-type", "application/json")].into_iter().chain(credential).collect();
    echo.ask("POST", "/echo", &headers, body.to_owned()).await
}

#[tokio::test]
async fn what_is_said_with_the_internal_key_comes_back_value_for_value() {
    let (_db, echo) = started().await;
    for value in [
        json!({"task": "echo", "payload": {"text": "Grüße 🎉\n\"'\\", "list": [1, -2, 3.5, true, null, {}, []]}}),
        json!(i64::MIN),
        json!(u64::MAX),
        json!(1.0),
        json!(0.1),
        json!(1e300),
        json!("just a word"),
        json!([]),
        Value::Null,
        json!({"long": "x".repeat(100_000)}),
    ] {
        let answer = said(&echo, Some(("x-internal-key", INTERNAL_KEY)), &value.to_string()).await;
        assert_eq!((answer.status, answer.json()), (200, value));
    }
}

#[tokio::test]
async fn nobody_is_mirrored_without_the_internal_key() {
    let (db, echo) = started().await;
    said(&echo, None, "{}").await.problem(401, "unauthorized", "token_missing");
    for wrong in ["", "sesam", "sesame!", "SESAME"] {
        let answer = said(&echo, Some(("x-internal-key", wrong)), "{}").await;
        answer.problem(401, "unauthorized", "internal_key_unknown");
    }
    let outsider = bearer(&db, &[Scope::CommandsRead, Scope::CommandsWrite]).await;
    let answer = said(&echo, Some(("authorization", &outsider)), "{}").await;
    assert_eq!(answer.problem(403, "forbidden", "scope_missing")["scope"], "internal");
}

#[tokio::test]
async fn what_is_no_json_is_refused() {
    let (_db, echo) = started().await;
    for bad in ["", "{", "hello", "{\"a\": 1,}", "1 2"] {
        let answer = said(&echo, Some(("x-internal-key", INTERNAL_KEY)), bad).await;
        answer.problem(400, "validation", "malformed_json");
    }
    let plain = [("content-type", "text/plain"), ("x-internal-key", INTERNAL_KEY)];
    let answer = echo.ask("POST", "/echo", &plain, "{}".to_owned()).await;
    answer.problem(415, "unsupported-media-type", "unsupported_media_type");
}
