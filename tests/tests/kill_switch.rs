//! Laws of kill switches (S-057 to S-059): whom they stop, that nothing begins once one has answered, and
//! that what had begun before is named.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::effect::{
    Absence, CallOutcome, DRAIN_PATIENCE, Effect, EffectPermit, EffectSpec, KillSwitch, Lane, Look, Prepared, Sighting,
    SwitchScope, SwitchTurn,
};
use fermata_engine::id::RunId;
use fermata_engine::run::Submission;
use fermata_engine::workflow::{Context, Failure, Registry, StepError, Workflow};
use fermata_tests::{TestDb, eventually, submission};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// A platform that counts calls, and lets each one return when it is told to.
#[derive(Clone)]
struct Platform {
    calls: Arc<AtomicU32>,
    answers: Arc<Semaphore>,
}

impl Platform {
    /// One that answers at once, or holds every call.
    fn new(holds: bool) -> Self {
        let answers = if holds { 0 } else { Semaphore::MAX_PERMITS };
        Self { calls: Arc::default(), answers: Arc::new(Semaphore::new(answers)) }
    }

    fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

struct Post {
    platform: Platform,
    account: String,
    key: String,
}

#[async_trait]
impl Effect for Post {
    fn spec(&self) -> EffectSpec {
        EffectSpec {
            action_type: "publish".into(),
            platform: "memory".into(),
            account_id: self.account.clone(),
            lane: Lane::Api,
            payload: json!({"text": "hello"}),
            dedupe: Some(self.key.clone()),
            honours_keys: false,
            call_timeout_ms: 60_000,
            visible_within_ms: 0,
            absence: Absence::Inconclusive,
            look_first: false,
        }
    }

    async fn look(&self, _: &Look) -> Result<Sighting, StepError> {
        Ok(Sighting::Blind)
    }

    async fn call(&self, permit: EffectPermit, _: Prepared) -> CallOutcome {
        self.platform.calls.fetch_add(1, Ordering::SeqCst);
        drop(self.platform.answers.acquire().await);
        CallOutcome::Done(json!({"id": permit.idempotency_key()}).into())
    }
}

struct Publish(Platform);

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Input {
    account: String,
    key: String,
}

impl Workflow for Publish {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.stoppable";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        let post = Post { platform: self.0.clone(), account: input.account, key: input.key };
        context.effect("publish", &post).await
    }
}

struct Stage {
    db: TestDb,
    platform: Platform,
    engine: Engine,
}

impl Stage {
    async fn new(holds: bool) -> Self {
        let (db, platform) = (TestDb::new().await, Platform::new(holds));
        let engine = db.worker(Registry::new().with(Publish(platform.clone())), Duration::from_secs(10)).await;
        Self { db, platform, engine }
    }

    async fn publish(&self, client: &str, account: &str, key: &str) -> RunId {
        let wanted = submission("test.stoppable", json!({"account": account, "key": key}));
        let wanted = Submission { client_id: client.into(), ..wanted };
        self.engine.submit(&Principal::operator(), wanted).await.unwrap().command_id
    }

    async fn turn(&self, scope: SwitchScope, engaged: bool) -> KillSwitch {
        self.turn_and_wait(scope, engaged, Duration::ZERO).await
    }

    async fn turn_and_wait(&self, scope: SwitchScope, engaged: bool, patience: Duration) -> KillSwitch {
        let turn = SwitchTurn { engaged, reason: "a test".into(), patience };
        self.engine.turn_switch(&Principal::operator(), &scope, turn).await.unwrap()
    }

    /// What became of a publication: its status, and the code of its error.
    async fn ended(&self, run: RunId) -> (String, Value) {
        let ended = self.db.ended(&self.engine, run).await;
        (ended.status, ended.error.map(|error| error["code"].clone()).unwrap_or_default())
    }
}

fn account(client: &str, account: &str) -> SwitchScope {
    SwitchScope::Account { client: Some(client.into()), account: account.into() }
}

