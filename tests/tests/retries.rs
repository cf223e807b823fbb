//! The law of pauses between attempts (S-041): exponential, with jitter, as they are recorded.

use std::time::Duration;

use fermata_engine::workflow::{Context, Failure, Registry, RetryPolicy, StepError, Workflow};
use fermata_tests::TestDb;
use futures::future::join_all;
use serde_json::{Value, json};

const RUNS: usize = 200;
/// Each pause is twice the one before, and the last is cut to the longest.
const PAUSES_MS: [f64; 4] = [500.0, 1_000.0, 2_000.0, 2_500.0];
/// The pauses that were decided, as parts of the longest that they might be.
const PARTS: &str = "select extract(epoch from (e.data ->> 'retry_at')::timestamptz - s.started_at)::float8 * 1000 / $2
    from fermata.event e join fermata.step s on s.run_id = e.run_id and s.key = e.data ->> 'key'
        and s.attempt = (e.data ->> 'attempt')::int
    where e.type = 'step.failed' and s.attempt = $1 and e.data ->> 'retry_at' is not null";
/// What the attempt itself may have taken, in the same parts.
const SLACK: f64 = 0.1;

/// Fails until nothing is left to try.
struct Fails;

impl Workflow for Fails {
    type Input = Value;
    type Output = Value;
    const NAME: &'static str = "test.fails";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, _: Value) -> Result<Value, Failure> {
        let policy = RetryPolicy { max_attempts: 5, initial_ms: 500, factor: 2.0, longest_ms: 2_500 };
        let fails = async |_| Err::<Value, _>(StepError::retry("down", "try again"));
        context.step("fails").retry(policy).run(fails).await
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn pauses_double_up_to_the_longest_and_fall_evenly_on_the_upper_half_of_each() {
    let db = TestDb::new().await;
    let engine = db.worker(Registry::new().with(Fails), Duration::from_secs(30)).await;
    let runs = join_all((0..RUNS).map(|_| db.submit(&engine, "test.fails", json!({})))).await;
    for run in runs {
        assert_eq!(db.ended(&engine, run).await.status, "FAILED");
    }
    for (attempt, full_ms) in (1_i32..).zip(PAUSES_MS) {
        let parts: Vec<f64> = sqlx::query_scalar(PARTS).bind(attempt).bind(full_ms).fetch_all(&db.pool).await.unwrap();
        assert_eq!(parts.len(), RUNS, "after attempt {attempt}");
        let count = |from: f64, to: f64| parts.iter().filter(|part| (from..to).contains(*part)).count();
        assert_eq!(count(0.5, 1.0 + SLACK), RUNS, "after attempt {attempt}: {parts:?}");
        // Each half of the range expects 100 of 200, with a standard deviation of 7.
        let late = count(0.75, 1.0 + SLACK);
        assert!((60..=140).contains(&late), "after attempt {attempt}: {late} of {RUNS} in the later half");
    }
    assert_eq!(db.count("select count(*) from fermata.step where attempt = 5").await, 200);
    assert_eq!(db.count("select count(*) from fermata.step where attempt > 5").await, 0);
}
