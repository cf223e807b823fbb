//! The words that actions may be named by: a closed list that a host extends (S-001, S-076, S-078, C-09).
//!
//! The contract names the kinds of action; which platforms there are is up to whoever hosts the engine
//! ([`Registry::knowing`](crate::workflow::Registry::knowing)). The audit schema closes what is known here, and nothing
//! is planned under another word: a rule about `publish` could not hold for what calls itself `pubish`.

use std::collections::BTreeSet;

/// The kinds of action of the safety document (S-078), and those that C-09 adds to them: `pin`, `unpin`, `moderate`.
const ACTION_TYPES: [&str; 11] =
    ["publish", "schedule", "dm_send", "comment_reply", "like", "follow", "edit", "delete", "pin", "unpin", "moderate"];

/// The most characters of an unknown word that its refusal repeats.
const MAX_SHOWN_CHARS: usize = 64;

/// What an installation knows: kinds of action and platforms. By itself the kinds of the contract, and no platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Vocabulary {
    action_types: BTreeSet<String>,
    platforms: BTreeSet<String>,
}

impl Default for Vocabulary {
    fn default() -> Self {
        Self { action_types: ACTION_TYPES.map(str::to_owned).into(), platforms: BTreeSet::new() }
    }
}

/// A word that nobody knows here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UnknownWord {
    /// No such kind of action.
    #[error("{word:?} is no kind of action that is known here; known are {}", known.join(", "))]
    ActionType {
        /// What was said.
        word: String,
        /// What could be said.
        known: Vec<String>,
    },
    /// No such platform.
    #[error("{word:?} is no platform that is known here; known are {}", known.join(", "))]
    Platform {
        /// What was said.
        word: String,
        /// What could be said.
        known: Vec<String>,
    },
}

impl UnknownWord {
    /// The code of failures that it makes.
    pub fn code(&self) -> &'static str {
        match self {
            Self::ActionType { .. } => "action_type_unknown",
            Self::Platform { .. } => "platform_unknown",
        }
    }

    /// The field that has the word.
    pub fn field(&self) -> &'static str {
        match self {
            Self::ActionType { .. } => "action_type",
            Self::Platform { .. } => "platform",
        }
    }
}

impl Vocabulary {
    /// Adds kinds of action.
    #[must_use]
    pub fn with_action_types<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.action_types.extend(words.into_iter().map(str::to_owned));
        self
    }

    /// Adds platforms.
    #[must_use]
    pub fn with_platforms<'a>(mut self, words: impl IntoIterator<Item = &'a str>) -> Self {
        self.platforms.extend(words.into_iter().map(str::to_owned));
        self
    }

    /// The kinds of action, in order.
    pub fn action_types(&self) -> impl Iterator<Item = &str> {
        self.action_types.iter().map(String::as_str)
    }

    /// The platforms, in order.
    pub fn platforms(&self) -> impl Iterator<Item = &str> {
        self.platforms.iter().map(String::as_str)
    }

    /// Refuses a kind of action that is not known.
    pub fn check_action_type(&self, word: &str) -> Result<(), UnknownWord> {
        if self.action_types.contains(word) {
            return Ok(());
        }
        Err(UnknownWord::ActionType { word: shown(word), known: self.action_types.iter().cloned().collect() })
    }

    /// Refuses a platform that is not known.
    pub fn check_platform(&self, word: &str) -> Result<(), UnknownWord> {
        if self.platforms.contains(word) {
            return Ok(());
        }
        Err(UnknownWord::Platform { word: shown(word), known: self.platforms.iter().cloned().collect() })
    }

    /// Refuses what would be planned under a word that is not known.
    pub fn check(&self, action_type: &str, platform: &str) -> Result<(), UnknownWord> {
        self.check_action_type(action_type)?;
        self.check_platform(platform)
    }
}

/// Enough of a word to recognise it.
fn shown(word: &str) -> String {
    word.chars().take(MAX_SHOWN_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_known_when_the_contract_or_the_host_has_it() {
        let words = Vocabulary::default().with_platforms(["demo"]).with_action_types(["wave"]);
        for known in ["publish", "moderate", "wave"] {
            assert_eq!(words.check(known, "demo"), Ok(()), "{known}");
        }
        let refused = words.check("pubish", "demo").unwrap_err();
        assert_eq!((refused.code(), refused.field()), ("action_type_unknown", "action_type"));
        assert!(refused.to_string().contains("publish"), "it says what is known: {refused}");
        assert_eq!(words.check("publish", "Demo").unwrap_err().code(), "platform_unknown");
        assert_eq!(Vocabulary::default().check("publish", "demo").unwrap_err().field(), "platform");
    }
}
