//! Accounts: who one is on its platform (S-031), and what may be done with it at all (S-073, S-074).
//!
//! A challenge, another layout, another identity or repeated failed logins put an account into `read_only`, where no effect begins. Only a
//! person lifts that.

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::kill_switch::{EVERY, MAX_REASON_BYTES, named};
use super::{AccountSettings, Fingerprint, SwitchError};
use crate::access::{Denied, Principal, Scope};
use crate::document::check_key;
use crate::engine::Engine;
use crate::read::ReadError;
use crate::workflow::Failure;

/// What may be done with an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountMode {
    /// Everything that its policy allows.
    Normal,
    /// Looking only: something is wrong with it, and a person has to see to that.
    ReadOnly,
    /// Nothing.
    Disabled,
}

impl AccountMode {
    /// The word in the database and on every surface.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ReadOnly => "read_only",
            Self::Disabled => "disabled",
        }
    }

    /// The mode of that word.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Normal, Self::ReadOnly, Self::Disabled].into_iter().find(|mode| mode.as_str() == word)
    }
}

/// What is wrong with an account, as a failure's code says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AccountTrouble {
    /// The platform does not take the login. The third in a row counts.
    Auth,
    /// The platform wants a person to prove something: a captcha, a checkpoint.
    Challenge,
    /// The platform looks another way than it did.
    Layout,
    /// The platform says that it would act as somebody else.
    Identity,
}

impl AccountTrouble {
    const ALL: [Self; 4] = [Self::Auth, Self::Challenge, Self::Layout, Self::Identity];

    /// The code of failures that mean it.
    pub fn code(self) -> &'static str {
        match self {
            Self::Auth => "account_auth",
            Self::Challenge => "account_challenge",
            Self::Layout => "account_layout",
            Self::Identity => "identity_mismatch",
        }
    }

    /// What a failure means.
    pub(crate) fn of(failure: &Failure) -> Option<Self> {
        Self::ALL.into_iter().find(|trouble| trouble.code() == failure.code)
    }
}

/// An account of a client on a platform, as far as something is known of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PlatformAccount")]
pub struct AccountView {
    /// Whose.
    pub client_id: String,
    /// On which platform.
    pub platform: String,
    /// The account.
    pub account_id: String,
    /// What may be done with it.
    pub mode: AccountMode,
    /// Why it is in that mode: what a person said, or `account_auth`, `account_challenge`, `account_layout`,
    /// `identity_mismatch`.
    pub reason: Option<String>,
    /// Who put it there; `fermata` for the program itself.
    pub actor: Option<String>,
    /// When.
    pub changed_at: Option<DateTime<Utc>>,
    /// Until when the platform asked to be left alone, if that is still to come.
    pub free_at: Option<DateTime<Utc>>,
    /// How many calls at once there may be while the platform complains; `null` when it does not.
    pub allowance: Option<i32>,
    /// Who it is on its platform; `null` when nobody has connected it.
    pub fingerprint: Option<Fingerprint>,
    /// When it was connected, as it is now.
    pub connected_at: Option<DateTime<Utc>>,
    /// Who connected it.
    pub connected_by: Option<String>,
    /// How it posts.
    pub settings: AccountSettings,
}

/// Which accounts; everything that is left out matches every one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AccountFilter {
    /// Of this client; of use to principals of every client.
    pub client_id: Option<String>,
    /// On this platform.
    pub platform: Option<String>,
    /// In this mode.
    pub mode: Option<AccountMode>,
}

/// Which account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccountName {
    /// Whose; `None` is the principal's own client.
    pub client: Option<String>,
    /// On which platform.
    pub platform: String,
    /// The account.
    pub account: String,
}

/// Which account goes into which mode, why, and by whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ModeTurn<'a> {
    pub(crate) client: &'a str,
    pub(crate) platform: &'a str,
    pub(crate) account: &'a str,
    pub(crate) mode: AccountMode,
    pub(crate) reason: &'a str,
    pub(crate) actor: &'a str,
}

/// Which account is connected as whom, and by whom.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Connecting<'a> {
    pub(crate) client: &'a str,
    pub(crate) platform: &'a str,
    pub(crate) account: &'a str,
    pub(crate) fingerprint: &'a Fingerprint,
    pub(crate) actor: &'a str,
}

/// Which account posts how, and who says so.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Configuring<'a> {
    pub(crate) client: &'a str,
    pub(crate) platform: &'a str,
    pub(crate) account: &'a str,
    pub(crate) settings: &'a AccountSettings,
    pub(crate) actor: &'a str,
}

