//! How the site misbehaves to everybody: the [`Mode`] a test sets. Where trials run side by side
//! and each wants its own misbehaviour, there are plans instead.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::account::Handle;
use crate::conduct::{Conduct, Fail, HIDE_FOR_EVER_MS, Keys, MAX_DELAY_MS, RENDER_MS};
use crate::effect::Kind;

/// The misbehaviour that no plan overrides; the default is to behave.
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
    /// What the API says of whoever is signed in, whatever token was sent.
    pub(crate) me: Me,
}

/// What `/api/me` answers.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Me {
    /// The truth.
    #[default]
    Truth,
    /// That it is this account.
    Account(Handle),
    /// 503.
    Busy,
    /// An object without an id.
    Nobody,
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
            me: Me::Truth,
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

    /// Whether requests of this kind hang for as long as this mode is in force.
    pub(crate) fn freezes(&self, kind: Kind) -> bool {
        self.freeze && self.concerns(kind)
    }

    /// What happens to the next request of this kind; counts it when `times` is set.
    pub(crate) fn meet(&mut self, kind: Kind) -> Conduct {
        if !self.concerns(kind) {
            return Conduct::good();
        }
        let mut conduct = Conduct {
            honour_keys: self.keys == Keys::Honour,
            freeze: self.freeze,
            hide_ms: self.hide_ms,
            render_ms: self.render_ms,
            ..Conduct::good()
        };
        let misbehaves = self.fail != Fail::None || self.drop_answer || self.delay_ms > 0 || self.hold_answer_ms > 0;
        if self.freeze || !misbehaves || self.times == Some(0) {
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
