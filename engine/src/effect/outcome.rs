//! What an outcome is recorded as, with what proves it, and who is told.

use std::time::Duration;

use serde_json::json;
use tracing::info;

use super::perform::{Performance, Stage};
use super::record::{answered_parts, close_parts, move_parts, proof};
use super::row::Answer;
use super::{ActionRow, ActionState, Evidence, Lane, Receipt, Sighting};
use crate::audit::episode_id;
use crate::event::{Severity, name};
use crate::id::ActionId;
use crate::rigged::crash_point;
use crate::telemetry;
use crate::workflow::{Failure, Parts};

impl Performance<'_> {
    /// The platform says that it did it. Its word is one thing, what it shows another (S-052, S-054): over an API, where a
    /// look is cheap, nothing is confirmed before it is seen, or nobody can look.
    pub(super) async fn answered(&self, action: &ActionRow, receipt: Receipt) -> Stage {
        let sighting = match self.spec().lane {
            Lane::Api => self.sight(Some(action)).await,
            Lane::Browser | Lane::Hybrid => Ok(Sighting::Blind),
        };
        let said = proof(action.id, "answer", &receipt.evidence);
        match sighting {
            Ok(Sighting::Present(seen)) => self.confirm(action, receipt, Some(seen.evidence), said).await,
            Ok(Sighting::Blind) => self.confirm(action, receipt, None, said).await,
            Ok(Sighting::Absent) | Err(_) => {
                self.context.session.write(answered_parts(action.id, &receipt)).await;
                let Receipt { output, evidence } = receipt;
                self.remember(action.id, ActionState::Attempted, |row| {
                    row.looks += 1;
                    row.answer = Some(Answer { output, evidence });
                });
                Stage::Again
            }
        }
    }

    /// The platform has it: outcome, postcheck and checkpoint are one record.
    ///
    /// `seen` is what a look showed, if it was looked for; `receipt` is what the platform answered, or what was found;
    /// `parts` is what is to be written along.
    pub(super) async fn confirm(
        &self,
        action: &ActionRow,
        receipt: Receipt,
        seen: Option<Evidence>,
        mut parts: Parts,
    ) -> Stage {
        let (receipt, evidence) = (receipt.output, receipt.evidence);
        let surface = match (&seen, &evidence.permalink) {
            (Some(_), Some(permalink)) => self.effect.surface(&self.look(Some(action)), permalink).await.ok().flatten(),
            _ => None,
        };
        for (kind, shown) in [("look", &seen), ("surface", &surface)] {
            parts.extend(shown.as_ref().map_or_else(Parts::default, |shown| proof(action.id, kind, shown)));
        }
        let level = if surface.is_some() { 3 } else { 1 + u8::from(seen.is_some()) };
        let looks = u8::from(seen.is_some());
        let (id, to) = (action.id, ActionState::ConfirmedSuccess);
        let detail = json!({"effect": true, "receipt": receipt, "level": level, "looks": looks, "evidence": evidence});
        parts.extend(move_parts(self.context, &self.identity, id, to, &detail));
        parts.extend(close_parts(self.context, &self.identity, id, to, &evidence));
        if let Some(gate) = self.context.session.state().mailbox.gate(&self.gate_key()) {
            parts =
                parts.rare(json!({"op": "close_gate", "gate_id": gate.id, "state": "completed", "actor": "fermata"}));
            if gate.state == "open" {
                let told = json!({"gate_id": gate.id, "state": "completed", "actor": "fermata"});
                parts = parts.event(name::GATE_RESOLVED, Severity::Info, &told);
            }
        }
        self.remember(action.id, ActionState::PostcheckComplete, |row| row.receipt = Some(receipt.clone()));
        crash_point!("effect-before-outcome");
        self.context.session.write(parts.step(self.checkpoint(&receipt))).await;
        crash_point!("effect-after-outcome");
        telemetry::effect_confirmed(self.spec().lane.as_str());
        self.tell(action.id, to, None);
        Stage::Done(receipt)
    }

    /// The platform has not got it, and says so, or nothing was sent.
    pub(super) fn refused(&self, action: &ActionRow, failure: &Failure, retry: bool, after: Option<Duration>) -> Stage {
        let after = self.asked_for(failure, after);
        let detail = json!({"effect": false, "error": failure});
        let (id, to) = (action.id, ActionState::ConfirmedFailed);
        let mut parts = move_parts(self.context, &self.identity, id, to, &detail);
        parts.extend(close_parts(self.context, &self.identity, id, to, &Evidence::default()));
        self.tell(id, to, Some(failure));
        parts.extend(after.map_or_else(Parts::default, |after| self.throttled(after)));
        self.remember(action.id, ActionState::PostcheckComplete, |row| row.effect = Some(false));
        Stage::Failed { failure: failure.clone(), retry, after, parts }
    }

    /// This attempt to carry out the run.
    pub(super) fn episode(&self) -> uuid::Uuid {
        episode_id(self.context.run_id(), self.context.session.claim.epoch)
    }

    /// One line of the log for each outcome (S-084, S-088): ids, and the code of what went wrong.
    pub(super) fn tell(&self, id: ActionId, status: ActionState, failure: Option<&Failure>) {
        let spec = self.spec();
        info!(
            episode_id = %self.episode(), action_id = %id,
            client_id = self.context.client_id(), platform_account_id = spec.account_id, platform = spec.platform,
            action_type = spec.action_type, lane = spec.lane.as_str(), status = status.as_str(),
            error_code = failure.map(|failure| failure.code.as_str()), run.id = %self.context.run_id(),
            "side_effect.action"
        );
    }
}