impl AccountName {
    /// Client, platform and account, each a name that stands for one thing, of a client that the principal acts for.
    fn written<'a>(&'a self, by: &'a Principal) -> Result<[&'a str; 3], SwitchError> {
        let client = self.client.as_deref().unwrap_or(&by.client_id);
        if self.client.is_none() && client == EVERY {
            let message = "say whose account it is: this token acts for every client".to_owned();
            return Err(SwitchError::Invalid { pointer: "/client_id", message });
        }
        let client = named("/client_id", "the client", client)?;
        let platform = named("/platform", "the platform", &self.platform)?;
        let account = named("/account_id", "the account", &self.account)?;
        if by.may_act_for(client) {
            Ok([client, platform, account])
        } else {
            Err(Denied::Client(client.to_owned()).into())
        }
    }
}

impl Engine {
    /// Connects an account: keeps who it is on its platform (S-031). When this has answered, no effect of it begins that was
    /// let pass for another fingerprint. The same again changes nothing.
    pub async fn connect_account(
        &self,
        by: &Principal,
        which: &AccountName,
        fingerprint: &Fingerprint,
    ) -> Result<AccountView, SwitchError> {
        by.require(Scope::AccountsWrite)?;
        let [client, platform, account] = which.written(by)?;
        if let Some((pointer, message)) = fingerprint.misfit() {
            return Err(SwitchError::Invalid { pointer, message });
        }
        let connecting = Connecting { client, platform, account, fingerprint, actor: &by.name };
        let connected = self.store().connect_account(connecting).await?;
        self.tell_events().await;
        Ok(connected)
    }

    /// Keeps how an account posts (M-031): all of it, so what is left out is unset. The same again changes nothing.
    pub async fn configure_account(
        &self,
        by: &Principal,
        which: &AccountName,
        settings: &AccountSettings,
    ) -> Result<AccountView, SwitchError> {
        by.require(Scope::AccountsWrite)?;
        let [client, platform, account] = which.written(by)?;
        if let Some((pointer, message)) = settings.misfit() {
            return Err(SwitchError::Invalid { pointer, message });
        }
        let configuring = Configuring { client, platform, account, settings, actor: &by.name };
        let configured = self.store().configure_account(configuring).await?;
        self.tell_events().await;
        Ok(configured)
    }

    /// An account that something is known of.
    pub async fn account(&self, by: &Principal, which: &AccountName) -> Result<AccountView, ReadError> {
        by.require_any(&[Scope::AccountsWrite, Scope::CommandsRead])?;
        let client = which.client.as_deref().unwrap_or(&by.client_id);
        if client == EVERY {
            let message = "say whose account it is: this token acts for every client".to_owned();
            return Err(ReadError::Filter { name: "client_id", message });
        }
        let (named, missing) = ([client, &which.platform, &which.account], ReadError::NotFound("platform account"));
        if named.iter().any(|name| check_key("a name", name).is_err()) {
            return Err(missing);
        }
        self.store().account(&by.client_id, named.map(str::to_owned)).await?.ok_or(missing)
    }

    /// Puts an account into a mode. When this has answered, no effect of it begins in another one.
    pub async fn turn_account(
        &self,
        by: &Principal,
        which: &AccountName,
        mode: AccountMode,
        reason: &str,
    ) -> Result<AccountView, SwitchError> {
        by.require(Scope::AccountsWrite)?;
        let [client, platform, account] = which.written(by)?;
        if !(1..=MAX_REASON_BYTES).contains(&reason.len()) || reason.contains('\0') {
            let message = format!("say why, in 1 to {MAX_REASON_BYTES} bytes without NUL");
            return Err(SwitchError::Invalid { pointer: "/reason", message });
        }
        let turn = ModeTurn { client, platform, account, mode, reason, actor: &by.name };
        let turned = self.store().turn_account(turn).await?;
        self.tell_events().await;
        Ok(turned)
    }

    /// The accounts that something is known of and that the principal may see; those that nothing may be done with first.
    pub async fn accounts(&self, by: &Principal, filter: &AccountFilter) -> Result<Vec<AccountView>, ReadError> {
        by.require_any(&[Scope::AccountsWrite, Scope::CommandsRead])?;
        for (name, given) in [("client_id", &filter.client_id), ("platform", &filter.platform)] {
            if let Some(Err(error)) = given.as_deref().map(|given| check_key("a name", given)) {
                return Err(ReadError::Filter { name, message: error.to_string() });
            }
        }
        Ok(self.store().accounts(&by.client_id, filter.clone()).await?)
    }
}
