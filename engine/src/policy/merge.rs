//! How the documents of several scopes become one policy: restrictions add up, and a narrower budget replaces a wider one
//! of its name (B-060). The policy is known by the hash of all that it came from.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::document::{
    Autonomy, Budgets, Ceilings, CostBudget, Demand, IdentityDemand, Per, PolicyDocument, QuietHours, RateBudget,
    RepeatedText, Spacing, Verification,
};
use crate::document::fingerprint;
use crate::effect::EVERY;

/// What the part is called that everybody has.
const DEFAULT: &str = "default";

/// One scope's document in force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Part {
    /// Whose it is; `default` is what everybody has.
    pub scope: String,
    /// Which of the scope's versions.
    pub version: i64,
    /// What it says.
    pub document: PolicyDocument,
}

/// Everything that an action is judged by, the widest part first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    parts: Vec<Part>,
    hash: String,
}

/// What holds where nobody says otherwise (B-059).
fn default_part() -> Part {
    let budget = |name: &str, action: &str, max, window_s| RateBudget {
        name: name.to_owned(),
        actions: BTreeSet::from([action.to_owned()]),
        max,
        window_s,
        per: Per::Account,
    };
    let rate = vec![
        budget("comment_replies", "comment_reply", 10, 600),
        budget("likes", "like", 20, 3_600),
        budget("dms", "dm_send", 5, 3_600),
    ];
    let document = PolicyDocument { budgets: Budgets { rate, cost: Vec::new() }, ..PolicyDocument::default() };
    Part { scope: DEFAULT.to_owned(), version: 1, document }
}

impl Policy {
    /// What the scopes' documents come to, the widest first, on top of what everybody has.
    pub fn of(scopes: Vec<Part>) -> Self {
        let mut parts = vec![default_part()];
        parts.extend(scopes);
        let hash = fingerprint(&json!(parts));
        Self { parts, hash }
    }

    /// Its name: SHA-256 over the canonical JSON of its parts.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What it came from.
    pub fn parts(&self) -> &[Part] {
        &self.parts
    }

    /// The versions that it came from, by scope, but for what everybody has.
    pub(crate) fn heads(&self) -> BTreeMap<String, i64> {
        let scopes = self.parts.iter().filter(|part| part.scope != DEFAULT);
        scopes.map(|part| (part.scope.clone(), part.version)).collect()
    }

    fn documents(&self) -> impl Iterator<Item = (&str, &PolicyDocument)> {
        self.parts.iter().map(|part| (part.scope.as_str(), &part.document))
    }

    /// The scope that does not allow that type of action there, if one does not.
    pub(super) fn forbidden_by(&self, platform: &str, action_type: &str) -> Option<&str> {
        let names = |allowed: &BTreeMap<String, BTreeSet<String>>| {
            [platform, EVERY].iter().filter_map(|name| allowed.get(*name)).any(|types| types.contains(action_type))
        };
        let says = |(scope, document): (_, &PolicyDocument)| {
            document.allowed_actions.as_ref().map(|said| (scope, names(said)))
        };
        self.documents().filter_map(says).find(|(_, named)| !named).map(|(scope, _)| scope)
    }

    pub(super) fn quiet_hours(&self) -> Vec<QuietHours> {
        self.documents().flat_map(|(_, document)| document.quiet_hours.iter().cloned()).collect()
    }

    /// The rule that asks for a person, if one does.
    pub(super) fn asks_for(&self, action_type: &str) -> Option<String> {
        let mut documents = self.documents();
        documents.find_map(|(_, document)| {
            if document.gates.get(action_type) == Some(&Demand::Required) {
                return Some(format!("gates/{action_type}"));
            }
            if document.high_risk.contains(action_type) {
                return Some("high_risk".to_owned());
            }
            (document.autonomy == Some(Autonomy::Manual)).then(|| "autonomy".to_owned())
        })
    }

