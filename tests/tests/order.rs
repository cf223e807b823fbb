//! The law of design section 4: what touches the outside begins after every earlier record of its
//! run is acknowledged, and under a lease that provably holds.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fermata_engine::access::Principal;
use fermata_engine::run::NewSignal;
use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_tests::{TestDb, eventually};
use serde_json::{Value, json};
use tokio::sync::{Notify, Semaphore};
use uuid::Uuid;

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    program: String,
}

/// Programs that look at the database from inside of their bodies.
#[derive(Clone)]
struct Programs {
    pool: sqlx::PgPool,
    entered: Arc<Notify>,
    go_on: Arc<Notify>,
    /// The epoch of each body that ran after a wait for `go_on`.
    epochs: Arc<Mutex<Vec<i32>>>,
    /// The signal that each body ran with.
    taken: Arc<Mutex<Vec<i32>>>,
    /// A body with a signal ends when it gets one of these.
    ends: Arc<Semaphore>,
}

impl Programs {
    fn new(db: &TestDb) -> Self {
        Self {
            pool: db.pool.clone(),
            entered: Arc::default(),
            go_on: Arc::default(),
            epochs: Arc::default(),
            taken: Arc::default(),
            ends: Arc::new(Semaphore::new(0)),
        }
    }

    fn registry(&self) -> Registry {
        Registry::new().with(self.clone())
    }
}

impl Workflow for Programs {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.order";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        if input.program == "last" {
            context.step("first").run(|_| async { Ok(()) }).await?;
            context.step("second").run(|_| async { Ok(()) }).await?;
            return Ok(json!(context.id().await?));
        }
        if input.program == "signal" {
            let signal: i32 = context.wait_signal("go").await?;
            let held = context.step("held").run(|_| async {
                self.taken.lock().unwrap().push(signal);
                self.entered.notify_one();
                self.ends.acquire().await.unwrap().forget();
                Ok(signal)
            });
            return Ok(json!(held.await?));
        }
        if input.program == "pure" {
            let id = context.id().await?;
            let recorded: Option<Value> = context
                .step("call")
                .run(|_| async {
                    let statement = "select output from fermata.step where key = '@id'";
                    Ok(sqlx::query_scalar(statement).fetch_optional(&self.pool).await.unwrap())
                })
                .await?;
            return Ok(json!([id, recorded]));
        }
        let held = context.step("held").run(|_| async {
            self.entered.notify_one();
            self.go_on.notified().await;
            Ok(())
        });
        held.await?;
        let epoch = context.look().epoch;
        let after = context.step("after").run(|_| async {
            self.epochs.lock().unwrap().push(epoch);
            Ok(())
        });
        after.await?;
        Ok(Value::Null)
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_rides_with_the_next_record_is_durable_before_a_body_begins() {
    let db = TestDb::new().await;
    let engine = db.worker(Programs::new(&db).registry(), Duration::from_secs(10)).await;
    let run = db.submit(&engine, Programs::NAME, json!({"program": "pure"})).await;
    let seen = db.ended(&engine, run).await.result.unwrap();
    assert_eq!(seen[0], seen[1], "the body saw the id that it was about to use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_with_a_signal_at_once_and_with_the_same_one_in_every_replay() {
    let (db, lease) = (TestDb::new().await, Duration::from_secs(30));
    let programs = Programs::new(&db);
    let first = db.worker(programs.registry(), lease).await;
    let run = db.submit(&first, Programs::NAME, json!({"program": "signal"})).await;
    db.reaches(&first, run, &["WAITING"]).await;
    let signal = NewSignal { id: None, name: "go".into(), payload: json!(1) };
    first.signal(&Principal::operator(), run, signal).await.unwrap();
    programs.entered.notified().await;
    assert_eq!(
        db.count("select count(*) from fermata.step").await,
        0,
        "the body begins without a commit of the wait's"
    );

    // Another signal, of a transaction that began earlier and came to the run's row later.
    let earlier =
        json!([{"id": Uuid::from_u128(2), "run": run, "client": "*", "actor": "x", "name": "go", "payload": 2}]);
    let statement = "select fermata.commit(now() - interval '1 hour', signals => $1)";
    sqlx::query(statement).bind(earlier).execute(&db.pool).await.unwrap();
    sqlx::query("update fermata.live set state = 0, node = null").execute(&db.pool).await.unwrap();
    let second = db.worker(programs.registry(), lease).await;
    programs.entered.notified().await;
    programs.ends.add_permits(2);

    assert_eq!(db.ended(&second, run).await.result, Some(json!(1)));
    assert_eq!(*programs.taken.lock().unwrap(), [1, 1]);
    assert_eq!(db.count("select payload::int8 from fermata.signal where consumed_by is null").await, 2);
}

/// Found by the rig (crash-point, seed 19): it had the number of the record before.
#[tokio::test(flavor = "multi_thread")]
async fn what_rides_with_the_last_record_has_that_records_number() {
    let db = TestDb::new().await;
    let engine = db.worker(Programs::new(&db).registry(), Duration::from_secs(10)).await;
    let run = db.submit(&engine, Programs::NAME, json!({"program": "last"})).await;
    db.ended(&engine, run).await;
    let first = db.count("select seq::int8 from fermata.step where key = 'first'").await;
    let second = db.count("select seq::int8 from fermata.step where key = 'second'").await;
    let last = db.count("select seq::int8 from fermata.step where key = '@id'").await;
    assert_eq!((first, second, last), (1, 2, 2), "the last step and what comes after it are of the run's last record");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_begins_while_the_lease_does_not_provably_hold() {
    let (db, lease) = (TestDb::new().await, Duration::from_secs(3));
    let programs = Programs::new(&db);
    let engine = db.worker(programs.registry(), lease).await;
    let run = db.submit(&engine, Programs::NAME, json!({"program": "lease"})).await;
    programs.entered.notified().await;

    // Renewals wait for this lock from a third of the lease on; it is trusted for two thirds.
    let mut frozen = db.pool.begin().await.unwrap();
    sqlx::query("select id from fermata.node for update").execute(&mut *frozen).await.unwrap();
    let holder: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *frozen).await.unwrap();
    let waiting = "select count(*) from pg_stat_activity where $1 = any(pg_blocking_pids(pid))";
    eventually("a renewal waits", || async {
        let count: i64 = sqlx::query_scalar(waiting).bind(holder).fetch_one(&db.pool).await.unwrap();
        (count > 0).then_some(())
    })
    .await;
    engine.clock().wait(lease * 9 / 20).await;
    programs.go_on.notify_one();
    eventually("the held step is recorded", || async {
        (db.count("select count(*) from fermata.step where key = 'held'").await == 1).then_some(())
    })
    .await;
    frozen.rollback().await.unwrap();

    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
    let epochs = programs.epochs.lock().unwrap().clone();
    assert!(epochs.iter().all(|epoch| *epoch > 1) && !epochs.is_empty(), "{epochs:?}");
}
