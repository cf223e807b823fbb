//! What a policy document must be beside its shape: said all at once, each with where it is.

use std::collections::BTreeSet;

use super::document::{PolicyDocument, Spacing, Verification};
use super::quiet::Daily;
use super::{Per, PolicyScope};
use crate::document::check_key;

/// The most entries of one list or map of a document.
const MAX_ENTRIES: usize = 256;
/// The longest window of a budget in seconds: a leap year.
const MAX_WINDOW_S: u32 = 366 * 86_400;
/// The longest pause in seconds.
const MAX_SPACING_S: u32 = 86_400;
/// The most money of a budget: what every reader of JSON can hold exactly (RFC 8259, section 6).
const MAX_COST: u64 = (1 << 53) - 1;
/// The most calls at once.
const MAX_CONCURRENCY: u32 = 10_000;
/// The most further looks for what nobody knows.
const MAX_LOOKS: usize = 16;

/// One thing in a document that does not fit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misfit {
    /// RFC 6901 pointer into the document.
    pub pointer: String,
    /// What is wrong, and what would be right.
    pub message: String,
}

struct Misfits(Vec<Misfit>);

impl Misfits {
    fn unless(&mut self, fits: bool, pointer: impl Into<String>, message: impl Into<String>) {
        if !fits {
            self.0.push(Misfit { pointer: pointer.into(), message: message.into() });
        }
    }

    fn names<'a>(&mut self, pointer: &str, names: impl ExactSizeIterator<Item = &'a String>) {
        self.unless(names.len() <= MAX_ENTRIES, pointer, format!("has more than {MAX_ENTRIES} entries"));
        for name in names {
            if let Err(error) = check_key("each name", name) {
                self.unless(false, pointer, error.to_string());
            }
        }
    }
}

impl PolicyDocument {
    /// Everything in it that does not fit a document of that scope.
    pub fn misfits(&self, scope: &PolicyScope) -> Vec<Misfit> {
        let mut found = Misfits(Vec::new());
        if let Some(allowed) = &self.allowed_actions {
            found.names("/allowed_actions", allowed.keys());
            for types in allowed.values() {
                found.names("/allowed_actions", types.iter());
            }
        }
        found.unless(
            self.quiet_hours.len() <= MAX_ENTRIES,
            "/quiet_hours",
            format!("has more than {MAX_ENTRIES} entries"),
        );
        for (n, quiet) in self.quiet_hours.iter().enumerate() {
            if let Err((field, message)) = Daily::of(quiet) {
                found.unless(false, format!("/quiet_hours/{n}/{field}"), message);
            }
        }
        self.budgets_fit(scope, &mut found);
        let widest = matches!(scope, PolicyScope::Global | PolicyScope::Client(_));
        found.unless(
            self.ceilings.per_client_day.is_none() || widest,
            "/ceilings/per_client_day",
            "it counts all accounts of a client: say it in the document of everybody or of the client",
        );
        found.names("/spacing", self.spacing.keys());
        for (name, Spacing { min_s, max_s }) in &self.spacing {
            let most = max_s.unwrap_or(*min_s);
            let fits = *min_s <= most && most <= MAX_SPACING_S;
            let pointer = format!("/spacing/{}", name.replace('~', "~0").replace('/', "~1"));
            found.unless(
                fits,
                pointer,
                format!("`min_s` must not be above `max_s`, and neither above {MAX_SPACING_S}"),
            );
        }
        found.names("/compliance/block_flags", self.compliance.block_flags.iter());
        found.names("/compliance/allow_flags", self.compliance.allow_flags.iter());
        found.names("/compliance/banned_terms", self.compliance.banned_terms.iter());
        found.names("/compliance/classifiers", self.compliance.classifiers.iter());
        if let Some(repeated) = &self.compliance.repeated_text {
            let at = "/compliance/repeated_text";
            let fits = (1..=MAX_WINDOW_S).contains(&repeated.window_s);
            found.unless(fits, format!("{at}/window_s"), format!("must be 1 to {MAX_WINDOW_S}"));
            found.names(&format!("{at}/fields"), repeated.fields.iter());
        }
        found.names("/high_risk", self.high_risk.iter());
        found.names("/gates", self.gates.keys());
        if let Some(Verification { pauses_s, ask_after }) = &self.verification {
            let fits = pauses_s.len() <= MAX_LOOKS && pauses_s.iter().all(|pause| (1..=MAX_SPACING_S).contains(pause));
            let message = format!("at most {MAX_LOOKS} pauses, each 1 to {MAX_SPACING_S}");
            found.unless(fits, "/verification/pauses_s", message);
            let asks = usize::try_from(*ask_after).is_ok_and(|looks| looks <= pauses_s.len());
            found.unless(
                asks,
                "/verification/ask_after",
                "there are not so many looks: at most as many as `pauses_s` has",
            );
        }
        found.unless(
            !self.two_person,
            "/two_person",
            "two people cannot be asked yet; one is, with `gates` or `high_risk`",
        );
        let fits = self.concurrency.is_none_or(|most| (1..=MAX_CONCURRENCY).contains(&most));
        found.unless(fits, "/concurrency", format!("must be 1 to {MAX_CONCURRENCY}"));
        found.0
    }

