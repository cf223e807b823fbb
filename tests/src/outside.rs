//! An outside world in memory for tests of the engine alone: a ledger of posts, and what its
//! platform promises. Tests of the lanes use the real demo site.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use fermata_engine::clock::Clock;
use fermata_engine::effect::{Absence, CallOutcome, Effect, EffectPermit, EffectSpec, Lane, Look, Prepared, Sighting};
use fermata_engine::workflow::{Failure, StepError};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// The shortest time that a call gets, in milliseconds: it includes the commit before the call, which can
/// take a busy machine hundreds of them.
const LEAST_CALL_TIMEOUT_MS: u64 = 1_000;

/// What the platform promises, and how it behaves.
#[expect(clippy::struct_excessive_bools, reason = "each is a promise or a fault of its own, in any mix")]
#[derive(Debug, Clone, Default, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(default)]
pub struct Promises {
    /// It honours idempotency keys.
    pub honours_keys: bool,
    /// Not finding a post proves that there is none.
    pub conclusive: bool,
    /// Posts are hidden from looks.
    pub hides: bool,
    /// It is looked at before the first call too.
    pub looked_at_first: bool,
    /// The answer to the first call is lost, after it was applied.
    pub loses_answer: bool,
    /// The first call is lost before it is applied.
    pub loses_call: bool,
    /// The first call is refused, with the wish to be left alone for a moment.
    pub asks_to_wait: bool,
    /// The second call is refused for good, whatever the first one did.
    pub refuses_second: bool,
    /// The platform applies a call only this long after it was sent, whatever becomes of the caller.
    pub applies_after_ms: u64,
    /// How long a call may take, in milliseconds; at least a second.
    pub call_timeout_ms: u64,
}

/// Every applied effect, in order. Shared by all who talk to the same world.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    posts: Arc<Mutex<Vec<String>>>,
    calls: Arc<AtomicU32>,
    looks: Arc<AtomicU32>,
}

impl Ledger {
    /// How many posts have this key.
    pub fn count(&self, key: &str) -> usize {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).iter().filter(|post| *post == key).count()
    }

    /// How many calls were made.
    pub fn calls(&self) -> u32 {
        self.calls.load(Ordering::SeqCst)
    }

    /// How many looks were taken.
    pub fn looks(&self) -> u32 {
        self.looks.load(Ordering::SeqCst)
    }

    /// A post that somebody else has made.
    pub fn apply(&self, key: &str) {
        self.posts.lock().unwrap_or_else(PoisonError::into_inner).push(key.to_owned());
    }
}

/// Publishing one post to the [`Ledger`].
#[derive(Debug, Clone)]
pub struct Post {
    /// Where it goes.
    pub ledger: Ledger,
    /// Its key.
    pub key: String,
    /// What the platform promises.
    pub promises: Promises,
}

#[async_trait]
impl Effect for Post {
    fn spec(&self) -> EffectSpec {
        EffectSpec {
            action_type: "publish".into(),
            platform: "demo".into(),
            account_id: "ada".into(),
            lane: Lane::Api,
            payload: json!({"text": "hello"}),
            dedupe: Some(self.key.clone()),
            honours_keys: self.promises.honours_keys,
            call_timeout_ms: self.promises.call_timeout_ms.max(LEAST_CALL_TIMEOUT_MS),
            visible_within_ms: 0,
            absence: if self.promises.conclusive { Absence::Conclusive } else { Absence::Inconclusive },
            look_first: self.promises.looked_at_first,
        }
    }

    async fn look(&self, _: &Look) -> Result<Sighting, StepError> {
        self.ledger.looks.fetch_add(1, Ordering::SeqCst);
        let seen = !self.promises.hides && self.ledger.count(&self.key) > 0;
        Ok(if seen { Sighting::Present(receipt(&self.key).into()) } else { Sighting::Absent })
    }

    async fn call(&self, permit: EffectPermit, _: Prepared) -> CallOutcome {
        let calls = self.ledger.calls.fetch_add(1, Ordering::SeqCst);
        let first = calls == 0;
        if calls == 1 && self.promises.refuses_second {
            return CallOutcome::Refused { failure: Failure::new("refused", "no"), retry: false, after: None };
        }
        if first && self.promises.asks_to_wait {
            let after = Some(std::time::Duration::from_millis(20));
            return CallOutcome::Refused { failure: Failure::new("busy", "later"), retry: true, after };
        }
        if first && self.promises.loses_call {
            return CallOutcome::Ambiguous(Failure::new("lost", "the call was lost"));
        }
        if self.promises.applies_after_ms > 0 {
            let (ledger, key) = (self.ledger.clone(), permit.idempotency_key().to_owned());
            let after = std::time::Duration::from_millis(self.promises.applies_after_ms);
            // Sent is sent: a caller that goes away takes nothing back.
            let applied = tokio::spawn(async move {
                Clock::system().wait(after).await;
                ledger.apply(&key);
            });
            drop(applied.await);
            return CallOutcome::Done(receipt(&self.key).into());
        }
        let known = self.promises.honours_keys && self.ledger.count(permit.idempotency_key()) > 0;
        if !known {
            self.ledger.apply(permit.idempotency_key());
        }
        if first && self.promises.loses_answer {
            return CallOutcome::Ambiguous(Failure::new("lost", "the answer was lost"));
        }
        CallOutcome::Done(receipt(&self.key).into())
    }
}

fn receipt(key: &str) -> Value {
    json!({"id": key})
}
