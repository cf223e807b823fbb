//! Secrets stay in memory (I12), on real processes: a worker dies after the login, its successor logs in again
//! only if it has to, and the token is in no row, no log line and no file.

use fermata_tests::{Dev, contents, eventually};
use serde_json::{Value, json};

fn holds(haystack: &[u8], needle: &str) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle.as_bytes())
}

/// Fails where the token, or its bytes in hex, can be found.
async fn nowhere(dev: &Dev, token: &str) {
    let (rows, files) = (contents(&dev.ready.database_url).await, dev.files());
    assert!(rows.contains("secret-reference") && holds(&files, "secret-reference"), "what there is was searched");
    assert!(holds(&files, r#""level":"#), "the logs are JSON");
    let hex = hex::encode(token);
    for form in [token, &hex] {
        for (place, bytes) in [("row", rows.as_bytes()), ("file", &files)] {
            assert!(!holds(bytes, form), "the token is in a {place}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_only_looks_does_not_log_in_and_the_token_is_found_nowhere() {
    let mut dev = Dev::start_with(&[("LOG_FORMAT", "json"), ("FERMATA_LOG", "debug")]).await;
    dev.mode(json!({"hold_answer_ms": 20_000, "times": 1, "keys": "honour"})).await;
    let inputs = json!({
        "handle": "grace", "caption": "kept to itself", "reference": "secret-reference", "call_timeout_s": 3,
        "visible_within_s": 0,
    });
    let command = dev.flow("demo.http_publish", inputs).await;
    eventually("the post is made", || async { (dev.applied("secret-reference").await == 1).then_some(()) }).await;
    let (logins, token) = dev.logins("grace").await;
    assert_eq!((logins, token.starts_with("pico.grace.")), (1, true));
    Dev::signal(dev.holder(&command).await, "KILL");
    let ended = dev.reaches(&command, &["SUCCEEDED", "FAILED", "HUMAN_REQUIRED"]).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    assert_eq!((dev.logins("grace").await.0, dev.applied("secret-reference").await), (1, 1));
    let steps = dev.get(&format!("/v1/commands/{command}/steps")).await;
    let login = steps["items"].as_array().unwrap().iter().find(|step| step["key"] == "login").unwrap();
    assert_eq!((&login["kind"], &login["output"]), (&json!("unrecorded"), &json!({"unrecorded": ["token"]})));
    nowhere(&dev, &token).await;
    assert_eq!(dev.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_successor_that_has_to_call_logs_in_again_and_the_post_is_made_once() {
    let mut dev = Dev::start_with(&[("LOG_FORMAT", "json"), ("FERMATA_LOG", "debug")]).await;
    dev.mode(json!({"freeze": true})).await;
    let inputs = json!({
        "handle": "grace", "caption": "kept to itself", "reference": "secret-reference", "call_timeout_s": 3,
        "visible_within_s": 0,
    });
    let command = dev.flow("demo.http_publish", inputs).await;
    dev.action(&command, "attempted").await;
    assert_eq!(dev.logins("grace").await.0, 1);
    Dev::signal(dev.holder(&command).await, "KILL");
    dev.mode(json!({})).await;
    let ended = dev.reaches(&command, &["SUCCEEDED", "FAILED", "HUMAN_REQUIRED"]).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    let (logins, token) = dev.logins("grace").await;
    assert_eq!((logins, dev.applied("secret-reference").await), (2, 1));
    nowhere(&dev, &token).await;
    assert_eq!(dev.stop().await, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_that_is_refused_tells_nothing_of_what_it_carried() {
    let mut dev = Dev::start_with(&[("LOG_FORMAT", "json"), ("FERMATA_LOG", "debug")]).await;
    let login = json!({"id": "login", "http": {
        "method": "POST", "url": "${env.demo_site}/api/login", "safe": true, "record": false,
        "json": {"handle": "grace", "password": "demo-password"}, "save": {"token": "/token"}}});
    let sent = json!({"id": "sent", "retry": {"max_attempts": 2, "initial_ms": 10}, "http": {
        "method": "GET", "url": "${env.demo_site}/api/secret-reference", "query": {"token": "${steps.login.token}"},
        "headers": {"Authorization": "Bearer ${steps.login.token}"}}});
    let flow =
        json!({"name": "test.secret", "version": "1", "platform": "demo", "lane": "api", "steps": [login, sent]});
    let body = json!({"type": "flow.run", "payload": {"flow": flow}});
    let (status, accepted) = dev.post("/v1/commands", &body).await;
    assert_eq!(status, 202, "{accepted}");
    let ended = dev.reaches(accepted["command_id"].as_str().unwrap(), &["SUCCEEDED", "FAILED"]).await;
    assert_eq!((&ended["status"], &ended["error"]["code"]), (&json!("FAILED"), &json!("platform_refused")), "{ended}");
    let (logins, token): (u64, String) = dev.logins("grace").await;
    assert_eq!(logins, 1);
    assert!(!Value::to_string(&ended).contains(&token));
    let (rows, files) = (contents(&dev.ready.database_url).await, dev.files());
    assert!(rows.contains("secret-reference"));
    assert!(!rows.contains(&token) && !holds(&files, &token));
    assert_eq!(dev.stop().await, Some(0));
}
