//! When nobody can tell whether an effect happened: saying so, looking on, and a person's word.

use chrono::TimeDelta;
use serde_json::{Value, json};

use super::perform::{Performance, Stage};
use super::record::{Audited, audit, move_parts, proof};
use super::{ActionRow, ActionState, Evidence, Receipt, Sighting};
use crate::audit::AuditStatus;
use crate::policy::Verification;
use crate::rigged::crash_point;
use crate::telemetry;
use crate::wait::{GateKind, GateRequest, Reason, Wait};
use crate::workflow::Failure;
use crate::workflow::Parts;

impl Performance<'_> {
    /// Says so (I3): nobody can tell from here. What follows is up to `unknown`.
    pub(super) async fn unknown_now(&self, action: &ActionRow, failure: &Failure) -> Stage {
        let detail = json!({"error": failure});
        let mut parts = move_parts(self.context, &self.identity, action.id, ActionState::Unknown, &detail);
        parts.extend(self.troubled(failure));
        self.context.session.write(parts).await;
        crash_point!("unknown-after-recorded");
        telemetry::effect_unknown(self.spec().lane.as_str());
        self.tell(action.id, ActionState::Unknown, Some(failure));
        let now = self.context.clock().now();
        self.remember(action.id, ActionState::Unknown, |row| {
            row.updated_at = now;
        });
        Stage::Again
    }

    /// Goes on looking as the policy says (S-056), and waits for a person once one is asked.
    pub(super) async fn unknown(&self, action: ActionRow) -> Stage {
        // Whoever cannot read the policy asks at once.
        let Verification { pauses_s, ask_after } =
            self.judge().await.map(|judged| judged.policy.verification()).unwrap_or_default();
        let (looks, gate) = (action.doubts, self.context.session.state().mailbox.gate(&self.gate_key()).cloned());
        let reason = match gate {
            None if u32::from(looks) >= ask_after => {
                self.context.open_gate(&self.gate_key(), &self.question(&action)).await;
                return Stage::Again;
            }
            None => Reason::Reverify,
            Some(gate) => {
                if let Some(decision) = gate.decision() {
                    return self.decided(&action, decision.approved, &decision.actor, decision.outputs).await;
                }
                Reason::Takeover
            }
        };
        let pause = pauses_s.get(usize::from(looks)).map(|pause| TimeDelta::seconds(i64::from(*pause)));
        let due = pause.map(|pause| action.updated_at + pause);
        if due.is_none_or(|due| self.context.clock().now() < due) {
            self.context.session.wait(Wait::new(reason, due)).await;
            return Stage::Again;
        }
        let active = self.context.session.active();
        if let Ok(Sighting::Present(seen)) = self.sight(Some(&action)).await {
            let shown = seen.evidence.clone();
            let receipt = action.answer.clone().map_or(seen, Receipt::from);
            return self.confirm(&action, receipt, Some(shown), Parts::default()).await;
        }
        self.context.session.write(Parts::default().rare(json!({"op": "look", "action_id": action.id}))).await;
        let now = self.context.clock().now();
        self.remember(action.id, ActionState::Unknown, |row| {
            row.doubts += 1;
            row.updated_at = now;
        });
        drop(active);
        Stage::Again
    }

    /// A person's word: it happened (approved), it did not (rejected), or it may be repeated.
    async fn decided(&self, action: &ActionRow, happened: bool, actor: &str, outputs: Value) -> Stage {
        self.context.session.state().mailbox.forget_gate(&self.gate_key());
        let closed = ActionState::PostcheckComplete;
        let id = action.id;
        if happened {
            let output = if outputs.is_null() { json!({"confirmed_by": actor}) } else { outputs };
            let Receipt { output: receipt, evidence } = Receipt::from(output);
            let ended = ActionState::ConfirmedSuccess;
            let detail = json!({"effect": true, "receipt": receipt, "ended": ended.as_str(), "evidence": evidence});
            let mut parts = proof(id, "person", &evidence);
            parts.extend(move_parts(self.context, &self.identity, id, closed, &detail));
            self.remember(id, closed, |row| row.receipt = Some(receipt.clone()));
            self.context.session.write(parts.step(self.checkpoint(&receipt))).await;
            self.tell(id, ended, None);
            return Stage::Done(receipt);
        }
        let repeat = outputs.get("repeat").and_then(Value::as_bool) == Some(true);
        let ended = ActionState::ConfirmedFailed;
        let detail = json!({"effect": false, "ended": ended.as_str()});
        let mut parts = proof(id, "person", &Evidence::default());
        parts.extend(move_parts(self.context, &self.identity, id, closed, &detail));
        if repeat {
            parts = parts.rare(json!({"op": "allow_repeat", "action_id": id}));
            let status = AuditStatus::ConfirmedFailed;
            let fingerprint_ok = self.identity.fingerprint_ok;
            let about = Audited { id, actor, phase: "repeat_allowed", status, level: 1, fingerprint_ok };
            parts.audits.push(audit(self.context, &self.identity, &about, &json!({})));
        }
        self.remember(action.id, closed, |row| row.effect = Some(false));
        self.tell(id, ended, None);
        let failure = Failure::new("effect_denied", format!("{actor} says that it did not happen"));
        Stage::Failed { failure, retry: repeat, after: None, parts }
    }

    pub(super) fn gate_key(&self) -> String {
        format!("{}@unknown", self.begun.key)
    }

    fn question(&self, action: &ActionRow) -> GateRequest {
        let spec = self.spec();
        GateRequest {
            kind: GateKind::Takeover,
            reason: "outcome_unknown".into(),
            shown: json!({
                "action_id": action.id, "action_type": spec.action_type, "platform": spec.platform,
                "account_id": spec.account_id, "payload": spec.payload, "dedupe": spec.dedupe,
                "question": "Did this happen? approve: yes; reject: no; reject with outputs {\"repeat\": true}: no, do it again",
            }),
            expires_in: None,
        }
    }
}
