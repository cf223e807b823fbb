//! Carries out one run of a flow: from step to step, each durable once it is done.
//!
//! Everything that is decided between steps comes from the document, the inputs and recorded
//! results, so that a replay decides the same. Owns no retry and no waiting of its own.

mod acts;
mod download;
pub(super) mod effect;
mod page;
mod poll;
mod secrets;
mod steps;

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fermata_engine::workflow::{Context, Failure, RetryPolicy, StepError};
use serde_json::{Map, Value, json};

use super::Flow;
use super::document::{Action, Step};
use super::flow_run::Policy;
use super::http::HttpLane;
use super::scope::{FillError, Scope};
use crate::browser::BrowserLane;
use page::Pages;
use secrets::Secrets;

/// What a run needs of the installation.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) http: HttpLane,
    pub(crate) browser: Option<BrowserLane>,
    pub(crate) sites: Value,
}

/// One run of a flow in this process.
#[derive(Clone)]
pub(crate) struct Interpreter {
    context: Context,
    flow: Arc<Flow>,
    tools: Arc<Tools>,
    pages: Arc<Pages>,
    secrets: Secrets,
    limits: Limits,
}

/// What the command's policy allows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    max_attempts: Option<u16>,
    ends_at: Option<DateTime<Utc>>,
}

impl Limits {
    pub(crate) fn of(policy: &Policy, started_at: DateTime<Utc>) -> Self {
        let longest = policy.max_duration_s.and_then(|seconds| TimeDelta::try_seconds(i64::from(seconds)));
        Self {
            max_attempts: policy.max_retries.map(|retries| retries.saturating_add(1)),
            ends_at: longest.and_then(|longest| started_at.checked_add_signed(longest)),
        }
    }

    fn capped(self, retry: &RetryPolicy) -> RetryPolicy {
        let most = self.max_attempts.unwrap_or(retry.max_attempts);
        RetryPolicy { max_attempts: retry.max_attempts.min(most), ..retry.clone() }
    }

    /// Asked at the start of live work only: what is recorded stays done.
    fn check(self, now: DateTime<Utc>) -> Result<(), StepError> {
        match self.ends_at {
            Some(ends_at) if now >= ends_at => {
                Err(StepError::fail("max_duration_exceeded", "the run took longer than its policy allows"))
            }
            _ => Ok(()),
        }
    }
}

impl Interpreter {
    pub(crate) fn new(context: Context, flow: Arc<Flow>, tools: Arc<Tools>, limits: Limits) -> Self {
        Self { context, flow, tools, pages: Arc::default(), secrets: Secrets::default(), limits }
    }

    /// Carries the run to its end and closes its page.
    pub(crate) async fn run(&self, inputs: Value) -> Result<Value, Failure> {
        let result = Box::pin(self.walk(inputs)).await;
        self.pages.close().await;
        result
    }

    async fn walk(&self, inputs: Value) -> Result<Value, Failure> {
        let mut scope = run_scope(&self.context).with("inputs", inputs).with("env", self.tools.sites.clone());
        let mut run = self.clone();
        for (n, step) in self.flow.document().steps.iter().enumerate() {
            let result = if !is_due(step, &scope)? {
                Value::Null
            } else if let Action::Http(call) = &step.action
                && !call.record
            {
                let value = Box::pin(run.unrecorded(step, call, &scope)).await?;
                run.secrets.insert(step.id.clone(), value);
                // No template but those of `opened` finds anything here.
                Value::Null
            } else {
                Box::pin(run.step(n, step, &scope)).await?
            };
            scope.set_step(&step.id, result);
        }
        match &self.flow.document().outputs {
            Value::Null => Ok(Value::Object(Map::new())),
            outputs => Ok(scope.fill(outputs)?),
        }
    }

    async fn step(&self, n: usize, step: &Step, scope: &Scope) -> Result<Value, Failure> {
        match &step.action {
            Action::Http(call) => self.http(step, call, scope).await,
            Action::Browser(browser) => self.browser(n, step, browser, scope).await,
            Action::Effect(effect) => self.effect(n, step, effect, scope).await,
            Action::Human(human) => self.human(step, human, scope).await,
            Action::Sleep(sleep) => self.sleep(step, sleep, scope).await,
            Action::WaitSignal(signal) => self.context.wait_signal(&signal.name).await,
            Action::Set(set) => self.set(step, set, scope).await,
            Action::Child(child) => self.child(step, child, scope).await,
        }
    }
}

/// What templates can name before there are inputs.
pub(crate) fn run_scope(context: &Context) -> Scope {
    let run = json!({ "id": context.run_id(), "client": context.client_id() });
    Scope::default().with("run", run)
}

fn is_due(step: &Step, scope: &Scope) -> Result<bool, Failure> {
    let Some(when) = &step.when else {
        return Ok(true);
    };
    Ok(when.is.holds(&scope.fill(&when.value)?))
}

/// A template that could not be filled ends a run: the same values would fail again.
impl From<FillError> for Failure {
    fn from(error: FillError) -> Self {
        Self::new("template_failed", error.to_string())
    }
}

impl From<FillError> for StepError {
    fn from(error: FillError) -> Self {
        Self::Fail(error.into())
    }
}

/// A duration as whole milliseconds.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_caps_retries_and_duration() {
        let start = DateTime::UNIX_EPOCH;
        let limits = Limits::of(&Policy { max_retries: Some(1), max_duration_s: Some(60) }, start);
        assert_eq!(limits.capped(&RetryPolicy::default()).max_attempts, 2);
        assert!(limits.check(start + TimeDelta::seconds(59)).is_ok());
        assert!(limits.check(start + TimeDelta::seconds(60)).is_err());
    }

    #[test]
    fn without_a_policy_nothing_is_capped() {
        let limits = Limits::of(&Policy::default(), DateTime::UNIX_EPOCH);
        assert_eq!(limits.capped(&RetryPolicy::default()), RetryPolicy::default());
        assert!(limits.check(DateTime::<Utc>::MAX_UTC).is_ok());
    }
}
