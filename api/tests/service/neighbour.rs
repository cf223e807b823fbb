//! Processes of one machine: a command is handed to the worker next door, and none is lost when that one is killed (I1).

use fermata_engine::access::Scope;
use fermata_tests::{TestDb, eventually};
use serde_json::json;

use super::harness::{Process, bearer};

/// What the API's process says of commands that a worker took.
const TAKEN: &str = r#"commands_handed_over_total{taken="true"}"#;

#[tokio::test]
async fn a_command_is_handed_to_the_worker_next_door_and_none_is_lost_when_that_one_is_killed() {
    let db = TestDb::new().await;
    let token = bearer(&db, &[Scope::CommandsWrite, Scope::CommandsRead, Scope::MetricsRead]).await;
    let headers = [("authorization", token.as_str()), ("content-type", "application/json")];
    let (worker, api) = (Process::start("worker", &db, &[]).await, Process::start("api", &db, &[]).await);
    let submit = async || {
        let body = json!({"type": "bench.steps", "payload": {"steps": 3}});
        let answer = api.ask("POST", "/v1/commands", &headers, body.to_string()).await;
        assert_eq!(answer.status, 202, "{:?}", answer.bytes);
        answer.json()["command_id"].as_str().unwrap().to_owned()
    };
    let ended = async |command: String| {
        eventually(&format!("{command} ended"), || async {
            let found = api.get(&format!("/v1/commands/{command}"), &headers).await.json();
            (found["status"] == "SUCCEEDED").then_some(())
        })
        .await;
    };

    let mut commands = Vec::new();
    while !String::from_utf8_lossy(&api.get("/metrics", &headers).await.bytes).contains(TAKEN) {
        commands.push(submit().await);
        ended(commands.last().unwrap().clone()).await;
        assert!(commands.len() < 1_000, "no command was handed over; see {}", api.log());
    }
    // One is under way while its worker goes, and one comes while nobody is next door.
    let under_way = submit().await;
    worker.crash();
    commands.extend([under_way, submit().await]);
    let _next = Process::start("worker", &db, &[]).await;
    let expected = i64::try_from(commands.len()).unwrap();
    for command in commands {
        ended(command).await;
    }
    assert_eq!(db.count("select count(*) from fermata.run").await, expected, "each was accepted once");
}
