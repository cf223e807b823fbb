//! Connecting accounts over REST (S-031): who may, what is kept and shown, and what is refused. What it decides is a law of
//! the engine.

use axum::body::Body;
use axum::http::Request;
use fermata_engine::access::Scope;
use serde_json::{Value, json};

use super::harness::{Answer, Rest, envelope};

const MAIN: &str = "/v1/platform-accounts/demo/main%2F1";

async fn put(rest: &Rest, path: &str, token: &str, body: &Value) -> Answer {
    let request = Request::put(path).header("content-type", "application/json");
    let request = request.header("authorization", format!("Bearer {token}"));
    rest.send(request.body(Body::from(body.to_string())).unwrap()).await
}

fn told(id: &str) -> Value {
    json!({"fingerprint": {"id": id, "handle": "ada", "display_name": "Ada L.", "ids": {"page_id": "9"}}})
}

#[tokio::test]
async fn a_connected_account_shows_who_it_is_alone_and_in_the_list() {
    let rest = Rest::new().await;
    let acme = rest.token("acme", &[Scope::AccountsWrite, Scope::AuditRead]).await;
    rest.ask("GET", MAIN, &acme).await.problem(404, "not_found");
    let connected = put(&rest, MAIN, &acme, &told("7")).await.json();
    assert_eq!((&connected["client_id"], &connected["account_id"]), (&json!("acme"), &json!("main/1")));
    assert_eq!((&connected["fingerprint"], &connected["mode"]), (&told("7")["fingerprint"], &json!("normal")));
    assert_eq!((&connected["connected_by"], connected["connected_at"].is_string()), (&json!("test"), true));
    assert_eq!(put(&rest, MAIN, &acme, &told("7")).await.json(), connected, "the same again changes nothing");
    assert_eq!(rest.ask("GET", MAIN, &acme).await.json(), connected);
    assert_eq!(rest.ask("GET", "/v1/platform-accounts", &acme).await.json()["items"], json!([connected]));
    let least = put(&rest, MAIN, &acme, &json!({"fingerprint": {"id": "8"}})).await.json();
    assert_eq!(least["fingerprint"], json!({"id": "8"}));
    let rows = rest.ask("GET", "/v1/audit?phase=account_connected", &acme).await.json();
    let kept: Vec<_> = rows["items"].as_array().unwrap().iter().map(|row| &row["detail"]).collect();
    assert_eq!(kept.iter().map(|detail| &detail["id"]).collect::<Vec<_>>(), ["8", "7"]);
    assert_ne!(kept[0]["fingerprint_sha256"], kept[1]["fingerprint_sha256"]);
    assert!(!rows.to_string().contains("Ada"), "what shows who it is, and no names: {rows}");
}

#[tokio::test]
async fn accounts_are_listed_by_client_platform_and_mode() {
    let rest = Rest::new().await;
    let operator = rest.token("*", &[Scope::AccountsWrite]).await;
    for (path, client) in [("demo/a", "acme"), ("demo/b", "acme"), ("other/a", "acme"), ("demo/a", "else")] {
        let path = format!("/v1/platform-accounts/{path}?client_id={client}");
        assert_eq!(put(&rest, &path, &operator, &told("7")).await.status, 200);
    }
    let mode = json!({"mode": "disabled", "reason": "a test"});
    put(&rest, "/v1/platform-accounts/demo/b/mode?client_id=acme", &operator, &mode).await;
    for (query, found) in [
        ("", 4),
        ("?client_id=acme", 3),
        ("?platform=demo", 3),
        ("?mode=disabled", 1),
        ("?mode=normal&client_id=acme&platform=demo", 1),
        ("?client_id=nobody", 0),
    ] {
        let list = rest.ask("GET", &format!("/v1/platform-accounts{query}"), &operator).await.json();
        assert_eq!(list["items"].as_array().unwrap().len(), found, "{query}: {list}");
    }
    rest.ask("GET", "/v1/platform-accounts?mode=frozen", &operator).await.problem(400, "validation");
}

