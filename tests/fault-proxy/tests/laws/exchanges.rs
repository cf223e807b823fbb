//! Laws of the other faults of an exchange with Postgres, and of chance.

use serde_json::{Value, json};

use crate::database::{Rig, run, simple};

#[tokio::test]
async fn a_request_that_is_cut_never_reaches_the_server() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect().await;
    rig.proxy.arm(json!({ "kind": "cut_request", "match": "insert into" })).await;

    run(&mut client, rig.insert(1)).await.unwrap_err();

    assert!(rig.proxy.fired().await.contains("insert into"));
    assert!(rig.rows().await.is_empty());
    let mut client = rig.connect().await;
    simple(&mut client, "BEGIN").await.unwrap();
    run(&mut client, rig.insert(2)).await.unwrap();
    rig.proxy.arm(json!({ "kind": "cut_request", "only": "commit" })).await;
    simple(&mut client, "COMMIT").await.unwrap_err();
    assert!(rig.rows().await.is_empty());
    rig.drop_table().await;
}

#[tokio::test]
async fn half_an_answer_is_no_answer() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect().await;
    rig.proxy.arm(json!({ "kind": "half_answer", "match": "insert into" })).await;

    run(&mut client, rig.insert(1)).await.unwrap_err();

    assert_eq!(rig.rows().await, [1]);
    rig.drop_table().await;
}

#[tokio::test]
async fn a_delayed_answer_is_held_after_the_server_has_acted() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect().await;
    rig.proxy.arm(json!({ "kind": "delay", "ms": 600_000, "match": "insert into" })).await;
    let insert = rig.insert(1);
    let waiting = tokio::spawn(async move { run(&mut client, insert).await });
    rig.proxy.fired().await;
    assert_eq!(rig.rows().await, [1]);
    assert!(!waiting.is_finished());

    rig.proxy.clear().await;

    waiting.await.unwrap().unwrap();
    rig.drop_table().await;
}

#[tokio::test]
async fn a_delayed_request_is_held_before_the_server_knows_of_it() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect().await;
    rig.proxy.arm(json!({ "kind": "delay_request", "ms": [600_000, 700_000], "match": "insert into" })).await;
    let insert = rig.insert(1);
    let waiting = tokio::spawn(async move { run(&mut client, insert).await });
    rig.proxy.fired().await;
    assert!(rig.rows().await.is_empty());

    rig.proxy.clear().await;

    waiting.await.unwrap().unwrap();
    assert_eq!(rig.rows().await, [1]);
    rig.drop_table().await;
}

/// What a seed does to sixty statements, one after the other.
async fn fates(rig: &mut Rig, seed: u64) -> Vec<Value> {
    rig.proxy.agree(json!({ "op": "close", "name": "link" })).await;
    let options: sqlx::postgres::PgConnectOptions = crate::database::url().parse().unwrap();
    rig.address = rig.proxy.open(&format!("{}:{}", options.get_host(), options.get_port()), "postgres").await;
    let chances = json!({ "cut_answer": 0.1, "cut_request": 0.1, "half_answer": 0.1, "delay": 0.1 });
    rig.proxy.arm(json!({ "kind": "random", "seed": seed, "per_exchange": chances, "delay_ms": [1, 3] })).await;
    let before = rig.proxy.agree(json!({ "op": "log" })).await["log"].as_array().unwrap().len();
    let mut client = rig.connect().await;
    for n in 0..60 {
        if simple(&mut client, &rig.insert(n)).await.is_err() {
            client = rig.connect().await;
        }
    }
    let log = rig.proxy.agree(json!({ "op": "log" })).await["log"].clone();
    let lines = log.as_array().unwrap().iter().skip(before);
    lines.map(|line| json!([line["kind"], line["exchange"], line["connection"], line["statement"]])).collect()
}

#[tokio::test]
async fn the_same_seed_cuts_the_same_exchanges() {
    let mut rig = Rig::start().await;
    let first = fates(&mut rig, 7).await;
    assert!(first.len() > 10, "{first:?}");
    assert_eq!(fates(&mut rig, 7).await, first);
    assert_ne!(fates(&mut rig, 8).await, first);
    rig.drop_table().await;
}
