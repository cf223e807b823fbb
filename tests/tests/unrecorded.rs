//! Laws of steps whose value is used and never stored.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::id::RunId;
use fermata_engine::read::Page;
use fermata_engine::run::NewSignal;
use fermata_engine::workflow::{Attempt, Context, Failure, Registry, RetryPolicy, StepError, Unrecorded, Workflow};
use fermata_tests::{TestDb, contents};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

const LEASE: Duration = Duration::from_secs(10);
const SECRET: &str = "s3cr3t-0f-ada";

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    program: String,
}

/// A platform with a login, and who came.
#[derive(Debug, Default)]
struct Platform {
    /// The attempt number of each login.
    logins: Mutex<Vec<u16>>,
    /// How many of the next logins find the platform busy.
    busy: AtomicU32,
    /// Whether it refuses logins for good.
    closed: AtomicU32,
    /// The token of each post.
    posts: Mutex<Vec<String>>,
}

impl Platform {
    fn log_in(&self, attempt: u16) -> Result<String, StepError> {
        self.logins.lock().unwrap().push(attempt);
        if self.closed.load(Ordering::SeqCst) > 0 {
            return Err(StepError::fail("closed", "no more logins"));
        }
        let busy = self.busy.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        if busy.is_ok() { Err(StepError::retry("busy", "not now")) } else { Ok(SECRET.to_owned()) }
    }

    fn logins(&self) -> Vec<u16> {
        self.logins.lock().unwrap().clone()
    }

    fn posts(&self) -> Vec<String> {
        self.posts.lock().unwrap().clone()
    }
}

#[derive(Clone, Default)]
struct Programs(Arc<Platform>);

impl Programs {
    async fn log_in(&self, context: &Context) -> Result<Unrecorded<String>, Failure> {
        let platform = Arc::clone(&self.0);
        let body = move |attempt: Attempt| {
            let platform = Arc::clone(&platform);
            async move { platform.log_in(attempt.number) }
        };
        context.step("login").retry(soon()).unrecorded(&json!({"unrecorded": ["token"]}), body).await
    }
}

fn soon() -> RetryPolicy {
    RetryPolicy { max_attempts: 3, initial_ms: 20, factor: 1.0, longest_ms: 20 }
}

impl Workflow for Programs {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.unrecorded";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        if input.program == "changed" && !self.0.logins().is_empty() {
            context.step("login").run(|_| async { Ok(0) }).await?;
        }
        let login = self.log_in(&context).await?;
        let got: Value = context.wait_signal("go").await?;
        if input.program == "post" {
            let posted = context.step("post").retry(soon()).run(|_| async {
                let token = login.value().await?;
                self.0.posts.lock().unwrap().push(token.clone());
                Ok(token.len())
            });
            posted.await?;
            context.step("again").run(|_| async { Ok(login.value().await?.len()) }).await?;
        }
        Ok(got)
    }
}

/// A run that has logged in and waits for its signal: nothing of it is in memory.
async fn logged_in(program: &str) -> (TestDb, Programs, Engine, RunId) {
    let (db, programs) = (TestDb::new().await, Programs::default());
    let engine = db.worker(Registry::new().with(programs.clone()), LEASE).await;
    let run = db.submit(&engine, Programs::NAME, json!({"program": program})).await;
    db.reaches(&engine, run, &["WAITING"]).await;
    assert_eq!(programs.0.logins(), [1]);
    (db, programs, engine, run)
}

async fn go(engine: &Engine, run: RunId) {
    let signal = NewSignal { id: None, name: "go".into(), payload: json!("went") };
    engine.signal(&Principal::operator(), run, signal).await.unwrap();
}

async fn attempts(db: &TestDb, key: &str) -> i64 {
    let statement = "select count(*) from fermata.step where key = $1";
    sqlx::query_scalar(statement).bind(key).fetch_one(&db.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_value_is_used_in_a_later_delivery_and_is_in_no_row() {
    let (db, programs, engine, run) = logged_in("post").await;
    go(&engine, run).await;
    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
    assert_eq!(programs.0.logins(), [1, 0], "made again once, for all who need it");
    assert_eq!(programs.0.posts(), [SECRET]);
    let steps = engine.steps(&Principal::operator(), run, Page::default()).await.unwrap();
    let login = steps.items.iter().find(|step| step.key == "login").unwrap();
    assert_eq!((login.kind.as_str(), &login.output), ("unrecorded", &Some(json!({"unrecorded": ["token"]}))));
    let all = contents(&db.url).await;
    assert!(all.contains("unrecorded") && all.contains(&run.to_string()), "the dump shows what there is");
    assert!(!all.contains(SECRET));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delivery_that_does_not_need_the_value_leaves_its_step_alone() {
    let (db, programs, engine, run) = logged_in("rest").await;
    go(&engine, run).await;
    assert_eq!(db.ended(&engine, run).await.result, Some(json!("went")));
    assert_eq!(programs.0.logins(), [1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_step_itself_is_tried_again_durably_like_any_other() {
    let (db, programs) = (TestDb::new().await, Programs::default());
    programs.0.busy.store(2, Ordering::SeqCst);
    let engine = db.worker(Registry::new().with(programs.clone()), LEASE).await;
    let run = db.submit(&engine, Programs::NAME, json!({"program": "post"})).await;
    go(&engine, run).await;
    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
    let first: Vec<u16> = programs.0.logins().into_iter().filter(|attempt| *attempt > 0).collect();
    assert_eq!((first, attempts(&db, "login").await), (vec![1, 2, 3], 3));
}

#[tokio::test(flavor = "multi_thread")]
async fn making_it_again_is_tried_a_few_times_in_memory_and_then_fails_whoever_needs_it_as_retryable() {
    let (db, programs, engine, run) = logged_in("post").await;
    programs.0.busy.store(4, Ordering::SeqCst);
    go(&engine, run).await;
    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
    assert_eq!(programs.0.logins(), [1, 0, 0, 0, 0, 0]);
    assert_eq!((attempts(&db, "login").await, attempts(&db, "post").await), (1, 2));
    let failed = "select count(*) from fermata.step where key = 'post' and error->'failure'->>'code' = 'busy'";
    assert_eq!(db.count(failed).await, 1);
    assert_eq!(programs.0.posts().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_never_be_made_again_fails_the_run_and_says_why() {
    let (db, programs, engine, run) = logged_in("post").await;
    programs.0.closed.store(1, Ordering::SeqCst);
    go(&engine, run).await;
    let ended = db.ended(&engine, run).await;
    assert_eq!((ended.status.as_str(), &ended.error.unwrap()["code"]), ("FAILED", &json!("closed")));
    assert_eq!((programs.0.logins(), programs.0.posts().len()), (vec![1, 0], 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_records_what_was_unrecorded_does_not_agree_with_its_record() {
    let (db, _, engine, run) = logged_in("changed").await;
    go(&engine, run).await;
    db.reaches(&engine, run, &["HUMAN_REQUIRED"]).await;
    let shown: Value = sqlx::query_scalar("select shown from fermata.gate").fetch_one(&db.pool).await.unwrap();
    assert_eq!((&shown["mismatch"], &shown["key"]), (&json!("changed"), &json!("login")));
}
