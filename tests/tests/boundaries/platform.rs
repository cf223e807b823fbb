//! A platform that can hold an effect at each of its boundaries, and the workflow that brings it effects.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use async_trait::async_trait;
use fermata_engine::clock::Clock;
use fermata_engine::effect::{Absence, CallOutcome, Effect, EffectPermit, EffectSpec, Lane, Look, Prepared, Sighting};
use fermata_engine::id::ActionId;
use fermata_engine::workflow::{Context, Failure, StepError, Workflow};
use fermata_tests::eventually;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::sync::Semaphore;

/// Where an effect is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Boundary {
    /// It was judged, and is not planned yet.
    Plan,
    /// It is planned, and nothing is got ready yet.
    Planned,
    /// It is being got ready.
    Preparing,
    /// It is ready, and its attempt is on its way to the database.
    Attempt,
    /// Its call is under way.
    Call,
    /// Its answer was lost, and nobody has looked yet.
    Look,
}

impl Boundary {
    pub(super) const ALL: [Self; 6] =
        [Self::Plan, Self::Planned, Self::Preparing, Self::Attempt, Self::Call, Self::Look];

    /// Whether the attempt of an effect that is here is in the database.
    pub(super) fn is_attempted(self) -> bool {
        matches!(self, Self::Call | Self::Look)
    }
}

/// Where one effect waits until it is let go.
#[derive(Debug)]
pub(super) struct Station {
    arrived: Semaphore,
    go: Semaphore,
}

impl Station {
    /// The effect is there.
    pub(super) async fn reached(&self) {
        eventually("the effect is where it is to be held", || async {
            self.arrived.try_acquire().ok().map(tokio::sync::SemaphorePermit::forget)
        })
        .await;
    }

    pub(super) fn let_go(&self) {
        self.go.add_permits(1_000);
    }
}

/// A call, as the platform knows it.
#[derive(Debug, Clone)]
pub(super) struct Call {
    pub(super) action: ActionId,
    pub(super) kind: String,
    pub(super) key: String,
    pub(super) began: Instant,
}

#[derive(Debug, Clone)]
pub(super) struct Platform {
    clock: Clock,
    calls: Arc<Mutex<Vec<Call>>>,
    stations: Arc<Mutex<BTreeMap<String, Arc<Station>>>>,
    /// Runs that may still begin.
    pub(super) room: Arc<Semaphore>,
}

impl Platform {
    pub(super) fn new(room: usize) -> Self {
        let room = Arc::new(Semaphore::new(room));
        Self { clock: Clock::system(), calls: Arc::default(), stations: Arc::default(), room }
    }

    pub(super) fn now(&self) -> Instant {
        self.clock.monotonic()
    }

    pub(super) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(super) fn calls_of(&self, key: &str) -> usize {
        self.calls.lock().unwrap().iter().filter(|call| call.key == key).count()
    }

    /// The place where the effect of that key will wait.
    pub(super) fn station(&self, key: &str) -> Arc<Station> {
        let station = Arc::new(Station { arrived: Semaphore::new(0), go: Semaphore::new(0) });
        self.stations.lock().unwrap().insert(key.to_owned(), station.clone());
        station
    }
}

struct Deed {
    platform: Platform,
    input: Input,
}

impl Deed {
    /// Waits if this is where it is to be held.
    async fn pass(&self, boundary: Boundary) {
        if self.input.held == Some(boundary) {
            let station = self.platform.stations.lock().unwrap().get(&self.input.key).cloned().unwrap();
            station.arrived.add_permits(1);
            station.go.acquire().await.unwrap().forget();
        }
    }
}

#[async_trait]
impl Effect for Deed {
    fn spec(&self) -> EffectSpec {
        EffectSpec {
            action_type: self.input.kind.clone(),
            platform: "memory".into(),
            account_id: "main".into(),
            lane: Lane::Api,
            payload: json!({"text": "hello"}),
            dedupe: Some(self.input.key.clone()),
            honours_keys: false,
            call_timeout_ms: 60_000,
            visible_within_ms: 0,
            absence: Absence::Inconclusive,
            look_first: self.input.held == Some(Boundary::Plan),
        }
    }

    async fn look(&self, look: &Look) -> Result<Sighting, StepError> {
        self.pass(if look.action_id.is_some() { Boundary::Look } else { Boundary::Plan }).await;
        let there = self.platform.calls_of(&self.input.key) > 0;
        Ok(if there { Sighting::Present(json!({"id": self.input.key}).into()) } else { Sighting::Absent })
    }

    async fn prepare(&self, _: &Look) -> Result<Prepared, StepError> {
        self.pass(Boundary::Planned).await;
        tokio::task::yield_now().await;
        self.pass(Boundary::Preparing).await;
        tokio::task::yield_now().await;
        self.pass(Boundary::Attempt).await;
        Ok(Box::new(()))
    }

    async fn call(&self, permit: EffectPermit, _: Prepared) -> CallOutcome {
        let Input { kind, key, held } = self.input.clone();
        let call = Call { action: permit.action_id(), kind, key, began: self.platform.now() };
        self.platform.calls.lock().unwrap().push(call);
        self.pass(Boundary::Call).await;
        if held == Some(Boundary::Look) {
            return CallOutcome::Ambiguous(Failure::new("lost", "the answer was lost"));
        }
        CallOutcome::Done(json!({"id": self.input.key}).into())
    }
}

/// Does one deed, and makes room for another run in the end.
pub(super) struct Deeds(pub(super) Platform);

#[derive(Debug, Clone, Deserialize, JsonSchema)]
pub(super) struct Input {
    kind: String,
    key: String,
    held: Option<Boundary>,
}

impl Workflow for Deeds {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.deeds";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        let made = context.effect("deed", &Deed { platform: self.0.clone(), input: input.clone() }).await;
        if input.held.is_none() {
            self.0.room.add_permits(1);
        }
        made
    }
}
