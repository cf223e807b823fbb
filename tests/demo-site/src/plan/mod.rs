//! Seeded misbehaviour, request by request, for trials that run side by side.
//!
//! A [`Plan`] concerns the mutating requests whose reference (or idempotency key, where there is
//! no reference) begins with its prefix; the longest prefix wins, and the mode has no say in what
//! a plan concerns. What happens to the n-th request of a reference is a pure function of the
//! plan's seed, the reference and n, so the order in which different references arrive changes
//! nothing. [`book::Plans`] counts n and remembers what was decided.
//!
//! Of `freeze`, `fail_before`, `fail_after` and `drop_answer` a request meets one at most, so
//! their chances add up to 1 at most; everything else is drawn on its own. To add a fault, add its
//! chance here, draw it in [`Plan::conduct`] under a name of its own, and obey it in `perform`.

pub(crate) mod book;

use std::time::Duration;

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};

use crate::conduct::{Conduct, Fail, HIDE_FOR_EVER_MS, Keys, MAX_DELAY_MS, RENDER_MS};
use crate::lot::{Lot, Span, checked_chance};

const MAX_STATUSES: usize = 16;
/// What sums of chances may be beyond 1 for want of exact tenths.
const ROUNDING: f64 = 1e-9;

/// The misbehaviour of one prefix; without chances and spans it is good behaviour.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Plan {
    /// What makes one run of the same plan differ from another.
    pub(crate) seed: u64,
    /// How likely each fault is.
    #[serde(default)]
    pub(crate) chances: Chances,
    /// Whether the JSON API recognises an `Idempotency-Key` it has seen; `ignore` is a chance of 1.
    #[serde(default = "honour")]
    pub(crate) keys: Keys,
    /// How long each request waits first.
    #[serde(default)]
    pub(crate) delay_ms: Span,
    /// How long each answer is held back once the effect is applied.
    #[serde(default)]
    pub(crate) hold_answer_ms: Span,
    /// How long what is hidden stays so.
    #[serde(default = "a_while")]
    pub(crate) hide_ms: Span,
    /// How long the studio takes for a video.
    #[serde(default = "rendering")]
    pub(crate) render_ms: Span,
    /// What failures are answered with, each as likely as the other.
    #[serde(default = "unavailable")]
    pub(crate) status: Vec<u16>,
}

/// How likely each fault is, from 0 to 1.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Chances {
    /// Hang until the plan is replaced or removed, then close the connection; nothing is applied.
    pub(crate) freeze: f64,
    /// Answer with a failure and apply nothing.
    pub(crate) fail_before: f64,
    /// Apply, then answer with a failure.
    pub(crate) fail_after: f64,
    /// Apply, then close the connection without an answer.
    pub(crate) drop_answer: f64,
    /// Apply, but show it on no read surface for a while.
    pub(crate) hide: f64,
    /// Apply although the idempotency key is known.
    pub(crate) keys_ignored: f64,
}

fn honour() -> Keys {
    Keys::Honour
}

fn a_while() -> Span {
    Span([200, 1_000])
}

fn rendering() -> Span {
    Span([RENDER_MS, RENDER_MS])
}

fn unavailable() -> Vec<u16> {
    vec![StatusCode::SERVICE_UNAVAILABLE.as_u16()]
}

impl Plan {
    /// Refuses numbers that could not be meant.
    pub(crate) fn checked(self) -> Result<Self, String> {
        self.chances.check()?;
        self.delay_ms.checked("delay_ms", MAX_DELAY_MS)?;
        self.hold_answer_ms.checked("hold_answer_ms", MAX_DELAY_MS)?;
        self.hide_ms.checked("hide_ms", HIDE_FOR_EVER_MS)?;
        self.render_ms.checked("render_ms", HIDE_FOR_EVER_MS)?;
        let are_failures = self.status.iter().all(|status| (400..=599).contains(status));
        if self.status.is_empty() || self.status.len() > MAX_STATUSES || !are_failures {
            return Err(format!("`status` is 1 to {MAX_STATUSES} numbers between 400 and 599"));
        }
        Ok(self)
    }

