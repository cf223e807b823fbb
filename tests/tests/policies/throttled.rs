//! A platform that asks for less (S-070 to S-072) is heard, whatever it was asked.

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use fermata_engine::clock::Clock;
use fermata_engine::effect::THROTTLED;
use fermata_workflows::{Installation, registry};

use super::*;

const LEFT_ALONE: &str = "select count(*) from fermata.platform_account where account_id = 'main' and free_at > now()
    and allowance = 1";
const TOLD: &str = "select count(*) from fermata.event where type = 'rate.limited' and data ->> 'rule' = 'retry_after'
    and data ->> 'policy_hash' is null";
/// Attempts before the time that the platform named.
const EARLY: &str = "select count(*) from fermata.event where type = 'action.attempted' and at < (
    select max((data ->> 'until')::timestamptz) from fermata.event
    where type = 'rate.limited' and data ->> 'policy_hash' is null)";

/// Which request is told to slow down, the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Deserialize, schemars::JsonSchema)]
enum At {
    Look,
    Preparation,
    Call,
}

/// Publishing where some request is told to slow down.
struct Slow {
    platform: Platform,
    at: At,
    after: Option<Duration>,
}

impl Slow {
    fn refused(&self, at: At) -> Option<Failure> {
        let left = self.platform.complains.load(Ordering::SeqCst);
        if at != self.at || left == 0 {
            return None;
        }
        self.platform.complains.store(left - 1, Ordering::SeqCst);
        Some(Failure::new(THROTTLED, "slow down"))
    }
}

#[async_trait]
impl Effect for Slow {
    fn spec(&self) -> EffectSpec {
        EffectSpec {
            action_type: "publish".into(),
            platform: "memory".into(),
            account_id: "main".into(),
            lane: Lane::Api,
            payload: Value::Null,
            dedupe: None,
            honours_keys: false,
            call_timeout_ms: 60_000,
            visible_within_ms: 0,
            absence: Absence::Inconclusive,
            look_first: true,
        }
    }

    async fn look(&self, _: &Look) -> Result<Sighting, StepError> {
        match self.refused(At::Look) {
            Some(failure) => Err(StepError::Retry { failure, after: self.after }),
            None if self.platform.calls() > 0 => Ok(Sighting::Present(json!({"id": "1"}).into())),
            None => Ok(Sighting::Absent),
        }
    }

    async fn prepare(&self, _: &Look) -> Result<Prepared, StepError> {
        match self.refused(At::Preparation) {
            Some(failure) => Err(StepError::Retry { failure, after: self.after }),
            None => Ok(Box::new(())),
        }
    }

    async fn call(&self, _: EffectPermit, _: Prepared) -> CallOutcome {
        if let Some(failure) = self.refused(At::Call) {
            return CallOutcome::Refused { failure, retry: true, after: self.after };
        }
        self.platform.calls.fetch_add(1, Ordering::SeqCst);
        CallOutcome::Done(json!({"id": "1"}).into())
    }
}

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct SlowInput {
    at: At,
    after_ms: Option<u64>,
}

struct Slowly(Platform);

impl Workflow for Slowly {
    type Input = SlowInput;
    type Output = Value;
    const NAME: &'static str = "test.slowly";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, SlowInput { at, after_ms }: SlowInput) -> Result<Value, Failure> {
        let after = after_ms.map(Duration::from_millis);
        context.effect("publish", &Slow { platform: self.0.clone(), at, after }).await
    }
}

async fn slowed(at: At, after_ms: Option<u64>) {
    let (db, platform) = (TestDb::new().await, Platform::new());
    let engine = db.worker(Registry::new().with(Slowly(platform.clone())), LEASE).await;
    platform.complains.store(1, Ordering::SeqCst);
    let run = db.submit(&engine, "test.slowly", json!({"at": format!("{at:?}"), "after_ms": after_ms})).await;
    let what = format!("the account is left alone after {at:?}");
    eventually(&what, || async { (db.count(LEFT_ALONE).await == 1).then_some(()) }).await;
    let ended = db.ended(&engine, run).await;
    assert_eq!(ended.status, "SUCCEEDED", "{at:?}: {:?}", ended.error);
    assert_eq!(db.count(TOLD).await, 1, "{at:?}");
    let early = i64::from(at == At::Call);
    assert_eq!(db.count(EARLY).await, early, "nothing but the refused call itself ({at:?})");
    assert_eq!(platform.calls(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_is_told_to_slow_down_leaves_the_account_alone_for_so_long_and_halves_what_it_does_at_once() {
    for at in [At::Look, At::Preparation, At::Call] {
        slowed(at, Some(700)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_told_to_slow_down_without_a_time_stays_away_as_long_as_another_attempt_would_wait() {
    for at in [At::Look, At::Preparation, At::Call] {
        slowed(at, None).await;
    }
}

/// A site whose first answer to a reading request is that it is asked too much.
async fn busy_site(calls: Arc<AtomicU32>) -> String {
    let reads = Arc::new(AtomicU32::new(0));
    let read = move || {
        let first = reads.fetch_add(1, Ordering::SeqCst) == 0;
        async move {
            let status = if first { StatusCode::TOO_MANY_REQUESTS } else { StatusCode::OK };
            (status, [("retry-after", "1")], axum::Json(json!({"n": 1})))
        }
    };
    let publish = move || {
        calls.fetch_add(1, Ordering::SeqCst);
        async { axum::Json(json!({"id": "1"})) }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let site = format!("http://{}", listener.local_addr().unwrap());
    let routes = Router::new().route("/n", get(read)).route("/posts", post(publish));
    tokio::spawn(async move { axum::serve(listener, routes).await });
    site
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_of_a_flow_that_is_told_to_slow_down_leaves_the_account_of_its_next_effect_alone() {
    drop(rustls::crypto::ring::default_provider().install_default());
    let (db, calls) = (TestDb::new().await, Arc::new(AtomicU32::new(0)));
    let mut installation = Installation::with_packs(Clock::system()).unwrap();
    installation.sites.insert("site".to_owned(), busy_site(Arc::clone(&calls)).await);
    let engine = db.worker(registry(installation).unwrap(), LEASE).await;
    let flow = json!({
    "name": "test.busy", "version": "1", "platform": "demo", "lane": "api",
    "inputs": {"type": "object", "additionalProperties": false, "properties": {"who": {"type": "string"}}},
    "steps": [
        {"id": "read", "http": {"method": "GET", "url": "${env.site}/n", "save": {"n": "/n"}}},
        {"id": "post", "effect": {"action_type": "publish", "account": "${inputs.who}", "payload": {"n": "${steps.read.n}"},
            "call": {"http": {"method": "POST", "url": "${env.site}/posts", "save": {"id": "/id"}}}}},
    ]});
    let run = db.submit(&engine, "flow.run", json!({"flow": flow, "inputs": {"who": "main"}})).await;
    eventually("the account is left alone", || async { (db.count(LEFT_ALONE).await == 1).then_some(()) }).await;
    let ended = db.ended(&engine, run).await;
    assert_eq!(ended.status, "SUCCEEDED", "{:?}", ended.error);
    assert_eq!((db.count(TOLD).await, db.count(EARLY).await, calls.load(Ordering::SeqCst)), (1, 0, 1));
}
