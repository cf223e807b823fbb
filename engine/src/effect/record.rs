//! The records of an action: each transition with exactly one event and one audit row (I4).

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use uuid::Uuid;

use super::preflight::Judged;
use super::{ActionState, EffectSpec, Evidence, Receipt};
use crate::audit::{AuditProof, AuditRequest, AuditResult, AuditStatus, AuditedAction, Particulars, episode_id};
use crate::document;
use crate::event::{Severity, name};
use crate::id::{ActionId, IntentId, uuid_at};
use crate::policy::Verdict;
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
    /// The policy that its newest action was judged by.
    pub(crate) policy_hash: String,
    /// Whether the platform says that it acts as the account; `None` where nobody could say.
    pub(crate) fingerprint_ok: Option<bool>,
}

impl Identity {
    pub(crate) fn of(context: &Context, name: &str, spec: EffectSpec) -> Self {
        let payload_hash = document::fingerprint(&spec.payload);
        let named = (spec.platform.as_str(), spec.account_id.as_str(), spec.action_type.as_str());
        let hash = intent_key(context.client_id(), named, &payload_hash, spec.dedupe.as_deref());
        let idempotency_key = spec.dedupe.clone().unwrap_or_else(|| hash.clone());
        let (name, policy_hash) = (name.to_owned(), String::new());
        Self { spec, name, attempt: 1, hash, payload_hash, idempotency_key, policy_hash, fingerprint_ok: None }
    }

    pub(crate) fn call_timeout(&self) -> TimeDelta {
        TimeDelta::from_std(self.spec.call_timeout()).unwrap_or(TimeDelta::MAX)
    }
}

/// What makes an intent itself: two effects with the same are one. `named` are its platform, account and type.
pub(crate) fn intent_key(client: &str, named: (&str, &str, &str), payload_hash: &str, dedupe: Option<&str>) -> String {
    let (platform, account, action_type) = named;
    document::fingerprint(&json!([client, platform, account, action_type, payload_hash, dedupe]))
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
    let Judged { policy, verdict, .. } = judged;
    let parts = Parts::default().rare(json!({
        "op": "plan", "action_id": id, "intent_id": IntentId::new(context.clock()), "intent_key": identity.hash,
        "client_id": context.client_id(), "run_id": context.run_id(), "step_key": step_key, "spec": identity.spec,
        "idempotency_key": identity.idempotency_key, "payload_hash": identity.payload_hash,
        "policy_hash": policy.hash(), "policy": policy.parts(), "verdict": verdict, "epoch": context.session.claim.epoch,
    }));
    let parts = transition(parts, Acting(context, identity, id), ActionState::Queued, &Value::Null);
    let to = if verdict.allowed { ActionState::PreflightPassed } else { ActionState::Blocked };
    // What its texts are compared by is kept with the action, and nowhere that nobody can take it from again.
    let said = Verdict { texts: Vec::new(), ..verdict.clone() };
    transition(parts, Acting(context, identity, id), to, &json!({"verdict": said}))
}

/// Record 2: `identity_verified`, `attempted`; once it is durable the call may be made.
///
/// `asks` is what it takes of what is rationed, and which policy it follows, for one that makes a call; and as whom it is made.
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

/// Any later move, with what is known about it: `{effect, receipt, error, level, looks, evidence, ended}`, each if it is.
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

/// The last move of an action that `ended` so.
pub(crate) fn close_parts(
    context: &Context,
    identity: &Identity,
    id: ActionId,
    ended: ActionState,
    evidence: &Evidence,
) -> Parts {
    let detail = json!({"ended": ended.as_str(), "evidence": evidence});
    move_parts(context, identity, id, ActionState::PostcheckComplete, &detail)
}

/// Keeps what shows an outcome.
pub(crate) fn proof(id: ActionId, kind: &str, evidence: &Evidence) -> Parts {
    Parts::default().rare(json!({"op": "prove", "action_id": id, "kind": kind, "body": evidence}))
}

