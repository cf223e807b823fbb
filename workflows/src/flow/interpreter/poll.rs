//! Waiting for something that takes long: look, be put away, look again.
//!
//! Each look is a step, and so is each pause, so that a restart forgets none of them; whether there
//! is another look follows from what was recorded, never from the time of a replay.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use fermata_engine::workflow::{Failure, StepError};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Interpreter;
use super::page::Trouble;
use crate::browser::Page;
use crate::flow::document::{BrowserAct, Poll, Step};
use crate::flow::http::Found;
use crate::flow::limits::{MAX_LOOKS, MAX_WAIT_S};
use crate::flow::scope::{FillError, Scope};

/// A step that polls, as each of its looks needs it.
pub(super) struct Polling {
    /// The step's place in the flow.
    pub(super) n: usize,
    pub(super) poll: Poll,
    /// The step's own acts, which follow once the condition holds.
    pub(super) acts: Vec<BrowserAct>,
    pub(super) scope: Scope,
}

/// How often, and for how long.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Rhythm {
    interval: Duration,
    timeout: Duration,
}

/// What one look found, as it is recorded.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Seen {
    /// What the step keeps, once its condition held.
    saved: Option<Found>,
    /// When the look ended.
    at: DateTime<Utc>,
}

impl Rhythm {
    fn of(poll: &Poll, scope: &Scope) -> Result<Self, FillError> {
        let interval = poll.interval_s.fill(scope, "interval_s")?.within(MAX_WAIT_S, "interval_s")?;
        let timeout = poll.timeout_s.fill(scope, "timeout_s")?.within(MAX_WAIT_S, "timeout_s")?;
        if timeout > interval.saturating_mul(MAX_LOOKS) {
            let why = format!("with this timeout_s it asks for more than {MAX_LOOKS} looks");
            return Err(FillError::Shape { field: "interval_s".to_owned(), why });
        }
        Ok(Self { interval, timeout })
    }

    /// How long to pause after a look in vain; `None` when it was the last one.
    fn pause(self, began: DateTime<Utc>, looked: DateTime<Utc>) -> Option<Duration> {
        let timeout = TimeDelta::from_std(self.timeout).unwrap_or(TimeDelta::MAX);
        let left = timeout.checked_sub(&looked.signed_duration_since(began))?.to_std().ok()?;
        (!left.is_zero()).then(|| left.min(self.interval))
    }
}

impl Interpreter {
    /// A browser step that polls: look after look until its condition holds, then its own acts.
    pub(super) async fn poll(&self, step: &Step, polling: Polling) -> Result<Value, Failure> {
        let rhythm = Rhythm::of(&polling.poll, &polling.scope)?;
        // No step of a flow can have these names.
        let (beginning, pause) = (format!("{}.began", step.id), format!("{}.pause", step.id));
        let began = self.context.pure(&beginning, || self.context.clock().now()).await?;
        let kept = Arc::new((self.clone(), polling));
        for look in 1_u32.. {
            let body = |_| {
                let kept = Arc::clone(&kept);
                async move { Box::pin(kept.0.look_in_page(&kept.1)).await }
            };
            let seen: Seen = self.attempts_in_page(step)?.key(look.to_string()).run(body).await?;
            if let Some(saved) = seen.saved {
                self.pages.passed(kept.1.n);
                return Ok(Value::Object(saved));
            }
            match rhythm.pause(began, seen.at) {
                Some(time) => self.context.sleep(&pause, time).await?,
                None => break,
            }
        }
        let message = format!("what `{}` waits for did not come within {} s", step.id, rhythm.timeout.as_secs_f64());
        Err(Failure::new("poll_timeout", message))
    }

    async fn look_in_page(&self, polling: &Polling) -> Result<Seen, StepError> {
        self.limits.check(self.context.clock().now())?;
        let page = self.page_for(polling.n, &polling.scope).await?;
        let saved = self.see_in_page(&page, polling).await;
        let saved = self.pages.judge(&page, saved)?;
        if saved.is_some() {
            self.pages.stands(polling.n);
        }
        Ok(Seen { saved, at: self.context.clock().now() })
    }

    async fn see_in_page(&self, page: &Page, polling: &Polling) -> Result<Option<Found>, Trouble> {
        let Polling { poll, acts, scope, .. } = polling;
        self.all_acts(page, &poll.acts, scope, &mut Map::new()).await?;
        if !page.holds(&poll.until.fill(scope, "until")?).await? {
            return Ok(None);
        }
        let mut saved = Map::new();
        self.all_acts(page, acts, scope, &mut saved).await?;
        Ok(Some(saved))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn rhythm(interval_s: f64, timeout_s: f64) -> Result<Rhythm, FillError> {
        let poll =
            json!({"do": [], "until": {"text": "x"}, "interval_s": interval_s, "timeout_s": "${inputs.longest}"});
        let scope = Scope::default().with("inputs", json!({ "longest": timeout_s }));
        Rhythm::of(&serde_json::from_value(poll).unwrap(), &scope)
    }

    #[test]
    fn a_poll_looks_at_its_interval_and_once_more_at_its_end() {
        let (rhythm, began) = (rhythm(15.0, 40.0).unwrap(), DateTime::UNIX_EPOCH);
        for (looked_s, pause_s) in [(0, Some(15)), (20, Some(15)), (30, Some(10)), (40, None), (90, None)] {
            let pause = rhythm.pause(began, began + TimeDelta::seconds(looked_s));
            assert_eq!(pause, pause_s.map(Duration::from_secs), "after {looked_s} s");
        }
    }

    #[test]
    fn looks_are_bounded() {
        assert!(rhythm(1.0, f64::from(MAX_LOOKS)).is_ok());
        assert!(rhythm(1.0, f64::from(MAX_LOOKS) + 1.0).is_err());
        assert!(rhythm(0.0, 1.0).is_err());
        assert_eq!(rhythm(0.0, 0.0).unwrap().pause(DateTime::UNIX_EPOCH, DateTime::UNIX_EPOCH), None);
    }
}
