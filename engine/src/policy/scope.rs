//! Whom a policy document is about.

use std::fmt;
use std::str::FromStr;

use crate::document;
use crate::effect::EVERY;

/// Whom a policy document is about, from the widest to the narrowest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum PolicyScope {
    /// Everybody.
    Global,
    /// Everybody on one platform.
    Platform(String),
    /// One client.
    Client(String),
    /// One account of a client, on whatever platform.
    Account {
        /// Whose.
        client: String,
        /// The account.
        account: String,
    },
}

/// A word that names no scope.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no scope; scopes are `global`, `platform:<platform>`, `client:<client>` and `account:<client>/<account>`, with % and / of a client written %25 and %2F"
)]
pub struct ScopeError;

impl PolicyScope {
    /// The client that it is about; [`EVERY`] for all of them.
    pub(crate) fn client(&self) -> &str {
        match self {
            Self::Client(client) | Self::Account { client, .. } => client,
            Self::Global | Self::Platform(_) => EVERY,
        }
    }

    /// The platform that it is about; [`EVERY`] for all of them.
    pub(crate) fn platform(&self) -> &str {
        if let Self::Platform(platform) = self { platform } else { EVERY }
    }

    /// The account that it is about; [`EVERY`] for all of them.
    pub(crate) fn account(&self) -> &str {
        if let Self::Account { account, .. } = self { account } else { EVERY }
    }
}

impl fmt::Display for PolicyScope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("global"),
            Self::Platform(platform) => write!(f, "platform:{platform}"),
            Self::Client(client) => write!(f, "client:{client}"),
            // Escaped as a switch's name is, so that no two scopes share one.
            Self::Account { client, account } => {
                write!(f, "account:{}/{account}", client.replace('%', "%25").replace('/', "%2F"))
            }
        }
    }
}

impl FromStr for PolicyScope {
    type Err = ScopeError;

    fn from_str(word: &str) -> Result<Self, ScopeError> {
        let scope = match word.split_once(':') {
            None if word == "global" => return Ok(Self::Global),
            Some(("platform", platform)) => Self::Platform(platform.to_owned()),
            Some(("client", client)) => Self::Client(client.to_owned()),
            Some(("account", account)) => {
                let (client, account) = account.split_once('/').ok_or(ScopeError)?;
                let client = client.replace("%2F", "/").replace("%25", "%");
                Self::Account { client, account: account.to_owned() }
            }
            _ => return Err(ScopeError),
        };
        let named = |name: &str| name == EVERY || document::check_key("a name", name).is_ok();
        let (client, platform, account) = (scope.client(), scope.platform(), scope.account());
        let everybody = client == EVERY && platform == EVERY && account == EVERY;
        let half = matches!(scope, Self::Account { .. }) && (client == EVERY || account == EVERY);
        let fits = named(client) && named(platform) && named(account) && !everybody && !half;
        if fits { Ok(scope) } else { Err(ScopeError) }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_scope_reads_back(client in "[^*\\p{Cc}]{1,20}", account in "[^*\\p{Cc}]{1,20}") {
            let scopes = [
                PolicyScope::Global,
                PolicyScope::Platform(client.clone()),
                PolicyScope::Client(client.clone()),
                PolicyScope::Account { client, account },
            ];
            for scope in scopes {
                prop_assert_eq!(scope.to_string().parse(), Ok(scope));
            }
        }
    }

    #[test]
    fn what_names_no_scope_is_refused() {
        for word in [
            "",
            "globe",
            "client:",
            "client:*",
            "platform:",
            "account:a",
            "account:/a",
            "account:a/",
            "account:*/a",
            "global:x",
        ] {
            assert_eq!(word.parse::<PolicyScope>(), Err(ScopeError), "{word}");
        }
    }
}
