//! Steps whose value is used and never stored: what a login gives, for one.
//!
//! The step is as durable as any other: attempts, retries, an end that everybody can see. Only
//! its value is not in the record. Where a later delivery needs it, the body is run again then
//! and there, and a delivery that does not need it leaves it alone.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use tokio::sync::OnceCell;

use super::step::within;
use super::{Attempt, Context, Failure, RetryPolicy, StepBuilder, StepError};
use crate::document;
use crate::step::Kind;

/// How often the body is run again for its value before whoever needs it is told to come later.
const TRIES: u16 = 3;
/// The pauses between these tries: in memory, while the run is held.
const PAUSES: RetryPolicy = RetryPolicy { max_attempts: TRIES, initial_ms: 200, factor: 4.0, longest_ms: 2_000 };

type Again<T> = dyn Fn(Attempt) -> Pin<Box<dyn Future<Output = Result<T, StepError>> + Send>> + Send + Sync;

/// The value of a step that is done and whose value is in no record; cheap to clone.
///
/// It lives in the memory of one delivery. It cannot be serialised, and its `Debug` is silent.
pub struct Unrecorded<T> {
    inner: Arc<Inner<T>>,
}

struct Inner<T> {
    context: Context,
    key: String,
    timeout: Option<Duration>,
    body: Box<Again<T>>,
    value: OnceCell<T>,
}

impl<T> Clone for Unrecorded<T> {
    fn clone(&self) -> Self {
        Self { inner: Arc::clone(&self.inner) }
    }
}

impl<T> fmt::Debug for Unrecorded<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Unrecorded({})", self.inner.key)
    }
}

impl StepBuilder<'_> {
    /// Runs the body like [`StepBuilder::run`], and stores `shown` in place of its value.
    ///
    /// The body gets its attempt, and one with the number 0 when the step is done and it is run
    /// again for its value alone. It must be free to be repeated at any time. What it fails with
    /// is stored and shown, so no failure may tell the value.
    pub async fn unrecorded<T, F, Fut>(self, shown: &Value, body: F) -> Result<Unrecorded<T>, Failure>
    where
        T: Send + Sync + 'static,
        F: Fn(Attempt) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<T, StepError>> + Send + 'static,
    {
        document::check(shown).map_err(|error| Failure::new("output_unstorable", error.to_string()))?;
        let session = &self.context.session;
        let (begun, _flight) =
            session.begin(&self.name, self.key.as_deref(), Kind::Unrecorded, &self.input_hash).await?;
        let inner = Inner {
            context: self.context.clone(),
            key: begun.key.clone(),
            timeout: self.timeout,
            body: Box::new(move |attempt| Box::pin(body(attempt))),
            value: OnceCell::new(),
        };
        if begun.output.is_none() {
            let first = self.attempts(begun, Kind::Unrecorded, &inner.body, |_| Ok(document::raw(shown))).await?;
            // Nobody else has seen the cell, so it is empty.
            drop(inner.value.set(first));
        }
        Ok(Unrecorded { inner: Arc::new(inner) })
    }
}

impl<T: Send + Sync> Unrecorded<T> {
    /// The value; in a delivery that has not got it the body is run again, once for all who ask.
    ///
    /// For bodies of steps and for an effect's look and preparation: there the error is an attempt
    /// that failed, and what comes next is durable. Not for an effect's call, whose time is short.
    pub async fn value(&self) -> Result<&T, StepError> {
        let inner = &*self.inner;
        let _active = inner.context.session.active();
        inner.value.get_or_try_init(|| inner.again()).await
    }
}

impl<T> Inner<T> {
    async fn again(&self) -> Result<T, StepError> {
        let session = &self.context.session;
        let began = session.clock().now();
        let attempt = session.trace.again(&self.key, began);
        let made = self.try_again(attempt).await;
        let error = made.as_ref().err().map(|error| error.failure().code.as_str());
        session.trace.attempt_ended(&self.key, attempt, began, error);
        made
    }

    async fn try_again(&self, attempt: Attempt) -> Result<T, StepError> {
        let mut tried = 0;
        loop {
            self.context.session.cleared().await;
            let error = match within(self.timeout, (self.body)(attempt)).await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            tried += 1;
            let StepError::Retry { after, .. } = &error else { return Err(error) };
            // A longer pause than ours is asked of the record, not waited out in memory.
            let asked = after.is_some_and(|after| after.as_millis() > u128::from(PAUSES.longest_ms));
            match PAUSES.delay(tried, rand::random(), *after).filter(|_| !asked) {
                Some(pause) => self.context.clock().wait(pause).await,
                None => return Err(error),
            }
        }
    }
}
