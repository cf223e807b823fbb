//! What stands before an attempt: the policy's verdict, a person where it asks for one, and what is rationed.
//!
//! The order is the guard's (S-020): kill switches and policy first, then what the account's mode forbids, then whoever has to
//! approve, then as whom it would be done (`identify`), then the plan, which tells whether the effect is done already. The
//! account's mode, its identity, and what is rationed, are looked at once more with the record of the attempt, in Postgres.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};

use super::identify::{Identified, Standing};
use super::perform::{Performance, Stage};
use super::record::move_parts;
use super::{AccountTrouble, ActionRow, ActionState};
use crate::event::{Severity, name};
use crate::policy::{Decision, Policy, Question, Verdict, judge, rations};
use crate::rigged::mutant;
use crate::store::StoreError;
use crate::wait::{GateKind, GateRequest, Reason, Wait};
use crate::workflow::{Failure, Parts, RetryPolicy};

/// A policy, what it says of the action, and whose it is.
#[derive(Debug)]
pub(super) struct Judged {
    pub(super) policy: Policy,
    pub(super) verdict: Verdict,
    /// How the account stood.
    pub(super) standing: Standing,
    /// As whom it would be done, once the platform was asked.
    pub(super) identified: Identified,
}

impl Performance<'_> {
    pub(super) fn asked_about(&self) -> Question<'_> {
        let spec = self.spec();
        Question {
            client: self.context.client_id(),
            platform: &spec.platform,
            account: &spec.account_id,
            action_type: &spec.action_type,
            payload: &spec.payload,
        }
    }

    /// What the kill switches and the policy in force say of it now.
    pub(super) async fn judge(&self) -> Result<Judged, StoreError> {
        let (host, question) = (&self.context.session.host, self.asked_about());
        let basis = host.store.basis(question.client, question.platform, question.account).await?;
        let policy = Policy::of(basis.policies);
        let verdict = match basis.switch {
            Some(switch) => Verdict::stopped(&policy, &switch),
            None => self.verdict(&policy),
        };
        Ok(Judged { policy, verdict, standing: basis.standing, identified: Identified::default() })
    }

    /// The same with what the classifiers of its content say.
    async fn checked(&self, judged: Judged) -> Result<Judged, Stage> {
        let classifiers = self.context.session.host.registry.classifiers();
        let asked = (&judged.policy, self.asked_about());
        match classifiers.judge(asked, judged.verdict, self.context.clock()).await {
            Ok(verdict) => Ok(Judged { verdict, ..judged }),
            Err(why) => {
                let failure = Failure::new("content_unchecked", why.to_string());
                Err(Stage::Failed { failure, retry: true, after: None, parts: Parts::default() })
            }
        }
    }

    fn verdict(&self, policy: &Policy) -> Verdict {
        judge(policy, self.asked_about(), self.context.clock().now())
    }

    /// What Postgres would say, if the time has come for the action to wait: getting ready may have taken long, or the plan
    /// be of long ago.
    pub(super) fn overtaken(&self, judged: &Judged) -> Option<Value> {
        let verdict = self.verdict(&judged.policy);
        let waits = verdict.decision == Decision::Wait;
        waits.then(|| json!({"wait": {"rule": verdict.rule, "until": verdict.until}}))
    }

    /// A verdict to go on with: allowed, or blocked. Waits for what has to pass first, and asks whom it has to ask; then
    /// everything is looked at again.
    pub(super) async fn preflight(&self) -> Result<Judged, Stage> {
        let judged = self.unrepeated(self.checked(self.judge().await.map_err(unread)?).await?).await?;
        let decision = judged.verdict.decision;
        match (decision, judged.standing.forbids(&judged.policy)) {
            (Decision::Block, _) => Ok(judged),
            (Decision::Wait, _) => Err(self.put_off(&judged.verdict, None).await),
            (Decision::Allow | Decision::Approve, Some(verdict)) => Ok(Judged { verdict, ..judged }),
            (Decision::Allow, None) => self.unrationed(judged).await,
            (Decision::Approve, None) => self.approved(judged).await,
        }
    }

    /// The same, unless there is nothing left of what is rationed: no plan is made then that would only be withdrawn.
    async fn unrationed(&self, judged: Judged) -> Result<Judged, Stage> {
        let rations = rations(&judged.policy, self.asked_about(), 0.0);
        if rations.tokens.is_empty() && rations.spacing.is_none() {
            return Ok(judged);
        }
        let mut asks = json!(rations);
        // That is counted by whoever takes of it, and leaves its name.
        if let Value::Object(asks) = &mut asks {
            asks.remove("concurrency");
            asks.extend(self.account());
        }
        match self.context.session.host.store.rationed(&asks).await {
            Ok(Some(why)) => match Verdict::of_wait(&judged.policy, &why) {
                Some(verdict) if verdict.rule != "concurrency" => Err(self.put_off(&verdict, None).await),
                _ => Ok(judged),
            },
            // The attempt asks again, and that counts.
            Ok(None) | Err(_) => Ok(judged),
        }
    }

    /// The account, as parts of records name it.
    fn account(&self) -> Map<String, Value> {
        let spec = self.spec();
        let named = [
            ("client_id", self.context.client_id()),
            ("platform", spec.platform.as_str()),
            ("account_id", spec.account_id.as_str()),
        ];
        named.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
    }

    /// Says that it has to wait, and waits; `part` is what Postgres is told as the run is put away.
    async fn put_off(&self, verdict: &Verdict, part: Option<Value>) -> Stage {
        let (spec, session) = (self.spec(), &self.context.session);
        let told = json!({
            "platform": spec.platform, "account_id": spec.account_id, "action_type": spec.action_type, "rule": verdict.rule,
            "until": verdict.until, "policy_hash": verdict.policy_hash,
        });
        session.write(Parts::default().event(name::RATE_LIMITED, Severity::Info, &told)).await;
        let reason = match verdict.rule.as_str() {
            "quiet_hours" => Reason::QuietHours,
            "spacing" => Reason::Cooldown,
            _ => Reason::RateLimited,
        };
        // Once, and not until then: whoever waits for a call to end is woken by that.
        session.wait(Wait { reason, due: verdict.until, told: part }).await;
        Stage::Again
    }

    /// The part by which Postgres looks once more whether a call has ended, as the run is put away to wait for that.
    fn queues(&self, judged: &Judged, verdict: &Verdict) -> Option<Value> {
        let mut part = self.account();
        part.insert("op".to_owned(), "queue".into());
        part.insert("run_id".to_owned(), json!(self.context.run_id()));
        part.insert("concurrency".to_owned(), json!(rations(&judged.policy, self.asked_about(), 0.0).concurrency));
        (verdict.rule == "concurrency").then(|| part.into())
    }

    async fn approved(&self, judged: Judged) -> Result<Judged, Stage> {
        let key = format!("{}@approval", self.begun.key);
        let gate = self.context.session.state().mailbox.gate(&key).cloned();
        let Some(gate) = gate else {
            self.context.open_gate(&key, &self.request(&judged.verdict)).await;
            return Err(Stage::Again);
        };
        match gate.decision() {
            Some(decision) if decision.approved => {
                let verdict = judged.verdict.approved(&decision.actor);
                Ok(Judged { verdict, ..judged })
            }
            Some(decision) => {
                let (rule, why) = (judged.verdict.rule.clone(), format!("{} said no", decision.actor));
                let verdict = Verdict::by(&judged.policy, Decision::Block, rule, why);
                Ok(Judged { verdict, ..judged })
            }
            None => {
                self.context.session.wait(Wait::new(Reason::Approval, None)).await;
                Err(Stage::Again)
            }
        }
    }

    fn request(&self, verdict: &Verdict) -> GateRequest {
        let spec = self.spec();
        GateRequest {
            kind: GateKind::Approval,
            reason: verdict.rule.clone(),
            shown: json!({
                "action_type": spec.action_type, "platform": spec.platform, "account_id": spec.account_id,
                "payload": spec.payload, "policy_hash": verdict.policy_hash,
                "question": "May this be done? approve: yes; reject: no",
            }),
            expires_in: None,
        }
    }

    /// What the record of the attempt asks Postgres for.
    pub(super) fn asks(&self, judged: &Judged) -> Value {
        let mut asks = json!(rations(&judged.policy, self.asked_about(), rand::random()));
        if mutant!("no-rations") {
            asks = json!({});
        }
        asks["heads"] = json!(judged.policy.heads());
        asks["identity"] = json!(judged.identified);
        asks
    }

    /// Postgres did not admit the attempt: a kill switch is on, the policy is another one by now, or it has to wait.
    pub(super) async fn turned_away(&self, action: &ActionRow, judged: &Judged, why: &Value) -> Stage {
        if let Some(switch) = why.get("kill_switch").and_then(Value::as_str) {
            return self.blocked(action, kill_switch(switch));
        }
        if let Some(verdict) = Verdict::of_refused_mode(&judged.policy, why) {
            return self.blocked(action, refusal(&verdict));
        }
        let wait = Verdict::of_wait(&judged.policy, why);
        let code = wait.as_ref().map_or("policy_changed", |wait| wait.rule.as_str());
        let detail = json!({"effect": false, "error": {"code": code}});
        let parts = move_parts(self.context, &self.identity, action.id, ActionState::Cancelled, &detail);
        self.context.session.write(parts).await;
        self.remember(action.id, ActionState::Cancelled, |_| {});
        match wait {
            Some(verdict) => self.put_off(&verdict, self.queues(judged, &verdict)).await,
            None => Stage::Again,
        }
    }

    pub(super) fn blocked(&self, action: &ActionRow, failure: Failure) -> Stage {
        let detail = json!({"effect": false, "error": failure});
        let parts = move_parts(self.context, &self.identity, action.id, ActionState::Blocked, &detail);
        self.remember(action.id, ActionState::Blocked, |_| {});
        self.tell(action.id, ActionState::Blocked, Some(&failure));
        Stage::Failed { failure, retry: false, after: None, parts }
    }

    /// The part that tells Postgres that something is wrong with the account, if a failure says so.
    pub(super) fn troubled(&self, failure: &Failure) -> Parts {
        let Some(trouble) = AccountTrouble::of(failure) else { return Parts::default() };
        let mut part = self.account();
        part.insert("op".to_owned(), "troubled".into());
        part.insert("trouble".to_owned(), trouble.code().into());
        Parts::default().rare(part.into())
    }

    /// The parts that tell Postgres, and everybody, that the platform asked to be left alone for a while.
    ///
    /// Nobody stays away for longer than the longest pause between two attempts, whatever the platform says.
    pub(super) fn throttled(&self, after: Duration) -> Parts {
        let after = after.min(RetryPolicy::LONGEST);
        let spec = self.spec();
        let until: DateTime<Utc> = self.context.clock().now() + after;
        let part = json!({
            "op": "throttled", "client_id": self.context.client_id(), "platform": spec.platform, "account_id": spec.account_id,
            "after_ms": u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        });
        let told = json!({
            "platform": spec.platform, "account_id": spec.account_id, "action_type": spec.action_type,
            "rule": "retry_after", "until": until, "policy_hash": null,
        });
        Parts::default().rare(part).event(name::RATE_LIMITED, Severity::Warn, &told)
    }
}

/// Nobody knows what is allowed, so nothing is done.
#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
pub(super) fn unread(error: StoreError) -> Stage {
    let failure = Failure::new("policy_unread", error.to_string());
    Stage::Failed { failure, retry: true, after: None, parts: Parts::default() }
}

/// What a blocked action ends its step with.
pub(super) fn refusal(verdict: &Verdict) -> Failure {
    if verdict.rule == "kill_switch" {
        return Failure::new("kill_switch", format!("{}; lift it with `fermata kill off`", verdict.reason));
    }
    let details = json!({"rule": verdict.rule, "policy_hash": verdict.policy_hash});
    Failure::new("policy_blocked", verdict.reason.clone()).with_details(details)
}

/// The same, for a kill switch.
pub(super) fn kill_switch(scope: &str) -> Failure {
    Failure::new("kill_switch", format!("the kill switch `{scope}` is on; lift it with `fermata kill off`"))
}
