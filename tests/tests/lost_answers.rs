//! A commit whose answer is lost is as good as one that was heard of: nothing is lost by it, nothing is
//! done twice, and nothing is left behind that nobody carries (design, section 4).

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fermata_engine::access::Principal;
use fermata_engine::read::CommandView;
use fermata_engine::workflow::Registry;
use fermata_engine::{Engine, NodeOptions};
use fermata_tests::{FaultProxy, Steps, TestDb, submission};
use serde_json::json;

/// Behind which commit the answer is lost.
#[derive(PartialEq)]
enum Lost {
    /// Of the batch that accepts the run.
    Acceptance,
    /// The same of a run with an idempotency key.
    KeyedAcceptance,
    /// Of the batch that claims it, which another process has accepted.
    Claim,
    /// Of the batch that holds its first checkpoint.
    Checkpoint,
}

/// A worker whose database is behind the proxy, and a run of three steps of which one answer is lost.
async fn ends_although_an_answer_is_lost(lost: Lost) -> CommandView {
    const COMMIT: &str = "fermata.commit";
    let db = TestDb::new().await;
    let mut proxy = FaultProxy::before(&db.url).await;
    let registry = || Registry::new().with(Steps);
    let mut options = db.options(registry());
    options.database_url.clone_from(&proxy.url);
    let engine = Engine::open(options).await.unwrap();
    let front = db.engine(registry()).await;
    let by = Principal::operator();
    let mut steps = submission("test.steps", json!({"steps": 3}));
    if lost == Lost::KeyedAcceptance {
        steps.idempotency_key = Some("k".into());
    }
    if matches!(lost, Lost::Acceptance | Lost::KeyedAcceptance) {
        proxy.cut_answer(COMMIT, 0);
    }
    let through = if lost == Lost::Claim { &front } else { &engine };
    let receipt = through.submit(&by, steps).await.unwrap();
    match lost {
        Lost::Acceptance | Lost::KeyedAcceptance => {}
        Lost::Claim => proxy.cut_answer(COMMIT, 0),
        Lost::Checkpoint => proxy.cut_answer(COMMIT, 1),
    }
    // Only now, so that the first claim finds the run.
    engine.work(NodeOptions { slots: 8, lease: Duration::from_secs(10), role: "test".into() }).await.unwrap();
    proxy.wait(COMMIT);
    let ended = db.ended(&engine, receipt.command_id).await;
    assert_eq!(ended.status, "SUCCEEDED", "{ended:?}");
    assert_eq!(db.count("select count(*) from fermata.run").await, 1);
    assert_eq!(db.count("select count(*) from fermata.step").await, 3);
    ended
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_is_accepted_once_although_the_answer_to_it_is_lost() {
    ends_although_an_answer_is_lost(Lost::Acceptance).await;
    ends_although_an_answer_is_lost(Lost::KeyedAcceptance).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_is_kept_once_although_the_answer_to_it_is_lost() {
    let ended = ends_although_an_answer_is_lost(Lost::Checkpoint).await;
    assert_eq!(ended.epoch, Some(1), "{ended:?}");
}

/// Found by the rig (cut-commit, seed 6): the node lived on, so nobody else would ever have taken the run.
#[tokio::test(flavor = "multi_thread")]
async fn a_claimed_run_is_carried_although_the_answer_to_the_claim_is_lost() {
    let ended = ends_although_an_answer_is_lost(Lost::Claim).await;
    assert_eq!(ended.epoch, Some(2), "the claim whose answer was lost had taken the run: {ended:?}");
}

/// A node that is not there is dead to nobody: what it held would have waited for ever.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_node_holds_unknowingly_moves_on_when_it_leaves() {
    let db = TestDb::new().await;
    let leaving = uuid::Uuid::from_u128(1);
    let front = db.engine(Registry::new().with(Steps)).await;
    let run = db.submit(&front, "test.steps", json!({"steps": 1})).await;
    let enter = "insert into fermata.node (id, role, pid, lock_key, server_start, started_at, lease_until)
        values ($1, 'test', 1, 1, pg_postmaster_start_time(), now(), now() + interval '1 hour')";
    let claim = "update fermata.live set state = 1, node = $1, epoch = 1, deliveries = 1";
    for statement in [enter, claim, "select fermata.leave($1)"] {
        sqlx::query(statement).bind(leaving).execute(&db.pool).await.unwrap();
    }
    let worker = db.worker(Registry::new().with(Steps), Duration::from_secs(10)).await;
    let ended = db.ended(&worker, run).await;
    assert_eq!((ended.status.as_str(), ended.epoch), ("SUCCEEDED", Some(2)), "{ended:?}");
    sqlx::query("select fermata.leave(id) from fermata.node").execute(&db.pool).await.unwrap();
    assert_eq!(db.count("select count(*) from fermata.node").await, 0, "one that holds nothing is gone");
}
