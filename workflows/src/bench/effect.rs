//! An effect on nothing: what the guard, its records and its look cost, and no platform.

use async_trait::async_trait;
use fermata_engine::effect::{
    Absence, CallOutcome, Effect, EffectPermit, EffectSpec, Lane, Look, Prepared, Receipt, Sighting,
};
use fermata_engine::workflow::{Context, StepError};
use serde_json::json;

/// The longest that its call may take, in milliseconds.
const CALL_TIMEOUT_MS: u64 = 30_000;

/// A post that is done as soon as it is called, and seen as soon as it is done.
#[derive(Debug)]
pub(super) struct Nothing {
    /// What makes it itself.
    key: String,
}

impl Nothing {
    /// The n-th of a run.
    pub(super) fn of(context: &Context, n: u16) -> Self {
        Self { key: format!("{}/{n}", context.run_id()) }
    }

    fn receipt(&self) -> Receipt {
        Receipt::from(json!({"id": self.key}))
    }
}

#[async_trait]
impl Effect for Nothing {
    fn spec(&self) -> EffectSpec {
        EffectSpec {
            action_type: "publish".to_owned(),
            platform: "demo".to_owned(),
            account_id: "bench".to_owned(),
            lane: Lane::Api,
            payload: json!({"text": "nothing"}),
            dedupe: Some(self.key.clone()),
            honours_keys: true,
            call_timeout_ms: CALL_TIMEOUT_MS,
            visible_within_ms: 0,
            absence: Absence::Conclusive,
            look_first: false,
        }
    }

    async fn look(&self, _look: &Look) -> Result<Sighting, StepError> {
        Ok(Sighting::Present(self.receipt()))
    }

    async fn call(&self, _permit: EffectPermit, _prepared: Prepared) -> CallOutcome {
        CallOutcome::Done(self.receipt())
    }
}
