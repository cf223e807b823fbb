//! GraphQL answers what REST answers, to whom REST answers.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use fermata_api::app::{AppOptions, AppState, app_with};
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::workflow::Registry;
use fermata_tests::TestDb;
use serde_json::{Value, json};
use tower::ServiceExt as _;

#[tokio::test]
async fn a_command_is_answered_to_a_token_and_to_nobody_else() {
    let db = TestDb::new().await;
    let engine = db.engine(Registry::new()).await;
    let new = NewToken {
        client_id: "c".into(),
        name: "t".into(),
        scopes: [Scope::CommandsRead].into(),
        command_types: None,
        ttl: None,
    };
    let token = engine.create_token(&Principal::operator(), new).await.unwrap().token;
    let app = app_with(
        AppState::new(engine, AppOptions::default()),
        fermata_api::graphql::mounts(fermata_api::graphql::GraphqlOptions::default()),
    );
    let ask = |token: Option<String>| {
        let query = json!({"query": "{ commands(first: 1) { id status } }"}).to_string();
        let request = Request::post("/graphql").header("content-type", "application/json");
        let request =
            token.iter().fold(request, |request, token| request.header("authorization", format!("Bearer {token}")));
        app.clone().oneshot(request.body(Body::from(query)).unwrap())
    };
    assert_eq!(ask(None).await.unwrap().status(), 401);
    let answer = ask(Some(token)).await.unwrap();
    let body: Value = serde_json::from_slice(&to_bytes(answer.into_body(), 65_536).await.unwrap()).unwrap();
    assert_eq!(body, json!({"data": {"commands": []}}));
}
