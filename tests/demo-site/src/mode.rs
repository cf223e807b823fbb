//! How the site misbehaves: the [`Mode`] a test sets and the [`Switchboard`] that hands out what
//! is to happen to each request.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::effect::Kind;

/// The value of `hide_ms` and `render_ms` that means for ever (the year 2100, taken as a length).
const HIDE_FOR_EVER_MS: u64 = 4_102_444_800_000;
const MAX_DELAY_MS: u64 = 600_000;
/// How long the studio takes for a video when nothing else is asked for.
const RENDER_MS: u64 = 300;

/// The whole of the site's misbehaviour; the default is to behave.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Mode {
    /// Whether the JSON API recognises an `Idempotency-Key` it has seen.
    pub(crate) keys: Keys,
    /// Wait this long before handling a mutating request; it is applied even if the client leaves.
    pub(crate) delay_ms: u64,
    /// Mutating requests hang, and are dropped unapplied once this ends.
    pub(crate) freeze: bool,
    /// Answer with `status` instead of the truth.
    pub(crate) fail: Fail,
    /// The status that `fail` answers with.
    pub(crate) status: u16,
    /// Apply, then close the connection without an answer (see `connection.rs`).
    pub(crate) drop_answer: bool,
    /// Apply, then hold the answer back for this long.
    pub(crate) hold_answer_ms: u64,
    /// What is applied meanwhile is invisible on every read surface for this long.
    pub(crate) hide_ms: u64,
    /// A video that is asked for meanwhile is ready after this long.
    pub(crate) render_ms: u64,
    /// `fail`, `drop_answer`, `delay_ms` and `hold_answer_ms` are off after this many mutating requests.
    pub(crate) times: Option<u32>,
    /// The kinds of effect that the mode applies to; none named means all.
    pub(crate) only: Option<BTreeSet<Kind>>,
}

impl Default for Mode {
    fn default() -> Self {
        Self {
            keys: Keys::Honour,
            delay_ms: 0,
            freeze: false,
            fail: Fail::None,
            status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
            drop_answer: false,
            hold_answer_ms: 0,
            hide_ms: 0,
            render_ms: RENDER_MS,
            times: None,
            only: None,
        }
    }
}

impl Mode {
    /// Refuses numbers that could not be meant.
    pub(crate) fn checked(self) -> Result<Self, String> {
        if self.hide_ms > HIDE_FOR_EVER_MS || self.render_ms > HIDE_FOR_EVER_MS {
            return Err(format!("`hide_ms` and `render_ms` are at most {HIDE_FOR_EVER_MS}"));
        }
        if self.delay_ms > MAX_DELAY_MS || self.hold_answer_ms > MAX_DELAY_MS {
            return Err(format!("`delay_ms` and `hold_answer_ms` are at most {MAX_DELAY_MS}"));
        }
        if !(400..=599).contains(&self.status) {
            return Err("`status` is between 400 and 599".to_owned());
        }
        Ok(self)
    }

    fn concerns(&self, kind: Kind) -> bool {
        self.only.as_ref().is_none_or(|only| only.contains(&kind))
    }

    fn freezes(&self, kind: Kind) -> bool {
        self.freeze && self.concerns(kind)
    }

    /// What happens to the next request of this kind; counts it when `times` is set.
    fn meet(&mut self, kind: Kind) -> Conduct {
        let mut conduct = Conduct { honour_keys: self.keys == Keys::Honour || !self.concerns(kind), ..Conduct::good() };
        if !self.concerns(kind) {
            return conduct;
        }
        conduct.hide_ms = self.hide_ms;
        conduct.render_ms = self.render_ms;
        let misbehaves = self.fail != Fail::None || self.drop_answer || self.delay_ms > 0 || self.hold_answer_ms > 0;
        if !misbehaves || self.times == Some(0) {
            return conduct;
        }
        self.times = self.times.map(|left| left - 1);
        conduct.delay = Duration::from_millis(self.delay_ms);
        conduct.fail = self.fail;
        conduct.status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::SERVICE_UNAVAILABLE);
        conduct.drop_answer = self.drop_answer;
        conduct.hold_answer = Duration::from_millis(self.hold_answer_ms);
        conduct
    }
}

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

/// What the mode decided for one request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Conduct {
    /// Whether a known `Idempotency-Key` replays the first answer.
    pub(crate) honour_keys: bool,
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
    fn good() -> Self {
        Self {
            honour_keys: true,
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

/// The request was frozen until the mode changed; its connection is to be dropped unapplied.
#[derive(Debug)]
pub(crate) struct Frozen;

/// Holds the mode in force and wakes frozen requests when it changes.
#[derive(Debug, Default)]
pub(crate) struct Switchboard(watch::Sender<Mode>);

impl Switchboard {
    /// The mode in force, with what is left of `times`.
    pub(crate) fn mode(&self) -> Mode {
        self.0.borrow().clone()
    }

    /// Replaces the whole mode.
    pub(crate) fn set(&self, mode: Mode) {
        self.0.send_replace(mode);
    }

    /// Decides about one mutating request, after holding it for as long as the site is frozen.
    pub(crate) async fn meet(&self, kind: Kind) -> Result<Conduct, Frozen> {
        // Deciding and counting are one step under the lock, so that `times` is exact.
        let mut decided = None;
        self.0.send_if_modified(|mode| {
            if !mode.freezes(kind) {
                decided = Some(mode.meet(kind));
            }
            false
        });
        if let Some(conduct) = decided {
            return Ok(conduct);
        }
        // The sender lives as long as `self`, so the wait ends only with a change of mode.
        let _ = self.0.subscribe().wait_for(|mode| !mode.freezes(kind)).await;
        Err(Frozen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(json: &str) -> Mode {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn an_empty_object_is_good_behaviour() {
        let conduct = mode("{}").meet(Kind::Post);

        assert!(conduct.honour_keys && !conduct.drop_answer);
        assert_eq!((conduct.fail, conduct.delay), (Fail::None, Duration::ZERO));
    }

    #[test]
    fn times_counts_only_the_kinds_it_concerns() {
        let mut mode = mode(r#"{"drop_answer":true,"times":1,"only":["post"]}"#);

        assert!(!mode.meet(Kind::Like).drop_answer);
        assert!(mode.meet(Kind::Post).drop_answer);
        assert!(!mode.meet(Kind::Post).drop_answer);
    }

    #[test]
    fn a_length_beyond_for_ever_is_refused() {
        assert!(mode(r#"{"hide_ms":4102444800000}"#).checked().is_ok());
        assert!(mode(r#"{"hide_ms":4102444800001}"#).checked().is_err());
        assert!(mode(r#"{"status":200}"#).checked().is_err());
    }
}
