//! Laws of the identity of accounts (S-007, S-021, S-031, S-032): what would be done as somebody else is not done, Postgres
//! holds to that whoever asks, and nobody is asked for what an account may not do anyway.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::effect::{
    Absence, AccountMode, AccountName, AccountView, CallOutcome, Effect, EffectPermit, EffectSpec, Fingerprint, Lane,
    Look, Prepared, Sighting,
};
use fermata_engine::id::{GateId, RunId};
use fermata_engine::policy::{PolicyDocument, PolicyScope, Proposal};
use fermata_engine::run::{DecideError, Decision, Submission};
use fermata_engine::workflow::{Context, Failure, Registry, StepError, Workflow};
use fermata_tests::{TestDb, eventually, submission};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

mod outside;
mod parts;

/// What the platform answers when it is asked as whom it would act.
#[derive(Clone, Copy)]
enum Says {
    /// This id.
    Is(&'static str),
    /// Nothing for now, so many times; then this id.
    Later(u32, &'static str),
    /// There is no way to ask.
    Nothing,
}

/// A platform of one account, that counts what is asked of it.
#[derive(Clone)]
struct Platform {
    says: Arc<Mutex<Says>>,
    asked: Arc<AtomicU32>,
    looks: Arc<AtomicU32>,
    calls: Arc<AtomicU32>,
    /// How many calls are lost before they are applied.
    loses: Arc<AtomicU32>,
    /// Gets ready, and returns from a call, only when it may.
    ready: Arc<Semaphore>,
    preparing: Arc<Semaphore>,
    answers: Arc<Semaphore>,
}

impl Platform {
    fn new(says: Says) -> Self {
        let open = || Arc::new(Semaphore::new(1_000));
        let (says, preparing) = (Arc::new(Mutex::new(says)), Arc::new(Semaphore::new(0)));
        let (asked, looks, calls, loses) = (Arc::default(), Arc::default(), Arc::default(), Arc::default());
        Self { says, asked, looks, calls, loses, ready: open(), preparing, answers: open() }
    }

    fn say(&self, says: Says) {
        *self.says.lock().unwrap() = says;
    }

    /// How often it was asked who it is, looked at, and called.
    fn counts(&self) -> [u32; 3] {
        [&self.asked, &self.looks, &self.calls].map(|count| count.load(Ordering::SeqCst))
    }
}

struct Post {
    platform: Platform,
    key: String,
    honours_keys: bool,
}

#[async_trait]
impl Effect for Post {
    fn spec(&self) -> EffectSpec {
        EffectSpec {
            action_type: "publish".into(),
            platform: "memory".into(),
            account_id: "main".into(),
            lane: Lane::Api,
            payload: Value::Null,
            dedupe: Some(self.key.clone()),
            honours_keys: self.honours_keys,
            call_timeout_ms: 2_000,
            visible_within_ms: 0,
            absence: Absence::Inconclusive,
            look_first: true,
        }
    }

    async fn identity(&self, _: &Look) -> Result<Option<Fingerprint>, StepError> {
        self.platform.asked.fetch_add(1, Ordering::SeqCst);
        let mut says = self.platform.says.lock().unwrap();
        match *says {
            Says::Nothing => Ok(None),
            Says::Is(id) | Says::Later(0, id) => Ok(Some(fingerprint(id))),
            Says::Later(left, id) => {
                *says = Says::Later(left - 1, id);
                Err(StepError::retry("busy", "not now"))
            }
        }
    }

    async fn look(&self, look: &Look) -> Result<Sighting, StepError> {
        self.platform.looks.fetch_add(1, Ordering::SeqCst);
        let done = look.action_id.is_some() && self.platform.calls.load(Ordering::SeqCst) > 0;
        let lost = self.platform.loses.load(Ordering::SeqCst) > 0;
        Ok(if done && !lost { Sighting::Present(json!({"id": self.key}).into()) } else { Sighting::Absent })
    }

    async fn prepare(&self, _: &Look) -> Result<Prepared, StepError> {
        self.platform.preparing.add_permits(1);
        drop(self.platform.ready.acquire().await);
        Ok(Box::new(()))
    }

    async fn call(&self, permit: EffectPermit, _: Prepared) -> CallOutcome {
        self.platform.calls.fetch_add(1, Ordering::SeqCst);
        drop(self.platform.answers.acquire().await);
        if self.platform.loses.load(Ordering::SeqCst) > 0 {
            return CallOutcome::Ambiguous(Failure::new("lost", "the call was lost"));
        }
        CallOutcome::Done(json!({"id": permit.idempotency_key()}).into())
    }
}

fn fingerprint(id: &str) -> Fingerprint {
    Fingerprint { id: id.into(), ..Fingerprint::default() }
}

struct Publish(Platform);

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Input {
    key: String,
    #[serde(default)]
    honours_keys: bool,
}

impl Workflow for Publish {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.publish";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        let post = Post { platform: self.0.clone(), key: input.key, honours_keys: input.honours_keys };
        context.effect("publish", &post).await
    }
}

struct Stage {
    db: TestDb,
    platform: Platform,
    engine: Engine,
}

impl Stage {
    async fn new(says: Says) -> Self {
        Self::with(Platform::new(says)).await
    }

