//! Laws of the control socket and of the program.

use serde_json::json;

use crate::running::{Proxy, line};

#[tokio::test]
async fn what_is_not_understood_is_refused_and_says_why() {
    let proxy = Proxy::start().await;
    let control = proxy.control();
    for (request, why) in [
        ("hello", "not a request"),
        (r#"{"op":"dance"}"#, "unknown variant"),
        (r#"{"op":"stats","name":"link"}"#, "no link is called `link`"),
        (r#"{"op":"wait","id":"f","timeout_ms":0}"#, "no fault of id `f`"),
        (r#"{"op":"open","name":"a","listen":"127.0.0.1:0","upstream":"nowhere","protocol":"tcp"}"#, "HOST:PORT"),
    ] {
        let answer = line(&control, request).await;
        assert_eq!(answer["ok"], false);
        assert!(answer["error"].as_str().unwrap().contains(why), "{request}: {answer}");
    }
    let answer = line(&control, &"x".repeat(70_000)).await;
    assert!(answer["error"].as_str().unwrap().contains("at most"), "{answer}");
}

#[tokio::test]
async fn links_are_bounded_and_names_are_given_once() {
    let proxy = Proxy::start().await;
    let open = |n: usize| json!({ "op": "open", "name": format!("l{n}"), "listen": "127.0.0.1:0", "upstream": "127.0.0.1:1", "protocol": "tcp" });
    for n in 0..64 {
        proxy.agree(open(n)).await;
    }
    assert!(proxy.ask(open(64)).await["error"].as_str().unwrap().contains("64 links"));
    proxy.agree(json!({ "op": "close", "name": "l0" })).await;
    proxy.agree(open(64)).await;
    proxy.agree(json!({ "op": "close", "name": "l1" })).await;
    assert!(proxy.ask(open(2)).await["error"].as_str().unwrap().contains("already"));
}

#[tokio::test]
async fn a_wait_ends_at_its_time_and_says_how_often_it_fired() {
    let proxy = Proxy::start().await;
    proxy.open("127.0.0.1:1", "http").await;
    proxy.arm(json!({ "kind": "cut_answer" })).await;
    let again = proxy.ask(json!({ "op": "fault", "name": "link", "fault": { "kind": "reset" }, "id": "f" })).await;
    assert!(again["error"].as_str().unwrap().contains("armed already"), "{again}");
    let answer = proxy.ask(json!({ "op": "wait", "id": "f", "timeout_ms": 20 })).await;
    assert_eq!((&answer["ok"], &answer["fired"]), (&json!(false), &json!(0)));
}

#[tokio::test]
async fn it_ends_when_it_is_asked_to() {
    let mut proxy = Proxy::start().await;
    proxy.open("127.0.0.1:1", "tcp").await;
    assert_eq!(proxy.terminate().await, Some(0));
    assert!(!proxy.control().exists());
}
