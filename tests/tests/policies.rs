//! Laws of policies under load (S-015 to S-020, S-063 to S-072): a verdict is stored with every action, nothing follows a
//! policy that is not in force any more, budgets are exact across nodes, and whoever has to wait sleeps until then.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::effect::{
    Absence, AccountFilter, AccountMode, AccountName, AccountTrouble, CallOutcome, Effect, EffectPermit, EffectSpec,
    Lane, Look, Prepared, Sighting,
};
use fermata_engine::id::{GateId, RunId};
use fermata_engine::policy::{Decision, PolicyDocument, PolicyScope, Proposal};
use fermata_engine::run::{Decision as Word, Submission};
use fermata_engine::workflow::{Context, Failure, Registry, RetryPolicy, StepError, Workflow};
use fermata_tests::{TestDb, eventually, submission};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::sync::Semaphore;

mod ceilings;
mod classifiers;
mod dry_run;
mod queued;
mod repeats;
mod throttled;
mod told;
mod words;

const LEASE: Duration = Duration::from_secs(30);
/// Runs that went on only when the time that they were told had come.
const BY_TIME: &str = "select count(*) from fermata.outcome o join fermata.event e on e.run_id = o.id
    and e.type = 'rate.limited' where o.ended_at >= (e.data ->> 'until')::timestamptz";

/// A platform that counts calls, knows how many were under way at once, and may ask to be left alone.
#[derive(Clone)]
pub(crate) struct Platform {
    calls: Arc<AtomicU32>,
    at_once: Arc<Mutex<(u32, u32)>>,
    /// Calls that return.
    pub(crate) answers: Arc<Semaphore>,
    /// How many calls are refused, and for how long they are to stay away.
    complains: Arc<AtomicU32>,
    stay_away: Duration,
    /// Gets ready only when it is told to.
    ready: Arc<Semaphore>,
    preparing: Arc<Semaphore>,
    /// What is wrong with the account.
    trouble: Arc<Mutex<Option<AccountTrouble>>>,
}

impl Platform {
    pub(crate) fn new() -> Self {
        let open = || Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self {
            calls: Arc::default(),
            at_once: Arc::default(),
            answers: open(),
            complains: Arc::default(),
            stay_away: Duration::from_millis(700),
            ready: open(),
            preparing: Arc::new(Semaphore::new(0)),
            trouble: Arc::default(),
        }
    }

    pub(crate) fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }
}

struct Post {
    platform: Platform,
    input: Input,
}

#[derive(Clone, serde::Deserialize, schemars::JsonSchema)]
struct Input {
    account: String,
    action: String,
    key: String,
    #[serde(default)]
    payload: Value,
}

#[async_trait]
impl Effect for Post {
    fn spec(&self) -> EffectSpec {
        EffectSpec {
            action_type: self.input.action.clone(),
            platform: "memory".into(),
            account_id: self.input.account.clone(),
            lane: Lane::Api,
            payload: self.input.payload.clone(),
            dedupe: Some(self.input.key.clone()),
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

    async fn prepare(&self, _: &Look) -> Result<Prepared, StepError> {
        self.platform.preparing.add_permits(1);
        drop(self.platform.ready.acquire().await);
        Ok(Box::new(()))
    }

    async fn call(&self, permit: EffectPermit, _: Prepared) -> CallOutcome {
        if let Some(trouble) = *self.platform.trouble.lock().unwrap() {
            let failure = Failure::new(trouble.code(), "no");
            return CallOutcome::Refused { failure, retry: false, after: None };
        }
        let complaints = self.platform.complains.load(Ordering::SeqCst);
        if complaints > 0 {
            self.platform.complains.store(complaints - 1, Ordering::SeqCst);
            return CallOutcome::Refused {
                failure: Failure::new("too_many", "later"),
                retry: true,
                after: Some(self.platform.stay_away),
            };
        }
        {
            let mut at_once = self.platform.at_once.lock().unwrap();
            at_once.0 += 1;
            at_once.1 = at_once.1.max(at_once.0);
        }
        self.platform.calls.fetch_add(1, Ordering::SeqCst);
        drop(self.platform.answers.acquire().await);
        self.platform.at_once.lock().unwrap().0 -= 1;
        CallOutcome::Done(json!({"id": permit.idempotency_key()}).into())
    }
}

struct Publish(Platform);

impl Workflow for Publish {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.rationed";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        context.effect("publish", &Post { platform: self.0.clone(), input }).await
    }
}

pub(crate) struct Stage {
    pub(crate) db: TestDb,
    pub(crate) platform: Platform,
    engine: Engine,
}

impl Stage {
    async fn new() -> Self {
        Self::with(Platform::new()).await
    }

