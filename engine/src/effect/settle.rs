//! What to do with an action whose call may have happened: the pure decision.
//!
//! Presence confirms at once; absence decides nothing before it can (design, section 5).

use chrono::{DateTime, TimeDelta, Utc};

use super::{Absence, EffectSpec, Receipt, Sighting};
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
    /// The platform honours keys, and the same call may be sent again.
    pub(crate) resendable: bool,
    /// The platform said that it did it: nothing disproves that, and nothing is sent again.
    pub(crate) answered: bool,
}

/// The next move.
#[expect(clippy::large_enum_variant, reason = "one lives at a time, between a look and its record")]
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Next {
    /// It happened, with this receipt.
    Confirm(Receipt),
    /// It did not happen: a successor may start.
    Disprove,
    /// Send the same call with the same key again.
    Resend,
    /// Too early to tell: look again then.
    LookAgain(DateTime<Utc>),
    /// Nobody can tell from here.
    Unknown,
}

/// Decides from one look.
pub(crate) fn next(settling: &Settling<'_>, sighting: Sighting) -> Next {
    let absence = match sighting {
        Sighting::Present(receipt) => return Next::Confirm(receipt),
        Sighting::Absent if !settling.answered => settling.spec.absence,
        Sighting::Absent | Sighting::Blind => Absence::Inconclusive,
    };
    if settling.resendable && !settling.answered {
        return Next::Resend;
    }
    let visible = i64::try_from(settling.spec.visible_within_ms).unwrap_or(i64::MAX / 2_000);
    let judged = settling.call_deadline + settling.call_skew + TimeDelta::milliseconds(visible);
    if settling.now < judged && !mutant!("absence-at-once") {
        return Next::LookAgain(judged);
    }
    match absence {
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
        let resendable = spec.honours_keys;
        next(&Settling { spec, call_deadline, call_skew, now, resendable, answered: false }, sighting)
    }

    #[test]
    fn presence_confirms_at_any_time() {
        let spec = spec(false, Absence::Inconclusive);
        let found = Sighting::Present(json!(7).into());
        assert_eq!(decide(&spec, -900, found.clone()), Next::Confirm(json!(7).into()));
        assert_eq!(decide(&spec, 90_000, found), Next::Confirm(json!(7).into()));
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

    #[test]
    fn what_may_not_be_sent_again_is_looked_for_and_then_nobody_can_tell() {
        let (spec, call_deadline, call_skew) =
            (spec(true, Absence::Inconclusive), DateTime::UNIX_EPOCH, TimeDelta::zero());
        let at = |now| {
            let settling = Settling { spec: &spec, call_deadline, call_skew, now, resendable: false, answered: false };
            next(&settling, Sighting::Absent)
        };
        let judged = call_deadline + TimeDelta::milliseconds(2_000);
        assert_eq!((at(call_deadline), at(judged)), (Next::LookAgain(judged), Next::Unknown));
    }

    #[test]
    fn what_the_platform_said_it_did_is_never_disproved_or_sent_again() {
        let call_deadline = DateTime::UNIX_EPOCH;
        for spec in [spec(true, Absence::Conclusive), spec(false, Absence::Conclusive)] {
            let decide = |now, sighting| {
                let (call_skew, resendable) = (TimeDelta::zero(), true);
                let settling = Settling { spec: &spec, call_deadline, call_skew, now, resendable, answered: true };
                next(&settling, sighting)
            };
            let judged = call_deadline + TimeDelta::milliseconds(2_000);
            assert_eq!(decide(call_deadline, Sighting::Absent), Next::LookAgain(judged));
            assert_eq!(decide(judged, Sighting::Absent), Next::Unknown);
        }
    }

    #[test]
    fn who_cannot_look_has_disproved_nothing() {
        assert_eq!(decide(&spec(false, Absence::Conclusive), 90_000, Sighting::Blind), Next::Unknown);
    }
}