#[tokio::test]
async fn nobody_connects_or_sees_an_account_that_is_not_theirs() {
    let rest = Rest::new().await;
    let acme = rest.token("acme", &[Scope::AccountsWrite]).await;
    let other = rest.token("other", &[Scope::AccountsWrite]).await;
    let reader = rest.token("acme", &[Scope::CommandsRead]).await;
    let everybody = rest.token("*", &[Scope::AccountsWrite]).await;
    put(&rest, MAIN, &reader, &told("7")).await.problem(403, "scope_missing");
    put(&rest, &format!("{MAIN}?client_id=acme"), &other, &told("7")).await.problem(403, "client_not_allowed");
    put(&rest, MAIN, &everybody, &told("7")).await.problem(400, "validation");
    assert_eq!(put(&rest, MAIN, &acme, &told("7")).await.status, 200);
    rest.ask("GET", MAIN, &other).await.problem(404, "not_found");
    rest.ask("GET", &format!("{MAIN}?client_id=acme"), &other).await.problem(404, "not_found");
    assert_eq!(rest.ask("GET", MAIN, &reader).await.status, 200);
    rest.ask("GET", MAIN, &everybody).await.problem(400, "validation");
    assert_eq!(rest.ask("GET", &format!("{MAIN}?client_id=acme"), &everybody).await.status, 200);
}

#[tokio::test]
async fn a_fingerprint_that_does_not_fit_is_pointed_out_and_nothing_is_kept() {
    let rest = Rest::new().await;
    let acme = rest.token("acme", &[Scope::AccountsWrite]).await;
    let many: Value = (0..33).map(|n| (format!("id{n}"), json!("1"))).collect::<serde_json::Map<_, _>>().into();
    for (fingerprint, place) in [
        (json!({"id": ""}), "/fingerprint/id"),
        (json!({"id": "a\u{7}b"}), "/fingerprint/id"),
        (json!({"id": "x".repeat(256)}), "/fingerprint/id"),
        (json!({"id": "7", "handle": ""}), "/fingerprint/handle"),
        (json!({"id": "7", "display_name": "a\nb"}), "/fingerprint/display_name"),
        (json!({"id": "7", "ids": {"": "1"}}), "/fingerprint/ids"),
        (json!({"id": "7", "ids": many}), "/fingerprint/ids"),
    ] {
        let problem = put(&rest, MAIN, &acme, &json!({"fingerprint": fingerprint})).await.problem(400, "validation");
        assert_eq!(problem["errors"][0]["pointer"], place, "{problem}");
    }
    put(&rest, MAIN, &acme, &json!({"fingerprint": {"id": "a\0b"}})).await.problem(400, "nul");
    for body in [
        json!({}),
        json!([]),
        json!({"fingerprint": "7"}),
        json!({"fingerprint": {}}),
        json!({"fingerprint": {"id": 7}}),
        json!({"fingerprint": {"id": "7", "name": "ada"}}),
        json!({"fingerprint": {"id": "7", "ids": ["9"]}}),
        json!({"fingerprint": {"id": "7"}, "mode": "normal"}),
    ] {
        put(&rest, MAIN, &acme, &body).await.problem(400, "validation");
    }
    rest.ask("GET", "/v1/platform-accounts/demo/%00", &acme).await.problem(404, "not_found");
    put(&rest, "/v1/platform-accounts/demo/%00", &acme, &told("7")).await.problem(400, "validation");
    let listed = rest.ask("GET", "/v1/platform-accounts", &acme).await.json();
    assert_eq!(listed["items"], json!([]));
}

