//! What is to happen to one mutating request: the one thing that the mode and the plans both
//! yield, and that [`crate::app::App::perform`] obeys.

use std::fmt;
use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

/// The longest that anything stays hidden: for ever (the year 2100, taken as a length).
pub(crate) const HIDE_FOR_EVER_MS: u64 = 4_102_444_800_000;
/// The longest that a request or its answer is held up.
pub(crate) const MAX_DELAY_MS: u64 = 600_000;
/// How long the studio takes for a video when nothing else is asked for.
pub(crate) const RENDER_MS: u64 = 300;

/// Whether idempotency keys mean anything to the JSON API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Keys {
    /// The same key applies once.
    Honour,
    /// Every request applies.
    Ignore,
}

/// When the site answers with a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Fail {
    /// Never.
    None,
    /// Before it applied the effect: nothing happened.
    Before,
    /// After it applied the effect: the answer lies.
    After,
}

/// What was decided for one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conduct {
    /// Whether a known `Idempotency-Key` replays the first answer.
    pub(crate) honour_keys: bool,
    /// Whether to hang until whatever decided this changes, and then to drop the request unapplied.
    pub(crate) freeze: bool,
    /// How long to wait first.
    pub(crate) delay: Duration,
    /// Whether and when to fail.
    pub(crate) fail: Fail,
    /// What to fail with.
    pub(crate) status: StatusCode,
    /// Whether to close the connection instead of answering.
    pub(crate) drop_answer: bool,
    /// How long to hold the answer back once the effect is applied.
    pub(crate) hold_answer: Duration,
    /// How long the effect stays invisible.
    pub(crate) hide_ms: u64,
    /// How long the studio takes for it.
    pub(crate) render_ms: u64,
}

impl Conduct {
    /// No misbehaviour at all.
    pub(crate) fn good() -> Self {
        Self {
            honour_keys: true,
            freeze: false,
            delay: Duration::ZERO,
            fail: Fail::None,
            status: StatusCode::SERVICE_UNAVAILABLE,
            drop_answer: false,
            hold_answer: Duration::ZERO,
            hide_ms: 0,
            render_ms: RENDER_MS,
        }
    }
}

/// The conduct in words, in the order in which it happens.
impl fmt::Display for Conduct {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = self.status.as_u16();
        let applies = !self.freeze && self.fail != Fail::Before;
        let held = self.hold_answer.as_millis();
        let words = [
            self.freeze.then(|| "freeze".to_owned()),
            (!self.freeze && !self.delay.is_zero()).then(|| format!("delay {} ms", self.delay.as_millis())),
            (!self.freeze && self.fail == Fail::Before).then(|| format!("fail before with {status}")),
            (applies && !self.honour_keys).then(|| "ignore the key".to_owned()),
            (applies && self.hide_ms > 0).then(|| format!("hide {} ms", self.hide_ms)),
            (applies && self.render_ms != RENDER_MS).then(|| format!("render {} ms", self.render_ms)),
            (!self.freeze && held > 0).then(|| format!("hold the answer {held} ms")),
            (applies && self.fail == Fail::After).then(|| format!("fail after with {status}")),
            (!self.freeze && self.drop_answer).then(|| "drop the answer".to_owned()),
        ];
        let words: Vec<String> = words.into_iter().flatten().collect();
        f.write_str(&if words.is_empty() { "behave".to_owned() } else { words.join(", ") })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_conduct_is_told_in_the_order_in_which_it_happens() {
        let late = Conduct { delay: Duration::from_millis(7), hide_ms: 20, ..Conduct::good() };

        assert_eq!(Conduct::good().to_string(), "behave");
        assert_eq!(Conduct { fail: Fail::After, ..late }.to_string(), "delay 7 ms, hide 20 ms, fail after with 503");
        assert_eq!(Conduct { fail: Fail::Before, ..late }.to_string(), "delay 7 ms, fail before with 503");
        assert_eq!(Conduct { freeze: true, ..late }.to_string(), "freeze");
    }
}
