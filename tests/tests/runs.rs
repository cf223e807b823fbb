//! Laws of runs: steps, replay, waits, children, cancel, deadline, poison.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fermata_engine::access::Principal;
use fermata_engine::run::NewSignal;
use fermata_engine::wait::{GateKind, GateRequest};
use fermata_engine::workflow::{Branch, Context, Failure, Registry, RetryPolicy, StepError, Workflow};
use fermata_tests::{TestDb, eventually};
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

const LEASE: Duration = Duration::from_secs(10);

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Input {
    program: String,
    #[serde(default)]
    n: u64,
    #[serde(default)]
    large: bool,
}

/// Programs of a few lines each; counts how often bodies ran.
#[derive(Clone, Default)]
struct Programs {
    bodies: Arc<AtomicU32>,
}

impl Programs {
    fn registry(&self) -> Registry {
        Registry::new().with(self.clone())
    }

    fn ran(&self) -> u32 {
        self.bodies.load(Ordering::SeqCst)
    }

    async fn count(&self, context: &Context, name: &str) -> Result<u32, Failure> {
        context.step(name).run(|_| async { Ok(self.bodies.fetch_add(1, Ordering::SeqCst) + 1) }).await
    }
}

impl Programs {
    /// The programs with branches, generations and faults.
    async fn branch(&self, context: &Context, input: &Input) -> Result<Value, Failure> {
        match input.program.as_str() {
            "children" => {
                let mut children = Vec::new();
                for n in 0..input.n {
                    children.push(
                        context.start_child("child", "test.program", json!({"program": "steps", "n": n + 1})).await?,
                    );
                }
                Ok(json!(context.wait_all(&children).await?))
            }
            "forever" => {
                let child = context.start_child("child", "test.program", json!({"program": "signal"})).await?;
                child.wait(context).await
            }
            "race" => {
                let (winner, ()) = context
                    .race(
                        "first",
                        vec![
                            Branch::new("slow", |context: Context| async move {
                                context.sleep("nap", Duration::from_hours(1)).await
                            }),
                            Branch::new("quick", |context: Context| async move {
                                context.sleep("nap", Duration::from_millis(20)).await
                            }),
                        ],
                    )
                    .await?;
                self.count(context, "after").await?;
                context.sleep("rest", Duration::from_millis(20)).await?;
                Ok(json!(winner))
            }
            "renew" if input.n < 3 => {
                match context.continue_as_new(json!({"program": "renew", "n": input.n + 1})).await {}
            }
            "renew" => Ok(json!(self.count(context, "done").await?)),
            "changed" => {
                let name = if self.bodies.load(Ordering::SeqCst) == 0 { "old" } else { "new" };
                self.count(context, name).await?;
                context.wait_signal::<Value>("go").await
            }
            "panic" => panic!("poison"),
            "pure" => {
                let (now, random, id) = (context.now().await?, context.random().await?, context.id().await?);
                context.sleep("nap", Duration::from_millis(20)).await?;
                Ok(json!([now, random, id]))
            }
            other => Err(Failure::new("no_such_program", other)),
        }
    }
}

