//! What to do with an action whose call may have happened: the pure decision.
//!
//! Presence confirms at once; absence decides nothing before it can (design, section 5).

use chrono::{DateTime, TimeDelta, Utc};

use super::{Absence, EffectSpec, Sighting};
use crate::rigged::mutant;

/// What is known about an action in `attempted` or `unknown`.
#[derive(Debug, Clone)]
pub(crate) struct Settling<'a> {
    pub(crate) spec: &'a EffectSpec,
    /// When its last call must have ended, in database time.
    pub(crate) call_deadline: DateTime<Utc>,
    /// How far clocks and carriers may be off (`CALL_SKEW`).
    pub(crate) call_skew: TimeDelta,
    pub(crate) now: DateTime<Utc>,
}

/// The next move.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// It happened, with this receipt.
    Confirm(serde_json::Value),
    /// It did not happen: a successor may start.
    Disprove,
    /// The platform honours keys: send the same call with the same key again.
    Resend,
    /// Too early to tell: look again then.
    LookAgain(DateTime<Utc>),
    /// Nobody can tell from here.
    Unknown,
}

/// Decides from one look.
pub(crate) fn next(settling: &Settling<'_>, sighting: Sighting) -> Next {
    if let Sighting::Present(receipt) = sighting {
        return Next::Confirm(receipt);
    }
    if settling.spec.honours_keys {
        return Next::Resend;
    }
    let visible = i64::try_from(settling.spec.visible_within_ms).unwrap_or(i64::MAX / 2_000);
    let judged = settling.call_deadline + settling.call_skew + TimeDelta::milliseconds(visible);
    if settling.now < judged && !mutant!("absence-at-once") {
        return Next::LookAgain(judged);
    }
    match settling.spec.absence {
        Absence::Conclusive => Next::Disprove,
        Absence::Inconclusive => Next::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::effect::Lane;
    use serde_json::{Value, json};

    fn spec(honours_keys: bool, absence: Absence) -> EffectSpec {
        EffectSpec {
            action_type: "publish".into(),
            platform: "demo".into(),
            account_id: "a".into(),
            lane: Lane::Api,
            payload: Value::Null,
            dedupe: None,
            honours_keys,
            call_timeout_ms: 1_000,
            visible_within_ms: 2_000,
            absence,
            look_first: false,
        }
    }

    fn decide(spec: &EffectSpec, after_deadline_ms: i64, sighting: Sighting) -> Next {
        let call_deadline = DateTime::UNIX_EPOCH;
        let now = call_deadline + TimeDelta::milliseconds(after_deadline_ms);
        let call_skew = TimeDelta::milliseconds(500);
        next(&Settling { spec, call_deadline, call_skew, now }, sighting)
    }

    #[test]
    fn presence_confirms_at_any_time() {
        let spec = spec(false, Absence::Inconclusive);
        let found = Sighting::Present(json!(7));
        assert_eq!(decide(&spec, -900, found.clone()), Next::Confirm(json!(7)));
        assert_eq!(decide(&spec, 90_000, found), Next::Confirm(json!(7)));
    }

    #[test]
    fn absence_decides_nothing_before_deadline_skew_and_visibility_have_passed() {
        let spec = spec(false, Absence::Conclusive);
        let judged = DateTime::UNIX_EPOCH + TimeDelta::milliseconds(2_500);
        assert_eq!(decide(&spec, -1, Sighting::Absent), Next::LookAgain(judged));
        assert_eq!(decide(&spec, 2_499, Sighting::Absent), Next::LookAgain(judged));
        assert_eq!(decide(&spec, 2_500, Sighting::Absent), Next::Disprove);
    }

    #[test]
    fn an_inconclusive_absence_is_unknown_and_never_a_disproof() {
        let spec = spec(false, Absence::Inconclusive);
        assert_eq!(decide(&spec, 90_000, Sighting::Absent), Next::Unknown);
    }

    #[test]
    fn a_platform_that_honours_keys_is_asked_again_with_the_same_key() {
        let spec = spec(true, Absence::Inconclusive);
        assert_eq!(decide(&spec, -900, Sighting::Absent), Next::Resend);
    }
}
