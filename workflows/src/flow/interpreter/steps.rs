//! The steps that are no effects.

use std::sync::Arc;
use std::time::Duration;

use fermata_engine::effect::THROTTLED;
use fermata_engine::wait::{GateKind, GateRequest};
use fermata_engine::workflow::{Attempt, Failure, RetryPolicy, StepBuilder, StepError};
use serde_json::{Map, Value, json};

use super::Interpreter;
use super::poll::Polling;
use crate::flow::document::{
    Action, BrowserStep, ChildStep, HttpCall, HumanKind, HumanStep, OnReject, SetStep, SleepStep, Step,
};
use crate::flow::http::{Found, Request, read_outcome};
use crate::flow::late::{Seconds, Text};
use crate::flow::limits::{BROWSER_TIMEOUT, HTTP_TIMEOUT, MAX_TIMEOUT_S, MAX_WAIT_S};
use crate::flow::scope::{FillError, Scope};

impl Interpreter {
    pub(super) async fn http(&self, step: &Step, call: &HttpCall, scope: &Scope) -> Result<Value, Failure> {
        let found: Found = self
            .attempts_of(step, call)?
            .run(async |attempt| {
                self.limits.check(self.context.clock().now())?;
                self.exchange(step, call, scope, attempt).await
            })
            .await?;
        Ok(Value::Object(found))
    }

