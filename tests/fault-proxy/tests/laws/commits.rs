//! Laws of answers to commits that are cut.

use serde_json::json;

use crate::database::{Rig, run, simple};

#[tokio::test]
async fn an_answer_to_a_commit_that_is_cut_leaves_the_commit_in_the_database() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect().await;
    rig.proxy.arm(json!({ "kind": "cut_answer" })).await;
    simple(&mut client, "BEGIN").await.unwrap();
    run(&mut client, rig.insert(1)).await.unwrap();
    assert_eq!(rig.proxy.times().await, 0);

    simple(&mut client, "COMMIT").await.unwrap_err();

    assert!(rig.proxy.fired().await.contains("COMMIT"));
    assert_eq!(rig.rows().await, [1]);
    assert_eq!(rig.proxy.stats().await["fired"]["cut_answer"], 1);
    rig.drop_table().await;
}

#[tokio::test]
async fn a_statement_of_its_own_is_a_commit_too() {
    let mut rig = Rig::start().await;
    for n in [1, 2] {
        let mut client = rig.connect().await;
        rig.proxy.arm(json!({ "kind": "cut_answer", "match": "insert into" })).await;
        let failed =
            if n == 1 { run(&mut client, rig.insert(n)).await } else { simple(&mut client, &rig.insert(n)).await };
        failed.unwrap_err();
    }
    assert_eq!(rig.rows().await, [1, 2]);
    rig.drop_table().await;
}

#[tokio::test]
async fn what_is_no_commit_is_not_cut() {
    let mut rig = Rig::start().await;
    rig.proxy.arm(json!({ "kind": "cut_answer" })).await;
    let mut client = rig.connect().await;
    simple(&mut client, "BEGIN").await.unwrap();
    run(&mut client, rig.insert(1)).await.unwrap();
    simple(&mut client, "ROLLBACK").await.unwrap();
    run(&mut client, "select wrong".to_owned()).await.unwrap_err();
    simple(&mut client, "BEGIN; COMMIT").await.unwrap();
    run(&mut client, "set application_name = 'x'".to_owned()).await.unwrap();
    assert_eq!(rig.proxy.times().await, 0);

    run(&mut client, rig.insert(2)).await.unwrap_err();

    assert_eq!(rig.proxy.times().await, 1);
    assert_eq!(rig.rows().await, [2]);
    rig.drop_table().await;
}

#[tokio::test]
async fn only_a_write_can_be_asked_for() {
    let mut rig = Rig::start().await;
    rig.proxy.arm(json!({ "kind": "cut_answer", "only": "write" })).await;
    let mut client = rig.connect().await;
    run(&mut client, format!("select * from {} for update", rig.table)).await.unwrap();

    run(&mut client, format!("{} returning n", rig.insert(1))).await.unwrap_err();

    assert_eq!(rig.rows().await, [1]);
    rig.drop_table().await;
}

#[tokio::test]
async fn a_commit_can_be_chosen_by_what_its_transaction_did() {
    let mut rig = Rig::start().await;
    rig.proxy.arm(json!({ "kind": "cut_answer", "match": "COMMIT", "within": "values (2)" })).await;
    let mut client = rig.connect().await;
    for n in [1, 2] {
        simple(&mut client, "BEGIN").await.unwrap();
        run(&mut client, rig.insert(n)).await.unwrap();
        assert_eq!(simple(&mut client, "COMMIT").await.is_ok(), n == 1);
    }
    assert_eq!(rig.rows().await, [1, 2]);
    rig.drop_table().await;
}

#[tokio::test]
async fn a_cable_can_be_pulled_between_a_commit_and_its_answer() {
    let mut rig = Rig::start().await;
    let mut client = rig.connect().await;
    rig.proxy.arm(json!({ "kind": "half_open", "at": "answer", "match": "insert into" })).await;
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
async fn a_fault_skips_and_repeats_as_it_is_told() {
    let mut rig = Rig::start().await;
    rig.proxy.arm(json!({ "kind": "cut_answer", "after": 2, "times": 2, "match": "insert into" })).await;
    let mut fates = Vec::new();
    for n in 0..6 {
        let mut client = rig.connect().await;
        fates.push(run(&mut client, rig.insert(n)).await.is_ok());
    }
    assert_eq!(fates, [true, true, false, false, true, true]);
    assert_eq!(rig.rows().await, [0, 1, 2, 3, 4, 5]);
    rig.drop_table().await;
}
