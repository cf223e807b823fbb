//! The database stops and comes back; we stay.

use std::time::Duration;

use fermata_api::app::{AppOptions, AppState, app};
use fermata_api::openapi;
use fermata_api::postgres::{PostgresOptions, PrivatePostgres};
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::artifact::Artifacts;
use fermata_engine::workflow::Registry;
use fermata_engine::{Engine, EngineOptions, NodeOptions};
use fermata_tests::eventually;
use futures::future::join_all;
use serde_json::json;

use super::harness::{Answer, Echo, NOBODY, Served, envelope, heard};
use crate::private_postgres::harness::{Folder, connect, text};

/// As every other law of this folder has it.
fn known() -> AppOptions {
    AppOptions { public_base_url: "https://fermata.example".into(), ..AppOptions::default() }
}

async fn token(engine: &Engine) -> String {
    let new = NewToken {
        client_id: "acme".into(),
        name: "test".into(),
        scopes: vec![Scope::Admin],
        command_types: None,
        ttl: None,
    };
    engine.create_token(&Principal::operator(), new).await.unwrap().token
}

/// Every operation behind a token, asked at once.
async fn all_guarded(served: &Served, token: &str) -> Vec<(String, Answer)> {
    let document = openapi::document();
    let paths = document["paths"].as_object().unwrap().iter();
    let operations = paths.flat_map(|(path, methods)| methods.as_object().unwrap().iter().map(move |it| (path, it)));
    let guarded = operations.filter(|(_, (_, operation))| operation.get("security").is_some());
    join_all(guarded.map(|(path, (method, _))| async move {
        let path = path.replace("{id}", NOBODY).replace("{name}", "go").replace("{type}", "test.echo");
        let request = served.request(&method.to_uppercase(), &path).bearer_auth(token).body("{}");
        (format!("{method} {path}"), heard(request).await)
    }))
    .await
}

#[tokio::test]
async fn without_its_database_every_route_says_when_to_come_back_and_with_it_all_goes_on() {
    let folder = Folder::new();
    let postgres = folder.start().await;
    let (url, port) = (postgres.database_url(), postgres.port());
    fermata_engine::store::migrate(&url).await.unwrap();
    let options = EngineOptions::new(&url, Artifacts::new(folder.path().join("artifacts")), Registry::new().with(Echo));
    let engine = Engine::open(options).await.unwrap();
    engine.work(NodeOptions { slots: 8, lease: Duration::from_secs(5), role: "test".into() }).await.unwrap();
    let (token, unseen) = (token(&engine).await, token(&engine).await);
    let served = Served::new(app(AppState::new(engine.clone(), known()))).await;
    let submit = || heard(served.request("POST", "/v1/commands").bearer_auth(&token).json(&envelope(&json!({}))));
    let before = submit().await.json()["command_id"].as_str().unwrap().to_owned();

    postgres.stop().await.unwrap();
    assert_eq!(heard(served.request("GET", "/health")).await.status, 200);
    let ready = heard(served.request("GET", "/ready")).await;
    assert_eq!((ready.status.as_u16(), ready.json()["failing"].clone()), (503, json!(["database"])));
    assert_eq!(ready.header("retry-after"), "1");
    let answers = all_guarded(&served, &unseen).await;
    assert!(answers.len() > 20);
    for (what, answer) in answers {
        assert_eq!(answer.status, 503, "{what}: {:?}", answer.bytes);
        let body = answer.problem(503, "database_unreachable");
        assert!(body["type"].as_str().unwrap().ends_with("/problems/not-ready"), "{what}: {body}");
        assert_eq!(answer.header("retry-after"), "1", "{what}");
    }
    assert_eq!(heard(served.request("GET", "/problems/not-ready")).await.status, 200);

    let postgres = PrivatePostgres::start(PostgresOptions::new(folder.path()).port(port)).await.unwrap();
    eventually("it is ready again", || async {
        (heard(served.request("GET", "/ready")).await.status == 200).then_some(())
    })
    .await;
    for command in [before, submit().await.json()["command_id"].as_str().unwrap().to_owned()] {
        let signal = served.request("POST", &format!("/v1/commands/{command}/signals/go")).bearer_auth(&token);
        assert_eq!(heard(signal.body("{}")).await.status, 202);
        eventually("the run goes on to its end", || async {
            let view = served.get(&format!("/v1/commands/{command}"), &token).await.json();
            (view["status"] == "SUCCEEDED").then_some(())
        })
        .await;
    }
    engine.close(Duration::from_secs(5)).await;
    postgres.stop().await.unwrap();
}

#[tokio::test]
async fn a_submission_under_way_when_the_database_stops_is_accepted_when_it_is_back() {
    let folder = Folder::new();
    let postgres = folder.start().await;
    let (url, port) = (postgres.database_url(), postgres.port());
    fermata_engine::store::migrate(&url).await.unwrap();
    let options = EngineOptions::new(&url, Artifacts::new(folder.path().join("artifacts")), Registry::new().with(Echo));
    let engine = Engine::open(options).await.unwrap();
    let token = token(&engine).await;
    let served = Served::new(app(AppState::new(engine.clone(), known()))).await;
    let mut holder = connect(&url).await;
    sqlx::raw_sql("begin; lock table fermata.run in access exclusive mode").execute(&mut holder).await.unwrap();
    let request = served.request("POST", "/v1/commands").bearer_auth(&token).json(&envelope(&json!({})));
    let answer = tokio::spawn(heard(request));
    eventually("the submission waits", || async {
        let waiting =
            "select count(*)::text from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'";
        (text(&url, waiting).await != "0").then_some(())
    })
    .await;

    postgres.stop().await.unwrap();
    let postgres = PrivatePostgres::start(PostgresOptions::new(folder.path()).port(port)).await.unwrap();

    let answer = answer.await.unwrap();
    assert_eq!(answer.status, 202, "{:?}", answer.bytes);
    let kept = text(&url, "select count(*)::text from fermata.run").await;
    assert_eq!(kept, "1");
    engine.close(Duration::from_secs(5)).await;
    postgres.stop().await.unwrap();
}
