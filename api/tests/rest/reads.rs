//! What can be seen of commands.

use std::time::Duration;

use fermata_engine::workflow::Registry;
use serde_json::{Value, json};

use super::harness::{Echo, Rest};

/// Every item of a list, followed by its `Link` headers.
async fn all(rest: &Rest, path: &str) -> Vec<Value> {
    let (mut path, mut items) = (path.to_owned(), Vec::new());
    loop {
        let answer = rest.get(&path).await;
        let body = answer.json();
        items.extend(body["items"].as_array().unwrap_or_else(|| panic!("{body}")).clone());
        let link = answer.header("link");
        assert_eq!(link.is_empty(), body["next_cursor"].is_null());
        let Some(next) = link.strip_prefix('<').and_then(|link| link.split_once('>')) else { return items };
        next.0.clone_into(&mut path);
        assert!(items.len() < 10_000, "the list ends");
    }
}

#[tokio::test]
async fn a_list_shows_every_command_once_newest_first() {
    let rest = Rest::new().await;
    let mut ids = Vec::new();
    for n in 0..7 {
        ids.push(rest.submit(&json!({"account_id": format!("a{}", n % 2)})).await);
    }
    ids.reverse();
    for limit in [1, 2, 7, 200] {
        let listed = all(&rest, &format!("/v1/commands?limit={limit}")).await;
        let listed: Vec<_> = listed.iter().map(|command| command["command_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(listed, ids, "{limit}");
    }
    let narrowed = all(&rest, "/v1/commands?limit=2&account_id=a1&state=QUEUED,RUNNING&type=test.echo").await;
    assert_eq!(narrowed.len(), 3);
}

#[tokio::test]
async fn a_filter_hides_what_does_not_match() {
    let rest = Rest::new().await;
    let first = rest.submit(&json!({"correlation_id": "c1"})).await;
    let second = rest.submit(&json!({"not_before": "2999-01-01T00:00:00Z"})).await;
    let created = rest.get(&format!("/v1/commands/{second}")).await.json()["created_at"].as_str().unwrap().to_owned();
    for (query, wanted) in [
        ("correlation_id=c1".to_owned(), vec![&first]),
        ("state=WAITING".to_owned(), vec![&second]),
        ("status=QUEUED".to_owned(), vec![&first]),
        (format!("since={created}"), vec![&second]),
        (format!("until={created}"), vec![&first]),
        ("type=none".to_owned(), vec![]),
        ("client_id=acme".to_owned(), vec![&second, &first]),
        ("account_id=".to_owned(), vec![]),
    ] {
        let listed = all(&rest, &format!("/v1/commands?{query}")).await;
        let listed: Vec<_> = listed.iter().map(|command| command["command_id"].as_str().unwrap().to_owned()).collect();
        assert_eq!(listed.iter().collect::<Vec<_>>(), wanted, "{query}");
    }
    let waiting = rest.get(&format!("/v1/commands/{second}")).await.json();
    assert_eq!(
        (waiting["wait_reason"].as_str(), waiting["due_at"].as_str()),
        (Some("timer"), Some("2999-01-01T00:00:00Z"))
    );
}

#[tokio::test]
async fn events_are_resumed_at_any_cursor_without_loss_or_repetition() {
    let rest = Rest::new().await;
    for _ in 0..5 {
        rest.submit(&json!({})).await;
    }
    let whole = all(&rest, "/v1/events").await;
    assert_eq!(whole.len(), 5);
    assert_eq!(all(&rest, "/v1/events?limit=2").await, whole);
    for (n, event) in whole.iter().enumerate() {
        let rest_of = all(&rest, &format!("/v1/events?after={}", event["cursor"].as_str().unwrap())).await;
        assert_eq!(rest_of, whole[n + 1..]);
        assert_eq!((event["specversion"].as_str(), event["type"].as_str()), (Some("1.0"), Some("status.changed")));
        assert_eq!((event["clientid"].as_str(), event["severity"].as_str()), (Some("acme"), Some("info")));
    }
    assert_eq!(all(&rest, "/v1/events?type=gate.resolved").await, Vec::<Value>::new());
    assert_eq!(all(&rest, "/v1/events?min_severity=warn").await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_cursor_older_than_what_is_kept_says_where_to_go_on() {
    let rest = Rest::new().await;
    for _ in 0..3 {
        rest.submit(&json!({})).await;
    }
    let whole = all(&rest, "/v1/events").await;
    sqlx::query("delete from fermata.event where position <= 2").execute(&rest.db.pool).await.unwrap();
    let first = whole[0]["cursor"].as_str().unwrap();
    let gone = rest.get(&format!("/v1/events?after={first}")).await.problem(410, "cursor_expired");
    let resumed = all(&rest, &format!("/v1/events?after={}", gone["oldest_cursor"].as_str().unwrap())).await;
    assert_eq!(resumed, whole[2..]);
}

#[tokio::test]
async fn a_run_is_followed_from_its_steps_to_its_result() {
    let rest = Rest::new().await;
    let worker = rest.db.worker(Registry::new().with(Echo), Duration::from_secs(10)).await;
    let id = rest.submit(&json!({})).await;
    let sent = rest.post(&format!("/v1/commands/{id}/signals/go"), &json!({"payload": {"n": 1}})).await;
    assert_eq!((sent.status.as_u16(), sent.json()["command_id"].as_str()), (202, Some(&*id)));
    rest.db.ended(&rest.engine, id.parse().unwrap()).await;
    let command = rest.get(&format!("/v1/commands/{id}")).await.json();
    assert_eq!(command["status"], "SUCCEEDED");
    assert_eq!(command["result"]["got"], json!({"n": 1}));
    assert_eq!(command["lifecycle"].as_array().unwrap().last().unwrap()["status"], "SUCCEEDED");
    let steps = all(&rest, &format!("/v1/commands/{id}/steps?limit=1")).await;
    let keys: Vec<_> =
        steps.iter().map(|step| (step["kind"].as_str().unwrap(), step["state"].as_str().unwrap())).collect();
    assert_eq!(keys, [("step", "succeeded"), ("signal", "succeeded")]);
    assert_eq!(steps[0]["output"], "hi");
    let events = all(&rest, &format!("/v1/commands/{id}/events?limit=2")).await;
    assert!(events.iter().all(|event| event["subject"] == id.as_str()));
    assert_eq!(events.last().unwrap()["data"]["to"], "SUCCEEDED");
    worker.close(Duration::from_secs(5)).await;
}

#[tokio::test]
async fn schemas_are_published_for_every_type() {
    let rest = Rest::new().await;
    let listed = rest.get("/v1/schemas").await.json();
    for schema in listed["items"].as_array().unwrap() {
        let answer = rest.get(schema["path"].as_str().unwrap()).await;
        assert_eq!((answer.status.as_u16(), answer.header("content-type")), (200, "application/schema+json"));
    }
    let schema = rest.get("/v1/schemas/command/test.echo").await.json();
    assert_eq!(schema["$id"], "https://fermata.dev/schemas/command/test.echo/1");
    rest.get("/v1/schemas/command/no.such").await.problem(404, "not_found");
}