impl Workflow for Programs {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.program";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        match input.program.as_str() {
            "steps" => {
                let mut last = 0;
                for _ in 0..input.n {
                    last = self.count(&context, "step").await?;
                }
                Ok(json!(last))
            }
            "signal" => {
                self.count(&context, "before").await?;
                let got: Value = context.wait_signal("go").await?;
                self.count(&context, "after").await?;
                Ok(got)
            }
            "gate" => {
                let request = GateRequest {
                    kind: GateKind::Approval,
                    reason: "dm_send".into(),
                    shown: json!({"to": "bob"}),
                    expires_in: None,
                };
                let decision = context.gate("ask", request).await?;
                Ok(json!({"approved": decision.approved, "outputs": decision.outputs}))
            }
            "sleep" => {
                self.count(&context, "before").await?;
                context.sleep("nap", Duration::from_millis(input.n)).await?;
                Ok(json!(self.count(&context, "after").await?))
            }
            "recorded" => {
                let bytes = if input.large { 4_096 } else { 1 };
                let mut total = 0;
                for n in 0..input.n {
                    let made: String = context.step("made").run(|_| async move { Ok(noise(n, bytes)) }).await?;
                    total += made.len();
                }
                self.count(&context, "before").await?;
                context.wait_signal::<Value>("go").await?;
                Ok(json!([total, self.count(&context, "after").await?]))
            }
            "retry" => {
                let policy = RetryPolicy { max_attempts: 3, initial_ms: 20, factor: 1.0, longest_ms: 20 };
                let attempts = context
                    .step("flaky")
                    .retry(policy)
                    .run(|attempt| async move {
                        self.bodies.fetch_add(1, Ordering::SeqCst);
                        if u64::from(attempt.number) < input.n {
                            Err(StepError::retry("flaky", "not yet"))
                        } else {
                            Ok(attempt.number)
                        }
                    })
                    .await?;
                Ok(json!(attempts))
            }
            _ => self.branch(&context, &input).await,
        }
    }
}

/// Text that does not compress.
fn noise(seed: u64, bytes: usize) -> String {
    use sha2::{Digest, Sha256};
    let block = |n: usize| format!("{:x}", Sha256::digest(format!("{seed} {n}")));
    (0..).map(block).flat_map(String::into_bytes).take(bytes).map(char::from).collect()
}

