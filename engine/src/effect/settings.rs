//! How an account posts, beside who it is: `socials` of the media documents (M-031, M-032).

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::document::check_key;

/// The longest caption, in bytes.
const MAX_CAPTION_BYTES: usize = 10_000;
/// The most tags.
const MAX_TAGS: usize = 64;
/// The longest window: a year.
const MAX_WINDOW_S: u32 = 31_536_000;

/// How an account posts when nothing else is said. What is left out is unset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AccountSettings {
    /// The name of the secret that its credentials are kept under; never a secret itself (C-22).
    #[schemars(length(min = 1, max = 255))]
    pub credential_ref: Option<String>,
    /// What a post says.
    #[schemars(length(max = 10_000))]
    pub default_caption: Option<String>,
    /// What a post is tagged with, without signs: at most 64.
    #[schemars(length(max = 64))]
    pub default_tags: Vec<String>,
    /// Who may see a post, in the platform's words.
    #[schemars(length(min = 1, max = 255))]
    pub privacy: Option<String>,
    /// The window that the platform counts its rate in, in seconds. What is counted says the policy.
    #[schemars(range(min = 1, max = 31_536_000))]
    pub rate_limit_window_s: Option<u32>,
}

impl AccountSettings {
    /// What in it cannot be stored: RFC 6901 pointer, and what would fit.
    pub(super) fn misfit(&self) -> Option<(&'static str, String)> {
        let odd = |what: &'static str, text: &str| check_key(what, text).err().map(|error| error.to_string());
        let names = [("/credential_ref", "the name", &self.credential_ref), ("/privacy", "the privacy", &self.privacy)];
        for (pointer, what, text) in names {
            if let Some(message) = text.as_deref().and_then(|text| odd(what, text)) {
                return Some((pointer, message));
            }
        }
        if self.default_caption.as_ref().is_some_and(|text| text.len() > MAX_CAPTION_BYTES || text.contains('\0')) {
            return Some(("/default_caption", format!("must be at most {MAX_CAPTION_BYTES} bytes without NUL")));
        }
        if self.default_tags.len() > MAX_TAGS {
            return Some(("/default_tags", format!("has more than {MAX_TAGS} entries")));
        }
        if let Some(message) = self.default_tags.iter().find_map(|tag| odd("each tag", tag)) {
            return Some(("/default_tags", message));
        }
        let fits = self.rate_limit_window_s.is_none_or(|window| (1..=MAX_WINDOW_S).contains(&window));
        (!fits).then(|| ("/rate_limit_window_s", format!("must be 1 to {MAX_WINDOW_S}")))
    }
}
