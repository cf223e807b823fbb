//! Scopes: what a token may be good for (A.5).

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! scopes {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// One thing that a principal may do. [`Scope::Admin`] stands for all of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        pub enum Scope {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl Scope {
            /// Every scope.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word on the wire and in the database.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $word,)+
                }
            }
        }
    };
}

scopes! {
    /// See commands, their steps, actions and gates.
    CommandsRead = "commands:read",
    /// Submit, signal and cancel commands.
    CommandsWrite = "commands:write",
    /// Submit flows as documents instead of installed ones by name.
    FlowsInline = "flows:inline",
    /// Decide gates and resume after a takeover.
    GatesDecide = "gates:decide",
    /// Follow the event stream.
    EventsRead = "events:read",
    /// See artifacts and fetch their content.
    ArtifactsRead = "artifacts:read",
    /// Trip and release kill switches.
    KillWrite = "kill:write",
    /// Put accounts into another mode.
    AccountsWrite = "accounts:write",
    /// Put policies in force.
    PoliciesWrite = "policies:write",
    /// See the audit trail.
    AuditRead = "audit:read",
    /// Scrape metrics where probes require a token.
    MetricsRead = "metrics:read",
    /// Ask the GraphQL schema about itself.
    GraphqlIntrospect = "graphql:introspect",
    /// Find log lines.
    LogsRead = "logs:read",
    /// Send log lines.
    LogsWrite = "logs:write",
    /// List services at Render.
    RenderRead = "render:read",
    /// Ask the services behind the API, as they ask each other.
    Internal = "internal",
    /// Create, list, rotate and revoke tokens.
    TokensAdmin = "tokens:admin",
    /// Everything.
    Admin = "admin",
}

/// No scope has that name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no scope is called {word:?}; known are {}", known())]
pub struct UnknownScope {
    /// What was given.
    pub word: String,
}

fn known() -> String {
    Scope::ALL.iter().map(|scope| scope.as_str()).collect::<Vec<_>>().join(", ")
}

impl FromStr for Scope {
    type Err = UnknownScope;

    fn from_str(word: &str) -> Result<Self, UnknownScope> {
        let found = Self::ALL.iter().find(|scope| scope.as_str() == word);
        found.copied().ok_or_else(|| UnknownScope { word: word.to_owned() })
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back() {
        for scope in Scope::ALL {
            assert_eq!(scope.as_str().parse(), Ok(*scope));
            assert_eq!(serde_json::to_value(scope).unwrap(), scope.as_str());
        }
        assert!("commands".parse::<Scope>().is_err());
        assert!("ADMIN".parse::<Scope>().is_err());
    }
}
