//! How webhooks go wrong: the [`Odds`] a test sets, and the [`Fate`] that they give one webhook.
//!
//! A fate is a pure function of the odds' seed and the webhook's id. Whoever verifies signatures,
//! allows for no more than a few minutes between `webhook-timestamp` and now, and knows the ids it
//! has seen, gets each event exactly once whatever the odds, but for those that are dropped.

use std::time::Duration;

use chrono::TimeDelta;
use serde::{Deserialize, Serialize};

use crate::conduct::MAX_DELAY_MS;
use crate::lot::{Lot, Span, checked_chance};

/// By how much a wrong timestamp is wrong, one way or the other: more than any receiver allows for.
const WRONG_BY: TimeDelta = TimeDelta::hours(1);

/// How likely each fault of webhooks is, from 0 to 1; the default is none.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Odds {
    /// What makes one run differ from another.
    pub(crate) seed: u64,
    /// Sent twice at once, under the same id.
    pub(crate) duplicate: f64,
    /// How long each webhook is late.
    pub(crate) late_ms: Span,
    /// Held until a later one of the same endpoint has gone, or in vain for a few seconds.
    pub(crate) reorder: f64,
    /// A forgery under the same id is sent before the true one.
    pub(crate) forge: f64,
    /// Sent again once it was accepted, letter for letter: the timestamp is the old one.
    pub(crate) replay: f64,
    /// How long after it was accepted.
    pub(crate) replay_after_ms: Span,
    /// Never sent.
    pub(crate) drop: f64,
    /// The first attempt is signed as of an hour ago, or of an hour from now; the next ones are right.
    pub(crate) wrong_timestamp: f64,
}

impl Default for Odds {
    fn default() -> Self {
        Self {
            seed: 0,
            duplicate: 0.0,
            late_ms: Span::default(),
            reorder: 0.0,
            forge: 0.0,
            replay: 0.0,
            replay_after_ms: Span([1_000, 3_000]),
            drop: 0.0,
            wrong_timestamp: 0.0,
        }
    }
}

/// How a webhook is forged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Forgery {
    /// The body is true; whoever signed it does not know the secret.
    Signature,
    /// The signature is true, of another body.
    Body,
}

/// What is to happen to one webhook.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fate {
    /// Whether it is never sent; nothing else happens then.
    pub(crate) drop: bool,
    /// What is sent in its name first.
    pub(crate) forgery: Option<Forgery>,
    /// How late it is.
    pub(crate) late: Duration,
    /// Whether it waits for a later one.
    pub(crate) reorder: bool,
    /// By how much the timestamp of the first attempt is wrong.
    pub(crate) wrong_by: Option<TimeDelta>,
    /// Whether it is sent twice.
    pub(crate) duplicate: bool,
    /// How long after it was accepted it is sent again.
    pub(crate) replay_after: Option<Duration>,
}

impl Odds {
    /// Refuses numbers that could not be meant.
    pub(crate) fn checked(self) -> Result<Self, String> {
        checked_chance("duplicate", self.duplicate)?;
        checked_chance("reorder", self.reorder)?;
        checked_chance("forge", self.forge)?;
        checked_chance("replay", self.replay)?;
        checked_chance("drop", self.drop)?;
        checked_chance("wrong_timestamp", self.wrong_timestamp)?;
        self.late_ms.checked("late_ms", MAX_DELAY_MS)?;
        self.replay_after_ms.checked("replay_after_ms", MAX_DELAY_MS)?;
        Ok(self)
    }

    /// What happens to the webhook with this id.
    pub(crate) fn fate(&self, id: &str) -> Fate {
        let lot = Lot { seed: self.seed, subject: id, n: 1 };
        let forgery = lot.pick("forgery", &[Forgery::Signature, Forgery::Body]);
        let wrong_by = lot.pick("wrong_by", &[-WRONG_BY, WRONG_BY]);
        let replay_after = Duration::from_millis(lot.within("replay_after_ms", self.replay_after_ms));
        Fate {
            drop: lot.happens("drop", self.drop),
            forgery: forgery.filter(|_| lot.happens("forge", self.forge)),
            late: Duration::from_millis(lot.within("late_ms", self.late_ms)),
            reorder: lot.happens("reorder", self.reorder),
            wrong_by: wrong_by.filter(|_| lot.happens("wrong_timestamp", self.wrong_timestamp)),
            duplicate: lot.happens("duplicate", self.duplicate),
            replay_after: lot.happens("replay", self.replay).then_some(replay_after),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(seed: u64) -> Vec<Fate> {
        let odds = Odds { seed, duplicate: 0.5, forge: 0.5, drop: 0.1, late_ms: Span([0, 500]), ..Odds::default() };
        (0..100).map(|n| odds.fate(&format!("msg_{n}"))).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_fates_and_another_seed_others() {
        assert_eq!(fates(1), fates(1));
        assert_ne!(fates(1), fates(2));
    }

    #[test]
    fn without_odds_nothing_goes_wrong() {
        let fate = Odds::default().fate("msg_1");

        assert_eq!((fate.drop, fate.forgery, fate.reorder, fate.duplicate), (false, None, false, false));
        assert_eq!((fate.late, fate.wrong_by, fate.replay_after), (Duration::ZERO, None, None));
    }

    #[test]
    fn numbers_that_could_not_be_meant_are_refused() {
        assert!(Odds { forge: 1.1, ..Odds::default() }.checked().is_err());
        assert!(Odds { late_ms: Span([2, 1]), ..Odds::default() }.checked().is_err());
    }
}
