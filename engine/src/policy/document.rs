//! The policy document, as people write it. Whatever a document does not say, it leaves to the others.

use std::collections::{BTreeMap, BTreeSet};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What one scope says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct PolicyDocument {
    /// Whether actions go ahead by themselves. `manual` anywhere is `manual`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub autonomy: Option<Autonomy>,
    /// The types of action that are allowed, by platform; `*` stands for every platform. Where this is said, what it
    /// does not name is not allowed, and every scope that says it must name it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub allowed_actions: Option<BTreeMap<String, BTreeSet<String>>>,
    /// When nothing is done: an action waits for the end. Those of all scopes hold.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub quiet_hours: Vec<QuietHours>,
    /// How often and for how much. A narrower scope's budget replaces a wider one's of the same name.
    #[serde(skip_serializing_if = "Budgets::is_empty")]
    pub budgets: Budgets,
    /// The most effects of a day, whatever their type. The least of all scopes holds.
    #[serde(skip_serializing_if = "Ceilings::is_empty")]
    pub ceilings: Ceilings,
    /// The pause between two actions of a type for one account; `*` stands for every type. The longest holds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub spacing: BTreeMap<String, Spacing>,
    /// What content is refused. Those of all scopes hold.
    #[serde(skip_serializing_if = "Compliance::is_empty")]
    pub compliance: Compliance,
    /// Types of action for which a person is asked first. Those of all scopes hold.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub high_risk: BTreeSet<String>,
    /// The same as `high_risk`, by type of action.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub gates: BTreeMap<String, Demand>,
    /// Whether the account's identity must be verified before each action. `required` anywhere is `required`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub identity: Option<IdentityDemand>,
    /// How an outcome that nobody knows is looked into. That of the narrowest scope that says it holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification: Option<Verification>,
    /// Whether two people are asked instead of one. Only `false` for now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub two_person: bool,
    /// The most calls of one account at once. The least holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000))]
    pub concurrency: Option<u32>,
}

/// Whether actions go ahead by themselves (S-015).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Autonomy {
    /// They do.
    Auto,
    /// A person is asked before each one.
    Manual,
}

/// Whether a person is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Demand {
    /// Before each one.
    Required,
    /// Not by this; another rule may.
    None,
}

/// Whether the platform must say that an action is done as the account (S-021).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum IdentityDemand {
    /// What cannot be verified is not done: the account was never connected, or its type of action has no way to ask.
    Required,
    /// Not by this: what can be verified is, and what cannot is done.
    Optional,
}

/// A time of day in which nothing is done (S-017).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct QuietHours {
    /// The time zone, by its IANA name: `Europe/Berlin`.
    pub tz: String,
    /// When it begins, `HH:MM` there.
    #[schemars(regex(pattern = "^([01][0-9]|2[0-3]):[0-5][0-9]$"))]
    pub from: String,
    /// When it ends, `HH:MM` there; `24:00` is midnight. Not after `from`: on the next day.
    #[schemars(regex(pattern = "^(([01][0-9]|2[0-3]):[0-5][0-9]|24:00)$"))]
    pub to: String,
    /// The days on which it begins; every day when left out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub days: BTreeSet<Weekday>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the days' own names")]
pub enum Weekday {
    Mon,
    Tue,
    Wed,
    Thu,
    Fri,
    Sat,
    Sun,
}

/// How often, and for how much (S-018, S-063, S-064).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Budgets {
    /// How many actions.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rate: Vec<RateBudget>,
    /// How much money.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cost: Vec<CostBudget>,
}

impl Budgets {
    fn is_empty(&self) -> bool {
        self.rate.is_empty() && self.cost.is_empty()
    }
}

/// The most effects of a day (UTC), of all types together (S-009): what goes wrong can do so much and no more. Unlike a budget,
/// a narrower scope can only lower it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Ceilings {
    /// Of one account on one platform.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_account_day: Option<u32>,
    /// Of all accounts of a client, on whatever platform. Only in the documents of everybody and of a client.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_client_day: Option<u32>,
}