fn client(name: &str) -> SwitchScope {
    SwitchScope::Client(name.into())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_stops_whom_it_names_and_nobody_else() {
    let stage = Stage::new(false).await;
    let every_account = |name: &str| SwitchScope::Account { client: None, account: name.into() };
    let cases = [
        (SwitchScope::Global, [true, true, true]),
        (client("a"), [true, true, false]),
        (account("a", "main"), [true, false, false]),
        (every_account("main"), [true, false, true]),
    ];
    for (n, (scope, stopped)) in cases.into_iter().enumerate() {
        stage.turn(scope.clone(), true).await;
        let whose = [("a", "main"), ("a", "side"), ("b", "main")];
        for ((client, account), stopped) in whose.into_iter().zip(stopped) {
            let before = stage.platform.calls();
            let run = stage.publish(client, account, &format!("{n}")).await;
            let wanted = if stopped { ("FAILED", json!("kill_switch")) } else { ("SUCCEEDED", Value::Null) };
            assert_eq!(stage.ended(run).await, (wanted.0.to_owned(), wanted.1), "{scope:?} on {client}/{account}");
            assert_eq!(stage.platform.calls() - before, u32::from(!stopped));
        }
        stage.turn(scope, false).await;
    }
    let again = stage.publish("a", "main", "after").await;
    assert_eq!(stage.ended(again).await.0, "SUCCEEDED");
    let blocked = "select count(*) from fermata.action where state = 'blocked'";
    assert_eq!(stage.db.count(blocked).await, 3 + 2 + 1 + 2);
    let passed =
        "select count(*) from fermata.event where type = 'action.moved' and data ->> 'status' = 'preflight_passed'";
    assert_eq!(stage.db.count(passed).await, 12 - 8 + 1, "none that is stopped gets so far (S-060)");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_had_begun_is_named_and_waited_for() {
    let stage = Stage::new(true).await;
    let run = stage.publish("a", "main", "k").await;
    eventually("the call is under way", || async { (stage.platform.calls() == 1).then_some(()) }).await;

    let tripped = stage.turn(client("a"), true).await;
    let named = tripped.under_way.unwrap();
    assert_eq!(named.iter().map(|it| it.command_id).collect::<Vec<_>>(), [run]);
    assert_eq!((named[0].client_id.as_str(), named[0].account_id.as_str()), ("a", "main"));
    assert!(named[0].call_deadline.is_some());
    assert_eq!(stage.turn(client("b"), true).await.under_way, Some(Vec::new()), "it is another client's");

    let waits = stage.turn_and_wait(client("a"), true, DRAIN_PATIENCE);
    let (left, ()) = tokio::join!(waits, async {
        // The answer is still open here: the call holds it up.
        stage.platform.answers.add_permits(1);
    });
    assert_eq!(left.under_way, Some(Vec::new()));
    assert_eq!(stage.ended(run).await.0, "SUCCEEDED", "what had begun is not undone");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_begins_once_a_switch_has_answered() {
    const RUNS: usize = 60;
    let stage = Stage::new(false).await;
    let mut runs = Vec::new();
    for n in 0..RUNS {
        runs.push(stage.publish("a", "main", &n.to_string()).await);
        if n == RUNS / 2 {
            eventually("some call was made", || async { (stage.platform.calls() > 0).then_some(()) }).await;
        }
    }
    let tripped = stage.turn(SwitchScope::Global, true).await;
    let made = stage.platform.calls();
    let named = u32::try_from(tripped.under_way.unwrap().len()).unwrap();
    for run in runs {
        let (status, code) = stage.ended(run).await;
        assert!(status == "SUCCEEDED" || code == "kill_switch", "{run}: {status} {code}");
    }
    let later = stage.platform.calls() - made;
    assert!(later <= named, "{later} calls began afterwards, {named} were named");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_does_not_answer_while_an_attempt_is_being_written() {
    let stage = Stage::new(false).await;
    // What whoever writes `attempted` holds until its commit.
    let mut attempt = stage.db.pool.begin().await.unwrap();
    let hold = "select pg_advisory_xact_lock_shared(fermata.switch_lock())";
    sqlx::query(hold).execute(&mut *attempt).await.unwrap();
    let (turned, ()) = tokio::join!(stage.turn(SwitchScope::Global, true), async {
        let waiting = "select count(*) from pg_locks l where not l.granted and l.locktype = 'advisory'
            and l.database = (select oid from pg_database where datname = current_database())";
        eventually("the turn waits", || async { (stage.db.count(waiting).await == 1).then_some(()) }).await;
        let engaged = "select count(*) from fermata.kill_switch where engaged";
        assert_eq!(stage.db.count(engaged).await, 0, "it is not said to be on yet");
        attempt.commit().await.unwrap();
    });
    assert!(turned.engaged);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_turn_again_changes_nothing_and_each_change_is_one_event_and_one_audit_row() {
    let stage = Stage::new(false).await;
    let first = stage.turn(client("a"), true).await;
    let again = stage.turn(client("a"), true).await;
    assert_eq!((first.version, again.version), (1, 1));
    assert_eq!(again, first);
    let off = stage.turn(client("a"), false).await;
    assert_eq!((off.engaged, off.version, off.scope.as_str()), (false, 2, "client:a"));
    let events = "select count(*) from fermata.event where type = 'kill_switch.changed' and client_id = 'a'";
    assert_eq!(stage.db.count(events).await, 2);
    assert_eq!(stage.db.count("select count(*) from fermata.audit where phase = 'kill_switch'").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_two_switches_share_a_name() {
    let stage = Stage::new(false).await;
    let one = stage.turn(account("a/b", "c"), true).await;
    let other = stage.turn(account("a", "b/c"), true).await;
    assert_ne!(one.scope, other.scope);
    let escaped = stage.turn(account("a%2Fb", "c"), true).await;
    assert_ne!(one.scope, escaped.scope);
}
