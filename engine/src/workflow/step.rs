//! Steps: run once, kept for ever, tried again by policy.

use std::future::Future;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::context::{decode, scoped};
use super::parts::Parts;
use super::{Context, Failure, RetryPolicy, StepError};
use crate::document;
use crate::event::{Severity, name};
use crate::rigged::crash_point;
use crate::step::{Begun, Kind};
use crate::store::record::StepRow;
use crate::trace::TraceContext;
use crate::wait::{GateKind, GateRequest, Reason, Wait};

/// A step about to run. Without options it runs once per checkpoint under the default policy.
#[must_use = "a step does nothing until `run`"]
pub struct StepBuilder<'a> {
    pub(super) context: &'a Context,
    pub(super) name: String,
    pub(super) key: Option<String>,
    pub(super) input_hash: String,
    pub(super) retry: RetryPolicy,
    pub(super) timeout: Option<Duration>,
}

/// One attempt at a step, as its body sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attempt {
    /// Its number, from 1; 0 when the body of an unrecorded step is run again for its value alone.
    pub number: u16,
    /// Its place in the command's trace, to be sent along with requests (`traceparent`).
    pub trace: TraceContext,
}

/// A failed attempt, as its row keeps it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct FailedAttempt {
    pub(crate) failure: Failure,
    /// When the next attempt may begin; `None`: there is none.
    pub(crate) retry_at: Option<DateTime<Utc>>,
    /// A person has to look first.
    #[serde(default)]
    pub(crate) pause: bool,
}

impl<'a> StepBuilder<'a> {
    pub(crate) fn new(context: &'a Context, name: &str) -> Self {
        Self {
            context,
            name: scoped(context, name),
            key: None,
            input_hash: String::new(),
            retry: RetryPolicy::default(),
            timeout: None,
        }
    }

