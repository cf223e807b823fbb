//! Who may do what.

use axum::body::Body;
use axum::http::Request;
use fermata_api::app::AppOptions;
use fermata_api::openapi;
use fermata_engine::access::{NewToken, Principal, Scope};
use serde_json::json;

use super::harness::{NOBODY, Rest, envelope};

#[tokio::test]
async fn no_operation_that_asks_for_a_token_answers_without_one() {
    let rest = Rest::new().await;
    let document = openapi::document();
    let mut asked = 0;
    for (path, methods) in document["paths"].as_object().unwrap() {
        for (method, operation) in methods.as_object().unwrap() {
            let path = path.replace("{id}", NOBODY).replace("{name}", "go").replace("{type}", "test.echo");
            let path = path.replace("{slug}", "validation");
            let request = Request::builder().method(method.to_uppercase().as_str()).uri(&path);
            let answer = rest.send(request.body(Body::empty()).unwrap()).await;
            if operation.get("security").is_some() {
                answer.problem(401, "token_missing");
                assert!(answer.header("www-authenticate").starts_with("Bearer"));
                asked += 1;
            } else {
                assert_eq!(answer.status, 200, "{path}");
            }
        }
    }
    assert!(asked > 20);
}

#[tokio::test]
async fn the_probes_ask_for_a_token_when_told_to() {
    let rest = Rest::with(AppOptions { probes_require_auth: true, ..AppOptions::default() }).await;
    for path in ["/health", "/ready", "/metrics"] {
        let bare = rest.send(Request::get(path).body(Body::empty()).unwrap()).await;
        assert_eq!(bare.status, 401, "{path}");
        assert_eq!(rest.get(path).await.status, 200, "{path}");
    }
    let reader = rest.token("acme", &[Scope::CommandsRead]).await;
    rest.ask("GET", "/metrics", &reader).await.problem(403, "scope_missing");
}

#[tokio::test]
async fn bad_credentials_are_told_apart() {
    let rest = Rest::new().await;
    rest.ask("GET", "/v1/commands", "hunter2").await.problem(401, "token_malformed");
    let (body, end) = rest.token.split_at(rest.token.len() - 1);
    let typo = format!("{body}{}", if end == "a" { "b" } else { "a" });
    rest.ask("GET", "/v1/commands", &typo).await.problem(401, "token_malformed");
    let twice = Request::get("/v1/commands")
        .header("authorization", format!("Bearer {}", rest.token))
        .header("x-api-key", &rest.token);
    rest.send(twice.body(Body::empty()).unwrap()).await.problem(400, "two_credentials");
    let key = Request::get("/v1/commands").header("x-api-key", &rest.token);
    assert_eq!(rest.send(key.body(Body::empty()).unwrap()).await.status, 200);
    let basic = Request::get("/v1/commands").header("authorization", "Basic dTpw");
    rest.send(basic.body(Body::empty()).unwrap()).await.problem(401, "scheme_unknown");
}

#[tokio::test]
async fn a_missing_scope_is_named() {
    let rest = Rest::new().await;
    let id = rest.submit(&json!({})).await;
    let reader = rest.token("acme", &[Scope::CommandsRead]).await;
    let bearer = format!("Bearer {reader}");
    let refused = rest.post_with("/v1/commands", envelope(&json!({})).to_string(), &[("authorization", &bearer)]).await;
    assert_eq!(refused.problem(403, "scope_missing")["scope"], "commands:write");
    for (method, path, scope) in [
        ("GET", "/v1/events".to_owned(), "events:read"),
        ("GET", format!("/v1/artifacts/{NOBODY}"), "artifacts:read"),
        ("GET", "/v1/tokens".to_owned(), "tokens:admin"),
        ("POST", format!("/v1/commands/{id}/cancel"), "commands:write"),
        ("POST", format!("/v1/commands/{id}/resume"), "gates:decide"),
    ] {
        let answer = rest.ask(method, &path, &reader).await;
        assert_eq!(answer.problem(403, "scope_missing")["scope"], scope, "{path}");
    }
    assert_eq!(rest.ask("GET", "/v1/gates", &reader).await.status, 200);
    assert_eq!(rest.commands().await, 1);
}

#[tokio::test]
async fn another_clients_things_look_as_if_they_were_missing() {
    let rest = Rest::new().await;
    let id = rest.submit(&json!({})).await;
    let stranger = rest.token("other", &[Scope::Admin]).await;
    let bearer = format!("Bearer {stranger}");
    for path in ["", "/steps", "/actions", "/events", "/gates", "/artifacts"] {
        let answer = rest.ask("GET", &format!("/v1/commands/{id}{path}"), &stranger).await;
        answer.problem(404, "not_found");
    }
    for path in ["cancel", "resume", "signals/go"] {
        let answer = rest.post_with(&format!("/v1/commands/{id}/{path}"), "{}", &[("authorization", &bearer)]).await;
        answer.problem(404, "not_found");
    }
    for path in ["/v1/commands", "/v1/commands?client_id=acme", "/v1/events", "/v1/actions", "/v1/gates"] {
        assert_eq!(rest.ask("GET", path, &stranger).await.json()["items"], json!([]), "{path}");
    }
    let posing = envelope(&json!({"client_id": "acme"})).to_string();
    rest.post_with("/v1/commands", posing, &[("authorization", &bearer)]).await.problem(403, "client_not_allowed");
    let everybody = rest.token("*", &[Scope::CommandsRead]).await;
    assert_eq!(rest.ask("GET", &format!("/v1/commands/{id}"), &everybody).await.json()["client_id"], "acme");
}

