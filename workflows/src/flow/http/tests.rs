//! The lane against a server that misbehaves.

use std::time::Duration;

use fermata_engine::clock::Clock;
use fermata_engine::workflow::StepError;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::flow::document::HttpCall;
use crate::flow::scope::Scope;

/// Serves one canned answer per connection, in order, and then drops what comes.
async fn server(answers: Vec<String>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            match answer.as_str() {
                "hang" => tokio::spawn(async move {
                    let _ = stream.read_to_end(&mut Vec::new()).await;
                }),
                _ => tokio::spawn(async move {
                    let _ = stream.write_all(answer.as_bytes()).await;
                }),
            };
        }
    });
    address
}

fn answer(head: &str, body: &str) -> String {
    format!("HTTP/1.1 {head}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

async fn read(address: &str, path: &str) -> Result<answer::Answer, HttpError> {
    let lane = HttpLane::new(AllowList::new([], [address]), Clock::system()).unwrap();
    let call: Value = json!({"method": "GET", "url": format!("{address}{path}"), "timeout_s": 0.5});
    let call: HttpCall = serde_json::from_value(call).unwrap();
    lane.read(Request::filled(&call, &Scope::default(), &Scope::default()).unwrap()).await
}

#[tokio::test]
async fn an_answer_is_read_whole() {
    let address = server(vec![answer("200 OK\r\nretry-after: 3", r#"{"a":1}"#)]).await;
    let got = read(&address, "/").await.unwrap();
    assert_eq!((got.status, got.body, got.retry_after), (200, json!({"a": 1}), Some(Duration::from_secs(3))));
}

#[tokio::test]
async fn a_redirect_is_followed_within_its_host_and_no_further() {
    let there = answer("302 Found\r\nlocation: /there", "");
    let away = answer("302 Found\r\nlocation: http://example.org/", "");
    let address = server(vec![there.clone(), answer("200 OK", "1"), away]).await;
    assert_eq!(read(&address, "/").await.unwrap().body, json!(1));
    assert_eq!(read(&address, "/").await.unwrap().status, 302);
    let circle = server(vec![there; 10]).await;
    assert!(matches!(read(&circle, "/").await, Err(HttpError::Address { .. })));
}

#[tokio::test]
async fn an_answer_that_is_too_large_is_not_read_to_its_end() {
    let body = "x".repeat(crate::flow::limits::MAX_BODY_BYTES + 1);
    let address = server(vec![answer("200 OK", &body)]).await;
    let refused = read(&address, "/").await.unwrap_err();
    assert!(matches!(refused, HttpError::TooLarge { .. }) && !refused.nothing_was_sent());
}

#[tokio::test]
async fn silence_and_a_cut_may_have_been_heard() {
    let address =
        server(vec!["hang".to_owned(), String::new(), "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf".to_owned()])
            .await;
    let silence = read(&address, "/").await.unwrap_err();
    assert!(matches!(silence, HttpError::Timeout { .. }) && !silence.nothing_was_sent(), "{silence}");
    for _ in 0..2 {
        let cut = read(&address, "/").await.unwrap_err();
        assert!(matches!(cut, HttpError::Lost { .. }) && !cut.nothing_was_sent(), "{cut}");
    }
}

#[tokio::test]
async fn without_a_connection_or_a_permission_nothing_was_sent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let closed = read(&address, "/").await.unwrap_err();
    assert!(matches!(closed, HttpError::Connect { .. }) && closed.nothing_was_sent(), "{closed}");
    let lane = HttpLane::new(AllowList::default(), Clock::system()).unwrap();
    let call: HttpCall = serde_json::from_value(json!({"method": "GET", "url": address})).unwrap();
    let refused = lane.send(Request::filled(&call, &Scope::default(), &Scope::default()).unwrap()).await.unwrap_err();
    assert!(matches!(refused, HttpError::NotAllowed { .. }) && refused.nothing_was_sent());
}

/// All that can be printed of an error and of what it means for a step.
fn printed(error: HttpError) -> String {
    let mut text = format!("{error} {error:?}");
    let mut cause = std::error::Error::source(&error);
    while let Some(inner) = cause {
        text = format!("{text} {inner} {inner:?}");
        cause = inner.source();
    }
    format!("{text} {:?}", StepError::from(error))
}

#[tokio::test]
async fn no_failure_of_a_request_tells_what_was_in_it() {
    const SECRET: &str = "s3cr3t-t0k3n";
    let large = answer("200 OK", &"x".repeat(crate::flow::limits::MAX_BODY_BYTES + 1));
    let circle = answer(&format!("302 Found\r\nlocation: /?token={SECRET}"), "");
    let failures = [vec!["hang".to_owned()], vec![String::new()], vec![large], vec![circle; 9], Vec::new()];
    let opened = Scope::default().with("steps", json!({"login": {"token": SECRET, "broken": format!("{SECRET}\n")}}));
    let call = |address: &str, more: Value| {
        let mut call = json!({"method": "GET", "url": address, "timeout_s": 0.5,
            "query": {"token": "${steps.login.token}"}, "headers": {"authorization": "Bearer ${steps.login.token}"}});
        call.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value::<HttpCall>(call).unwrap()
    };
    for answers in failures {
        let address = server(answers).await;
        let lane = HttpLane::new(AllowList::new([], [address.as_str()]), Clock::system()).unwrap();
        let request = Request::filled(&call(&address, json!({})), &Scope::default(), &opened).unwrap();
        assert!(!format!("{request:?}").contains(SECRET));
        let text = printed(lane.read(request).await.unwrap_err());
        assert!(!text.contains(SECRET), "{text}");
    }
    let lane = HttpLane::new(AllowList::default(), Clock::system()).unwrap();
    let request = Request::filled(&call("http://h", json!({})), &Scope::default(), &opened).unwrap();
    let text = printed(lane.read(request).await.unwrap_err());
    assert!(!text.contains(SECRET), "{text}");
    for more in [json!({"headers": {"x": "${steps.login.broken}"}}), json!({"headers": {"x": "-${steps.login}"}})] {
        let text = printed(Request::filled(&call("http://h", more), &Scope::default(), &opened).unwrap_err());
        assert!(!text.contains(SECRET), "{text}");
    }
}

#[test]
fn an_address_is_never_filled_with_what_is_in_no_record() {
    let opened = Scope::default().with("steps", json!({"login": {"token": "t"}}));
    let call: HttpCall =
        serde_json::from_value(json!({"method": "GET", "url": "http://h/${steps.login.token}"})).unwrap();
    let refused = Request::filled(&call, &Scope::default(), &opened);
    assert!(matches!(refused, Err(HttpError::Fill(_))), "{refused:?}");
}
