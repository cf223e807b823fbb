//! What an attempt takes of what is rationed, as Postgres counts it (`fermata.rationed`).

use serde::Serialize;
use serde_json::{Value, json};

use super::Policy;
use super::document::Per;
use super::judge::Question;

/// What Postgres calls budgets by.
const BUDGETS: &str = "budgets/";
/// What ceilings are called by, and what their keys begin with; no scope is called so.
const CEILINGS: &str = "ceilings";
const PER_ACCOUNT_DAY: &str = "per_account_day";
const PER_CLIENT_DAY: &str = "per_client_day";
/// What the name of a ceiling's token begins with: a budget's has no control character (`document::check_key`).
const MARK: char = '\u{1f}';
/// A day, as windows have it: from midnight UTC on.
const DAY_S: u32 = 86_400;

/// What one attempt takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Rations {
    /// Of budgets, in the order of their keys: so two takers never wait for each other.
    pub(crate) tokens: Vec<Token>,
    /// The pause after it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) spacing: Option<Gap>,
    /// The most calls of its account at once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) concurrency: Option<u32>,
}

/// What it takes of one budget.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Token {
    /// What is counted together.
    pub(crate) key: String,
    /// What the budget is called.
    pub(crate) name: String,
    pub(crate) window_s: u32,
    pub(crate) max: u64,
    pub(crate) n: u64,
}

/// The pause before the next action of its kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Gap {
    pub(crate) key: String,
    pub(crate) gap_ms: u64,
}

impl Token {
    /// What a verdict calls it.
    pub(super) fn rule(&self) -> String {
        named(&format!("{BUDGETS}{}", self.name))
    }
}

/// What a verdict calls the rule that Postgres names: it takes ceilings for budgets.
pub(super) fn named(rule: &str) -> String {
    match rule.strip_prefix(BUDGETS).and_then(|name| name.strip_prefix(MARK)) {
        Some(ceiling) => format!("{CEILINGS}/{ceiling}"),
        None => rule.to_owned(),
    }
}

/// What an attempt takes; `chance`, from 0 to 1, is where between the shortest and the longest pause its own one is.
pub(crate) fn rations(policy: &Policy, question: Question<'_>, chance: f64) -> Rations {
    let Question { client, platform, account, action_type, payload } = question;
    let key = |scope: &str, name: &str, per: Per| {
        let parts = match per {
            Per::Account => json!([scope, name, client, platform, account]),
            Per::Client => json!([scope, name, client]),
            Per::Scope => json!([scope, name]),
        };
        parts.to_string()
    };
    let rates =
        policy.rates().into_values().filter(|(_, rate)| rate.actions.is_empty() || rate.actions.contains(action_type));
    let rates = rates.map(|(scope, rate)| Token {
        key: key(scope, &rate.name, rate.per),
        name: rate.name.clone(),
        window_s: rate.window_s,
        max: rate.max.into(),
        n: 1,
    });
    let price = payload.get("cost_usd_micro").and_then(Value::as_u64).filter(|price| *price > 0);
    let costs = price.into_iter().flat_map(|price| {
        policy.costs().into_values().map(move |(scope, cost)| (scope, cost, price)).collect::<Vec<_>>()
    });
    let costs = costs.map(|(scope, cost, price)| Token {
        key: key(scope, &cost.name, cost.per),
        name: cost.name.clone(),
        window_s: cost.window_s,
        max: cost.max,
        n: price,
    });
    let (per_account, per_client) = policy.ceilings();
    let account_day = json!([CEILINGS, PER_ACCOUNT_DAY, client, platform, account]);
    let client_day = json!([CEILINGS, PER_CLIENT_DAY, client]);
    let ceilings = [(PER_ACCOUNT_DAY, per_account, account_day), (PER_CLIENT_DAY, per_client, client_day)];
    let ceilings = ceilings.into_iter().filter_map(|(name, most, key)| {
        let (name, key, max) = (format!("{MARK}{name}"), key.to_string(), most?.into());
        Some(Token { key, name, window_s: DAY_S, max, n: 1 })
    });
    let mut tokens: Vec<Token> = rates.chain(costs).chain(ceilings).collect();
    tokens.sort();
    let spacing = policy.spacing(action_type).map(|spacing| {
        let (least, most) =
            (u64::from(spacing.min_s) * 1_000, u64::from(spacing.max_s.unwrap_or(spacing.min_s)) * 1_000);
        Gap {
            key: json!([client, platform, account, action_type]).to_string(),
            gap_ms: least + share(most - least, chance),
        }
    });
    Rations { tokens, spacing, concurrency: policy.concurrency() }
}

/// That share of a time in milliseconds, of at most a day.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "0 to 86.4 million"
)]
fn share(time_ms: u64, chance: f64) -> u64 {
    (time_ms as f64 * chance.clamp(0.0, 1.0)) as u64
}
