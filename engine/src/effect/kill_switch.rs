//! Kill switches: they stop effects of everybody, of a client, or of one account (S-057 to S-059, Q-25).
//!
//! A switch is asked for twice on the way to a call: with the record of `attempted`, which is committed
//! under a shared lock that turning a switch takes alone, and last before the call. So when
//! [`Engine::turn_switch`] has answered, nothing more begins, and what it lists as under way is all
//! that there is, up to `MAX_UNDER_WAY`.

use std::time::Duration;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::access::{Denied, Principal, Scope};
use crate::document;
use crate::engine::Engine;
use crate::id::{ActionId, RunId};
use crate::read::ReadError;
use crate::store::StoreError;

/// Stands for every client, and for every account.
pub(crate) const EVERY: &str = "*";
/// The longest reason, in bytes.
pub const MAX_REASON_BYTES: usize = 2_000;
/// How long the surfaces wait, where they are asked to, until what had begun has ended.
pub const DRAIN_PATIENCE: Duration = Duration::from_secs(20);
/// The most actions under way that an answer lists: more than all nodes together can have in flight.
pub(crate) const MAX_UNDER_WAY: i64 = 10_000;
/// How often what is under way is looked at again while nothing is heard of it: other nodes tell of
/// events only where somebody follows them.
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// What a switch stops.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SwitchScope {
    /// Every effect.
    Global,
    /// The effects of one client.
    Client(String),
    /// The effects of one account.
    Account {
        /// Whose account; `None` is the principal's own client, and every client's account of that
        /// name for a principal of every client.
        client: Option<String>,
        /// The account.
        account: String,
    },
}

/// How a switch is to stand.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SwitchTurn {
    /// Whether it stops effects from now on.
    pub engaged: bool,
    /// Why, for the record; 1 to [`MAX_REASON_BYTES`].
    pub reason: String,
    /// How long to wait until what had begun has ended.
    pub patience: Duration,
}

/// A switch, as it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct KillSwitch {
    /// What it is called: `global`, `client:<client>` or `account:<client>/<account>`.
    pub scope: String,
    /// The client that it is about; `null` for every client.
    pub client_id: Option<String>,
    /// The account that it is about; `null` for every account.
    pub account_id: Option<String>,
    /// Whether it stops effects now.
    pub engaged: bool,
    /// Why it was turned.
    pub reason: String,
    /// Who turned it.
    pub actor: String,
    /// How often it was turned.
    pub version: i64,
    /// When it was turned last.
    pub changed_at: DateTime<Utc>,
    /// What had begun before it was turned on and has not ended. Said only to who turned it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub under_way: Option<Vec<UnderWay>>,
}

/// An action whose call may be under way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnderWay {
    /// The action.
    pub action_id: ActionId,
    /// The command that it belongs to.
    pub command_id: RunId,
    /// Whose it is.
    pub client_id: String,
    /// For which account.
    pub account_id: String,
    /// When its call must have ended.
    pub call_deadline: Option<DateTime<Utc>>,
}

/// Why a switch was not turned.
#[derive(Debug, thiserror::Error)]
pub enum SwitchError {
    /// The principal may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// Something in the request does not fit.
    #[error("{message}")]
    Invalid {
        /// RFC 6901 pointer into the request.
        pointer: &'static str,
        /// What is wrong.
        message: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A client and an account, each of which may be [`EVERY`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) client: String,
    pub(crate) account: String,
}

impl SwitchScope {
    /// What it comes down to for a principal, who must act for all of it.
    fn extent(&self, by: &Principal) -> Result<Extent, SwitchError> {
        let (client, account) = match self {
            Self::Global => (EVERY, EVERY),
            Self::Client(client) => (named("/client_id", "the client", client)?, EVERY),
            Self::Account { client, account } => {
                let client = match client {
                    Some(client) => named("/client_id", "the client", client)?,
                    None => &by.client_id,
                };
                (client, named("/account_id", "the account", account)?)
            }
        };
        if by.may_act_for(client) {
            Ok(Extent { client: client.to_owned(), account: account.to_owned() })
        } else {
            Err(Denied::Client(client.to_owned()).into())
        }
    }
}

/// A name that stands for one thing.
pub(super) fn named<'a>(pointer: &'static str, what: &'static str, name: &'a str) -> Result<&'a str, SwitchError> {
    let refused = |message: String| SwitchError::Invalid { pointer, message };
    document::check_key(what, name).map_err(|error| refused(error.to_string()))?;
    if name == EVERY { Err(refused("is no name; leave it out for all of them".to_owned())) } else { Ok(name) }
}

