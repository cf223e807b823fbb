//! Log lines: what is taken in is found again, and what does not fit is refused whole (O-026..028).

use fermata_engine::access::Scope;
use fermata_engine::workflow::Registry;
use fermata_tests::{Idle, TestDb};
use serde_json::{Value, json};

use super::harness::{Answer, INTERNAL_KEY, Process, bearer, bearer_for};

const KEY: (&str, &str) = ("x-internal-key", INTERNAL_KEY);

fn frame(more: &Value) -> Value {
    let mut frame = json!({ "level": "info", "service": "shop", "message": "sold" });
    frame.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    frame
}

async fn send(logging: &Process, body: &Value) -> Answer {
    logging.ask("POST", "/log", &[KEY], body.to_string()).await
}

/// The messages that a query finds, in its order.
async fn found(logging: &Process, token: &str, query: &str) -> Vec<String> {
    let answer = logging.get(&format!("/logs?{query}"), &[("authorization", token)]).await;
    assert_eq!(answer.status, 200, "{query}: {:?}", answer.bytes);
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|line| line["message"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn a_line_is_durable_when_it_is_answered_and_every_filter_finds_its_own() {
    let db = TestDb::new().await;
    let logging = Process::start("logging", &db, &[]).await;
    let engine = db.engine(Registry::new().with(Idle)).await;
    let run = db.submit(&engine, "test.idle", json!({})).await.to_string();
    let reader = bearer_for("*", &db, &[Scope::LogsRead]).await;
    let whole = frame(&json!({ "message": "whole", "level": "warn", "timestamp": "2026-01-02T03:04:05.678Z",
        "traceId": "t-1", "correlationId": "c-1", "runId": run, "data": { "price": 3, "password": "hunter2" } }));

    let one = send(&logging, &frame(&json!({ "message": "first" }))).await;
    assert_eq!((one.status, one.json()["accepted"].as_u64()), (201, Some(1)));
    let two = send(&logging, &json!([whole, frame(&json!({ "message": "last", "service": "till" }))])).await;
    assert_eq!((two.status, two.json()["accepted"].as_u64()), (201, Some(2)));

    let columns = "select count(*) from fermata.logs where level = 'warn' and service = 'shop' and trace_id = 't-1'
        and correlation_id = 'c-1' and run_id is not null and client_id = 'c' and data ->> 'price' = '3'
        and at = '2026-01-02T03:04:05.678Z'";
    assert_eq!(db.count(columns).await, 1);
    for (query, messages) in [
        ("", vec!["last", "whole", "first"]),
        ("service=shop", vec!["whole", "first"]),
        ("level=warn,error", vec!["whole"]),
        ("traceId=t-1", vec!["whole"]),
        ("correlationId=c-1", vec!["whole"]),
        (&format!("runId={run}"), vec!["whole"]),
        ("since=2026-01-02T03:04:06Z", vec!["last", "first"]),
        ("until=2026-01-02T03:04:06Z", vec!["whole"]),
        ("limit=1", vec!["last"]),
        ("traceId=none", vec![]),
    ] {
        assert_eq!(found(&logging, &reader, query).await, messages, "{query}");
    }
    let page = logging.get("/logs?limit=2", &[("authorization", &reader)]).await.json();
    let rest = format!("limit=2&after={}", page["next_cursor"].as_str().unwrap());
    assert_eq!(found(&logging, &reader, &rest).await, ["first"]);
    let line = logging.get("/logs?traceId=t-1", &[("authorization", &reader)]).await.json()["items"][0].clone();
    assert_eq!((&line["timestamp"], &line["data"]["price"]), (&json!("2026-01-02T03:04:05.678Z"), &json!(3)));
    assert_eq!(line["data"]["password"], "[redacted]", "what looks like a secret is not kept");

    // Another client's token sees the line about its own run, and no other.
    let own = bearer_for("c", &db, &[Scope::LogsRead]).await;
    assert_eq!(found(&logging, &own, "").await, ["whole"]);
    assert_eq!(found(&logging, &bearer_for("other", &db, &[Scope::LogsRead]).await, "").await, [""; 0]);
}

#[tokio::test]
async fn a_call_with_one_frame_that_does_not_fit_keeps_none_and_points_at_it() {
    let db = TestDb::new().await;
    let logging = Process::start("logging", &db, &[]).await;
    let good = frame(&json!({}));
    for (body, pointer) in [
        (json!([good, frame(&json!({ "service": "" }))]), "/1/service"),
        (json!([good, frame(&json!({ "timestamp": "1800-01-01T00:00:00Z" }))]), "/1/timestamp"),
        (frame(&json!({ "data": { "a": "x\u{0}" } })), "/data/a"),
        (frame(&json!({ "message": "x".repeat(70_000) })), ""),
        (json!([frame(&json!({ "service": "" }))]), "/0/service"),
        (frame(&json!({ "service": "" })), "/service"),
        (json!([]), ""),
    ] {
        let answer = send(&logging, &body).await;
        let problem = answer.json();
        assert_eq!((answer.status, problem["errors"][0]["pointer"].as_str()), (400, Some(pointer)), "{problem}");
    }
    for bad in ["", "{", "1", "[1]", r#"{"level":"loud","service":"s","message":"m"}"#, r#"{"level":"info"}"#] {
        let answer = logging.ask("POST", "/log", &[KEY], bad.to_owned()).await;
        assert_eq!(answer.status, 400, "{bad}: {:?}", answer.bytes);
    }
    assert_eq!(db.count("select count(*) from fermata.logs").await, 0);
}

#[tokio::test]
async fn lines_are_sent_with_the_internal_key_or_a_scope_and_read_with_a_scope_only() {
    let db = TestDb::new().await;
    let logging = Process::start("logging", &db, &[]).await;
    let (writer, reader) = (bearer(&db, &[Scope::LogsWrite]).await, bearer(&db, &[Scope::LogsRead]).await);
    let body = frame(&json!({})).to_string();
    let post = async |headers: &[(&str, &str)]| logging.ask("POST", "/log", headers, body.clone()).await;

    post(&[]).await.problem(401, "unauthorized", "token_missing");
    post(&[("x-internal-key", "sesam")]).await.problem(401, "unauthorized", "internal_key_unknown");
    post(&[("authorization", &reader)]).await.problem(403, "forbidden", "scope_missing");
    assert_eq!(post(&[("authorization", &writer)]).await.status, 201);
    logging.get("/logs", &[KEY]).await.problem(403, "forbidden", "scope_missing");
    logging.get("/logs", &[("authorization", &writer)]).await.problem(403, "forbidden", "scope_missing");
    logging.get("/logs?color=red", &[("authorization", &reader)]).await.problem(400, "validation", "validation");
    let loud = logging.get("/logs?level=loud", &[("authorization", &reader)]).await;
    loud.problem(400, "validation", "validation");
}

#[tokio::test]
async fn nobody_writes_into_the_lines_of_another_client() {
    let db = TestDb::new().await;
    let logging = Process::start("logging", &db, &[]).await;
    let engine = db.engine(Registry::new().with(Idle)).await;
    let run = db.submit(&engine, "test.idle", json!({})).await.to_string();
    let scopes = [Scope::LogsRead, Scope::LogsWrite];
    let (owner, stranger) = (bearer_for("c", &db, &scopes).await, bearer_for("other", &db, &scopes).await);
    let about = frame(&json!({ "message": "about it", "runId": run })).to_string();

    assert_eq!(logging.ask("POST", "/log", &[("authorization", &stranger)], about.clone()).await.status, 201);
    assert_eq!(found(&logging, &owner, "").await, [""; 0]);
    assert_eq!(found(&logging, &stranger, "").await, ["about it"]);
    assert_eq!(logging.ask("POST", "/log", &[("authorization", &owner)], about).await.status, 201);
    assert_eq!(found(&logging, &owner, "").await, ["about it"]);
}