impl Ceilings {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// So many actions in a window of time. Windows follow each other from 1970-01-01T00:00:00Z on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RateBudget {
    /// What it is called; one of its own in the document.
    pub name: String,
    /// Which types of action count; all when left out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub actions: BTreeSet<String>,
    /// How many.
    pub max: u32,
    /// In how many seconds, up to 366 days.
    #[schemars(range(min = 1, max = 31_622_400))]
    pub window_s: u32,
    /// What is counted together; each account by itself when left out.
    #[serde(default)]
    pub per: Per,
}

/// So much money in a window of time: the sum of what the payloads say as `cost_usd_micro`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CostBudget {
    /// What it is called; one of its own in the document.
    pub name: String,
    /// In what it is counted.
    pub unit: CostUnit,
    /// How much.
    #[schemars(range(max = 9_007_199_254_740_991_u64))]
    pub max: u64,
    /// In how many seconds, up to 366 days.
    #[schemars(range(min = 1, max = 31_622_400))]
    pub window_s: u32,
    /// What is counted together; each account by itself when left out.
    #[serde(default)]
    pub per: Per,
}

/// In what money is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CostUnit {
    /// Millionths of a US dollar.
    UsdMicro,
}

/// What a budget counts together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Per {
    /// Each account by itself.
    #[default]
    Account,
    /// All accounts of a client.
    Client,
    /// Everything that the document is about.
    Scope,
}

/// The pause between two actions (S-065): at least `min_s`, and some of the time up to `max_s`, by chance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Spacing {
    /// At least so many seconds, up to a day.
    #[schemars(range(max = 86_400))]
    pub min_s: u32,
    /// At most so many seconds of what is added by us, up to a day; `min_s` when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(max = 86_400))]
    pub max_s: Option<u32>,
}

/// What content is refused (S-019, Q-24). The payload's `content_flags` are looked at, and each text in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Compliance {
    /// Flags that are refused.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub block_flags: BTreeSet<String>,
    /// Flags that are known and not refused. Any other flag is refused.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub allow_flags: BTreeSet<String>,
    /// Words and phrases that no text may have, in whatever case.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub banned_terms: BTreeSet<String>,
    /// The most characters of one text. The least holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_length: Option<u32>,
    /// Classifiers that are asked which flags the content has. Those of all scopes are asked; without an answer nothing is done.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub classifiers: BTreeSet<String>,
    /// Text that the same account has posted before. That of each scope holds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub repeated_text: Option<RepeatedText>,
}

/// What is to become of an action whose text its account has posted within a time, in whatever case and spacing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RepeatedText {
    /// Within how many seconds, up to 366 days.
    #[schemars(range(min = 1, max = 31_622_400))]
    pub window_s: u32,
    /// The fields of the payload, at whatever depth, whose texts are compared, each by itself; `text`, `caption`, `message`,
    /// `comment` and `body` when left out.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub fields: BTreeSet<String>,
    /// What becomes of it; refused when left out.
    #[serde(default)]
    pub then: OnRepeat,
}

/// What is to become of an action whose text is there already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnRepeat {
    /// It is refused.
    #[default]
    Block,
    /// A person is asked first.
    Approve,
}

/// How an outcome that nobody knows is looked into (S-056, Q-28): by looking again and again, which changes nothing, and by a
/// person.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Verification {
    /// The pauses before each further look, in seconds, up to a day each; there are as many looks, at most 16.
    #[schemars(length(max = 16), inner(range(min = 1, max = 86_400)))]
    pub pauses_s: Vec<u32>,
    /// After how many of these looks a person is asked; 0 is at once, and looking goes on meanwhile.
    #[schemars(range(max = 16))]
    pub ask_after: u32,
}

impl Default for Verification {
    fn default() -> Self {
        Self { pauses_s: vec![30, 60, 120, 300, 600], ask_after: 0 }
    }
}

impl Compliance {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}
