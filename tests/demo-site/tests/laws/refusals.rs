//! What the site does not take, and that it says so without falling over.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::running::Running;

const TOO_MANY_BYTES: usize = 16 * 1024 * 1024 + 1;

#[tokio::test]
async fn unknown_or_senseless_mode_fields_are_refused_and_change_nothing() {
    let site = Running::start();
    for mode in [
        json!({ "dropanswer": true }),
        json!({ "fail": "sometimes" }),
        json!({ "status": 200 }),
        json!({ "only": ["story"] }),
        json!([]),
    ] {
        assert_eq!(site.mode(mode.clone()).await, StatusCode::BAD_REQUEST, "{mode}");
    }

    assert_eq!(
        site.get("/_mode").await,
        json!({
            "keys": "honour", "delay_ms": 0, "freeze": false, "fail": "none", "status": 503,
            "drop_answer": false, "hold_answer_ms": 0, "hide_ms": 0, "render_ms": 300, "times": null, "only": null,
            "me": "truth"
        })
    );
}

#[tokio::test]
async fn a_malformed_body_is_a_400_that_says_why() {
    let site = Running::start();
    for (path, body) in [
        ("/api/posts", json!({})),
        ("/api/posts", json!({ "caption": " " })),
        ("/api/posts", json!({ "caption": "a", "media_base64": "%" })),
        ("/api/posts", json!({ "caption": "a", "media_url": "javascript:x" })),
        ("/api/posts", json!({ "caption": "a".repeat(20_000) })),
        ("/api/messages", json!({ "to": "No Body", "text": "hi" })),
        ("/api/messages", json!({ "to": "bob", "text": "" })),
        ("/api/login", json!("ada")),
    ] {
        let refused = site.api(path, &body).await.send().await.unwrap();
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST, "{path} {body}");
        let reason: Value = refused.json().await.unwrap();
        assert!(reason["error"].is_string(), "{path} {body}");
    }
    assert!(site.ledger().await.is_empty());
}

#[tokio::test]
async fn a_form_that_does_not_parse_is_a_4xx() {
    let site = Running::start();
    for (path, form) in [
        ("/compose", "caption=a"),
        ("/messages/bob", "nothing=here"),
        ("/messages/bob", "text="),
        ("/studio", "reference=r"),
        ("/studio", "prompt=+"),
        ("/messages/No%20Body", "text=a"),
        ("/posts/none/likes", ""),
        ("/posts/%ff/likes", ""),
        ("/login", "handle=ada&password=wrong"),
    ] {
        let status = site.submit(path, form).await.status();
        assert!(status.is_client_error(), "{path} {form} {status}");
    }
    assert!(site.ledger().await.is_empty());
}

#[tokio::test]
async fn a_stranger_a_wrong_password_and_a_wrong_address_are_told_so() {
    let site = Running::start();
    let login = json!({ "handle": "ada", "password": "guess" });

    let me = site.http.get(site.address("/api/me")).bearer_auth("pico.ada.0");
    let login = site.http.post(site.address("/api/login")).json(&login);
    let nowhere = site.http.get(site.address("/api/stories"));
    let wrong_method = site.http.delete(site.address("/api/posts"));

    for (request, status) in [
        (me, StatusCode::UNAUTHORIZED),
        (login, StatusCode::UNAUTHORIZED),
        (nowhere, StatusCode::NOT_FOUND),
        (wrong_method, StatusCode::METHOD_NOT_ALLOWED),
    ] {
        let response = request.send().await.unwrap();
        assert_eq!(response.status(), status);
        assert!(response.json::<Value>().await.unwrap()["error"].is_string());
    }
}

#[tokio::test]
async fn a_body_beyond_the_bound_is_refused() {
    let site = Running::start();

    let body = json!({ "caption": "a".repeat(TOO_MANY_BYTES) });
    let refused = site.api("/api/posts", &body).await.send().await;

    // The site may close before it has read it all; what it never does is apply it.
    if let Ok(refused) = refused {
        assert_eq!(refused.status(), StatusCode::PAYLOAD_TOO_LARGE);
    }
    assert!(site.ledger().await.is_empty());
}