async fn started(program: Value) -> (TestDb, Programs, fermata_engine::Engine, fermata_engine::id::RunId) {
    let (db, programs) = (TestDb::new().await, Programs::default());
    let engine = db.worker(programs.registry(), LEASE).await;
    let run = db.submit(&engine, "test.program", program).await;
    (db, programs, engine, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_run_once_each_and_in_order() {
    let (db, programs, engine, run) = started(json!({"program": "steps", "n": 10})).await;
    let ended = db.ended(&engine, run).await;
    assert_eq!((ended.status.as_str(), ended.result), ("SUCCEEDED", Some(json!(10))));
    assert_eq!(programs.ran(), 10);
    assert_eq!(db.count("select count(*) from fermata.step").await, 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_wakes_its_run_and_nothing_runs_twice() {
    let (db, programs, engine, run) = started(json!({"program": "signal"})).await;
    db.reaches(&engine, run, &["WAITING"]).await;
    let signal = NewSignal { id: None, name: "go".into(), payload: json!({"x": 1}) };
    engine.signal(&Principal::operator(), run, signal).await.unwrap();
    let ended = db.ended(&engine, run).await;
    assert_eq!(ended.result, Some(json!({"x": 1})));
    assert_eq!(programs.ran(), 2);
    // Heard of, readied and taken up again in one commit (design, section 4).
    let commits = "select count(distinct at) from fermata.event
        where type = 'signal.received' or data ->> 'from' = 'WAITING'";
    assert_eq!(db.count(commits).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_goes_on_from_a_record_of_any_length() {
    // One that comes with the claim, one of too many bytes for that, and one of too many records.
    for (n, large) in [(3, false), (30, true), (100, false)] {
        let (db, programs) = (TestDb::new().await, Programs::default());
        let first = db.worker(programs.registry(), LEASE).await;
        let program = json!({"program": "recorded", "n": n, "large": large});
        let run = db.submit(&first, "test.program", program).await;
        db.reaches(&first, run, &["WAITING"]).await;
        first.close(Duration::from_secs(5)).await;
        let second = db.worker(programs.registry(), LEASE).await;
        let signal = NewSignal { id: None, name: "go".into(), payload: Value::Null };
        second.signal(&Principal::operator(), run, signal).await.unwrap();
        let bytes = n * if large { 4_096 } else { 1 };
        assert_eq!(db.ended(&second, run).await.result, Some(json!([bytes, 2])), "{n} records");
        assert_eq!(programs.ran(), 2);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_signal_that_comes_before_its_wait_is_kept() {
    let (db, programs) = (TestDb::new().await, Programs::default());
    let front = db.engine(programs.registry()).await;
    let run = db.submit(&front, "test.program", json!({"program": "signal"})).await;
    let signal = NewSignal { id: None, name: "go".into(), payload: json!(7) };
    front.signal(&Principal::operator(), run, signal).await.unwrap();
    let worker = db.worker(programs.registry(), LEASE).await;
    assert_eq!(db.ended(&worker, run).await.result, Some(json!(7)));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gate_stops_a_run_until_a_person_decides_and_the_first_decision_wins() {
    let (db, _, engine, run) = started(json!({"program": "gate"})).await;
    db.reaches(&engine, run, &["HUMAN_REQUIRED"]).await;
    let by = Principal::operator();
    let id: uuid::Uuid = sqlx::query_scalar("select id from fermata.gate").fetch_one(&db.pool).await.unwrap();
    let gate = fermata_engine::id::GateId(id);
    let yes = fermata_engine::run::Decision { approve: true, comment: None, outputs: json!({"edited": true}) };
    let no = fermata_engine::run::Decision { approve: false, ..yes.clone() };
    engine.decide(&by, gate, yes).await.unwrap();
    assert!(matches!(engine.decide(&by, gate, no).await, Err(fermata_engine::run::DecideError::AlreadyDecided(_))));
    let ended = db.ended(&engine, run).await;
    assert_eq!(ended.result, Some(json!({"approved": true, "outputs": {"edited": true}})));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timer_frees_the_worker_and_outlives_it() {
    let (db, programs) = (TestDb::new().await, Programs::default());
    let first = db.worker(programs.registry(), LEASE).await;
    let run = db.submit(&first, "test.program", json!({"program": "sleep", "n": 300})).await;
    db.reaches(&first, run, &["WAITING"]).await;
    first.close(Duration::from_secs(5)).await;
    let second = db.worker(programs.registry(), LEASE).await;
    assert_eq!(db.ended(&second, run).await.status, "SUCCEEDED");
    assert_eq!(programs.ran(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_attempt_is_tried_again_by_policy_and_then_no_more() {
    let (db, programs, engine, run) = started(json!({"program": "retry", "n": 3})).await;
    assert_eq!(db.ended(&engine, run).await.result, Some(json!(3)));
    assert_eq!(programs.ran(), 3);
    let hopeless = db.submit(&engine, "test.program", json!({"program": "retry", "n": 9})).await;
    let ended = db.ended(&engine, hopeless).await;
    assert_eq!(ended.status, "FAILED");
    assert_eq!(programs.ran(), 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn children_are_started_once_and_their_results_come_in_order() {
    let (db, _, engine, run) = started(json!({"program": "children", "n": 3})).await;
    let ended = db.ended(&engine, run).await;
    assert_eq!(ended.status, "SUCCEEDED", "{ended:?}");
    assert_eq!(db.count("select count(*) from fermata.run where parent_id is not null").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancelling_a_run_cancels_its_children() {
    let (db, _, engine, run) = started(json!({"program": "forever"})).await;
    eventually("the child waits", || async {
        (db.count("select count(*) from fermata.live where wait_reason = 'signal'").await == 1).then_some(())
    })
    .await;
    engine.cancel(&Principal::operator(), run, "enough".into()).await.unwrap();
    assert_eq!(db.ended(&engine, run).await.status, "CANCELLED");
    eventually("the child ends", || async { (db.count("select count(*) from fermata.live").await == 0).then_some(()) })
        .await;
    assert_eq!(db.count("select count(*) from fermata.outcome where status = 'CANCELLED'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_winner_of_a_race_wins_on_every_replay() {
    let (db, programs, engine, run) = started(json!({"program": "race"})).await;
    let ended = db.ended(&engine, run).await;
    assert_eq!(ended.result, Some(json!("quick")), "{ended:?}");
    assert_eq!(programs.ran(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn continue_as_new_goes_on_under_the_same_command() {
    let (db, _, engine, run) = started(json!({"program": "renew"})).await;
    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
    assert_eq!(db.count("select count(*) from fermata.run").await, 1);
    assert_eq!(db.count("select max(generation)::int8 from fermata.renewal").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn time_chance_and_ids_are_the_same_on_replay() {
    let (db, _, engine, run) = started(json!({"program": "pure"})).await;
    let ended = db.ended(&engine, run).await;
    let recorded: Vec<Value> =
        sqlx::query_scalar("select output from fermata.step where key like '@%' order by seq, key")
            .fetch_all(&db.pool)
            .await
            .unwrap();
    let result = ended.result.unwrap();
    assert!(recorded.iter().all(|value| result.as_array().unwrap().contains(value)), "{recorded:?} {result}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_past_its_deadline_fails_and_says_so() {
    let (db, programs) = (TestDb::new().await, Programs::default());
    let engine = db.worker(programs.registry(), LEASE).await;
    let mut late = fermata_engine::run::Submission {
        client_id: "c".into(),
        kind: "test.program".into(),
        payload: json!({"program": "signal"}),
        ..Default::default()
    };
    late.deadline = Some(engine.clock().now() + chrono::TimeDelta::milliseconds(300));
    let run = engine.submit(&Principal::operator(), late).await.unwrap().command_id;
    let ended = db.ended(&engine, run).await;
    assert_eq!(ended.error.unwrap()["code"], "deadline_exceeded");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_of_a_run_have_dense_positions_and_end_with_its_status() {
    let (db, _, engine, run) = started(json!({"program": "steps", "n": 3})).await;
    db.ended(&engine, run).await;
    assert_eq!(db.count("select max(position) - count(*) from fermata.event").await, 0);
    assert_eq!(db.count("select event - (select max(position) from fermata.event) from fermata.position").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_delivered_too_often_without_progress_is_parked_until_a_person_resumes_it() {
    let (db, programs) = (TestDb::new().await, Programs::default());
    let front = db.engine(programs.registry()).await;
    let run = db.submit(&front, "test.program", json!({"program": "steps", "n": 1})).await;
    sqlx::query("update fermata.live set deliveries = 5").execute(&db.pool).await.unwrap();
    let worker = db.worker(programs.registry(), LEASE).await;
    db.reaches(&worker, run, &["HUMAN_REQUIRED"]).await;
    assert_eq!((programs.ran(), db.count("select count(*) from fermata.gate where reason = 'poison'").await), (0, 1));
    worker.resume(&Principal::operator(), run, None, Value::Null).await.unwrap();
    assert_eq!(db.ended(&worker, run).await.status, "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_panic_is_a_delivery_without_progress_and_not_a_failure() {
    let (db, _, engine, run) = started(json!({"program": "panic"})).await;
    let waits = db.reaches(&engine, run, &["WAITING", "FAILED"]).await;
    assert_eq!(waits.wait_reason.as_deref(), Some("backoff"));
    assert_eq!(db.count("select deliveries::int8 from fermata.live").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn code_that_does_not_agree_with_its_record_is_parked_and_shows_both() {
    let (db, _, engine, run) = started(json!({"program": "changed"})).await;
    db.reaches(&engine, run, &["WAITING"]).await;
    let signal = NewSignal { id: None, name: "go".into(), payload: json!(1) };
    engine.signal(&Principal::operator(), run, signal).await.unwrap();
    db.reaches(&engine, run, &["HUMAN_REQUIRED"]).await;
    let shown: Value = sqlx::query_scalar("select shown from fermata.gate").fetch_one(&db.pool).await.unwrap();
    assert_eq!(shown, json!({"mismatch": "skipped", "recorded": "old", "called": "new"}));
}