impl Engine {
    /// Turns a switch on or off, and lists what had begun before. The same again changes nothing.
    pub async fn turn_switch(
        &self,
        by: &Principal,
        scope: &SwitchScope,
        turn: SwitchTurn,
    ) -> Result<KillSwitch, SwitchError> {
        by.require(Scope::KillWrite)?;
        let extent = scope.extent(by)?;
        let fits = (1..=MAX_REASON_BYTES).contains(&turn.reason.len()) && !turn.reason.contains('\0');
        if !fits {
            let message = format!("say why, in 1 to {MAX_REASON_BYTES} bytes without NUL");
            return Err(SwitchError::Invalid { pointer: "/reason", message });
        }
        let switch = self.store().turn_switch(&extent, turn.engaged, &turn.reason, &by.name).await?;
        self.tell_events().await;
        // The lock is free again: what was committed before it is seen now, and nothing came after.
        let under_way = if turn.engaged { self.left_of(&extent, turn.patience).await? } else { Vec::new() };
        Ok(KillSwitch { under_way: Some(under_way), ..switch })
    }

    /// What is under way within its extent, once all of it has ended or `patience` has.
    async fn left_of(&self, extent: &Extent, patience: Duration) -> Result<Vec<UnderWay>, SwitchError> {
        let ends = self.clock().monotonic() + patience;
        loop {
            // Asked for before looking: what ends meanwhile is not missed.
            let ended = self.reader().wakes.events();
            let left = self.store().under_way(extent).await?;
            let patience = ends.saturating_duration_since(self.clock().monotonic());
            if left.is_empty() || patience.is_zero() {
                return Ok(left);
            }
            tokio::select! {
                () = ended => {}
                () = self.clock().wait(patience.min(LOOK_AGAIN)) => {}
            }
        }
    }

    /// The switches that the principal may see and that were ever turned, those that are on first.
    pub async fn kill_switches(&self, by: &Principal) -> Result<Vec<KillSwitch>, ReadError> {
        by.require_any(&[Scope::KillWrite, Scope::CommandsRead])?;
        Ok(self.store().kill_switches(&by.client_id).await?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(client: &str) -> Principal {
        Principal { client_id: client.into(), ..Principal::operator() }
    }

    fn extent(by: &str, scope: &SwitchScope) -> Option<(String, String)> {
        scope.extent(&of(by)).ok().map(|extent| (extent.client, extent.account))
    }

    #[test]
    fn nobody_stops_more_than_they_act_for() {
        let client = |name: &str| SwitchScope::Client(name.into());
        let account =
            |client: Option<&str>| SwitchScope::Account { client: client.map(Into::into), account: "main".into() };
        let pair = |client: &str, account: &str| Some((client.to_owned(), account.to_owned()));

        assert_eq!(extent("*", &SwitchScope::Global), pair("*", "*"));
        assert_eq!(extent("acme", &SwitchScope::Global), None);
        assert_eq!(extent("acme", &client("acme")), pair("acme", "*"));
        assert_eq!(extent("acme", &client("other")), None);
        assert_eq!(extent("*", &client("other")), pair("other", "*"));
        assert_eq!(extent("acme", &account(None)), pair("acme", "main"));
        assert_eq!(extent("acme", &account(Some("other"))), None);
        assert_eq!(extent("*", &account(None)), pair("*", "main"));
    }

    #[test]
    fn a_name_is_one_name() {
        for name in ["", "*", "a\0b"] {
            assert_eq!(extent("*", &SwitchScope::Client(name.into())), None, "{name:?}");
            assert_eq!(extent("*", &SwitchScope::Account { client: None, account: name.into() }), None, "{name:?}");
        }
    }
}