/// G-011: an account that the operator has not connected is not automated, where the policy says so.
#[tokio::test]
async fn a_command_for_an_account_that_nobody_has_connected_is_refused_where_the_policy_demands_to_know_it() {
    let rest = Rest::new().await;
    let command = |dry_run: bool| envelope(&json!({"platform": "demo", "account_id": "main/1", "dry_run": dry_run}));
    let keyed = envelope(&json!({"platform": "demo", "account_id": "main/1", "idempotency_key": "once"}));
    let first = rest.post("/v1/commands", &keyed).await;
    assert_eq!(first.status, 202, "nothing demands it yet");
    let demand = put(&rest, "/v1/policies/client:acme", &rest.token, &json!({"identity": "required"})).await;
    assert_eq!(demand.status, 200);
    for dry_run in [true, false] {
        let problem = rest.post("/v1/commands", &command(dry_run)).await.problem(403, "account_unregistered");
        assert!(problem["detail"].as_str().unwrap().contains("PUT /v1/platform-accounts/"), "{problem}");
    }
    let again = rest.post("/v1/commands", &keyed).await.json();
    assert_eq!(again["command_id"], first.json()["command_id"], "what was accepted before is answered as before");
    assert_eq!(put(&rest, MAIN, &rest.token, &told("7")).await.status, 200);
    assert_eq!(rest.post("/v1/commands", &command(true)).await.status, 200);
    assert_eq!(rest.post("/v1/commands", &command(false)).await.status, 202);
}

#[tokio::test]
async fn how_an_account_posts_is_kept_whole_shown_and_told_and_no_secret_is_in_it() {
    let rest = Rest::new().await;
    let acme = rest.token("acme", &[Scope::AccountsWrite, Scope::AuditRead]).await;
    let path = format!("{MAIN}/settings");
    let all = json!({
        "credential_ref": "demo-main", "default_caption": "hello", "default_tags": ["news", "b"], "privacy": "public",
        "rate_limit_window_s": 90_000,
    });
    // It is known, and nobody has said how it posts: it takes no number.
    put(&rest, "/v1/platform-accounts/demo/other", &acme, &told("8")).await;
    put(&rest, MAIN, &acme, &told("7")).await;
    let configured = put(&rest, &path, &acme, &all).await.json();
    assert_eq!((&configured["settings"], &configured["account_id"]), (&all, &json!("main/1")));
    assert_eq!(put(&rest, &path, &acme, &all).await.json(), configured, "the same again changes nothing");
    assert_eq!(rest.ask("GET", MAIN, &acme).await.json(), configured);
    let social: (i32, String, String, Vec<String>, bool) = sqlx::query_as(
        "select id, provider, default_caption, default_tags, rate_limit_window = interval '25 h' from fermata.socials",
    )
    .fetch_one(&rest.db.pool)
    .await
    .unwrap();
    assert_eq!(social, (1, "demo".to_owned(), "hello".to_owned(), vec!["news".to_owned(), "b".to_owned()], true));

    let least = put(&rest, &path, &acme, &json!({"privacy": "private"})).await.json();
    assert_eq!(
        (&least["settings"]["privacy"], &least["settings"]["default_caption"]),
        (&json!("private"), &Value::Null)
    );
    let rows = rest.ask("GET", "/v1/audit?phase=account_configured", &acme).await.json();
    let named: Vec<_> = rows["items"].as_array().unwrap().iter().map(|row| &row["detail"]["settings"]).collect();
    let first = json!(["credential_ref", "default_caption", "default_tags", "privacy", "rate_limit_window_s"]);
    assert_eq!(named, [&json!(["privacy"]), &first]);
    assert!(!rows.to_string().contains("hello"), "names of what is set, and no content: {rows}");
    for (settings, place) in [
        (json!({"credential_ref": ""}), "/credential_ref"),
        (json!({"privacy": "a\nb"}), "/privacy"),
        (json!({"default_caption": "x".repeat(10_001)}), "/default_caption"),
        (json!({"default_tags": vec!["x"; 65]}), "/default_tags"),
        (json!({"default_tags": [""]}), "/default_tags"),
        (json!({"rate_limit_window_s": 0}), "/rate_limit_window_s"),
        (json!({"secret_key": "s"}), ""),
    ] {
        let problem = put(&rest, &path, &acme, &settings).await.problem(400, "validation");
        assert!(problem["errors"][0]["pointer"].as_str().unwrap().starts_with(place), "{problem}");
    }
    assert_eq!(rest.ask("GET", MAIN, &acme).await.json(), least);
}