    pub(crate) async fn with(platform: Platform) -> Self {
        let db = TestDb::new().await;
        let engine = db.worker(Registry::new().with(Publish(platform.clone())), LEASE).await;
        Self { db, platform, engine }
    }

    pub(crate) async fn put(&self, scope: &str, document: Value) -> i64 {
        let document: PolicyDocument = serde_json::from_value(document).unwrap();
        let scope: PolicyScope = scope.parse().unwrap();
        self.engine.put_policy(&Principal::operator(), &scope, &document, None).await.unwrap().version
    }

    async fn publish(&self, key: &str) -> RunId {
        self.act("publish", key, Value::Null).await
    }

    async fn publish_all(&self, wanted: usize) -> Vec<RunId> {
        join_all((0..wanted).map(|n| async move { self.publish(&n.to_string()).await })).await
    }

    pub(crate) async fn act(&self, action: &str, key: &str, payload: Value) -> RunId {
        let input = json!({"account": "main", "action": action, "key": key, "payload": payload});
        let wanted = Submission { client_id: "acme".into(), ..submission("test.rationed", input) };
        self.engine.submit(&Principal::operator(), wanted).await.unwrap().command_id
    }

    pub(crate) async fn ended(&self, run: RunId) -> (String, Value) {
        let ended = self.db.ended(&self.engine, run).await;
        (ended.status, ended.error.map(|error| json!([error["code"], error["details"]["rule"]])).unwrap_or_default())
    }

    /// The words of a run's actions in their order, with the rules of their verdicts.
    async fn actions(&self, run: RunId) -> Vec<(String, String)> {
        sqlx::query_as("select state, verdict ->> 'rule' from fermata.action where run_id = $1 order by id")
            .bind(run.0)
            .fetch_all(&self.db.pool)
            .await
            .unwrap()
    }

