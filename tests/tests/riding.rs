//! What a step's result rides with: the next record of its run, and a record of its own where none comes.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::access::Principal;
use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_tests::{TestDb, eventually};
use futures::future::{join, select};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

const LEASE: Duration = Duration::from_secs(10);

#[derive(serde::Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    program: String,
}

/// Programs whose code waits for a test between its steps, which no workflow may.
#[derive(Clone)]
struct Programs {
    pool: sqlx::PgPool,
    entered: Arc<Semaphore>,
    code: Arc<Semaphore>,
    bodies: Arc<Semaphore>,
}

async fn take(permits: &Semaphore) {
    permits.acquire().await.unwrap().forget();
}

impl Programs {
    fn new(db: &TestDb) -> Self {
        let none = || Arc::new(Semaphore::new(0));
        Self { pool: db.pool.clone(), entered: none(), code: none(), bodies: none() }
    }

    fn registry(&self) -> Registry {
        Registry::new().with(self.clone())
    }

    async fn held(&self, context: &Context) -> Result<(), Failure> {
        let held = context.step("held").run(|_| async {
            self.entered.add_permits(1);
            take(&self.bodies).await;
            Ok(())
        });
        held.await
    }

    /// An id, a word of the test, and a step whose body looks for that id in the record.
    async fn recorded(&self, context: &Context) -> Result<Value, Failure> {
        let id = context.id().await?;
        take(&self.code).await;
        let recorded: Option<Value> = context
            .step("looks")
            .run(|_| async {
                self.entered.add_permits(1);
                let statement = "select output from fermata.step where key = '@id'";
                Ok(sqlx::query_scalar(statement).fetch_optional(&self.pool).await.unwrap())
            })
            .await?;
        Ok(json!([id, recorded]))
    }
}

impl Workflow for Programs {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.riding";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        if input.program == "one" {
            self.held(&context).await?;
            return Ok(Value::Null);
        }
        if input.program == "between" {
            context.step("done").run(|_| async { Ok(()) }).await?;
            take(&self.code).await;
            return Ok(Value::Null);
        }
        let (held, seen) = join(self.held(&context), async {
            take(&self.code).await;
            self.recorded(&context).await
        })
        .await;
        held?;
        seen
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_step_and_the_end_are_one_record() {
    let db = TestDb::new().await;
    let programs = Programs::new(&db);
    programs.bodies.add_permits(1);
    let engine = db.worker(programs.registry(), LEASE).await;
    let run = db.submit(&engine, Programs::NAME, json!({"program": "one"})).await;
    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
    let commits = "select count(distinct at) from fermata.event where type in ('step.succeeded', 'status.changed') \
                   and (data ->> 'to' is null or data ->> 'to' = 'SUCCEEDED')";
    assert_eq!(db.count(commits).await, 1);
    assert_eq!(db.count("select count(*) from fermata.step where key = 'held'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_does_not_wait_for_a_record_that_does_not_come() {
    let db = TestDb::new().await;
    let programs = Programs::new(&db);
    let engine = db.worker(programs.registry(), LEASE).await;
    let run = db.submit(&engine, Programs::NAME, json!({"program": "between"})).await;
    eventually("the step is recorded while the code waits", || async {
        (db.count("select count(*) from fermata.step where key = 'done'").await == 1).then_some(())
    })
    .await;
    programs.code.add_permits(1);
    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_body_begins_while_what_its_code_went_by_is_on_its_way() {
    let db = TestDb::new().await;
    let programs = Programs::new(&db);
    let engine = db.worker(programs.registry(), LEASE).await;
    let run = db.submit(&engine, Programs::NAME, json!({"program": "beside"})).await;
    take(&programs.entered).await;

    // No record of the run commits while its row is held.
    let mut held = db.pool.begin().await.unwrap();
    sqlx::query("select id from fermata.live for update").execute(&mut *held).await.unwrap();
    let holder: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *held).await.unwrap();
    programs.code.add_permits(1);
    let waiting = "select count(*) from pg_stat_activity where $1 = any(pg_blocking_pids(pid))";
    eventually("the record with the id is on its way", || async {
        let count: i64 = sqlx::query_scalar(waiting).bind(holder).fetch_one(&db.pool).await.unwrap();
        (count > 0).then_some(())
    })
    .await;
    programs.code.add_permits(1);
    let began =
        select(Box::pin(take(&programs.entered)), Box::pin(engine.clock().wait(Duration::from_millis(200)))).await;
    held.rollback().await.unwrap();
    assert!(matches!(began, futures::future::Either::Right(_)), "a body began before the record was acknowledged");

    programs.bodies.add_permits(1);
    let seen = db.ended(&engine, run).await.result.unwrap();
    assert_eq!(seen[0], seen[1], "the body saw the id that it was about to use");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_cancelled_in_its_last_step_ends_so_though_its_node_has_not_heard() {
    let db = TestDb::new().await;
    let programs = Programs::new(&db);
    let engine = db.worker(programs.registry(), LEASE).await;
    let run = db.submit(&engine, Programs::NAME, json!({"program": "one"})).await;
    take(&programs.entered).await;
    let cancel =
        "select fermata.cancel_run(now(), $1, (select client_id from fermata.run where id = $1), 'test', 'enough')";
    let word: String = sqlx::query_scalar(cancel).bind(run.0).fetch_one(&db.pool).await.unwrap();
    assert_eq!(word, "cancelling");
    programs.bodies.add_permits(1);

    let ended = db.ended(&engine, run).await;
    assert_eq!(ended.status, "CANCELLED");
    assert_eq!(engine.command(&Principal::operator(), run).await.unwrap().unwrap().status, "CANCELLED");
    assert_eq!(db.count("select count(*) from fermata.step where key = 'held'").await, 1, "its checkpoint is kept");
    let last =
        "select count(*) from fermata.event where data ->> 'from' = 'CANCELLING' and data ->> 'to' = 'CANCELLED'";
    assert_eq!(db.count(last).await, 1);
    assert_eq!(db.count("select count(*) from fermata.event where data ->> 'to' = 'SUCCEEDED'").await, 0);
}
