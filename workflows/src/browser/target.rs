//! What a flow says about a control, and what it may ask of a page. Pure values.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Names one control of a page.
///
/// The fields are ways to the same control, tried in the order of [`Tier`]: the accessible name
/// (`name` or `label`, with `role` when given), then the visible `text` (with `role` when given),
/// then the `data` attribute, then `css`. The first tier that finds anything decides, and it must
/// find exactly one visible control. `role` alone is an accessible match too.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Debug, Default, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The computed ARIA role, such as `button` or `textbox`; narrows `name` and `text`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<String>,
    /// The computed accessible name, exact after whitespace is normalised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Text that the control visibly contains; the innermost control that contains it is meant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The label of a form field, exact after whitespace is normalised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// A data attribute and its exact value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<DataAttribute>,
    /// A CSS selector: the last resort, refused for a click that confirms an effect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub css: Option<String>,
    /// Looks only inside this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub within: Option<Box<Target>>,
}

/// An attribute and the exact value it must have, such as `data-testid` and `publish`.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct DataAttribute {
    /// The attribute's name.
    pub attribute: String,
    /// Its value.
    pub value: String,
}

/// How a control was found, best first. A flow whose tiers sink is drifting from its page.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// By computed accessible name or role.
    Accessible,
    /// By visible text.
    Text,
    /// By data attribute.
    Data,
    /// By CSS selector.
    Css,
}

impl Tier {
    /// The name in logs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accessible => "accessible",
            Self::Text => "text",
            Self::Data => "data",
            Self::Css => "css",
        }
    }
}

/// Something that can be seen of a page without changing it.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Condition {
    /// Exactly one visible control matches.
    Visible(Target),
    /// No visible control matches.
    Absent(Target),
    /// The page's address contains this.
    UrlContains(String),
    /// The page shows this text somewhere.
    Text(String),
    /// All of these hold.
    All(Vec<Condition>),
    /// At least one of these holds.
    Any(Vec<Condition>),
}

/// What to read of a control.
#[derive(Deserialize, Serialize, JsonSchema, Clone, Debug, PartialEq)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Read {
    /// Its visible text.
    Text,
    /// One attribute.
    Attribute(String),
    /// The current value of a form field.
    Value,
    /// The absolute address it links to or shows (`href`, else `src`).
    Url,
}

/// The longest role that is looked for; no ARIA role is longer.
const ROLE_MAX_CHARS: usize = 32;

impl Target {
    /// Refuses what could never match or could not be passed to a selector; says why.
    pub(super) fn fault(&self) -> Option<&'static str> {
        let named = [&self.role, &self.name, &self.text, &self.label, &self.css];
        if named.iter().all(|field| field.is_none()) && self.data.is_none() {
            return Some("it names nothing: give role, name, text, label, data or css");
        }
        if named.iter().any(|field| field.as_deref().is_some_and(|it| it.trim().is_empty())) {
            return Some("a field is empty");
        }
        if self.role.as_deref().is_some_and(|role| !is_word(role, false)) {
            return Some("the role is not one lower-case word");
        }
        if self.data.as_ref().is_some_and(|data| !is_word(&data.attribute, true)) {
            return Some("the data attribute is not an attribute name");
        }
        self.within.as_ref().and_then(|outer| outer.fault())
    }

    /// Whether anything asks for the accessible tier.
    pub(super) fn has_accessible(&self) -> bool {
        self.name.is_some() || self.label.is_some() || (self.role.is_some() && self.text.is_none())
    }
}

fn is_word(word: &str, hyphens: bool) -> bool {
    let starts_well = word.starts_with(|first: char| first.is_ascii_lowercase());
    let all_well =
        word.chars().all(|c| c.is_ascii_lowercase() || (hyphens && (c.is_ascii_digit() || c == '-' || c == '_')));
    starts_well && all_well && (hyphens || word.len() <= ROLE_MAX_CHARS)
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fields = [("role", &self.role), ("name", &self.name), ("label", &self.label), ("text", &self.text)];
        let mut gap = "";
        for (key, value) in fields {
            if let Some(value) = value {
                write!(f, "{gap}{key} `{value}`")?;
                gap = ", ";
            }
        }
        if let Some(data) = &self.data {
            write!(f, "{gap}{} `{}`", data.attribute, data.value)?;
            gap = ", ";
        }
        if let Some(css) = &self.css {
            write!(f, "{gap}css `{css}`")?;
        }
        match &self.within {
            Some(outer) => write!(f, " within ({outer})"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Visible(target) => write!(f, "{target} is visible"),
            Self::Absent(target) => write!(f, "{target} is absent"),
            Self::UrlContains(part) => write!(f, "the address contains `{part}`"),
            Self::Text(text) => write!(f, "the page shows `{text}`"),
            Self::All(all) => list(f, "all of", all),
            Self::Any(any) => list(f, "any of", any),
        }
    }
}

fn list(f: &mut fmt::Formatter<'_>, word: &str, conditions: &[Condition]) -> fmt::Result {
    write!(f, "{word} (")?;
    for (index, condition) in conditions.iter().enumerate() {
        let gap = if index == 0 { "" } else { "; " };
        write!(f, "{gap}{condition}")?;
    }
    write!(f, ")")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_that_names_nothing_is_refused() {
        assert!(Target::default().fault().is_some());
    }

    #[test]
    fn a_role_that_could_break_out_of_a_selector_is_refused() {
        let target = Target { role: Some("x\"],script".to_owned()), ..Target::default() };
        assert!(target.fault().is_some());
    }

    #[test]
    fn conditions_are_maps_with_one_snake_case_key() {
        let condition: Result<Condition, _> = serde_json::from_value(serde_json::json!(
            {"all": [{"url_contains": "/feed"}, {"absent": {"text": "Try again"}}]}
        ));
        assert!(matches!(condition, Ok(Condition::All(all)) if all.len() == 2));
    }
}
