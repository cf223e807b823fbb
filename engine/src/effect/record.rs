//! The records of an action: each transition with exactly one event and one audit row (I4).

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::preflight::Judged;
use super::{ActionState, EffectSpec};
use crate::document;
use crate::event::{Severity, name};
use crate::id::{ActionId, IntentId, uuid_at};
use crate::workflow::Context;
use crate::workflow::Parts;

/// What makes an effect itself, computed once.
#[derive(Debug, Clone)]
pub(crate) struct Identity {
    pub(crate) spec: EffectSpec,
    /// The step that asks for it.
    pub(crate) name: String,
    /// Which attempt of the step is under way, from 1.
    pub(crate) attempt: u16,
    /// Over everything that identifies the intent; also the step's input hash.
    pub(crate) hash: String,
    pub(crate) payload_hash: String,
    /// The key that travels with the call. Derived, so every attempt of the intent has the same.
    pub(crate) idempotency_key: String,
}

impl Identity {
    pub(crate) fn of(context: &Context, name: &str, spec: EffectSpec) -> Self {
        let payload_hash = document::fingerprint(&spec.payload);
        let hash = document::fingerprint(&json!([
            context.client_id(),
            spec.platform,
            spec.account_id,
            spec.action_type,
            payload_hash,
            spec.dedupe,
        ]));
        let idempotency_key = spec.dedupe.clone().unwrap_or_else(|| hash.clone());
        Self { spec, name: name.to_owned(), attempt: 1, hash, payload_hash, idempotency_key }
    }

    pub(crate) fn call_timeout(&self) -> TimeDelta {
        TimeDelta::from_std(self.spec.call_timeout()).unwrap_or(TimeDelta::MAX)
    }
}

impl Parts {
    /// Adds another record's parts after this one's.
    pub(crate) fn extend(&mut self, other: Self) {
        self.steps.extend(other.steps);
        self.events.extend(other.events);
        self.rare.extend(other.rare);
        self.audits.extend(other.audits);
    }
}

/// Record 1: `queued`, and `preflight_passed` or `blocked` with the stored verdict.
pub(super) fn plan_parts(
    context: &Context,
    identity: &Identity,
    step_key: &str,
    id: ActionId,
    judged: &Judged,
) -> Parts {
    let Judged { policy, verdict } = judged;
    let parts = Parts::default().rare(json!({
        "op": "plan", "action_id": id, "intent_id": IntentId::new(context.clock()), "intent_key": identity.hash,
        "client_id": context.client_id(), "run_id": context.run_id(), "step_key": step_key, "spec": identity.spec,
        "idempotency_key": identity.idempotency_key, "payload_hash": identity.payload_hash,
        "policy_hash": policy.hash(), "policy": policy.parts(), "verdict": verdict, "epoch": context.session.claim.epoch,
    }));
    let parts = transition(parts, Acting(context, identity, id), ActionState::Queued, &Value::Null);
    let to = if verdict.allowed { ActionState::PreflightPassed } else { ActionState::Blocked };
    transition(parts, Acting(context, identity, id), to, &json!({"verdict": verdict}))
}

/// Record 2: `identity_verified`, `attempted`; once it is durable the call may be made.
///
/// `asks` is what it takes of what is rationed, and which policy it follows; nothing for one that makes no call.
pub(crate) fn attempt_parts(
    context: &Context,
    identity: &Identity,
    id: ActionId,
    deadline: DateTime<Utc>,
    asks: Value,
) -> Parts {
    let attempt_id = attempt_id(context);
    let mut part = json!({
        "op": "attempt", "action_id": id, "attempt_id": attempt_id, "epoch": context.session.claim.epoch,
        "run_id": context.run_id(), "call_deadline": deadline, "client_id": context.client_id(),
        "platform": identity.spec.platform, "account_id": identity.spec.account_id,
    });
    if let (Value::Object(part), Value::Object(asks)) = (&mut part, asks) {
        part.extend(asks);
    }
    let parts = Parts::default().rare(part);
    let parts = transition(parts, Acting(context, identity, id), ActionState::IdentityVerified, &Value::Null);
    let detail = json!({"attempt_id": attempt_id, "call_deadline": deadline});
    transition(parts, Acting(context, identity, id), ActionState::Attempted, &detail)
}

/// The same action's call is sent again; the state stays.
pub(crate) fn resend_parts(context: &Context, identity: &Identity, id: ActionId, deadline: DateTime<Utc>) -> Parts {
    let attempt_id = attempt_id(context);
    let part = json!({
        "op": "resend", "action_id": id, "attempt_id": attempt_id, "epoch": context.session.claim.epoch,
        "call_deadline": deadline,
    });
    let detail = json!({"attempt_id": attempt_id, "call_deadline": deadline, "resend": true});
    transition(Parts::default().rare(part), Acting(context, identity, id), ActionState::Attempted, &detail)
}

/// Any later move, with what is known about it.
pub(crate) fn move_parts(
    context: &Context,
    identity: &Identity,
    id: ActionId,
    to: ActionState,
    detail: &Value,
) -> Parts {
    let mut part = json!({"op": "move", "action_id": id, "state": to.as_str()});
    if let (Value::Object(part), Value::Object(detail)) = (&mut part, detail) {
        part.extend(detail.clone());
    }
    transition(Parts::default().rare(part), Acting(context, identity, id), to, detail)
}

/// Who moves which action.
#[derive(Clone, Copy)]
struct Acting<'a>(&'a Context, &'a Identity, ActionId);

/// One event and one audit row for one transition.
fn transition(parts: Parts, acting: Acting<'_>, to: ActionState, detail: &Value) -> Parts {
    let Acting(context, identity, id) = acting;
    let spec = &identity.spec;
    let data = json!({
        "action_id": id, "name": identity.name, "action_type": spec.action_type, "platform": spec.platform,
        "account_id": spec.account_id, "lane": spec.lane.as_str(), "attempt": identity.attempt, "status": to.as_str(),
        "level": detail.get("level").and_then(Value::as_u64).unwrap_or(0),
        "idempotency_key": identity.idempotency_key, "payload_hash": identity.payload_hash,
        "detail": without_receipt(detail),
    });
    let (kind, severity) = match to {
        ActionState::Attempted => (name::ACTION_ATTEMPTED, Severity::Info),
        ActionState::ConfirmedSuccess => (name::ACTION_VERIFIED, Severity::Info),
        ActionState::ConfirmedFailed | ActionState::Unknown => (name::ACTION_VERIFIED, Severity::Warn),
        ActionState::Blocked => (name::ACTION_MOVED, Severity::Warn),
        _ => (name::ACTION_MOVED, Severity::Info),
    };
    let mut parts = parts.event(kind, severity, &data);
    parts.audits.push(audit(context, id, "fermata", to.as_str(), &data));
    parts
}

/// One audit row.
pub(crate) fn audit(context: &Context, id: ActionId, actor: &str, phase: &str, body: &Value) -> Value {
    json!({
        "client_id": context.client_id(), "run_id": context.run_id(), "action_id": id, "actor": actor,
        "phase": phase, "body": body,
    })
}

/// Events and audit hold pointers, not content (S-082): the receipt is in the action's row.
fn without_receipt(detail: &Value) -> Value {
    let mut detail = detail.clone();
    if let Value::Object(fields) = &mut detail {
        fields.remove("receipt");
    }
    detail
}

fn attempt_id(context: &Context) -> Uuid {
    uuid_at(context.clock().now())
}