    pub(crate) async fn waits(&self, run: RunId, reason: &str) {
        eventually("the run waits", || async {
            let told = "select wait_reason from fermata.command where id = $1";
            let now: Option<String> = sqlx::query_scalar(told).bind(run.0).fetch_one(&self.db.pool).await.unwrap();
            (now.as_deref() == Some(reason)).then_some(())
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_not_allowed_is_blocked_before_any_call_and_says_which_rule_decided() {
    let stage = Stage::new().await;
    stage.put("platform:memory", json!({"allowed_actions": {"memory": ["publish"]}})).await;
    stage.put("client:acme", json!({"compliance": {"banned_terms": ["free money"]}})).await;
    let blocked = |rule: &str| ("FAILED".to_owned(), json!(["policy_blocked", rule]));
    let like = stage.act("like", "1", Value::Null).await;
    assert_eq!(stage.ended(like).await, blocked("allowed_actions"));
    let spam = stage.act("publish", "2", json!({"text": "Free money!"})).await;
    assert_eq!(stage.ended(spam).await, blocked("compliance/banned_terms"));
    assert_eq!(stage.actions(spam).await, [("blocked".to_owned(), "compliance/banned_terms".to_owned())]);
    assert_eq!(stage.platform.calls(), 0);
    let good = stage.publish("3").await;
    assert_eq!(stage.ended(good).await.0, "SUCCEEDED");
    let judged = "select count(*) from fermata.action a join fermata.policy_snapshot s
        on s.client_id = a.client_id and s.hash = a.policy_hash and a.verdict ->> 'policy_hash' = s.hash";
    assert_eq!(stage.db.count(judged).await, 3, "each verdict names the policy that it was made by");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_evaluation_says_what_would_happen_and_does_nothing() {
    let stage = Stage::new().await;
    stage
        .put(
            "client:acme",
            json!({"autonomy": "manual", "budgets": {"rate": [{"name": "posts", "max": 1, "window_s": 86400}]}}),
        )
        .await;
    let ask = |action: &str| Proposal {
        client_id: Some("acme".into()),
        platform: "memory".into(),
        account_id: "main".into(),
        action_type: action.into(),
        payload: Value::Null,
        at: None,
    };
    let said = stage.engine.evaluate(&Principal::operator(), &ask("publish")).await.unwrap();
    assert_eq!((said.verdict.decision, said.verdict.rule.as_str()), (Decision::Approve, "autonomy"));
    let scopes: Vec<_> = said.policy.iter().map(|part| part.scope.as_str()).collect();
    assert_eq!(scopes, ["default", "client:acme"]);
    for table in [
        "select count(*) from fermata.action",
        "select count(*) from fermata.budget",
        "select count(*) from fermata.gate",
        "select count(*) from fermata.platform_account",
    ] {
        assert_eq!(stage.db.count(table).await, 0, "{table}");
    }
    stage.put("client:acme", json!({"budgets": {"rate": [{"name": "posts", "max": 1, "window_s": 86400}]}})).await;
    let run = stage.publish("1").await;
    assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    let said = stage.engine.evaluate(&Principal::operator(), &ask("publish")).await.unwrap().verdict;
    assert_eq!((said.decision, said.rule.as_str(), said.until.is_some()), (Decision::Wait, "budgets/posts", true));
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_follows_a_policy_that_is_not_in_force_any_more() {
    let stage = Stage::with(Platform { ready: Arc::new(Semaphore::new(0)), ..Platform::new() }).await;
    let run = stage.publish("1").await;
    stage.platform.preparing.acquire().await.unwrap().forget();
    stage.put("account:acme/main", json!({"allowed_actions": {}})).await;
    stage.platform.ready.add_permits(1_000);
    assert_eq!(stage.ended(run).await, ("FAILED".to_owned(), json!(["policy_blocked", "allowed_actions"])));
    let moved = |state: &str, rule: &str| (state.to_owned(), rule.to_owned());
    assert_eq!(stage.actions(run).await, [moved("cancelled", "allowed"), moved("blocked", "allowed_actions")]);
    assert_eq!(stage.platform.calls(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_where_the_policy_says_so_and_what_they_say_holds() {
    let stage = Stage::new().await;
    stage.put("client:acme", json!({"autonomy": "manual"})).await;
    for (key, approve, wanted) in [("1", true, "SUCCEEDED"), ("2", false, "FAILED")] {
        let run = stage.publish(key).await;
        stage.waits(run, "approval").await;
        let open = "select id from fermata.gate where run_id = $1 and state = 'open'";
        let gate = sqlx::query_scalar(open).bind(run.0).fetch_one(&stage.db.pool).await.unwrap();
        let word = Word { approve, comment: None, outputs: Value::Null };
        stage.engine.decide(&Principal::operator(), GateId(gate), word).await.unwrap();
        assert_eq!(stage.ended(run).await.0, wanted);
    }
    assert_eq!(stage.platform.calls(), 1);
    let by = "select count(*) from fermata.action where verdict ->> 'approved_by' = 'operator' and state = 'postcheck_complete'";
    assert_eq!(stage.db.count(by).await, 1);
}

/// Two nodes, one budget of 100, and 1,000 who want of it: exactly 100, whoever asks; the rest sleep until the next window.
#[tokio::test(flavor = "multi_thread")]
async fn a_budget_is_exact_across_nodes_and_whoever_gets_nothing_sleeps_until_the_next_window() {
    let stage = Stage::new().await;
    let _other = stage.db.worker(Registry::new().with(Publish(stage.platform.clone())), LEASE).await;
    stage
        .put("client:acme", json!({"budgets": {"rate": [{"name": "posts", "max": 100, "window_s": 31_622_400}]}}))
        .await;
    stage.publish_all(1_000).await;
    eventually("all have ended or wait", || async {
        let settled = "select count(*) from fermata.command where status = 'SUCCEEDED' or wait_reason = 'rate_limited'";
        (stage.db.count(settled).await == 1_000).then_some(())
    })
    .await;
    assert_eq!(stage.platform.calls(), 100);
    assert_eq!(stage.db.count("select used from fermata.budget").await, 100);
    let told = "select count(distinct run_id) from fermata.event where type = 'rate.limited'
        and data ->> 'rule' = 'budgets/posts' and (data ->> 'until')::timestamptz = (select ends from fermata.budget)";
    assert_eq!(stage.db.count(told).await, 900);
    let due = "select count(*) from fermata.live where state = 2 and due = (select ends from fermata.budget)";
    assert_eq!(stage.db.count(due).await, 900);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waited_goes_in_a_later_window_and_no_window_has_more_than_the_budget() {
    let stage = Stage::new().await;
    let _other = stage.db.worker(Registry::new().with(Publish(stage.platform.clone())), LEASE).await;
    stage.put("client:acme", json!({"budgets": {"rate": [{"name": "posts", "max": 10, "window_s": 1}]}})).await;
    for run in stage.publish_all(35).await {
        assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    }
    let most = "select max(n) from (select count(*) n from fermata.action a, jsonb_array_elements(a.tokens) t
        where a.state = 'postcheck_complete' group by t ->> 'starts') w";
    assert!(stage.db.count(most).await <= 10);
    assert_eq!(stage.platform.calls(), 35);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_taken_for_nothing_goes_back() {
    let stage = Stage::new().await;
    stage.put("client:acme", json!({"budgets": {"rate": [{"name": "posts", "max": 1, "window_s": 31_622_400}]}})).await;
    stage.platform.complains.store(1, Ordering::SeqCst);
    let run = stage.publish("1").await;
    assert_eq!(stage.ended(run).await.0, "SUCCEEDED", "the refused attempt left the budget to the next");
    assert_eq!(stage.db.count("select used from fermata.budget").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_that_asks_for_less_is_left_alone_and_gets_less_at_once() {
    let stage = Stage::new().await;
    stage.platform.complains.store(1, Ordering::SeqCst);
    let run = stage.publish("1").await;
    stage.waits(run, "retry").await;
    let left = "select count(*) from fermata.platform_account where free_at > now() and allowance = 1";
    assert_eq!(stage.db.count(left).await, 1);
    let other = stage.publish("2").await;
    stage.waits(other, "rate_limited").await;
    assert_eq!((stage.ended(run).await.0, stage.ended(other).await.0), ("SUCCEEDED".into(), "SUCCEEDED".into()));
    let early = "select count(*) from fermata.event e where type = 'action.attempted' and at < (
        select max((data ->> 'until')::timestamptz) from fermata.event where type = 'rate.limited' and data ->> 'rule' = 'retry_after')";
    assert_eq!(stage.db.count(early).await, 1, "only the one that was refused");
    assert_eq!(
        stage.db.count("select count(*) from fermata.platform_account where allowance is not null").await,
        0,
        "it recovers"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_platform_keeps_nobody_away_for_longer_than_the_longest_pause() {
    let stage = Stage::with(Platform { stay_away: Duration::MAX, ..Platform::new() }).await;
    stage.platform.complains.store(1, Ordering::SeqCst);
    let run = stage.publish("1").await;
    stage.waits(run, "retry").await;
    let longest = i64::try_from(RetryPolicy::LONGEST.as_secs()).unwrap();
    let left = "select (extract(epoch from max(free_at) - now()))::int8 from fermata.platform_account";
    let left = stage.db.count(left).await;
    assert!(longest - 60 <= left && left <= longest, "{left}");
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_calls_of_an_account_are_under_way_than_its_policy_says() {
    let stage = Stage::with(Platform { answers: Arc::new(Semaphore::new(0)), ..Platform::new() }).await;
    stage.put("client:acme", json!({"concurrency": 3})).await;
    let runs = stage.publish_all(12).await;
    eventually("three are under way and nine wait", || async {
        let waits =
            "select count(*) from fermata.event where type = 'rate.limited' and data ->> 'rule' = 'concurrency'";
        let wait = stage.db.count(waits).await >= 9;
        (wait && stage.platform.calls() == 3).then_some(())
    })
    .await;
    stage.platform.answers.add_permits(Semaphore::MAX_PERMITS);
    for run in runs {
        assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    }
    let (_, most) = *stage.platform.at_once.lock().unwrap();
    assert_eq!((most, stage.platform.calls()), (3, 12));
    assert_eq!(stage.db.count(BY_TIME).await, 0, "the end of a call wakes the next one, and not the time");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_actions_of_a_kind_keep_their_distance() {
    let stage = Stage::new().await;
    stage.put("client:acme", json!({"spacing": {"like": {"min_s": 1}}})).await;
    let runs = [stage.act("like", "1", Value::Null).await, stage.act("like", "2", Value::Null).await];
    for run in runs {
        assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    }
    let gap = "select (extract(epoch from max(at) - min(at)) * 1000)::int8 from fermata.event where type = 'action.attempted'";
    assert!(stage.db.count(gap).await >= 1_000);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_policy_is_put_on_top_of_the_one_that_was_read() {
    let stage = Stage::new().await;
    let (by, scope, empty) = (Principal::operator(), PolicyScope::Global, PolicyDocument::default());
    assert_eq!(stage.engine.put_policy(&by, &scope, &empty, Some(0)).await.unwrap().version, 1);
    stage.engine.put_policy(&by, &scope, &empty, Some(0)).await.unwrap_err();
    assert_eq!(stage.engine.put_policy(&by, &scope, &empty, Some(1)).await.unwrap().version, 2);
    assert_eq!(stage.engine.policy(&by, &scope, Some(1)).await.unwrap().version, 1, "the old one can be read");
    let told = "select count(*) from fermata.audit where phase = 'policy' and actor = 'operator'";
    assert_eq!(stage.db.count(told).await, 2);
    sqlx::query("update fermata.policy set document = '{}'").execute(&stage.db.pool).await.unwrap_err();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_in_trouble_does_nothing_until_a_person_has_looked_into_it() {
    let stage = Stage::new().await;
    let which = AccountName { client: Some("acme".into()), platform: "memory".into(), account: "main".into() };
    let blocked = ("FAILED".to_owned(), json!(["policy_blocked", "account_mode"]));
    let mut key = 0;
    for (trouble, patience) in [(AccountTrouble::Challenge, 1), (AccountTrouble::Layout, 1), (AccountTrouble::Auth, 3)]
    {
        *stage.platform.trouble.lock().unwrap() = Some(trouble);
        for _ in 0..patience {
            key += 1;
            let run = stage.publish(&key.to_string()).await;
            assert_eq!(stage.ended(run).await, ("FAILED".to_owned(), json!([trouble.code(), null])));
        }
        *stage.platform.trouble.lock().unwrap() = None;
        let before = stage.platform.calls();
        let run = stage.publish("good").await;
        assert_eq!(stage.ended(run).await, blocked, "{trouble:?}");
        assert_eq!(stage.platform.calls(), before);
        let known = stage.engine.accounts(&Principal::operator(), &AccountFilter::default()).await.unwrap().remove(0);
        assert_eq!((known.mode, known.reason.as_deref()), (AccountMode::ReadOnly, Some(trouble.code())));
        let by = Principal::operator();
        let back = stage.engine.turn_account(&by, &which, AccountMode::Normal, "looked into it").await.unwrap();
        assert_eq!((back.mode, back.actor.as_deref()), (AccountMode::Normal, Some("operator")));
    }
    let run = stage.publish("good").await;
    assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
    let told = "select count(*) from fermata.event where type = 'account.changed'";
    assert_eq!(stage.db.count(told).await, 6);
    assert_eq!(stage.db.count("select count(*) from fermata.audit where phase = 'account'").await, 6);
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_logins_count_in_a_row() {
    let stage = Stage::new().await;
    for (key, trouble) in [("1", true), ("2", true), ("3", false), ("4", true), ("5", true), ("6", false)] {
        *stage.platform.trouble.lock().unwrap() = trouble.then_some(AccountTrouble::Auth);
        let run = stage.publish(key).await;
        assert_eq!(stage.ended(run).await.0, if trouble { "FAILED" } else { "SUCCEEDED" }, "{key}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn in_quiet_hours_an_action_waits_and_says_until_when() {
    let stage = Stage::new().await;
    stage.put("client:acme", json!({"quiet_hours": [{"tz": "UTC", "from": "00:00", "to": "24:00"}]})).await;
    let run = stage.publish("1").await;
    stage.waits(run, "quiet_hours").await;
    assert_eq!(stage.platform.calls(), 0);
    let told = "select count(*) from fermata.event e join fermata.live l on l.id = e.run_id
        where type = 'rate.limited' and data ->> 'rule' = 'quiet_hours' and (data ->> 'until')::timestamptz = l.due";
    assert_eq!(stage.db.count(told).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_sleeps_by_a_policy_goes_on_when_it_is_lifted() {
    let stage = Stage::new().await;
    stage.put("client:acme", json!({"quiet_hours": [{"tz": "UTC", "from": "00:00", "to": "24:00"}]})).await;
    let run = stage.publish("1").await;
    stage.waits(run, "quiet_hours").await;
    stage.put("client:other", json!({})).await;
    assert_eq!(
        stage.db.count("select count(*) from fermata.live where state = 2").await,
        1,
        "another client's is no matter"
    );
    stage.put("client:acme", json!({})).await;
    assert_eq!(stage.ended(run).await.0, "SUCCEEDED");
}
