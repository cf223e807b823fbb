//! Accounts on their platforms.

use async_graphql::{ComplexObject, ID, Result, SimpleObject};
use fermata_engine::effect::{AccountSettings as EngineSettings, AccountView, Fingerprint as EngineFingerprint};
use serde_json::{Value, json};

use crate::scalar::Time;
use crate::word::AccountMode;

/// An account of a client on a platform, as far as something is known of it.
#[derive(Debug, SimpleObject)]
#[graphql(complex)]
pub struct PlatformAccount {
    /// Whose.
    client_id: String,
    /// On which platform.
    platform: String,
    /// The account.
    account_id: String,
    /// Why it is in that mode: what a person said, or such as `identity_mismatch`.
    reason: Option<String>,
    /// Who put it there; `fermata` for the program itself.
    actor: Option<String>,
    /// When it was put there.
    changed_at: Option<Time>,
    /// Until when the platform asked to be left alone, if that is still to come.
    free_at: Option<Time>,
    /// How many calls at once there may be while the platform complains.
    allowance: Option<i32>,
    /// Who it is on its platform; `null` when nobody has connected it.
    fingerprint: Option<Fingerprint>,
    /// When it was connected, as it is now.
    connected_at: Option<Time>,
    /// Who connected it.
    connected_by: Option<String>,
    /// How it posts.
    settings: AccountSettings,
    #[graphql(skip)]
    mode: &'static str,
}

/// Who an account is on its platform.
#[derive(Debug, SimpleObject)]
pub struct Fingerprint {
    /// The platform's id of it, which it never changes and never gives to another.
    id: ID,
    /// What it is called there; it may change.
    handle: Option<String>,
    /// The name that people see; it may change.
    display_name: Option<String>,
    /// Further ids of the platform, by their names there.
    ids: Value,
}

/// How an account posts when nothing else is said.
#[derive(Debug, SimpleObject)]
pub struct AccountSettings {
    /// The name of the secret that its credentials are kept under.
    credential_ref: Option<String>,
    /// What a post says.
    default_caption: Option<String>,
    /// What a post is tagged with.
    default_tags: Vec<String>,
    /// Who may see a post, in the platform's words.
    privacy: Option<String>,
    /// The window that the platform counts its rate in, in seconds.
    rate_limit_window_s: Option<u32>,
}

#[ComplexObject]
impl PlatformAccount {
    /// What may be done with it.
    async fn mode(&self) -> Result<AccountMode> {
        AccountMode::of(self.mode)
    }
}

impl From<AccountView> for PlatformAccount {
    fn from(view: AccountView) -> Self {
        Self {
            client_id: view.client_id,
            platform: view.platform,
            account_id: view.account_id,
            reason: view.reason,
            actor: view.actor,
            changed_at: view.changed_at.map(Time),
            free_at: view.free_at.map(Time),
            allowance: view.allowance,
            fingerprint: view.fingerprint.map(Fingerprint::from),
            connected_at: view.connected_at.map(Time),
            connected_by: view.connected_by,
            settings: AccountSettings::from(view.settings),
            mode: view.mode.as_str(),
        }
    }
}

impl From<EngineFingerprint> for Fingerprint {
    fn from(told: EngineFingerprint) -> Self {
        Self { id: ID(told.id), handle: told.handle, display_name: told.display_name, ids: json!(told.ids) }
    }
}

impl From<EngineSettings> for AccountSettings {
    fn from(told: EngineSettings) -> Self {
        let EngineSettings { credential_ref, default_caption, default_tags, privacy, rate_limit_window_s } = told;
        Self { credential_ref, default_caption, default_tags, privacy, rate_limit_window_s }
    }
}
