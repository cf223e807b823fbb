//! A platform asks an account for less (S-070 to S-072), whatever it was asked: a call, a look, or a request that only reads.

use std::time::Duration;

use serde_json::json;

use super::perform::Performance;
use crate::event::{Severity, name};
use crate::workflow::{Context, Failure, Parts, RetryPolicy};

/// The code of failures by which a platform asks an account for less (an API's 429).
pub const THROTTLED: &str = "account_throttled";

/// How long to stay away where the platform gave no time: as long as another attempt would wait.
fn default_pause(attempt: u16) -> Duration {
    let retry = RetryPolicy { max_attempts: RetryPolicy::MAX_ATTEMPTS, ..RetryPolicy::default() };
    let longest = Duration::from_millis(retry.longest_ms);
    retry.delay(attempt, rand::random(), None).unwrap_or(longest)
}

/// Nobody stays away for longer than the longest pause between two attempts, whatever the platform says.
fn bounded(asked: Option<Duration>, attempt: u16) -> Duration {
    asked.unwrap_or_else(|| default_pause(attempt)).min(RetryPolicy::LONGEST)
}

impl Performance<'_> {
    /// How long the platform wants to be left alone, if a failure says so.
    pub(super) fn asked_for(&self, failure: &Failure, after: Option<Duration>) -> Option<Duration> {
        let asked = failure.code == THROTTLED || after.is_some();
        asked.then(|| bounded(after, self.identity.attempt))
    }

    /// The same of what only looks; there it counts for nothing but itself, so it is written down at once.
    pub(super) async fn look_failed(&self, failure: &Failure, after: Option<Duration>) -> Option<Duration> {
        if failure.code != THROTTLED {
            return after;
        }
        let away = bounded(after, self.identity.attempt);
        self.context.session.write(self.throttled(away)).await;
        Some(away)
    }
}

impl Context {
    /// Says that a platform asked an account for less, when something that only reads was refused (`THROTTLED`): nothing is
    /// done for the account for so long, and less at once afterwards. `action_type` is what would have been done next.
    ///
    /// Without a time it is as long as another attempt would wait.
    pub fn throttled(&self, platform: &str, account: &str, action_type: Option<&str>, after: Option<Duration>) {
        let after = bounded(after, 1);
        let part = json!({
            "op": "throttled", "client_id": self.client_id(), "platform": platform, "account_id": account,
            "after_ms": u64::try_from(after.as_millis()).unwrap_or(u64::MAX),
        });
        let mut parts = Parts::default().rare(part);
        if let Some(action_type) = action_type {
            let told = json!({
                "platform": platform, "account_id": account, "action_type": action_type, "rule": "retry_after",
                "until": self.clock().now() + after, "policy_hash": null,
            });
            parts = parts.event(name::RATE_LIMITED, Severity::Warn, &told);
        }
        // With the next record: a step's body may be cut off at any moment, and a record may not.
        self.session.ride(parts);
    }
}