    /// The attempts that an http step is worth.
    pub(super) fn attempts_of(&self, step: &Step, call: &HttpCall) -> Result<StepBuilder<'_>, Failure> {
        let retry = self.limits.capped(&step.retry.clone().unwrap_or_default());
        Ok(self.context.step(&step.id).retry(retry).timeout(http_time(step, call)?))
    }

    /// One reading request and what its answer means.
    pub(super) async fn exchange(
        &self,
        step: &Step,
        call: &HttpCall,
        scope: &Scope,
        attempt: Attempt,
    ) -> Result<Found, StepError> {
        let time = http_time(step, call)?;
        let opened = self.opened_for(call, scope).await?;
        let answer = match Request::filled(call, scope, &opened) {
            Ok(request) => {
                let request = request.within(time).sent_by(&self.context.look().fence, attempt.trace);
                self.tools.http.read(request).await
            }
            Err(error) => Err(error),
        };
        let outcome = read_outcome(call, answer);
        if let Err(StepError::Retry { failure, after }) = &outcome
            && failure.code == THROTTLED
        {
            self.slow_down(step, scope, *after);
        }
        outcome
    }

    /// A platform that wants to be asked less means an account: that of the flow's next effect, or of its last one, or the
    /// command's own.
    fn slow_down(&self, step: &Step, scope: &Scope, after: Option<Duration>) {
        let steps = &self.flow.document().steps;
        let here = steps.iter().position(|other| other.id == step.id).unwrap_or_default();
        let (before, behind) = steps.split_at(here);
        let effects = behind.iter().chain(before.iter().rev()).filter_map(|step| match &step.action {
            Action::Effect(effect) => Some(effect),
            _ => None,
        });
        let mut accounts =
            effects.filter_map(|it| it.account.fill(scope, "account").ok().map(|Text(account)| (account, it)));
        let (account, action_type) = match (accounts.next(), self.context.account_id()) {
            (Some((account, effect)), _) => (account, Some(effect.action_type.as_str())),
            (None, Some(account)) => (account.to_owned(), None),
            (None, None) => return,
        };
        self.context.throttled(&self.flow.document().platform, &account, action_type, after);
    }

    pub(super) async fn browser(
        &self,
        n: usize,
        step: &Step,
        browser: &BrowserStep,
        scope: &Scope,
    ) -> Result<Value, Failure> {
        if let Some(poll) = &browser.poll {
            let (poll, acts) = (poll.clone(), browser.acts.clone());
            return Box::pin(self.poll(step, Polling { n, poll, acts, scope: scope.clone() })).await;
        }
        let (interpreter, kept) = (Arc::new(self.clone()), Arc::new(scope.clone()));
        let saved: Found = self
            .attempts_in_page(step)?
            .run(|_| {
                let (interpreter, scope, browser) = (Arc::clone(&interpreter), Arc::clone(&kept), browser.clone());
                async move {
                    interpreter.limits.check(interpreter.context.clock().now())?;
                    Box::pin(interpreter.live_browser(n, &browser, &scope)).await
                }
            })
            .await?;
        self.pages.passed(n);
        Ok(Value::Object(saved))
    }

    /// The attempts that a browser step is worth.
    pub(super) fn attempts_in_page(&self, step: &Step) -> Result<StepBuilder<'_>, Failure> {
        let asked = step.timeout_s.map(|time| time.within(MAX_TIMEOUT_S, "timeout_s"));
        let retry = self.limits.capped(&step.retry.clone().unwrap_or_else(RetryPolicy::browser));
        Ok(self.context.step(&step.id).retry(retry).timeout(asked.transpose()?.unwrap_or(BROWSER_TIMEOUT)))
    }

    async fn live_browser(&self, n: usize, browser: &BrowserStep, scope: &Scope) -> Result<Found, StepError> {
        let mut saved = Map::new();
        let page = self.page_for(n, scope).await?;
        let done = self.carry_out(&page, browser, scope, &mut saved).await;
        self.pages.judge(&page, done)?;
        self.pages.stands(n);
        Ok(saved)
    }

    pub(super) async fn human(&self, step: &Step, human: &HumanStep, scope: &Scope) -> Result<Value, Failure> {
        let Text(reason) = human.reason.fill(scope, "reason")?;
        let expires_in = match &human.expires_in_s {
            Some(time) => time.fill_optional(scope, "expires_in_s")?,
            None => None,
        };
        let expires_in = expires_in.map(|time: Seconds| time.within(MAX_WAIT_S, "expires_in_s")).transpose();
        let request = GateRequest {
            kind: match human.kind {
                HumanKind::Approval => GateKind::Approval,
                HumanKind::Takeover => GateKind::Takeover,
            },
            reason,
            shown: scope.fill(&human.shown)?,
            expires_in: expires_in?,
        };
        let decision = self.context.gate(&step.id, request).await?;
        if !decision.approved && human.on_reject == OnReject::Fail {
            let failure = Failure::new("rejected", format!("{} said no at `{}`", decision.actor, step.id));
            return Err(failure.with_details(json!({ "actor": decision.actor, "comment": decision.comment })));
        }
        Ok(json!(decision))
    }

    pub(super) async fn sleep(&self, step: &Step, sleep: &SleepStep, scope: &Scope) -> Result<Value, Failure> {
        let time = sleep.seconds.fill(scope, "seconds").and_then(|time| time.within(MAX_WAIT_S, "seconds"));
        self.context.sleep(&step.id, time?).await?;
        Ok(Value::Null)
    }

    pub(super) async fn set(&self, step: &Step, set: &SetStep, scope: &Scope) -> Result<Value, Failure> {
        let values = scope.fill(&Value::Object(set.values.clone()))?;
        self.context.pure(&step.id, || values).await
    }

    pub(super) async fn child(&self, step: &Step, child: &ChildStep, scope: &Scope) -> Result<Value, Failure> {
        let input = match scope.fill(&child.input)? {
            Value::Null => json!({}),
            input => input,
        };
        let (workflow, input) = match (&child.flow, &child.workflow) {
            (Some(flow), _) => ("flow.run", json!({ "workflow_name": flow, "inputs": input })),
            (None, Some(workflow)) => (workflow.as_str(), input),
            (None, None) => {
                let why = "neither `flow` nor `workflow` is given".to_owned();
                return Err(FillError::Shape { field: "child".to_owned(), why }.into());
            }
        };
        let handle = self.context.start_child(&step.id, workflow, input).await?;
        if child.detached {
            return Ok(json!({ "run_id": handle.run_id() }));
        }
        handle.wait(&self.context).await
    }
}

fn http_time(step: &Step, call: &HttpCall) -> Result<Duration, FillError> {
    match step.timeout_s.or(call.timeout_s) {
        Some(time) => time.within(MAX_TIMEOUT_S, "timeout_s"),
        None => Ok(HTTP_TIMEOUT),
    }
}
