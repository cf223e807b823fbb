//! When a change is cut off, the answer says that nobody knows, and sending it again is safe.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use fermata_api::app::AppOptions;
use fermata_engine::workflow::Registry;
use fermata_tests::eventually;
use futures::future::join_all;
use serde_json::json;
use sqlx::{Executor as _, PgPool};

use super::harness::{Answer, Rest, envelope};

/// Somebody else in the database, who holds a lock and may end others.
async fn stranger(rest: &Rest) -> PgPool {
    PgPool::connect(&rest.db.url).await.unwrap()
}

/// Asks while a table is locked, and cuts the asker's connection as soon as it waits.
async fn cut(rest: &Rest, lock_statement: &'static str, method: &str, path: &str) -> Answer {
    let stranger = stranger(rest).await;
    let mut lock = stranger.begin().await.unwrap();
    lock.execute(lock_statement).await.unwrap();
    let request = Request::builder().method(method).uri(path).header("authorization", format!("Bearer {}", rest.token));
    let (answer, ()) = tokio::join!(rest.send(request.body(Body::empty()).unwrap()), async {
        eventually("the asker waits for the lock and is cut off", || async {
            let ended: Option<bool> = sqlx::query_scalar(
                "select bool_or(pg_terminate_backend(pid)) from pg_stat_activity
                  where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&stranger)
            .await
            .unwrap();
            ended.filter(|ended| *ended).map(drop)
        })
        .await;
        lock.rollback().await.unwrap();
    });
    answer
}

#[tokio::test]
async fn a_change_whose_connection_breaks_is_in_doubt_and_a_read_is_not() {
    let rest = Rest::new().await;
    let id = rest.submit(&json!({})).await;
    let cancel = format!("/v1/commands/{id}/cancel");
    let lock = "lock table fermata.live in access exclusive mode";
    let change = cut(&rest, lock, "POST", &cancel).await;
    let body = change.problem(503, "commit_unknown");
    assert!(body["detail"].as_str().unwrap().contains("send it again with the same idempotency key"), "{body}");
    assert_eq!((change.header("retry-after"), body["retry_after_s"].as_u64()), ("1", Some(1)));
    assert!(body["type"].as_str().unwrap().ends_with("/problems/not-ready"));

    let read =
        cut(&rest, "lock table fermata.run in access exclusive mode", "GET", &format!("/v1/commands/{id}")).await;
    read.problem(503, "database_lost");
    assert_eq!(read.header("retry-after"), "1");

    let again = rest.post(&cancel, &json!({})).await;
    assert_eq!((again.status.as_u16(), again.json()["status"].as_str()), (200, Some("CANCELLED")));
}

#[tokio::test]
async fn a_change_that_got_no_connection_was_never_begun_and_says_so() {
    let rest = Rest::new().await;
    let id = rest.submit(&json!({})).await;
    let cancel = format!("/v1/commands/{id}/cancel");
    let stranger = stranger(&rest).await;
    let mut lock = stranger.begin().await.unwrap();
    lock.execute("lock table fermata.live in access exclusive mode").await.unwrap();
    // As many as the pool has connections wait for the lock; one more waits for a connection.
    let connections = rest.db.options(Registry::new()).max_connections;
    let nothing = json!({});
    let (held, refused) = tokio::join!(join_all((0..connections).map(|_| rest.post(&cancel, &nothing))), async {
        eventually("all of them wait", || async {
            let waiting: i64 = sqlx::query_scalar(
                "select count(*) from pg_stat_activity where datname = current_database() and wait_event_type = 'Lock'",
            )
            .fetch_one(&stranger)
            .await
            .unwrap();
            (waiting >= i64::from(connections)).then_some(())
        })
        .await;
        let refused = rest.post(&cancel, &json!({})).await;
        lock.rollback().await.unwrap();
        refused
    });
    refused.problem(503, "database_unreachable");
    assert!(held.iter().any(|answer| answer.status == 200), "those that had one were carried out");
}

#[tokio::test]
async fn a_submission_in_doubt_is_sent_again_with_its_key_and_is_one_command() {
    let rest = Rest::with(AppOptions { request_timeout: Duration::from_millis(300), ..AppOptions::default() }).await;
    let body = envelope(&json!({"idempotency_key": "k"}));
    let mut lock = stranger(&rest).await.begin().await.unwrap();
    lock.execute("lock table fermata.run in access exclusive mode").await.unwrap();
    let doubtful = rest.post("/v1/commands", &body).await;
    doubtful.problem(503, "commit_unknown");
    lock.rollback().await.unwrap();
    let accepted = eventually("it is accepted", || async {
        let again = rest.post("/v1/commands", &body).await;
        (again.status == 202).then_some(again)
    })
    .await;
    assert_eq!(accepted.header("idempotent-replayed"), "true", "the first one was carried out after all");
    assert_eq!(rest.commands().await, 1);
}
