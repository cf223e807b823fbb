//! Laws of waiting for a run's end: whoever waits is told once, wherever the run is carried.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fermata_engine::access::Principal;
use fermata_engine::id::RunId;
use fermata_engine::read::ReadError;
use fermata_engine::run::NewSignal;
use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_engine::{Engine, NodeOptions};
use fermata_tests::{PATIENCE, Steps, TestDb, eventually};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// Ends with the payload of the signal `go`; fails when that is null.
struct Echo;

impl Workflow for Echo {
    type Input = Value;
    type Output = Value;
    const NAME: &'static str = "test.echo";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, _: Value) -> Result<Value, Failure> {
        let heard: Value = context.wait_signal("go").await?;
        if heard.is_null() { Err(Failure::new("nothing", "nothing was said")) } else { Ok(heard) }
    }
}

/// Lets the body of [`Held`] end.
static LET_GO: Notify = Notify::const_new();

/// Stays in its node's hands until it is let go.
struct Held;

impl Workflow for Held {
    type Input = Value;
    type Output = Value;
    const NAME: &'static str = "test.held";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, _: Value) -> Result<Value, Failure> {
        let held = context.step("held").run(|_| async {
            LET_GO.notified().await;
            Ok(json!(1))
        });
        held.await
    }
}

async fn stage() -> (TestDb, Engine, Engine) {
    let db = TestDb::new().await;
    let worker = db.worker(Registry::new().with(Echo), Duration::from_secs(10)).await;
    let front = db.engine(Registry::new().with(Echo)).await;
    (db, worker, front)
}

async fn say(engine: &Engine, run: RunId, payload: Value) {
    let signal = NewSignal { id: None, name: "go".into(), payload };
    engine.signal(&Principal::operator(), run, signal).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_in_every_process_are_told_of_an_end_and_of_what_came_of_it() {
    let (db, worker, front) = stage().await;
    let by = Principal::operator();
    for (payload, status) in [(json!({"n": 1}), "SUCCEEDED"), (Value::Null, "FAILED")] {
        let run = db.submit(&front, "test.echo", json!({})).await;
        let said = async {
            // Said when both wait: neither finds the end by looking first.
            db.reaches(&front, run, &["WAITING"]).await;
            say(&front, run, payload.clone()).await;
        };
        let (here, elsewhere, ()) =
            tokio::join!(worker.ended(&by, run, PATIENCE), front.ended(&by, run, PATIENCE), said);
        let (here, elsewhere) = (here.unwrap().unwrap(), elsewhere.unwrap().unwrap());
        assert_eq!(here, elsewhere);
        assert_eq!((here.status.as_str(), here.result.is_some()), (status, !payload.is_null()));
        assert_eq!(here.result.unwrap_or_default(), payload);
        assert_eq!(here.error.is_some(), payload.is_null());
        // Who comes later finds the same.
        assert_eq!(front.ended(&by, run, PATIENCE).await.unwrap().unwrap().status, status);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_whose_patience_ends_is_told_that_the_run_goes_on() {
    let (db, _worker, front) = stage().await;
    let run = db.submit(&front, "test.echo", json!({})).await;
    assert_eq!(front.ended(&Principal::operator(), run, Duration::from_millis(20)).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_waits_for_a_run_that_he_may_not_see() {
    let (db, _worker, front) = stage().await;
    let run = db.submit(&front, "test.echo", json!({})).await;
    let other = Principal { client_id: "another".into(), ..Principal::operator() };
    let refused = front.ended(&other, run, PATIENCE).await;
    assert!(matches!(refused, Err(ReadError::NotFound("command"))), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_tells_of_the_run_in_its_hands_only_who_may_see_it() {
    let db = TestDb::new().await;
    let worker = db.worker(Registry::new().with(Held), Duration::from_secs(10)).await;
    let run = db.submit(&worker, "test.held", json!({})).await;
    db.reaches(&worker, run, &["RUNNING"]).await;
    let other = Principal { client_id: "another".into(), ..Principal::operator() };
    let refused = worker.ended(&other, run, PATIENCE).await;
    assert!(matches!(refused, Err(ReadError::NotFound("command"))), "{refused:?}");
    let by = Principal::operator();
    let (ended, ()) = tokio::join!(worker.ended(&by, run, PATIENCE), async { LET_GO.notify_one() });
    assert_eq!(ended.unwrap().unwrap().result, Some(json!(1)));
}

/// A young run is rather waited for than asked for, and what is told meanwhile is told to whoever waits.
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_told_of_an_end_that_he_may_not_see_however_young_the_run() {
    let db = TestDb::new().await;
    let worker = db.worker(Registry::new().with(Steps), Duration::from_secs(10)).await;
    let other = Principal { client_id: "another".into(), ..Principal::operator() };
    for _ in 0..20 {
        let run = db.submit(&worker, "test.steps", json!({"steps": 1})).await;
        let refused = worker.ended(&other, run, PATIENCE).await;
        assert!(matches!(refused, Err(ReadError::NotFound("command"))), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_caller_is_told_although_the_worker_was_taken_for_dead_between() {
    let (db, worker, front) = stage().await;
    let run = db.submit(&front, "test.echo", json!({})).await;
    db.reaches(&front, run, &["WAITING"]).await;
    let by = Principal::operator();
    let heir = db.engine(Registry::new().with(Echo)).await;
    let moved = async {
        worker.close(Duration::from_secs(5)).await;
        heir.work(NodeOptions { slots: 8, lease: Duration::from_secs(10), role: "test".into() }).await.unwrap();
        eventually("the heir is a node", || async { heir.node() }).await;
        say(&heir, run, json!(2)).await;
    };
    let (told, ()) = tokio::join!(front.ended(&by, run, PATIENCE), moved);
    assert_eq!(told.unwrap().unwrap().result, Some(json!(2)));
}