    /// How an outcome that nobody knows is looked into.
    pub(crate) fn verification(&self) -> Verification {
        self.documents().filter_map(|(_, document)| document.verification.clone()).last().unwrap_or_default()
    }

    /// Whether what cannot be verified to be done as the account is not done.
    pub(crate) fn wants_identity(&self) -> bool {
        self.documents().any(|(_, document)| document.identity == Some(IdentityDemand::Required))
    }

    /// Why that content is refused: the rule, and what it found.
    pub(super) fn refuses(&self, flags: &[&str], texts: &[&str]) -> Option<(&'static str, String)> {
        let compliance = || self.documents().map(|(_, document)| &document.compliance);
        for flag in flags {
            if compliance().any(|said| said.block_flags.contains(*flag)) {
                return Some(("compliance/block_flags", format!("content with the flag {flag:?} is refused")));
            }
            if !compliance().any(|said| said.allow_flags.contains(*flag)) {
                return Some((
                    "compliance/allow_flags",
                    format!("nobody knows the flag {flag:?}; allow it in `compliance.allow_flags`"),
                ));
            }
        }
        let most = compliance().filter_map(|said| said.max_length).min();
        for text in texts {
            if let Some(most) = most.filter(|most| text.chars().count() > usize::try_from(*most).unwrap_or(usize::MAX))
            {
                return Some(("compliance/max_length", format!("a text has more than {most} characters")));
            }
            let lower = text.to_lowercase();
            if let Some(term) =
                compliance().flat_map(|said| &said.banned_terms).find(|term| lower.contains(&term.to_lowercase()))
            {
                return Some(("compliance/banned_terms", format!("a text has the banned term {term:?}")));
            }
        }
        None
    }

    /// Who is asked which flags content has, by name.
    pub(super) fn classifiers(&self) -> BTreeSet<&str> {
        self.documents().flat_map(|(_, document)| document.compliance.classifiers.iter().map(String::as_str)).collect()
    }

    /// The budgets in force by name, each with the scope that says it.
    pub(super) fn rates(&self) -> BTreeMap<&str, (&str, &RateBudget)> {
        let all =
            self.documents().flat_map(|(scope, document)| document.budgets.rate.iter().map(move |rate| (scope, rate)));
        all.map(|(scope, rate)| (rate.name.as_str(), (scope, rate))).collect()
    }

    /// The same of money.
    pub(super) fn costs(&self) -> BTreeMap<&str, (&str, &CostBudget)> {
        let all =
            self.documents().flat_map(|(scope, document)| document.budgets.cost.iter().map(move |cost| (scope, cost)));
        all.map(|(scope, cost)| (cost.name.as_str(), (scope, cost))).collect()
    }

    /// The longest pause that anybody asks for.
    pub(super) fn spacing(&self, action_type: &str) -> Option<Spacing> {
        let said = self.documents().flat_map(|(_, document)| {
            [action_type, EVERY].into_iter().filter_map(|name| document.spacing.get(name).copied())
        });
        said.reduce(|one, other| Spacing {
            min_s: one.min_s.max(other.min_s),
            max_s: one.max_s.unwrap_or(one.min_s).max(other.max_s.unwrap_or(other.min_s)).into(),
        })
    }

    /// The least of what the scopes say: the most effects of a day, by account and by client.
    pub(super) fn ceilings(&self) -> (Option<u32>, Option<u32>) {
        let least = |of: fn(&Ceilings) -> Option<u32>| {
            self.documents().filter_map(|(_, document)| of(&document.ceilings)).min()
        };
        (least(|said| said.per_account_day), least(|said| said.per_client_day))
    }

    /// What each scope says of repeated text.
    pub(super) fn repeats(&self) -> impl Iterator<Item = (&str, &RepeatedText)> {
        self.documents().filter_map(|(scope, document)| Some((scope, document.compliance.repeated_text.as_ref()?)))
    }

    pub(super) fn concurrency(&self) -> Option<u32> {
        self.documents().filter_map(|(_, document)| document.concurrency).min()
    }
}