#[tokio::test]
async fn the_same_key_of_two_clients_is_two_commands() {
    let rest = Rest::new().await;
    let bearer = format!("Bearer {}", rest.token("other", &[Scope::CommandsWrite]).await);
    let body = envelope(&json!({"idempotency_key": "k"})).to_string();
    let ours = rest.post_with("/v1/commands", body.clone(), &[]).await.json();
    let theirs = rest.post_with("/v1/commands", body, &[("authorization", &bearer)]).await.json();
    assert_ne!(ours["command_id"], theirs["command_id"]);
}

#[tokio::test]
async fn a_token_is_made_seen_rotated_and_revoked() {
    let rest = Rest::new().await;
    let made = rest.post("/v1/tokens", &json!({"name": "ci", "scopes": ["commands:read"], "ttl_secs": 60})).await;
    assert_eq!((made.status.as_u16(), made.header("cache-control")), (201, "no-store"));
    let (first, id) = (made.json()["token"].as_str().unwrap().to_owned(), made.json()["token_id"].clone());
    let listed = rest.get("/v1/tokens").await;
    assert!(!String::from_utf8_lossy(&listed.bytes).contains(&first[50..]), "the text is shown once");
    assert_eq!(listed.json()["items"][0]["token_id"], id);
    assert_eq!(rest.ask("GET", "/v1/commands", &first).await.status, 200);

    let id = id.as_str().unwrap();
    let second = rest.post(&format!("/v1/tokens/{id}/rotate"), &json!({})).await.json();
    let second = second["token"].as_str().unwrap();
    for token in [&first, second] {
        assert_eq!(rest.ask("GET", "/v1/commands", token).await.status, 200, "both work in the overlap");
    }
    assert_eq!(rest.ask("DELETE", &format!("/v1/tokens/{id}"), &rest.token).await.status, 204);
    rest.ask("GET", "/v1/commands", &first).await.problem(401, "token_unknown");
    assert_eq!(rest.ask("GET", "/v1/commands", second).await.status, 200);
    rest.ask("DELETE", &format!("/v1/tokens/{id}"), &rest.token).await.problem(404, "not_found");
    rest.post(&format!("/v1/tokens/{id}/rotate"), &json!({})).await.problem(404, "not_found");
}

#[tokio::test]
async fn an_expired_token_is_refused() {
    let rest = Rest::new().await;
    let token = rest.token("acme", &[Scope::CommandsRead]).await;
    sqlx::query("update fermata.token set expires_at = now() - interval '1 hour' where scopes = '{commands:read}'")
        .execute(&rest.db.pool)
        .await
        .unwrap();
    rest.ask("GET", "/v1/commands", &token).await.problem(401, "token_expired");
}

#[tokio::test]
async fn nobody_makes_a_token_that_may_more_than_they_do() {
    let rest = Rest::new().await;
    let keeper = rest.token("acme", &[Scope::TokensAdmin, Scope::CommandsRead]).await;
    let bearer = format!("Bearer {keeper}");
    for (body, code) in [
        (json!({"name": "x", "scopes": ["admin"]}), "scope_missing"),
        (json!({"name": "x", "scopes": ["commands:read"], "client_id": "*"}), "client_not_allowed"),
    ] {
        rest.post_with("/v1/tokens", body.to_string(), &[("authorization", &bearer)]).await.problem(403, code);
    }
    let admin = rest.get("/v1/tokens").await.json();
    let admin = admin["items"].as_array().unwrap().iter().find(|token| token["scopes"] == json!(["admin"])).unwrap();
    let path = format!("/v1/tokens/{}/rotate", admin["token_id"].as_str().unwrap());
    rest.post_with(&path, "", &[("authorization", &bearer)]).await.problem(403, "scope_missing");
}

#[tokio::test]
async fn a_token_submits_only_the_types_on_its_list() {
    let rest = Rest::new().await;
    let narrow = NewToken {
        client_id: "acme".into(),
        name: "narrow".into(),
        scopes: vec![Scope::CommandsWrite],
        command_types: Some(vec!["other.type".into()]),
        ttl: None,
    };
    let token = rest.engine.create_token(&Principal::operator(), narrow).await.unwrap().token;
    let bearer = format!("Bearer {token}");
    let refused = rest.post_with("/v1/commands", envelope(&json!({})).to_string(), &[("authorization", &bearer)]).await;
    refused.problem(403, "command_type_not_allowed");
}