    /// An explicit key: needed side by side and in loops over data.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = Some(key.into());
        self
    }

    /// What the step depends on: another input under the same key is a mismatch on replay.
    pub fn input(mut self, input: &impl Serialize) -> Self {
        self.input_hash = document::fingerprint(&serde_json::to_value(input).unwrap_or(Value::Null));
        self
    }

    /// When failed attempts are tried again.
    pub fn retry(mut self, retry: RetryPolicy) -> Self {
        self.retry = retry;
        self
    }

    /// The longest that one attempt may take; then it counts as a transient failure.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Runs the body unless its checkpoint exists. Its result is durable before anything else of this run happens that
    /// can be seen: another step's body, an effect, a wait, an answer. A run that ends or waits next keeps it in the same commit.
    ///
    /// The body gets its attempt, and must not change the outside world in
    /// a way that counts: that is what `Context::effect` is for.
    pub async fn run<T, F, Fut>(self, body: F) -> Result<T, Failure>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, StepError>>,
    {
        let session = &self.context.session;
        let (begun, _flight) = session.begin(&self.name, self.key.as_deref(), Kind::Step, &self.input_hash).await?;
        match begun.output {
            Some(output) => decode(output),
            None => self.attempts(begun, Kind::Step, body, storable).await,
        }
    }

    /// Attempt after attempt until one succeeds and what `shown` makes of it is durable.
    pub(super) async fn attempts<T, F, Fut>(
        &self,
        begun: Begun,
        kind: Kind,
        body: F,
        shown: impl Fn(&T) -> Result<document::Raw, Failure>,
    ) -> Result<T, Failure>
    where
        F: Fn(Attempt) -> Fut,
        Fut: Future<Output = Result<T, StepError>>,
    {
        let session = &self.context.session;
        let mut failed: Vec<FailedAttempt> =
            begun.failed.into_iter().filter_map(|row| serde_json::from_value(row).ok()).collect();
        loop {
            if let Some(last) = failed.last() {
                self.before_next(&begun.key, failed.len(), last).await?;
            }
            let active = session.active();
            session.cleared().await;
            let number = u16::try_from(failed.len() + 1).unwrap_or(u16::MAX);
            let attempt = session.trace.attempt(&begun.key, number);
            let started_at = session.clock().now();
            let row = |output, error| StepRow {
                key: begun.key.clone(),
                attempt: number,
                kind: kind.into(),
                beside: begun.beside,
                input_hash: self.input_hash.clone(),
                output,
                error,
                started_at,
            };
            crash_point!("step-before-body");
            let error = match within(self.timeout, body(attempt)).await {
                Ok(value) => match shown(&value) {
                    Ok(output) => {
                        crash_point!("step-after-body");
                        session.step_ended(Parts::default().step(row(Some(output), None))).await;
                        session.trace.attempt_ended(&begun.key, attempt, started_at, None);
                        return Ok(value);
                    }
                    Err(failure) => StepError::Fail(failure),
                },
                Err(error) => error,
            };
            let outcome = self.judge(&error, number);
            session.step_ended(failure_parts(row(None, Some(document::raw(&outcome))), &outcome)).await;
            session.trace.attempt_ended(&begun.key, attempt, started_at, Some(&outcome.failure.code));
            drop(active);
            failed.push(outcome);
        }
    }

    fn judge(&self, error: &StepError, attempt: u16) -> FailedAttempt {
        let session = &self.context.session;
        let failure = error.failure().clone();
        match error {
            StepError::Fail(_) => FailedAttempt { failure, retry_at: None, pause: false },
            StepError::Pause(_) => FailedAttempt { failure, retry_at: Some(session.clock().now()), pause: true },
            StepError::Retry { after, .. } => {
                let delay = self.retry.delay(attempt, rand::random(), *after);
                let retry_at = delay.map(|delay| session.clock().now() + delay);
                FailedAttempt { failure, retry_at, pause: false }
            }
        }
    }

    /// Waits out the time, or the person, between two attempts.
    async fn before_next(&self, key: &str, attempts: usize, last: &FailedAttempt) -> Result<(), Failure> {
        let session = &self.context.session;
        let Some(retry_at) = last.retry_at else { return Err(last.failure.clone()) };
        if last.pause {
            let request = GateRequest {
                kind: GateKind::Takeover,
                reason: last.failure.code.clone(),
                shown: json!({"step": key, "failure": last.failure}),
                expires_in: None,
            };
            let decision = self.context.gate_at(&format!("{key}@pause{attempts}"), request).await?;
            return if decision.approved { Ok(()) } else { Err(last.failure.clone()) };
        }
        while session.clock().now() < retry_at {
            session.wait(Wait::new(Reason::Retry, Some(retry_at))).await;
        }
        Ok(())
    }
}

/// One attempt, cut off after its time.
pub(super) async fn within<T>(
    timeout: Option<Duration>,
    attempt: impl Future<Output = Result<T, StepError>>,
) -> Result<T, StepError> {
    match timeout {
        None => attempt.await,
        Some(timeout) => tokio::time::timeout(timeout, attempt).await.unwrap_or_else(|_| {
            Err(StepError::retry("step_timeout", format!("no result within {} s", timeout.as_secs_f64())))
        }),
    }
}

fn storable<T: Serialize>(value: &T) -> Result<document::Raw, Failure> {
    let raw = serde_json::value::to_raw_value(value)
        .map_err(|error| Failure::new("output_not_json", format!("the step's result is not JSON: {error}")))?;
    // Escapes show as `\u0000` in compact text, so most outputs need no second look.
    if raw.get().len() <= document::MAX_DOCUMENT_BYTES && !raw.get().contains("\\u0000") {
        return Ok(raw);
    }
    let value: Value = serde_json::from_str(raw.get()).unwrap_or(Value::Null);
    document::check(&value).map_err(|error| Failure::new("output_unstorable", error.to_string()))?;
    Ok(raw)
}

pub(crate) fn failure_parts(row: StepRow, outcome: &FailedAttempt) -> Parts {
    let data = json!({
        "key": row.key, "attempt": row.attempt, "code": outcome.failure.code,
        "message": outcome.failure.message, "retry_at": outcome.retry_at,
    });
    let severity = if outcome.retry_at.is_some() { Severity::Warn } else { Severity::Error };
    let parts = Parts { steps: vec![row], ..Parts::default() };
    parts.event(name::STEP_FAILED, severity, &data)
}
