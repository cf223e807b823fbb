//! Laws of what actions contend for: it is locked in one order, and the end of a call waits for nobody's run.

use std::sync::Arc;

use fermata_tests::{TestDb, eventually};
use serde_json::{Value, json};
use sqlx::types::Uuid;
use tokio::sync::Semaphore;

use crate::policies::{Platform, Stage};

/// How many sessions wait for a lock.
const WAITING: &str = "select count(distinct pid) from pg_locks where not granted
    and pid in (select pid from pg_stat_activity where datname = current_database())";

/// An attempt that counts the calls under way of its account.
fn attempt(ord: i32, account: &str) -> Value {
    json!({
        "ord": ord, "op": "attempt", "action_id": Uuid::from_u128(1), "run_id": Uuid::from_u128(2), "client_id": "c",
        "platform": "demo", "account_id": account, "epoch": 1, "heads": {}, "concurrency": 9,
        "tokens": [{"key": format!("budget of {account}"), "name": "b", "n": 1, "max": 9, "window_s": 3600}],
    })
}

async fn judged(db: &TestDb, parts: Value) -> Result<(), sqlx::Error> {
    sqlx::query("select fermata.judge(now(), $1)").bind(parts).execute(&db.pool).await.map(drop)
}

#[tokio::test(flavor = "multi_thread")]
async fn two_batches_that_ration_the_same_accounts_never_wait_for_each_other_in_a_circle() {
    let db = TestDb::new().await;
    judged(&db, json!([attempt(1, "a"), attempt(2, "b")])).await.unwrap();
    for held in [
        "select from fermata.platform_account where account_id = 'a' for no key update",
        "select from fermata.budget where key = 'budget of a' for no key update",
    ] {
        let mut holder = db.pool.begin().await.unwrap();
        sqlx::query(held).execute(&mut *holder).await.unwrap();
        let forwards = judged(&db, json!([attempt(1, "a"), attempt(2, "b")]));
        let backwards = async {
            wait_for(&db, 1).await;
            judged(&db, json!([attempt(1, "b"), attempt(2, "a")])).await
        };
        let release = async {
            wait_for(&db, 2).await;
            holder.rollback().await
        };
        let (one, other, released) = tokio::join!(forwards, backwards, release);
        assert!(one.is_ok() && other.is_ok() && released.is_ok(), "{one:?}, {other:?}");
    }
}

async fn wait_for(db: &TestDb, sessions: i64) {
    let enough = || async { (db.count(WAITING).await >= sessions).then_some(()) };
    eventually(&format!("{sessions} sessions wait"), enough).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_counted_to_the_end_of_its_window_whoever_begins_the_next_one() {
    let db = TestDb::new().await;
    let spend = "insert into fermata.budget (key, starts, ends, used)
        select 'budget of a', w.opens, w.opens + interval '1 h', 9
        from (select fermata.window_start(now() - interval '1 h', 3600)) w(opens)";
    sqlx::query(spend).execute(&db.pool).await.unwrap();
    let live = "insert into fermata.live (id, client_id, workflow, state, epoch, node, priority, deliveries, ready_at)
        values ($1, 'c', 'w@1', 1, 1, $1, 5, 1, now())";
    sqlx::query(live).bind(Uuid::from_u128(2)).execute(&db.pool).await.unwrap();
    judged(&db, json!([attempt(1, "a")])).await.unwrap();
    let admitted = "select used from fermata.budget where starts = fermata.window_start(now(), 3600)";
    assert_eq!(db.count(admitted).await, 1, "the new window is begun");
    let late = "select fermata.judge(now() - interval '1 h', $1)";
    let verdict: Value = sqlx::query_scalar(late).bind(json!([attempt(1, "a")])).fetch_one(&db.pool).await.unwrap();
    assert_eq!(verdict["1"]["wait"]["rule"], "budgets/b", "and the old one is still spent: {verdict}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_call_waits_for_no_run_that_somebody_else_holds() {
    let mut platform = Platform::new();
    platform.answers = Arc::new(Semaphore::new(0));
    let stage = Stage::with(platform).await;
    stage.put("client:acme", json!({"concurrency": 1})).await;
    let calling = stage.act("publish", "1", Value::Null).await;
    eventually("the first is under way", || async { (stage.platform.calls() == 1).then_some(()) }).await;
    let mut waiting = Vec::new();
    for key in ["2", "3"] {
        let run = stage.act("publish", key, Value::Null).await;
        stage.waits(run, "rate_limited").await;
        waiting.push(run);
    }
    let mut holder = stage.db.pool.begin().await.unwrap();
    let held = sqlx::query("select from fermata.live where id = $1 for update").bind(waiting[0].0);
    held.execute(&mut *holder).await.unwrap();
    stage.platform.answers.add_permits(Semaphore::MAX_PERMITS);
    for run in [calling, waiting[1]] {
        assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    }
    holder.rollback().await.unwrap();
}
