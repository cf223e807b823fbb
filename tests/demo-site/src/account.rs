//! Handles and the tokens that stand for them.
//!
//! Accounts are made by their first login, all with [`PASSWORD`]. A token is derived from the
//! handle and the ledger's generation, so sessions survive a restart and end with a reset.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::problem::Problem;

/// The password of every handle.
pub(crate) const PASSWORD: &str = "demo-password";
const MAX_HANDLE_CHARS: usize = 32;

/// An account's name: 1 to 32 of `a-z`, `0-9` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub(crate) struct Handle(String);

impl Handle {
    /// The handle as text.
    pub(crate) fn as_str(&self) -> &str {
        &self.0
    }

    /// The account's stable id.
    pub(crate) fn account_id(&self) -> String {
        format!("acct_{}", short_hash(&format!("account:{self}")))
    }

    /// `ada_lovelace` is displayed as `Ada Lovelace`.
    pub(crate) fn display_name(&self) -> String {
        let words = self.0.split('_').filter(|word| !word.is_empty());
        let name: Vec<String> = words.map(capitalised).collect();
        if name.is_empty() { self.0.clone() } else { name.join(" ") }
    }

    /// The token that a login to this generation of the site gives.
    pub(crate) fn token(&self, generation: u32) -> String {
        let secret = short_hash(&format!("session:{generation}:{self}"));
        format!("pico.{self}.{secret}")
    }

    /// The handle a token stands for, if the token was given by this generation.
    pub(crate) fn of_token(token: &str, generation: u32) -> Option<Self> {
        let handle = token.strip_prefix("pico.")?.split('.').next()?;
        let handle = Self::try_from(handle.to_owned()).ok()?;
        (handle.token(generation) == token).then_some(handle)
    }
}

impl fmt::Display for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Handle> for String {
    fn from(handle: Handle) -> Self {
        handle.0
    }
}

impl TryFrom<String> for Handle {
    type Error = Problem;

    fn try_from(text: String) -> Result<Self, Problem> {
        let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if text.is_empty() || text.len() > MAX_HANDLE_CHARS || !text.chars().all(legal) {
            return Err(Problem::malformed("a handle is 1 to 32 of a-z, 0-9 and underscore"));
        }
        Ok(Self(text))
    }
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    chars.next().map_or_else(String::new, |first| first.to_ascii_uppercase().to_string() + chars.as_str())
}

/// Sixteen hexadecimal digits that follow from the text.
pub(crate) fn short_hash(text: &str) -> String {
    let mut hash = hex::encode(Sha256::digest(text.as_bytes()));
    hash.truncate(16);
    hash
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_opens_only_the_generation_that_gave_it() {
        let ada = Handle::try_from("ada_lovelace".to_owned()).unwrap();

        assert_eq!(Handle::of_token(&ada.token(0), 0), Some(ada.clone()));
        assert_eq!(Handle::of_token(&ada.token(0), 1), None);
        assert_eq!(ada.display_name(), "Ada Lovelace");
    }

    #[test]
    fn a_handle_with_anything_else_in_it_is_refused() {
        for text in ["", "Ada", "a b", "a/b", "é", &"a".repeat(33)] {
            assert!(Handle::try_from(text.to_owned()).is_err(), "{text}");
        }
    }
}
