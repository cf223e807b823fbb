//! An effect of a flow as the engine knows it: looked for, made ready, called once.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use fermata_engine::effect::{
    Absence, CallOutcome, Effect, EffectPermit, EffectSpec, Evidence, Fingerprint, Lane, Look, Prepared, Sighting,
};
use fermata_engine::workflow::{Failure, StepError};
use serde_json::{Map, Value, json};

use super::page::{Trouble, failure_of};
use super::{Interpreter, millis};
use crate::browser::{BrowserError, Page};
use crate::flow::document::{BrowserCall, BrowserLook, Call, EffectStep, HttpCall, HttpLook, LookFor, Readings, Step};
use crate::flow::http::{Answered, Request, call_outcome, identified, sighting};
use crate::flow::late::{Seconds, Text};
use crate::flow::limits::{CALL_TIMEOUT_S, MAX_TIMEOUT_S, MAX_VISIBLE_WITHIN_S, READY_TIMEOUT};
use crate::flow::scope::{FillError, Scope};

/// What the page of a call must have left, after it was clicked, to be read for a receipt.
const RECEIPT_TIME: Duration = Duration::from_secs(2);

impl Interpreter {
    pub(super) async fn effect(
        &self,
        n: usize,
        step: &Step,
        effect: &EffectStep,
        scope: &Scope,
    ) -> Result<Value, Failure> {
        let spec = spec(self, effect, scope)?;
        let effect = FlowEffect { run: self.clone(), n, effect: effect.clone(), spec, scope: scope.clone() };
        Box::pin(self.context.effect(&step.id, &effect)).await
    }
}

struct FlowEffect {
    run: Interpreter,
    n: usize,
    effect: EffectStep,
    spec: EffectSpec,
    scope: Scope,
}

fn spec(run: &Interpreter, effect: &EffectStep, scope: &Scope) -> Result<EffectSpec, FillError> {
    let call_time = match &effect.call_timeout_s {
        Some(time) => time.fill_optional(scope, "call_timeout_s")?,
        None => None,
    };
    let visible_within = match &effect.visible_within_s {
        Some(time) => time.fill_optional(scope, "visible_within_s")?,
        None => None,
    };
    let call_time = call_time.unwrap_or(Seconds(CALL_TIMEOUT_S)).within(MAX_TIMEOUT_S, "call_timeout_s")?;
    let visible_within = visible_within.unwrap_or(Seconds(0.0)).within(MAX_VISIBLE_WITHIN_S, "visible_within_s")?;
    let flag = |flag: &Option<_>, name| match flag {
        Some(flag) => crate::flow::late::Late::<bool>::fill_optional(flag, scope, name),
        None => Ok(None),
    };
    let has_look = effect.look.is_some();
    Ok(EffectSpec {
        action_type: effect.action_type.clone(),
        platform: run.flow.document().platform.clone(),
        account_id: effect.account.fill(scope, "account")?.0,
        lane: lane(effect),
        payload: scope.fill(&effect.payload)?,
        dedupe: match &effect.dedupe {
            Some(dedupe) => dedupe.fill_optional(scope, "dedupe")?.map(|Text(text)| text),
            None => None,
        },
        honours_keys: flag(&effect.honours_keys, "honours_keys")?.unwrap_or(false),
        call_timeout_ms: millis(call_time).max(1),
        visible_within_ms: millis(visible_within),
        absence: match &effect.absence {
            Some(absence) if has_look => absence.fill(scope, "absence")?,
            _ => Absence::Inconclusive,
        },
        look_first: has_look && flag(&effect.look_first, "look_first")?.unwrap_or(true),
    })
}

/// How the platform is reached by an effect.
pub(in crate::flow) fn lane(effect: &EffectStep) -> Lane {
    match (&effect.call, &effect.look) {
        (Call::Http(_), None | Some(LookFor::Http(_))) => Lane::Api,
        (Call::Browser(_), None | Some(LookFor::Browser(_))) => Lane::Browser,
        _ => Lane::Hybrid,
    }
}

#[async_trait]
impl Effect for FlowEffect {
    fn spec(&self) -> EffectSpec {
        self.spec.clone()
    }

    async fn identity(&self, look: &Look) -> Result<Option<Fingerprint>, StepError> {
        let Some(request) = &self.effect.identity else { return Ok(None) };
        self.run.limits.check(look.now)?;
        let answer = self.read(request, &self.keyed(&look.idempotency_key), look).await?;
        identified(request, answer).map(Some)
    }

