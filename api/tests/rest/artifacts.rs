//! Artifacts: whole, in parts, and never as a page of ours.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;

use super::harness::{Answer, NOBODY, Rest};

/// Keeps ten bytes for a command; answers the artifact's path.
async fn kept(rest: &Rest) -> (String, String) {
    let run = rest.submit(&json!({})).await;
    let checksum = rest.engine.artifacts().keep(b"0123456789".to_vec()).await.unwrap();
    sqlx::query(
        "insert into fermata.artifact (id, client_id, run_id, kind, content_type, checksum, bytes, created_at)
         values ($1, 'acme', $2, 'screenshot', 'text/html', $3, 10, now())",
    )
    .bind(NOBODY.parse::<uuid::Uuid>().unwrap())
    .bind(run.parse::<uuid::Uuid>().unwrap())
    .bind(&checksum)
    .execute(&rest.db.pool)
    .await
    .unwrap();
    (run, checksum)
}

async fn content(rest: &Rest, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::get(format!("/v1/artifacts/{NOBODY}/content"))
        .header("authorization", format!("Bearer {}", rest.token));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    rest.send(request.body(Body::empty()).unwrap()).await
}

#[tokio::test]
async fn an_artifact_is_listed_described_and_fetched() {
    let rest = Rest::new().await;
    let (run, checksum) = kept(&rest).await;
    let listed = rest.get(&format!("/v1/commands/{run}/artifacts")).await.json();
    assert_eq!(listed["items"][0]["artifact_id"], NOBODY);
    let artifact = rest.get(&format!("/v1/artifacts/{NOBODY}")).await.json();
    assert_eq!((artifact["checksum"].as_str(), artifact["bytes"].as_i64()), (Some(&*checksum), Some(10)));
    let whole = content(&rest, &[]).await;
    assert_eq!((whole.status.as_u16(), whole.bytes.as_ref()), (200, b"0123456789".as_slice()));
    assert_eq!(whole.header("content-length"), "10");
    assert_eq!(whole.header("x-content-type-options"), "nosniff");
    assert!(whole.header("content-disposition").starts_with("attachment"));
    assert!(whole.header("content-security-policy").contains("default-src 'none'"));
}

#[tokio::test]
async fn a_range_is_served_as_asked() {
    let rest = Rest::new().await;
    let (_, checksum) = kept(&rest).await;
    let tag = format!("\"{checksum}\"");
    let part = content(&rest, &[("range", "bytes=2-4")]).await;
    assert_eq!((part.status.as_u16(), part.bytes.as_ref()), (206, b"234".as_slice()));
    assert_eq!(part.header("content-range"), "bytes 2-4/10");
    let end = content(&rest, &[("range", "bytes=-3"), ("if-range", &tag)]).await;
    assert_eq!(end.bytes.as_ref(), b"789");
    let changed = content(&rest, &[("range", "bytes=-3"), ("if-range", "\"other\"")]).await;
    assert_eq!((changed.status.as_u16(), changed.bytes.len()), (200, 10));
    let beyond = content(&rest, &[("range", "bytes=10-")]).await;
    beyond.problem(416, "range_not_satisfiable");
    assert_eq!(beyond.header("content-range"), "bytes */10");
    let known = content(&rest, &[("if-none-match", &tag)]).await;
    assert_eq!((known.status.as_u16(), known.bytes.len()), (304, 0));
}

#[tokio::test]
async fn content_that_is_gone_is_not_found() {
    let rest = Rest::new().await;
    kept(&rest).await;
    sqlx::query("update fermata.artifact set checksum = repeat('0', 64)").execute(&rest.db.pool).await.unwrap();
    let gone = content(&rest, &[]).await;
    gone.problem(404, "not_found");
}
