//! The verdict of a policy on one action at one time: which rule decided, and why.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::Policy;
use super::quiet::quiet_until;
use super::ration::{named, rations};

/// What is asked about.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Question<'a> {
    pub(crate) client: &'a str,
    pub(crate) platform: &'a str,
    pub(crate) account: &'a str,
    pub(crate) action_type: &'a str,
    /// Its `content_flags`, its `cost_usd_micro` and every text in it count.
    pub(crate) payload: &'a Value,
}

/// What is to become of an action.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// It may be attempted.
    Allow,
    /// A person is asked first.
    Approve,
    /// Not now; `until` says when to ask again.
    Wait,
    /// Not at all.
    Block,
}

/// What a policy says of an action (S-015 to S-020), as it is stored with it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Verdict {
    /// Whether it may be attempted now, without another question.
    pub allowed: bool,
    /// What is to become of it.
    pub decision: Decision,
    /// The rule that decided: a field of the policy document, `kill_switch`, `account_mode`, `retry_after`, or `allowed` when none
    /// stands against it.
    pub rule: String,
    /// Why, for people.
    pub reason: String,
    /// When to ask again, when it has to wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<DateTime<Utc>>,
    /// Who approved it, where a person was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approved_by: Option<String>,
    /// What its texts are compared by, where its policy asks for that: SHA-256 of each, in hex. No text is kept.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<String>,
    /// The policy that it was judged by.
    pub policy_hash: String,
    /// The versions that the policy came from, by scope.
    #[serde(default)]
    pub heads: BTreeMap<String, i64>,
}

impl Verdict {
    /// A verdict by one rule of a policy.
    pub(crate) fn by(policy: &Policy, decision: Decision, rule: impl Into<String>, reason: impl Into<String>) -> Self {
        Self {
            allowed: decision == Decision::Allow,
            decision,
            rule: rule.into(),
            reason: reason.into(),
            until: None,
            approved_by: None,
            texts: Vec::new(),
            policy_hash: policy.hash().to_owned(),
            heads: policy.heads(),
        }
    }

    /// A kill switch is on.
    pub(crate) fn stopped(policy: &Policy, switch: &str) -> Self {
        Self::by(policy, Decision::Block, "kill_switch", format!("the kill switch `{switch}` is on"))
    }

    /// It has to wait until then.
    pub(crate) fn until(policy: &Policy, rule: impl Into<String>, until: DateTime<Utc>) -> Self {
        let rule = rule.into();
        let reason = format!("{rule}: not before {}", until.to_rfc3339());
        Self { until: Some(until), ..Self::by(policy, Decision::Wait, rule, reason) }
    }

    /// What Postgres says of what is rationed: `{"wait": {"rule", "until"}}`.
    pub(crate) fn of_wait(policy: &Policy, why: &Value) -> Option<Self> {
        let wait = why.get("wait")?;
        let until = wait.get("until")?.as_str()?.parse().ok()?;
        Some(Self::until(policy, named(wait.get("rule")?.as_str()?), until))
    }

    /// The account is in a mode in which nothing is done.
    pub(crate) fn of_mode(policy: &Policy, mode: &str, reason: Option<&str>) -> Self {
        let why = reason.unwrap_or("nobody said why");
        let reason = format!("the account is {mode}: {why}; a person has to look into it, and put it back to normal");
        Self::by(policy, Decision::Block, "account_mode", reason)
    }

    /// What Postgres says of the account: `{"mode", "reason"}`.
    pub(crate) fn of_refused_mode(policy: &Policy, why: &Value) -> Option<Self> {
        Some(Self::of_mode(policy, why.get("mode")?.as_str()?, why.get("reason").and_then(Value::as_str)))
    }

    /// The same, once a person has approved it.
    pub(crate) fn approved(self, by: &str) -> Self {
        Self { allowed: true, decision: Decision::Allow, approved_by: Some(by.to_owned()), ..self }
    }
}

/// What a policy says of an action, but for what is rationed: that is counted when it is attempted.
///
/// What blocks comes before what has to wait, and that before who has to be asked: nobody is asked in vain.
pub(crate) fn judge(policy: &Policy, question: Question<'_>, now: DateTime<Utc>) -> Verdict {
    let Question { platform, action_type, payload, .. } = question;
    if let Some(scope) = policy.forbidden_by(platform, action_type) {
        let reason = format!("`{scope}` does not allow {action_type:?} on {platform:?}");
        return Verdict::by(policy, Decision::Block, "allowed_actions", reason);
    }
    let mut texts = Vec::new();
    texts_of(payload, &mut texts);
    let (flags, odd) = flags_of(payload);
    if odd {
        let reason = "`content_flags` of the payload must be a list of texts";
        return Verdict::by(policy, Decision::Block, "compliance/content_flags", reason);
    }
    if payload.get("cost_usd_micro").is_some_and(|cost| !cost.is_null() && cost.as_u64().is_none()) {
        // A price that nobody can count would pass every budget.
        let reason = "`cost_usd_micro` of the payload must be a whole number, and not below 0";
        return Verdict::by(policy, Decision::Block, "budgets/cost", reason);
    }
    if let Some((rule, reason)) = policy.refuses(&flags, &texts) {
        return Verdict::by(policy, Decision::Block, rule, reason);
    }
    if let Some(token) = rations(policy, question, 0.0).tokens.iter().find(|token| token.n > token.max) {
        let reason = format!("it takes {} of what is never above {}", token.n, token.max);
        return Verdict::by(policy, Decision::Block, token.rule(), reason);
    }
    if let Some(until) = quiet_until(&policy.quiet_hours(), now) {
        return Verdict::until(policy, "quiet_hours", until);
    }
    if let Some(rule) = policy.asks_for(action_type) {
        let reason = format!("{rule}: a person is asked first");
        return Verdict::by(policy, Decision::Approve, rule, reason);
    }
    Verdict::by(policy, Decision::Allow, "allowed", "nothing stands against it")
}

/// Every text in a payload, but for the flags.
fn texts_of<'a>(value: &'a Value, texts: &mut Vec<&'a str>) {
    match value {
        Value::String(text) => texts.push(text),
        Value::Array(items) => items.iter().for_each(|item| texts_of(item, texts)),
        Value::Object(fields) => {
            fields.iter().filter(|(name, _)| *name != "content_flags").for_each(|(_, item)| texts_of(item, texts));
        }
        _ => {}
    }
}

/// The flags, and whether there is something else where they should be: that is no reason to let it pass.
fn flags_of(payload: &Value) -> (Vec<&str>, bool) {
    match payload.get("content_flags") {
        None | Some(Value::Null) => (Vec::new(), false),
        Some(Value::Array(flags)) => {
            let words: Vec<&str> = flags.iter().filter_map(Value::as_str).collect();
            let odd = words.len() < flags.len();
            (words, odd)
        }
        Some(_) => (Vec::new(), true),
    }
}