    async fn look(&self, look: &Look) -> Result<Sighting, StepError> {
        let scope = self.keyed(&look.idempotency_key);
        match &self.effect.look {
            None => Ok(Sighting::Blind),
            Some(LookFor::Http(http)) => self.look_by_request(http, &scope, look).await,
            Some(LookFor::Browser(browser)) => Box::pin(self.look_at_page(browser, &scope)).await,
        }
    }

    async fn prepare(&self, look: &Look) -> Result<Prepared, StepError> {
        self.run.limits.check(look.now)?;
        let scope = self.keyed(&look.idempotency_key);
        match &self.effect.call {
            // A request that cannot be made is found out before anything is recorded as attempted.
            // It is what is sent, so that the call itself waits for nothing but its answer.
            Call::Http(call) => {
                let opened = self.run.opened_for(call, &scope).await?;
                match Request::filled(call, &scope, &opened) {
                    Ok(request) => Ok(Box::new(request)),
                    Err(error) => Err(StepError::fail("request_invalid", error.to_string())),
                }
            }
            Call::Browser(call) => {
                call.click.fill(&scope, "click")?;
                call.confirm.fill(&scope, "confirm")?;
                let page = Box::pin(self.run.page_for(self.n, &scope)).await?;
                let acts = Box::pin(self.run.all_acts(&page, &self.effect.prepare, &scope, &mut Map::new())).await;
                self.run.pages.judge(&page, acts)?;
                Ok(Box::new(page))
            }
        }
    }

    async fn call(&self, permit: EffectPermit, prepared: Prepared) -> CallOutcome {
        match &self.effect.call {
            Call::Http(call) => match prepared.downcast::<Request>() {
                Ok(request) => self.request(call, *request, &permit).await,
                Err(_) => not_sent("no_request", "there was no request to send", true),
            },
            Call::Browser(call) => match prepared.downcast::<Arc<Page>>() {
                Ok(page) => Box::pin(self.click(call, &permit, &page)).await,
                Err(_) => not_sent("no_page", "there was no page to click in", true),
            },
        }
    }

    async fn surface(&self, look: &Look, permalink: &str) -> Result<Option<Evidence>, StepError> {
        let Some(surface) = &self.effect.surface else { return Ok(None) };
        let effect = json!({ "key": look.idempotency_key, "permalink": permalink });
        let scope = self.scope.clone().with("effect", effect);
        match self.look_by_request(surface, &scope, look).await? {
            Sighting::Present(seen) => Ok(Some(seen.evidence)),
            Sighting::Absent | Sighting::Blind => Ok(None),
        }
    }
}

impl FlowEffect {
    async fn look_by_request(&self, http: &HttpLook, scope: &Scope, look: &Look) -> Result<Sighting, StepError> {
        sighting(http, self.read(&http.request, scope, look).await?)
    }

    /// Sends a request that changes nothing.
    async fn read(&self, call: &HttpCall, scope: &Scope, look: &Look) -> Result<Answered, StepError> {
        let opened = self.run.opened_for(call, scope).await?;
        Ok(match Request::filled(call, scope, &opened) {
            Ok(request) => self.run.tools.http.read(request.sent_by(&look.fence, look.trace)).await,
            Err(error) => Err(error),
        })
    }

    fn keyed(&self, key: &str) -> Scope {
        self.scope.clone().with("effect", json!({ "key": key }))
    }

    fn time_left(&self, permit: &EffectPermit) -> Duration {
        permit.time_left(self.run.context.clock().monotonic())
    }

    async fn request(&self, call: &HttpCall, request: Request, permit: &EffectPermit) -> CallOutcome {
        let left = self.time_left(permit);
        if left.is_zero() {
            return not_sent("call_too_late", "the call's time was over before it began", true);
        }
        let request = request.within(left).keyed(permit.idempotency_key()).sent_by(&permit.fence(), permit.trace());
        let answer = self.run.tools.http.send(request).await;
        call_outcome(call, self.spec.honours_keys, answer)
    }

    async fn look_at_page(&self, look: &BrowserLook, scope: &Scope) -> Result<Sighting, StepError> {
        let page = self.run.page_for(self.n, scope).await?;
        let seen = self.see(&page, look, scope).await;
        self.run.pages.judge(&page, seen)
    }

