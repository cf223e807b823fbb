//! How a step or a run fails, and what that means for what comes next.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Why a run, or a step after its last attempt, failed. Stored, shown, and final.
///
/// Leases lost, cancellation and suspension are not failures: the engine ends a delivery for
/// them without the workflow's code ever seeing it, so no `?` or `match` can swallow them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, thiserror::Error)]
#[error("{message} ({code})")]
pub struct Failure {
    /// A stable `snake_case` word for programs, such as `step_failed` or `platform_refused`.
    pub code: String,
    /// A sentence for people: what happened and what to try.
    pub message: String,
    /// What a program may want to know more; `null` when nothing. Boxed, so that results stay small.
    #[serde(default)]
    pub details: Box<Value>,
}

impl Failure {
    /// A failure with a code for programs and a sentence for people.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into(), details: Box::default() }
    }

    /// Adds details for programs.
    pub fn with_details(mut self, details: Value) -> Self {
        self.details = Box::new(details);
        self
    }
}

/// How one attempt of a step ended when it did not succeed (style, habit 8).
#[derive(Debug, Clone, PartialEq)]
pub enum StepError {
    /// Worth another attempt under the step's [`RetryPolicy`](super::RetryPolicy).
    Retry {
        /// What went wrong.
        failure: Failure,
        /// The earliest time for the next attempt, as asked by the other side (`Retry-After`).
        after: Option<Duration>,
    },
    /// Another attempt would end the same.
    Fail(Failure),
    /// A person has to look: the run waits at a gate, and the step is tried again after it.
    Pause(Failure),
}

impl StepError {
    /// A transient failure.
    pub fn retry(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Retry { failure: Failure::new(code, message), after: None }
    }

    /// A final failure.
    pub fn fail(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self::Fail(Failure::new(code, message))
    }

    /// The failure, whatever is to be done about it.
    pub fn failure(&self) -> &Failure {
        match self {
            Self::Retry { failure, .. } | Self::Fail(failure) | Self::Pause(failure) => failure,
        }
    }
}

impl From<Failure> for StepError {
    fn from(failure: Failure) -> Self {
        Self::Fail(failure)
    }
}
