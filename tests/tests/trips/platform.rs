//! A platform that knows when each effect took place, and the workflow that brings it effects.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use fermata_engine::clock::Clock;
use fermata_engine::effect::{
    Absence, CallOutcome, Effect, EffectPermit, EffectSpec, Lane, Look, Prepared, Sighting, SwitchScope,
};
use fermata_engine::id::ActionId;
use fermata_engine::workflow::{Context, Failure, StepError, Workflow};
use fermata_tests::{Lot, eventually};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Effects of a run, one after the other.
const EFFECTS: u64 = 2;
/// The longest that the platform takes over a call, in milliseconds.
const SLOWEST_MS: usize = 20;

/// Whom a switch is about; `None` is everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Reach {
    pub(super) client: Option<&'static str>,
    pub(super) account: Option<&'static str>,
}

impl Reach {
    pub(super) fn covers(self, client: &str, account: &str) -> bool {
        self.client.is_none_or(|mine| mine == client) && self.account.is_none_or(|mine| mine == account)
    }

    pub(super) fn scope(self) -> SwitchScope {
        match (self.client, self.account) {
            (client, Some(account)) => {
                SwitchScope::Account { client: client.map(str::to_owned), account: account.to_owned() }
            }
            (Some(client), None) => SwitchScope::Client(client.to_owned()),
            (None, None) => SwitchScope::Global,
        }
    }
}

/// A client and an account of it.
type Whose = (String, String);

/// An effect, as the platform knows it.
#[derive(Debug, Clone)]
pub(super) struct Applied {
    pub(super) action: ActionId,
    pub(super) client: String,
    pub(super) account: String,
    pub(super) at: Instant,
}

#[derive(Debug, Clone)]
pub(super) struct Platform {
    clock: Clock,
    /// In the order of their time.
    applied: Arc<Mutex<Vec<Applied>>>,
    /// Whose calls began, and whose effects were stopped.
    begun: Arc<Mutex<Vec<Whose>>>,
    stopped: Arc<Mutex<Vec<Whose>>>,
    /// Runs that may still begin.
    pub(super) room: Arc<Semaphore>,
}

impl Platform {
    pub(super) fn new(room: usize) -> Self {
        let room = Arc::new(Semaphore::new(room));
        Self { clock: Clock::system(), applied: Arc::default(), begun: Arc::default(), stopped: Arc::default(), room }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    pub(super) fn applied(&self) -> Vec<Applied> {
        self.applied.lock().unwrap().clone()
    }

    pub(super) fn stops(&self) -> usize {
        self.stopped.lock().unwrap().len()
    }

    /// One that the switch is about is called.
    pub(super) async fn calls(&self, whom: Reach) {
        meets(&self.begun, whom).await;
    }

    /// One that the switch is about is stopped.
    pub(super) async fn stops_one(&self, whom: Reach) {
        meets(&self.stopped, whom).await;
    }
}

/// One more is added that the switch is about.
async fn meets(all: &Mutex<Vec<Whose>>, whom: Reach) {
    let known = all.lock().unwrap().len();
    eventually(&format!("it is about {whom:?}"), || async {
        let all = all.lock().unwrap();
        all[known..].iter().any(|(client, account)| whom.covers(client, account)).then_some(())
    })
    .await;
}

struct Post {
    platform: Platform,
    client: String,
    account: String,
    number: u64,
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
            dedupe: Some(self.number.to_string()),
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
        self.platform.begun.lock().unwrap().push((self.client.clone(), self.account.clone()));
        let takes = Lot::new(self.number).below(SLOWEST_MS);
        self.platform.clock.wait(Duration::from_millis(u64::try_from(takes).unwrap())).await;
        let mut applied = self.platform.applied.lock().unwrap();
        applied.push(Applied {
            action: permit.action_id(),
            client: self.client.clone(),
            account: self.account.clone(),
            at: self.platform.now(),
        });
        CallOutcome::Done(json!({"id": permit.idempotency_key()}).into())
    }
}

/// Goes on when an effect was stopped, and makes room for another run in the end.
pub(super) struct Posts(pub(super) Platform);

#[derive(serde::Deserialize, schemars::JsonSchema)]
pub(super) struct Input {
    account: String,
    number: u64,
}

impl Workflow for Posts {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.posts";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        for nth in 0..EFFECTS {
            let (client, account) = (context.client_id().to_owned(), input.account.clone());
            let number = input.number * EFFECTS + nth;
            let post = Post { platform: self.0.clone(), client: client.clone(), account: account.clone(), number };
            match context.effect("publish", &post).await {
                Ok(_) => {}
                Err(failure) if failure.code == "kill_switch" => {
                    self.0.stopped.lock().unwrap().push((client, account));
                }
                Err(failure) => return Err(failure),
            }
        }
        self.0.room.add_permits(1);
        Ok(Value::Null)
    }
}