    async fn see(&self, page: &Page, look: &BrowserLook, scope: &Scope) -> Result<Sighting, Trouble> {
        self.run.all_acts(page, &look.acts, scope, &mut Map::new()).await?;
        if let Some(ready) = &look.ready {
            page.wait(&ready.fill(scope, "ready")?, READY_TIMEOUT).await?;
        }
        if !page.holds(&look.present.fill(scope, "present")?).await? {
            return Ok(Sighting::Absent);
        }
        Ok(Sighting::Present(self.receipt(page, &look.receipt, scope).await?.into()))
    }

    async fn receipt(&self, page: &Page, readings: &Readings, scope: &Scope) -> Result<Value, Trouble> {
        let mut receipt = Map::new();
        for (name, reading) in readings {
            let text = self.run.read(page, &reading.target, &reading.what, scope).await?;
            receipt.insert(name.clone(), Value::String(text));
        }
        Ok(Value::Object(receipt))
    }

    /// One click. After it was sent, nothing but seeing its confirmation says that it was done.
    async fn click(&self, call: &BrowserCall, permit: &EffectPermit, page: &Arc<Page>) -> CallOutcome {
        let scope = self.keyed(permit.idempotency_key());
        let (target, confirm) = match (call.click.fill(&scope, "click"), call.confirm.fill(&scope, "confirm")) {
            (Ok(target), Ok(confirm)) => (target, confirm),
            (Err(error), _) | (_, Err(error)) => {
                return not_sent("template_failed", &error.to_string(), false);
            }
        };
        let left = self.time_left(permit);
        if left.is_zero() {
            return not_sent("call_too_late", "the call's time was over before it began", true);
        }
        // Until it is clear how the click ended nobody else gets this page, not even when this
        // call is cut off in the middle.
        let standing = self.run.pages.take(page);
        page.set_deadline(Some(permit.call_deadline()));
        let outcome = match tokio::time::timeout(left, page.click_confirm(&target)).await {
            Err(_) => {
                CallOutcome::Ambiguous(Failure::new("call_timeout", "the click was not answered in the call's time"))
            }
            Ok(Err(error)) => click_failed(&error),
            Ok(Ok(())) => match page.wait(&confirm, self.time_left(permit)).await {
                Ok(()) => CallOutcome::Done(self.receipt_in_time(page, call, &scope, permit).await.into()),
                Err(error) => CallOutcome::Ambiguous(failure_of(&error)),
            },
        };
        if matches!(outcome, CallOutcome::Done(_)) {
            self.run.pages.put_back(page, standing);
        }
        outcome
    }

    /// What is done is done: a receipt that cannot be read in time does not make it doubtful.
    async fn receipt_in_time(&self, page: &Page, call: &BrowserCall, scope: &Scope, permit: &EffectPermit) -> Value {
        let time = RECEIPT_TIME.min(self.time_left(permit));
        let read = tokio::time::timeout(time, self.receipt(page, &call.receipt, scope)).await;
        if let Ok(Ok(receipt)) = read {
            return receipt;
        }
        tracing::warn!(run.id = %self.run.context.run_id(), action.id = %permit.action_id(),
            "action {} is confirmed, and its receipt could not be read", permit.action_id());
        json!({})
    }
}

/// Only a lost answer leaves it open whether the click was made.
fn click_failed(error: &BrowserError) -> CallOutcome {
    let failure = failure_of(error);
    match error {
        BrowserError::AnswerLost { .. } => CallOutcome::Ambiguous(failure),
        BrowserError::CssOnly { .. } | BrowserError::Unusable { .. } => {
            CallOutcome::Refused { failure, retry: false, after: None }
        }
        _ => CallOutcome::Refused { failure, retry: true, after: None },
    }
}

fn not_sent(code: &str, message: &str, retry: bool) -> CallOutcome {
    CallOutcome::Refused { failure: Failure::new(code, message), retry, after: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_lost_answer_leaves_a_click_open() {
        let lost = BrowserError::AnswerLost { why: "cut".into() };
        assert!(matches!(click_failed(&lost), CallOutcome::Ambiguous(_)));
        let target = || "button".to_owned();
        for (error, again) in [
            (BrowserError::NotFound { target: target() }, true),
            (BrowserError::Ambiguous { target: target(), count: 2 }, true),
            (BrowserError::NotActionable { target: target(), why: "covered".into() }, true),
            (BrowserError::Fenced, true),
            (BrowserError::DeadlinePassed, true),
            (BrowserError::SessionLost, true),
            (BrowserError::CssOnly { target: target() }, false),
        ] {
            let outcome = click_failed(&error);
            assert!(matches!(outcome, CallOutcome::Refused { retry, .. } if retry == again), "{error}");
        }
    }
}
