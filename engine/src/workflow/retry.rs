//! When a failed attempt is tried again: exponential, jittered, bounded, and durable.

use std::time::Duration;

use serde::{Deserialize, Serialize};

/// A retry policy. The delay before attempt `n + 1` is drawn evenly from the upper half of
/// `min(initial * factor^(n-1), longest)` ("equal jitter"), and waiting it out is a durable wait.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; at least 1, at most [`RetryPolicy::MAX_ATTEMPTS`].
    pub max_attempts: u16,
    /// Milliseconds before the second attempt.
    pub initial_ms: u64,
    /// By how much each delay grows.
    pub factor: f64,
    /// The longest delay in milliseconds.
    pub longest_ms: u64,
}

impl Default for RetryPolicy {
    /// The default of provider calls (C-15): 5 attempts, 1 s doubling to 32 s.
    fn default() -> Self {
        Self { max_attempts: 5, initial_ms: 1_000, factor: 2.0, longest_ms: 32_000 }
    }
}

impl RetryPolicy {
    /// No policy may ask for more attempts.
    pub const MAX_ATTEMPTS: u16 = 100;
    /// No policy may wait longer between two attempts.
    pub const LONGEST: Duration = Duration::from_hours(24);

    /// One attempt, no retry.
    pub fn never() -> Self {
        Self { max_attempts: 1, ..Self::default() }
    }

    /// The browser lane's default (B-054): two retries, from one second.
    pub fn browser() -> Self {
        Self { max_attempts: 3, ..Self::default() }
    }

    /// The delay after `failed` attempts, or `None` when there is no next one.
    ///
    /// `random` is drawn by the caller, evenly from 0 to 1; `asked` is the other side's wish and
    /// is never undercut.
    pub fn delay(&self, failed: u16, random: f64, asked: Option<Duration>) -> Option<Duration> {
        if failed >= self.max_attempts.clamp(1, Self::MAX_ATTEMPTS) {
            return None;
        }
        let factor = if self.factor.is_finite() { self.factor.max(1.0) } else { 1.0 };
        let initial = Duration::from_millis(self.initial_ms).as_secs_f64();
        let longest = Duration::from_millis(self.longest_ms).min(Self::LONGEST).as_secs_f64();
        let full = (initial * factor.powi(i32::from(failed.max(1)) - 1)).min(longest);
        let jittered = full.mul_add(0.5, full * 0.5 * random.clamp(0.0, 1.0));
        Some(Duration::from_secs_f64(jittered).max(asked.unwrap_or_default()).min(Self::LONGEST))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_within_their_jitter_and_stop_at_the_cap() {
        let policy = RetryPolicy { max_attempts: 8, initial_ms: 1_000, factor: 2.0, longest_ms: 32_000 };
        for failed in 1..8 {
            let full = f64::from(2_u32.pow(u32::from(failed) - 1)).min(32.0);
            let least = policy.delay(failed, 0.0, None).unwrap().as_secs_f64();
            let most = policy.delay(failed, 1.0, None).unwrap().as_secs_f64();
            assert!((least - full / 2.0).abs() < 1e-6 && (most - full).abs() < 1e-6, "after {failed}");
        }
        assert_eq!(policy.delay(8, 0.5, None), None);
    }

    #[test]
    fn what_the_other_side_asks_for_is_never_undercut() {
        let asked = Duration::from_secs(90);
        assert_eq!(RetryPolicy::default().delay(1, 0.0, Some(asked)), Some(asked));
    }

    #[test]
    fn nonsense_numbers_still_give_a_bounded_delay() {
        let policy = RetryPolicy { max_attempts: 0, initial_ms: u64::MAX, factor: f64::NAN, longest_ms: u64::MAX };
        assert_eq!(policy.delay(1, 0.5, None), None);
        let policy = RetryPolicy { max_attempts: u16::MAX, ..policy };
        assert!(policy.delay(99, 7.0, None).unwrap() <= RetryPolicy::LONGEST);
        assert_eq!(policy.delay(100, 0.0, None), None);
    }
}