    fn budgets_fit(&self, scope: &PolicyScope, found: &mut Misfits) {
        let rates = self.budgets.rate.iter().map(|rate| ("rate", &rate.name, rate.window_s, rate.per));
        let costs = self.budgets.cost.iter().map(|cost| ("cost", &cost.name, cost.window_s, cost.per));
        let mut seen = BTreeSet::new();
        let all: Vec<_> = rates.enumerate().chain(costs.enumerate()).collect();
        found.unless(all.len() <= MAX_ENTRIES, "/budgets", format!("has more than {MAX_ENTRIES} entries"));
        for (n, (kind, name, window, per)) in all {
            let at = |field: &str| format!("/budgets/{kind}/{n}/{field}");
            found.names(&at("name"), std::iter::once(name));
            found.unless(seen.insert(name), at("name"), "each budget needs a name of its own");
            found.unless((1..=MAX_WINDOW_S).contains(&window), at("window_s"), format!("must be 1 to {MAX_WINDOW_S}"));
            let narrow = matches!(scope, PolicyScope::Account { .. });
            found.unless(
                !narrow || per != Per::Client,
                at("per"),
                "an account's document cannot count its client's other accounts",
            );
        }
        for (n, rate) in self.budgets.rate.iter().enumerate() {
            found.names(&format!("/budgets/rate/{n}/actions"), rate.actions.iter());
        }
        for (n, cost) in self.budgets.cost.iter().enumerate() {
            found.unless(cost.max <= MAX_COST, format!("/budgets/cost/{n}/max"), format!("must be at most {MAX_COST}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn misfits(document: Value) -> Vec<String> {
        let document: PolicyDocument = serde_json::from_value(document).unwrap();
        let scope = PolicyScope::Account { client: "c".into(), account: "a".into() };
        document.misfits(&scope).into_iter().map(|misfit| misfit.pointer).collect()
    }

    #[test]
    fn everything_that_does_not_fit_is_said_at_once_and_where() {
        let found = misfits(json!({
            "quiet_hours": [{"tz": "Mars/Olympus", "from": "22:00", "to": "07:00"}, {"tz": "UTC", "from": "25:00", "to": "07:00"},
                            {"tz": "UTC", "from": "07:00", "to": "07:00"}],
            "budgets": {"rate": [{"name": "a", "max": 1, "window_s": 0}, {"name": "a", "max": 1, "window_s": 9, "per": "client"}],
                        "cost": [{"name": "", "unit": "usd_micro", "max": 9_007_199_254_740_992_u64, "window_s": 60}]},
            "spacing": {"a/b": {"min_s": 5, "max_s": 4}},
            "ceilings": {"per_client_day": 9},
            "compliance": {"repeated_text": {"window_s": 0}},
            "verification": {"pauses_s": [0], "ask_after": 2},
            "two_person": true,
            "concurrency": 0,
        }));
        assert_eq!(
            found,
            [
                "/quiet_hours/0/tz",
                "/quiet_hours/1/from",
                "/quiet_hours/2/to",
                "/budgets/rate/0/window_s",
                "/budgets/rate/1/name",
                "/budgets/rate/1/per",
                "/budgets/cost/0/name",
                "/budgets/cost/0/max",
                "/ceilings/per_client_day",
                "/spacing/a~1b",
                "/compliance/repeated_text/window_s",
                "/verification/pauses_s",
                "/verification/ask_after",
                "/two_person",
                "/concurrency",
            ]
        );
    }

    #[test]
    fn a_field_that_nobody_knows_is_refused() {
        serde_json::from_value::<PolicyDocument>(json!({"quiet_hour": []})).unwrap_err();
    }
}