    /// What happens to the n-th request of this reference.
    pub(crate) fn conduct(&self, reference: &str, n: u64) -> Conduct {
        let lot = Lot { seed: self.seed, subject: reference, n };
        let length = |draw, span| Duration::from_millis(lot.within(draw, span));
        let hides = lot.happens("hide", self.chances.hide);
        let ignores = self.keys == Keys::Ignore || lot.happens("keys_ignored", self.chances.keys_ignored);
        let status = lot.pick("status", &self.status).and_then(|status| StatusCode::from_u16(status).ok());
        let good = Conduct::good();
        let conduct = Conduct {
            honour_keys: !ignores,
            delay: length("delay_ms", self.delay_ms),
            hold_answer: length("hold_answer_ms", self.hold_answer_ms),
            hide_ms: if hides { lot.within("hide_ms", self.hide_ms) } else { 0 },
            render_ms: lot.within("render_ms", self.render_ms),
            status: status.unwrap_or(good.status),
            ..good
        };
        match self.chances.fault(lot.share("fault")) {
            None => conduct,
            Some(Fault::Freeze) => Conduct { freeze: true, ..conduct },
            Some(Fault::FailBefore) => Conduct { fail: Fail::Before, ..conduct },
            Some(Fault::FailAfter) => Conduct { fail: Fail::After, ..conduct },
            Some(Fault::DropAnswer) => Conduct { drop_answer: true, ..conduct },
        }
    }
}

/// What a request meets one of, at most.
#[derive(Clone, Copy)]
enum Fault {
    Freeze,
    FailBefore,
    FailAfter,
    DropAnswer,
}

impl Chances {
    fn faults(&self) -> [(f64, Fault); 4] {
        [
            (self.freeze, Fault::Freeze),
            (self.fail_before, Fault::FailBefore),
            (self.fail_after, Fault::FailAfter),
            (self.drop_answer, Fault::DropAnswer),
        ]
    }

    fn fault(&self, share: f64) -> Option<Fault> {
        let mut reached = 0.0;
        self.faults().into_iter().find_map(|(chance, fault)| {
            reached += chance;
            (share < reached).then_some(fault)
        })
    }

    fn check(&self) -> Result<(), String> {
        checked_chance("freeze", self.freeze)?;
        checked_chance("fail_before", self.fail_before)?;
        checked_chance("fail_after", self.fail_after)?;
        checked_chance("drop_answer", self.drop_answer)?;
        checked_chance("hide", self.hide)?;
        checked_chance("keys_ignored", self.keys_ignored)?;
        let together: f64 = self.faults().iter().map(|(chance, _)| chance).sum();
        if together > 1.0 + ROUNDING {
            return Err("`freeze`, `fail_before`, `fail_after` and `drop_answer` add up to 1 at most".to_owned());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const REQUESTS: u64 = 2_000;

    fn plan(json: &str) -> Plan {
        serde_json::from_str(json).unwrap()
    }

    fn conducts(seed: u64) -> Vec<String> {
        let faults = r#""chances":{"fail_before":0.2,"fail_after":0.2,"drop_answer":0.2,"hide":0.2},"#;
        let plan = plan(&format!(r#"{{"seed":{seed},{faults}"delay_ms":[0,50],"status":[500,429]}}"#));
        (1..=REQUESTS).map(|n| plan.conduct("r-1", n).to_string()).collect()
    }

    #[test]
    fn the_same_seed_gives_the_same_conducts_and_another_seed_others() {
        assert_eq!(conducts(7), conducts(7));
        assert_ne!(conducts(7), conducts(8));
    }

    /// Reckoned apart from this code with Python's `hashlib`.
    #[test]
    fn a_conduct_is_the_same_on_every_machine() {
        let first = ["delay 21 ms", "delay 13 ms, drop the answer", "delay 40 ms", "delay 23 ms, drop the answer"];
        assert_eq!(conducts(7)[..4], first);
    }

    #[test]
    fn a_request_meets_one_fault_at_most_and_each_about_as_often_as_its_chance() {
        let conducts = conducts(7);
        for fault in ["fail before", "fail after", "drop the answer"] {
            let met = conducts.iter().filter(|conduct| conduct.contains(fault)).count();
            assert!((300..500).contains(&met), "{fault} {met}");
        }
        assert!(!conducts.iter().any(|conduct| conduct.contains("fail") && conduct.contains("drop")));
    }

    #[test]
    fn a_plan_of_nothing_but_a_seed_is_good_behaviour() {
        assert_eq!(plan(r#"{"seed":7}"#).conduct("r-1", 1), Conduct::good());
    }

    #[test]
    fn numbers_that_could_not_be_meant_are_refused() {
        for senseless in [
            r#"{"seed":1,"chances":{"hide":1.5}}"#,
            r#"{"seed":1,"chances":{"hide":-0.1}}"#,
            r#"{"seed":1,"chances":{"fail_before":0.6,"drop_answer":0.6}}"#,
            r#"{"seed":1,"delay_ms":[5,1]}"#,
            r#"{"seed":1,"hold_answer_ms":[0,600001]}"#,
            r#"{"seed":1,"status":[]}"#,
            r#"{"seed":1,"status":[200]}"#,
        ] {
            assert!(plan(senseless).checked().is_err(), "{senseless}");
        }
        assert!(
            plan(r#"{"seed":1,"chances":{"fail_before":0.7,"fail_after":0.2,"drop_answer":0.1}}"#).checked().is_ok()
        );
    }
}