/// The platform says that it is done, and does not show it yet: its answer is kept, and the state stays.
pub(crate) fn answered_parts(id: ActionId, receipt: &Receipt) -> Parts {
    let answer = json!({"output": receipt.output, "evidence": receipt.evidence});
    let mut parts = proof(id, "answer", &receipt.evidence);
    parts = parts.rare(json!({"op": "answered", "action_id": id, "answer": answer}));
    parts
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
        "level": level(to, detail), "idempotency_key": identity.idempotency_key, "payload_hash": identity.payload_hash,
        "detail": without(detail, &["receipt", "ended"]),
    });
    let (kind, severity) = match to {
        ActionState::Attempted => (name::ACTION_ATTEMPTED, Severity::Info),
        ActionState::ConfirmedSuccess => (name::ACTION_VERIFIED, Severity::Info),
        ActionState::ConfirmedFailed | ActionState::Unknown => (name::ACTION_VERIFIED, Severity::Warn),
        ActionState::Blocked => (name::ACTION_MOVED, Severity::Warn),
        _ => (name::ACTION_MOVED, Severity::Info),
    };
    let mut parts = parts.event(kind, severity, &data);
    let ended = detail.get("ended").and_then(Value::as_str).and_then(ActionState::parse);
    // The account is looked at once the policy has let the action pass.
    let looked = !matches!(to, ActionState::Queued | ActionState::PreflightPassed);
    let audited = Audited {
        id,
        actor: "fermata",
        phase: to.as_str(),
        status: AuditStatus::of(to, ended),
        level: level(to, detail),
        fingerprint_ok: if looked { identity.fingerprint_ok } else { None },
    };
    parts.audits.push(audit(context, identity, &audited, detail));
    parts
}

/// How well an outcome is proven, at least: an attempt is the first proof of itself.
fn level(to: ActionState, detail: &Value) -> u8 {
    let said = detail.get("level").and_then(Value::as_u64).and_then(|level| u8::try_from(level).ok());
    said.unwrap_or(0).max(u8::from(to == ActionState::Attempted))
}

/// What an audit row is about.
pub(crate) struct Audited<'a> {
    pub(crate) id: ActionId,
    pub(crate) actor: &'a str,
    pub(crate) phase: &'a str,
    pub(crate) status: AuditStatus,
    pub(crate) level: u8,
    /// Whether the account is the one that it was connected as.
    pub(crate) fingerprint_ok: Option<bool>,
}

/// One audit row, with pointers instead of content (S-082): the receipt and the error's words are in the action's row.
pub(crate) fn audit(context: &Context, identity: &Identity, about: &Audited<'_>, detail: &Value) -> Value {
    let spec = &identity.spec;
    let evidence = detail.get("evidence").cloned().and_then(|it| serde_json::from_value(it).ok()).unwrap_or_default();
    let action = AuditedAction {
        platform: Some(spec.platform.clone()),
        platform_account_id: Some(spec.account_id.clone()),
        lane: Some(spec.lane),
        action_type: Some(spec.action_type.clone()),
        idempotency_key: Some(identity.idempotency_key.clone()),
        policy_snapshot_id: Some(identity.policy_hash.clone()),
        identity_fingerprint_ok: about.fingerprint_ok,
        verification_level: Some(about.level),
        request: Some(AuditRequest::of(&identity.payload_hash, spec.lane)),
        result: Some(AuditResult::of(about.status, &evidence, detail.get("error"))),
        proof: Some(AuditProof::of(&evidence)),
        experiment_id: None,
        variant_id: None,
    };
    let body = Particulars {
        episode_id: episode_id(context.run_id(), context.session.claim.epoch),
        action,
        detail: without(detail, &["receipt", "error", "evidence", "level", "ended", "looks"]),
    };
    json!({
        "client_id": context.client_id(), "run_id": context.run_id(), "action_id": about.id, "actor": about.actor,
        "phase": about.phase, "body": body,
    })
}

fn without(detail: &Value, names: &[&str]) -> Value {
    let mut detail = detail.clone();
    if let Value::Object(fields) = &mut detail {
        fields.retain(|name, _| !names.contains(&name.as_str()));
    }
    detail
}

fn attempt_id(context: &Context) -> Uuid {
    uuid_at(context.clock().now())
}
