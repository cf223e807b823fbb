//! Bad input is refused, pointed at, and leaves nothing behind.

use axum::body::Body;
use axum::http::Request;
use fermata_api::openapi;
use serde_json::{Value, json};

use super::harness::{MAX_BODY, NOBODY, Rest, envelope};

const COMMANDS: &str = "/v1/commands";

#[tokio::test]
async fn an_unfit_command_is_refused_with_a_pointer_and_never_queued() {
    let rest = Rest::new().await;
    for (more, pointer) in [
        (json!({"type": "no.such"}), "/type"),
        (json!({"type": 1}), "/type"),
        (json!({"payload": []}), "/payload"),
        (json!({"payload": {}}), "/payload/text"),
        (json!({"payload": {"text": 1}}), "/payload/text"),
        (json!({"payload": {"text": "x", "times": 900}}), "/payload/times"),
        (json!({"payload": {"text": "x", "colour": "red"}}), "/payload/colour"),
        (json!({"payload": {"text": "x\u{0}y"}}), "/payload/text"),
        (json!({"priority": 10}), "/priority"),
        (json!({"priority": -1}), "/priority"),
        (json!({"priority": "high"}), "/priority"),
        (json!({"not_before": "soon"}), "/not_before"),
        (json!({"deadline": "+99999-01-01T00:00:00Z"}), "/deadline"),
        (json!({"idempotency_key": ""}), "/idempotency_key"),
        (json!({"idempotency_key": "a b"}), "/idempotency_key"),
        (json!({"account_id": ""}), "/account_id"),
        (json!({"platform": "x".repeat(256)}), "/platform"),
        (json!({"correlation_id": "a\nb"}), "/correlation_id"),
        (json!({"policy": {"retries": 1}}), "/policy/retries"),
        (json!({"colour": "red"}), "/colour"),
    ] {
        let answer = rest.post(COMMANDS, &envelope(&more)).await;
        let body = answer.json();
        assert_eq!(answer.status, 400, "{more}: {body}");
        assert_eq!(body["errors"][0]["pointer"], pointer, "{more}: {body}");
    }
    assert_eq!(rest.commands().await, 0);
}

#[tokio::test]
async fn a_hostile_body_is_a_bad_request_and_never_our_fault() {
    let rest = Rest::new().await;
    let payload = |inside: &str| format!(r#"{{"type":"test.echo","payload":{{"text":"x","more":{inside}}}}}"#);
    let nested = |depth: usize| payload(&format!("{}1{}", "[".repeat(depth), "]".repeat(depth)));
    let bodies: Vec<Vec<u8>> = vec![
        b"".to_vec(),
        b" ".to_vec(),
        b"null".to_vec(),
        b"[]".to_vec(),
        b"\"text\"".to_vec(),
        b"{".to_vec(),
        b"{\"type\":\"test.echo\",\"payload\":{\"text\":\"\xff\xfe\"}}".to_vec(),
        b"\xef\xbb\xbf{}".to_vec(),
        br#"{"type":"test.echo","type":"test.echo","payload":{"text":"x"}}"#.to_vec(),
        payload(r#""\ud800""#).into_bytes(),
        payload("1e999").into_bytes(),
        payload("NaN").into_bytes(),
        payload(r#"{"a\u0000b":1}"#).into_bytes(),
        nested(70).into_bytes(),
        nested(127).into_bytes(),
        nested(20_000).into_bytes(),
    ];
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(60)]).into_owned();
        let answer = rest.post_with(COMMANDS, body, &[]).await;
        assert_eq!(answer.status, 400, "{shown}: {:?}", answer.bytes);
        assert_eq!(answer.header("content-type"), "application/problem+json");
    }
    assert_eq!(rest.commands().await, 0);
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_too_large_announced_or_not() {
    let rest = Rest::new().await;
    let large = envelope(&json!({"payload": {"text": "x".repeat(MAX_BODY)}})).to_string();
    rest.post_with(COMMANDS, large.clone(), &[]).await.problem(413, "payload_too_large");
    let announced = large.len().to_string();
    rest.post_with(COMMANDS, large, &[("content-length", &announced)]).await.problem(413, "payload_too_large");
}

#[tokio::test]
async fn only_plain_json_is_read() {
    let rest = Rest::new().await;
    let fit = envelope(&json!({})).to_string();
    for kind in ["text/plain", "multipart/form-data; boundary=x", "application/xml"] {
        let request = Request::post(COMMANDS)
            .header("authorization", format!("Bearer {}", rest.token))
            .header("content-type", kind)
            .body(Body::from(fit.clone()))
            .unwrap();
        rest.send(request).await.problem(415, "unsupported_media_type");
    }
    rest.post_with(COMMANDS, fit, &[("content-encoding", "gzip")]).await.problem(415, "unsupported_media_type");
    assert_eq!(rest.commands().await, 0);
}

#[tokio::test]
async fn what_curl_sends_without_a_content_type_is_read_as_json_wherever_json_is_read() {
    let rest = Rest::new().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let sent = rest.post_with(COMMANDS, envelope(&json!({})).to_string(), &form).await;
    assert_eq!(sent.status, 202, "{:?}", sent.bytes);
    rest.post_with(COMMANDS, "type=test.echo&payload=x", &form).await.problem(400, "malformed_json");

    let document = openapi::document();
    let mut read = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, _) in methods.as_object().unwrap().iter().filter(|(_, it)| it.get("requestBody").is_some()) {
            let path = path.replace("{id}", NOBODY).replace("{name}", "go");
            let request = Request::builder()
                .method(method.to_uppercase().as_str())
                .uri(&path)
                .header("authorization", format!("Bearer {}", rest.token))
                .header("content-type", form[0].1);
            rest.send(request.body(Body::from("{")).unwrap()).await.problem(400, "malformed_json");
            read += 1;
        }
    }
    assert!(read >= 7, "{read}");
}