    async fn with(platform: Platform) -> Self {
        let db = TestDb::new().await;
        let registry = Registry::new().with(Publish(platform.clone()));
        let engine = db.worker(registry, Duration::from_secs(30)).await;
        Self { db, platform, engine }
    }

    fn name() -> AccountName {
        AccountName { client: Some("acme".into()), platform: "memory".into(), account: "main".into() }
    }

    async fn connect(&self, id: &str) -> AccountView {
        self.engine.connect_account(&Principal::operator(), &Self::name(), &fingerprint(id)).await.unwrap()
    }

    async fn turn(&self, mode: AccountMode) {
        self.engine.turn_account(&Principal::operator(), &Self::name(), mode, "a test").await.unwrap();
    }

    async fn account(&self) -> AccountView {
        self.engine.account(&Principal::operator(), &Self::name()).await.unwrap()
    }

    async fn put(&self, document: Value) {
        let document: PolicyDocument = serde_json::from_value(document).unwrap();
        let scope: PolicyScope = "client:acme".parse().unwrap();
        self.engine.put_policy(&Principal::operator(), &scope, &document, None).await.unwrap();
    }

    /// What would be said of a post.
    async fn evaluated(&self) -> Value {
        let proposal = Proposal {
            client_id: Some("acme".into()),
            platform: "memory".into(),
            account_id: "main".into(),
            action_type: "publish".into(),
            payload: Value::Null,
            at: None,
        };
        let said = self.engine.evaluate(&Principal::operator(), &proposal).await.unwrap().verdict;
        json!([said.decision, said.rule])
    }

    async fn publish(&self, key: &str) -> RunId {
        self.submit(json!({"key": key})).await
    }

    async fn submit(&self, input: Value) -> RunId {
        let wanted = Submission { client_id: "acme".into(), ..submission("test.publish", input) };
        self.engine.submit(&Principal::operator(), wanted).await.unwrap().command_id
    }

    /// How a run ended: its status, and what its error says.
    async fn ended(&self, run: RunId) -> (String, Value) {
        let ended = self.db.ended(&self.engine, run).await;
        (ended.status, ended.error.map(|error| json!([error["code"], error["details"]["rule"]])).unwrap_or_default())
    }

    /// The rows of the audit trail about a run's actions: the phase, and whether the account was the right one.
    async fn rows(&self, run: RunId) -> Vec<(String, Option<bool>)> {
        sqlx::query_as(
            "select phase, (body ->> 'identity_fingerprint_ok')::boolean from fermata.audit
             where run_id = $1 and action_id is not null order by position",
        )
        .bind(run.0)
        .fetch_all(&self.db.pool)
        .await
        .unwrap()
    }

