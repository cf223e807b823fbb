//! Who an account is, in its platform's own words (S-031): an id that never changes there, and names that may.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::check_key;

/// The most further ids of one account.
const MAX_IDS: usize = 32;

/// Who an account is. Two fingerprints are of the same account when their ids are equal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fingerprint {
    /// The platform's id of the account, page or channel, which it never changes and never gives to another.
    #[schemars(length(min = 1, max = 255))]
    pub id: String,
    /// What it is called there, such as `@ada` without the sign; it may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub handle: Option<String>,
    /// The name that people see; it may change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 255))]
    pub display_name: Option<String>,
    /// Further ids of the platform, by their names there: at most 32.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub ids: BTreeMap<String, String>,
}

impl Fingerprint {
    /// What in it cannot be stored: RFC 6901 pointer, and what would fit.
    pub(super) fn misfit(&self) -> Option<(&'static str, String)> {
        let odd = |what: &'static str, text: &str| check_key(what, text).err().map(|error| error.to_string());
        let some = |what: &'static str, text: &Option<String>| text.as_deref().and_then(|text| odd(what, text));
        if let Some(message) = odd("the id", &self.id) {
            return Some(("/fingerprint/id", message));
        }
        if let Some(message) = some("the handle", &self.handle) {
            return Some(("/fingerprint/handle", message));
        }
        if let Some(message) = some("the display name", &self.display_name) {
            return Some(("/fingerprint/display_name", message));
        }
        if self.ids.len() > MAX_IDS {
            return Some(("/fingerprint/ids", format!("has more than {MAX_IDS} entries")));
        }
        let texts = self.ids.iter().flat_map(|(name, id)| [name, id]);
        texts.into_iter().find_map(|text| odd("each name and id", text)).map(|message| ("/fingerprint/ids", message))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_too_long_or_has_control_characters_is_pointed_out() {
        let good = Fingerprint { id: "acct_1".into(), ..Fingerprint::default() };
        assert_eq!(good.misfit(), None);
        let place = |bad: Fingerprint| bad.misfit().map(|(pointer, _)| pointer);
        let (none, long, odd) = (Some(String::new()), Some("x".repeat(256)), Some("a\0".to_owned()));
        assert_eq!(place(Fingerprint { id: String::new(), ..good.clone() }), Some("/fingerprint/id"));
        assert_eq!(place(Fingerprint { handle: long, ..good.clone() }), Some("/fingerprint/handle"));
        for text in [none, odd] {
            assert_eq!(place(Fingerprint { display_name: text, ..good.clone() }), Some("/fingerprint/display_name"));
        }
        let ids = |many: usize, id: &str| (0..many).map(|n| (format!("id{n}"), id.to_owned())).collect();
        for ids in [ids(MAX_IDS + 1, "1"), ids(1, "")] {
            assert_eq!(place(Fingerprint { ids, ..good.clone() }), Some("/fingerprint/ids"));
        }
        assert_eq!(place(Fingerprint { ids: ids(MAX_IDS, "1"), ..good }), None);
    }
}
