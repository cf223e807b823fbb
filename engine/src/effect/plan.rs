//! The plan of an action: allowed or blocked, and whether its effect is done already.

use chrono::TimeDelta;
use serde_json::{Value, json};
use tracing::info;

use super::perform::{Performance, Stage, failed};
use super::preflight::{Judged, refusal};
use super::record::{attempt_parts, close_parts, move_parts, plan_parts, proof};
use super::{ActionRow, ActionState, Receipt, Sighting};
use crate::id::ActionId;
use crate::rigged::crash_point;
use crate::wait::{Reason, Wait};
use crate::workflow::{Failure, Parts};

/// How long a run waits for another one that holds its intent before it looks again.
const INTENT_HELD: TimeDelta = TimeDelta::seconds(2);

impl Performance<'_> {
    /// Looks for the effect, and plans an action when it is not there yet.
    pub(super) async fn plan(&mut self) -> Stage {
        let words = self.context.session.host.registry.vocabulary();
        if let Err(unknown) = words.check(&self.spec().action_type, &self.spec().platform) {
            // No rule could be about it, and no audit event may name it.
            let failure = Failure::new(unknown.code(), unknown.to_string());
            return Stage::Failed { failure, retry: false, after: None, parts: Parts::default() };
        }
        let mut judged = match self.preflight().await {
            Ok(judged) => judged,
            Err(stage) => return stage,
        };
        let active = self.context.session.active();
        if judged.verdict.allowed {
            judged = match self.identified(judged).await {
                Ok(judged) => judged,
                Err(error) => return failed(error),
            };
        }
        self.identity.fingerprint_ok = judged.identified.ok();
        let (allowed, mismatch) = (judged.verdict.allowed, judged.identified.mismatch());
        let sighting = if self.spec().look_first && allowed && mismatch.is_none() {
            match self.sight(None).await {
                Ok(sighting) => sighting,
                Err(error) => return failed(error),
            }
        } else {
            Sighting::Absent
        };
        let id = ActionId::new(self.context.clock());
        judged.policy.hash().clone_into(&mut self.identity.policy_hash);
        let mut parts = plan_parts(self.context, &self.identity, &self.begun.key, id, &judged);
        if let Sighting::Present(found) = &sighting {
            parts = self.found_done(parts, id, &judged, found);
        }
        if let Some(failure) = &mismatch {
            parts.extend(self.as_somebody_else(id, failure));
        }
        crash_point!("effect-before-plan");
        let written = self.context.session.write_or_conflict(parts).await;
        crash_point!("effect-after-plan");
        drop(active);
        match (written, sighting) {
            (Ok(()), Sighting::Present(found)) => {
                self.tell(id, ActionState::ConfirmedSuccess, None);
                Stage::Done(found.output)
            }
            (Ok(()), _) if !allowed || mismatch.is_some() => {
                self.remember(id, ActionState::Blocked, |_| {});
                let failure = mismatch.unwrap_or_else(|| refusal(&judged.verdict));
                self.tell(id, ActionState::Blocked, Some(&failure));
                Stage::Failed { failure, retry: false, after: None, parts: Parts::default() }
            }
            (Ok(()), _) => {
                self.remember(id, ActionState::PreflightPassed, |row| {
                    judged.policy.hash().clone_into(&mut row.policy_hash);
                    row.identity_ok = judged.identified.ok();
                });
                self.judged = Some(judged);
                Stage::Again
            }
            (Err(why), _) => self.held(why).await,
        }
    }

    /// What is written of an effect that was there before anybody called.
    fn found_done(&self, mut parts: Parts, id: ActionId, judged: &Judged, found: &Receipt) -> Parts {
        // The machine keeps its order: attempted without effect, then confirmed (A.3).
        let (now, to) = (self.context.clock().now(), ActionState::ConfirmedSuccess);
        let asks = json!({"identity": judged.identified});
        parts.extend(attempt_parts(self.context, &self.identity, id, now, asks));
        parts.extend(proof(id, "look", &found.evidence));
        let detail = json!({
            "effect": false, "receipt": found.output, "level": 2, "error": {"code": "already_present"},
            "evidence": found.evidence,
        });
        parts.extend(move_parts(self.context, &self.identity, id, to, &detail));
        parts.extend(close_parts(self.context, &self.identity, id, to, &found.evidence));
        parts.step(self.checkpoint(&found.output))
    }

    /// Another action holds the intent: its receipt is ours, or we wait for it.
    async fn held(&self, why: Value) -> Stage {
        let held: Option<ActionRow> = why.get("held").cloned().and_then(|held| serde_json::from_value(held).ok());
        if let Some(held) = held
            && held.fulfilled()
        {
            info!(run.id = %self.context.run_id(), action.id = %held.id,
                "`{}` was done before by action {}: its receipt is returned", self.begun.key, held.id);
            return self.fulfilled(&held).await;
        }
        let due = self.context.clock().now() + INTENT_HELD;
        self.context.session.wait(Wait::new(Reason::IntentHeld, Some(due))).await;
        Stage::Again
    }

    pub(super) async fn fulfilled(&self, action: &ActionRow) -> Stage {
        let receipt = action.receipt.clone().unwrap_or(Value::Null);
        self.context.session.write(Parts::default().step(self.checkpoint(&receipt))).await;
        Stage::Done(receipt)
    }
}