    async fn decide(&self, run: RunId, decision: Decision) -> Result<(), DecideError> {
        let open = "select id from fermata.gate where run_id = $1 and state = 'open'";
        let gate = sqlx::query_scalar(open).bind(run.0).fetch_one(&self.db.pool).await.unwrap();
        self.engine.decide(&Principal::operator(), GateId(gate), decision).await.map(drop)
    }
}

fn rows(phases: &[(&str, Option<bool>)]) -> Vec<(String, Option<bool>)> {
    phases.iter().map(|(phase, ok)| ((*phase).to_owned(), *ok)).collect()
}

fn failed(code: &str, rule: Option<&str>) -> (String, Value) {
    ("FAILED".to_owned(), json!([code, rule]))
}

const WAY: [&str; 6] =
    ["queued", "preflight_passed", "identity_verified", "attempted", "confirmed_success", "postcheck_complete"];

#[tokio::test(flavor = "multi_thread")]
async fn what_would_be_done_as_somebody_else_is_not_done_and_its_account_does_nothing_until_a_person_has_seen_to_it() {
    let stage = Stage::new(Says::Is("2")).await;
    stage.connect("1").await;
    let run = stage.publish("a").await;
    assert_eq!(stage.ended(run).await, failed("identity_mismatch", None));
    assert_eq!(stage.platform.counts(), [1, 0, 0], "asked once, and neither looked for nor called");
    let told = [("queued", None), ("preflight_passed", None), ("blocked", Some(false))];
    assert_eq!(stage.rows(run).await, rows(&told));
    let account = stage.account().await;
    assert_eq!((account.mode, account.reason.as_deref()), (AccountMode::ReadOnly, Some("identity_mismatch")));

    let next = stage.publish("b").await;
    assert_eq!(stage.ended(next).await, failed("policy_blocked", Some("account_mode")));
    assert_eq!(stage.platform.counts(), [1, 0, 0]);

    stage.platform.say(Says::Is("1"));
    stage.turn(AccountMode::Normal).await;
    let again = stage.publish("a").await;
    assert_eq!(stage.ended(again).await.0, "SUCCEEDED", "the same intent may be attempted: nothing was done");
}

#[tokio::test(flavor = "multi_thread")]
async fn as_the_account_itself_each_row_from_identity_verified_on_says_so() {
    let stage = Stage::new(Says::Is("1")).await;
    stage.connect("1").await;
    let run = stage.publish("a").await;
    assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    let told: Vec<_> = WAY.iter().enumerate().map(|(n, phase)| (*phase, (n >= 2).then_some(true))).collect();
    assert_eq!(stage.rows(run).await, rows(&told));
    assert_eq!(stage.platform.counts()[0], 1);
    let kept = "select count(*) from fermata.action where identity = '1' and identity_ok";
    assert_eq!(stage.db.count(kept).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_fails_for_now_is_tried_again_and_is_no_verdict() {
    let stage = Stage::new(Says::Later(2, "1")).await;
    stage.connect("1").await;
    let run = stage.publish("a").await;
    assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    assert_eq!(stage.platform.counts()[0], 3);
    assert_eq!(stage.account().await.mode, AccountMode::Normal);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_an_account_that_was_never_connected_or_cannot_be_asked_nothing_is_claimed_and_it_works() {
    let told: Vec<_> = WAY.iter().map(|phase| (*phase, None)).collect();
    for (says, connected, asked) in [(Says::Is("2"), false, 0), (Says::Nothing, true, 1)] {
        let stage = Stage::new(says).await;
        if connected {
            stage.connect("1").await;
        }
        let run = stage.publish("a").await;
        assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
        assert_eq!(stage.rows(run).await, rows(&told));
        assert_eq!(stage.platform.counts()[0], asked);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn where_the_policy_demands_it_what_cannot_be_verified_is_not_done_and_nobody_is_asked_in_vain() {
    let stage = Stage::new(Says::Nothing).await;
    stage.put(json!({"identity": "required", "autonomy": "manual"})).await;
    let unknown = stage.publish("a").await;
    assert_eq!(stage.ended(unknown).await, failed("policy_blocked", Some("identity")), "never connected");
    assert_eq!(stage.db.count("select count(*) from fermata.gate").await, 0);

    let would = stage.evaluated().await;
    assert_eq!(would, json!(["block", "identity"]), "it is said beforehand");

    stage.put(json!({"identity": "required"})).await;
    stage.connect("1").await;
    assert_eq!(stage.evaluated().await, json!(["allow", "allowed"]), "nobody asks the platform for that");
    let silent = stage.publish("b").await;
    assert_eq!(stage.ended(silent).await, failed("policy_blocked", Some("identity")), "no way to ask");
    assert_eq!(stage.platform.counts()[2], 0);

    stage.platform.say(Says::Is("1"));
    let known = stage.publish("c").await;
    assert_eq!(stage.ended(known).await.0, "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_is_connected_as_another_before_the_attempt_is_asked_about_again() {
    let stage = Stage::with(Platform { ready: Arc::new(Semaphore::new(0)), ..Platform::new(Says::Is("1")) }).await;
    stage.connect("1").await;
    let run = stage.publish("a").await;
    stage.platform.preparing.acquire().await.unwrap().forget();
    stage.connect("2").await;
    stage.platform.ready.add_permits(1_000);
    assert_eq!(stage.ended(run).await, failed("identity_mismatch", None));
    assert_eq!(stage.platform.counts()[2], 0);
    assert_eq!(stage.rows(run).await.last().unwrap(), &("blocked".to_owned(), Some(false)));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_connected_once_and_what_it_was_before_is_kept() {
    let stage = Stage::new(Says::Nothing).await;
    for id in ["1", "1", "2"] {
        let account = stage.connect(id).await;
        assert_eq!((account.fingerprint, account.connected_by.as_deref()), (Some(fingerprint(id)), Some("operator")));
    }
    let told: Vec<(Value, String)> = sqlx::query_as(
        "select jsonb_build_array(e.data -> 'before', e.data -> 'id'), a.body ->> 'id'
         from fermata.event e join fermata.audit a on a.phase = 'account_connected' and a.body -> 'id' = e.data -> 'id'
         where e.type = 'account.connected' order by e.position",
    )
    .fetch_all(&stage.db.pool)
    .await
    .unwrap();
    assert_eq!(told, [(json!([null, "1"]), "1".to_owned()), (json!(["1", "2"]), "2".to_owned())]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_asked_for_what_the_mode_of_the_account_forbids() {
    let stage = Stage::new(Says::Nothing).await;
    stage.put(json!({"autonomy": "manual"})).await;
    for mode in [AccountMode::ReadOnly, AccountMode::Disabled] {
        stage.turn(mode).await;
        let run = stage.publish("a").await;
        assert_eq!(stage.ended(run).await, failed("policy_blocked", Some("account_mode")));
    }
    assert_eq!(stage.db.count("select count(*) from fermata.gate").await, 0);

    stage.turn(AccountMode::Normal).await;
    let run = stage.publish("a").await;
    stage.db.reaches(&stage.engine, run, &["HUMAN_REQUIRED"]).await;
    stage.turn(AccountMode::ReadOnly).await;
    stage.decide(run, Decision { approve: true, ..Decision::default() }).await.unwrap();
    assert_eq!(stage.ended(run).await, failed("policy_blocked", Some("account_mode")), "whatever was answered");
    assert_eq!(stage.platform.counts()[2], 0);
}

/// A call of a platform that honours keys is lost, and meanwhile this happens to the account: is it sent again?
async fn lost_meanwhile(happens: impl AsyncFnOnce(&Stage)) -> (Stage, RunId) {
    let stage = Stage::with(Platform { answers: Arc::new(Semaphore::new(0)), ..Platform::new(Says::Is("1")) }).await;
    stage.connect("1").await;
    stage.platform.loses.store(1, Ordering::SeqCst);
    let run = stage.submit(json!({"key": "a", "honours_keys": true})).await;
    eventually("the call is under way", || async { (stage.platform.counts()[2] == 1).then_some(()) }).await;
    happens(&stage).await;
    stage.platform.answers.add_permits(1_000);
    stage.db.reaches(&stage.engine, run, &["HUMAN_REQUIRED"]).await;
    assert_eq!(stage.db.count("select count(*) from fermata.action where state = 'unknown' and resends = 0").await, 1);
    assert_eq!(stage.platform.counts()[2], 1, "the call is not sent again");
    (stage, run)
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_for_an_account_that_may_do_nothing_until_a_person_says_what_happened() {
    for mode in [AccountMode::ReadOnly, AccountMode::Disabled] {
        let (stage, run) = lost_meanwhile(async |stage: &Stage| stage.turn(mode).await).await;
        stage.decide(run, Decision { approve: true, ..Decision::default() }).await.unwrap();
        assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_that_a_policy_has_come_to_forbid() {
    let forbidden = json!({"allowed_actions": {}});
    let (stage, run) = lost_meanwhile(async |stage: &Stage| stage.put(forbidden).await).await;
    stage.decide(run, Decision { approve: true, ..Decision::default() }).await.unwrap();
    assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sent_again_as_somebody_else() {
    let (stage, _) = lost_meanwhile(async |stage: &Stage| stage.platform.say(Says::Is("2"))).await;
    let account = stage.account().await;
    assert_eq!((account.mode, account.reason.as_deref()), (AccountMode::ReadOnly, Some("identity_mismatch")));
}