#[tokio::test]
async fn unknown_routes_and_methods_are_problems_too() {
    let rest = Rest::new().await;
    let id = rest.submit(&json!({})).await;
    let lost = rest.get("/v1/nothing?x=1").await.problem(404, "not_found");
    assert_eq!(lost["instance"], "/v1/nothing");
    for (method, path) in [
        ("DELETE", format!("/v1/commands/{id}")),
        ("DELETE", COMMANDS.to_owned()),
        ("PUT", COMMANDS.to_owned()),
        ("POST", "/health".to_owned()),
        ("BREW", COMMANDS.to_owned()),
    ] {
        let answer = rest.ask(method, &path, &rest.token).await;
        answer.problem(405, "method_not_allowed");
        assert!(answer.header("allow").contains("GET"), "{method} {path}: {:?}", answer.headers);
    }
    assert_eq!(rest.get(&format!("/v1/commands/{id}")).await.status, 200);
}

#[tokio::test]
async fn what_is_not_there_is_not_found_on_every_route() {
    let rest = Rest::new().await;
    for id in [NOBODY, "not-a-uuid", "%00", "..%2f..%2fetc"] {
        for path in ["", "/steps", "/actions", "/events", "/gates", "/artifacts"] {
            let answer = rest.get(&format!("/v1/commands/{id}{path}")).await;
            assert_eq!(answer.status, 404, "{id}{path}: {:?}", answer.bytes);
        }
        for path in ["cancel", "resume", "signals/go"] {
            let answer = rest.post(&format!("/v1/commands/{id}/{path}"), &json!({})).await;
            assert_eq!(answer.status, 404, "{id} {path}: {:?}", answer.bytes);
        }
        for path in [format!("/v1/gates/{id}"), format!("/v1/artifacts/{id}"), format!("/v1/artifacts/{id}/content")] {
            assert_eq!(rest.get(&path).await.status, 404, "{path}");
        }
        let decision = rest.post(&format!("/v1/gates/{id}/decisions"), &json!({"decision": "approve"})).await;
        assert_eq!(decision.status, 404);
    }
}

#[tokio::test]
async fn an_unfit_query_is_refused_and_never_ignored() {
    let rest = Rest::new().await;
    for path in [
        "/v1/commands?limit=0",
        "/v1/commands?limit=201",
        "/v1/commands?limit=x",
        "/v1/commands?after=x",
        "/v1/commands?after=%F0%9F%92%A9",
        "/v1/commands?state=DONE",
        "/v1/commands?since=yesterday",
        "/v1/commands?colour=red",
        "/v1/commands?type=a%00b",
        "/v1/commands?type=%FF%FE",
        "/v1/commands?parent_id=x",
        "/v1/events?after=x",
        "/v1/events?min_severity=loud",
        "/v1/events?limit=1000",
        "/v1/actions?command_id=x",
        "/v1/actions?state=done",
        "/v1/gates?state=shut",
    ] {
        let answer = rest.get(path).await;
        assert_eq!(answer.status, 400, "{path}: {:?}", answer.bytes);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{path}");
    }
    // Ahead of the stream: it belongs to another history.
    rest.get("/v1/events?after=AQAAAAEAAAAAAAAnEA").await.problem(410, "cursor_foreign");
}

#[tokio::test]
async fn an_unfit_control_is_refused() {
    let rest = Rest::new().await;
    let id = rest.submit(&json!({})).await;
    let long = "x".repeat(300);
    for (path, body, status) in [
        ("cancel", json!({"why": "x"}), 400),
        ("cancel", json!({"reason": "a\u{0}b"}), 400),
        ("resume", json!({}), 409),
        ("resume", json!({"comment": "a\u{0}b"}), 400),
        ("signals/go", json!({"signal_id": "x"}), 400),
        ("signals/go", json!({"payload": "\u{0}"}), 400),
        ("signals/%00", json!({}), 400),
        (&*format!("signals/{long}"), json!({}), 400),
    ] {
        let answer = rest.post(&format!("/v1/commands/{id}/{path}"), &body).await;
        assert_eq!(answer.status, status, "{path} {body}: {:?}", answer.bytes);
    }
    let decision = rest.post(&format!("/v1/gates/{NOBODY}/decisions"), &json!({"decision": "maybe"})).await;
    decision.problem(400, "validation");
}

#[tokio::test]
async fn the_request_id_is_echoed_when_sane_and_made_otherwise() {
    let rest = Rest::new().await;
    let asked = rest.post_with(COMMANDS, "{", &[("x-request-id", "mine-1")]).await;
    assert_eq!(asked.problem(400, "malformed_json")["requestId"], "mine-1");
    let replaced = rest.post_with(COMMANDS, "{", &[("x-request-id", "a b\"c")]).await;
    let id: Value = replaced.problem(400, "malformed_json")["requestId"].clone();
    assert!(id.as_str().unwrap().parse::<uuid::Uuid>().is_ok(), "{id}");
}
