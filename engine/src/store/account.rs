//! Accounts: who they are, and their modes.

use sqlx::Row;
use sqlx::postgres::PgRow;
use sqlx::postgres::types::PgInterval;
use sqlx::types::Json;

use super::{Store, StoreError};
use crate::effect::{
    AccountFilter, AccountMode, AccountSettings, AccountView, Configuring, Connecting, Fingerprint, ModeTurn, Standing,
};

/// The most accounts that a list shows; those that nothing may be done with come first.
const MAX_LISTED: i64 = 1_000;

const LIST: &str = "select *, nullif(greatest(free_at, now()), now()) as busy_until from fermata.platform_account
    where ($2::text is null or client_id = $2) and ($3::text is null or platform = $3) and ($4::text is null or mode = $4)
    order by mode <> 'normal' desc, client_id, platform, account_id limit $1";

impl Store {
    /// Puts an account into a mode, with its event and its audit row; answers it as it stands then.
    pub(crate) async fn turn_account(&self, turn: ModeTurn<'_>) -> Result<AccountView, StoreError> {
        let row = sqlx::query(
            "select *, nullif(greatest(free_at, now()), now()) as busy_until
             from fermata.turn_account($1, $2, $3, $4, $5, $6)",
        )
        .bind(turn.client)
        .bind(turn.platform)
        .bind(turn.account)
        .bind(turn.mode.as_str())
        .bind(turn.reason)
        .bind(turn.actor)
        .fetch_one(&self.direct)
        .await?;
        Ok(view(&row)?)
    }

    /// Keeps who an account is, with its event and its audit row; answers it as it stands then.
    pub(crate) async fn connect_account(&self, wanted: Connecting<'_>) -> Result<AccountView, StoreError> {
        let row = sqlx::query(
            "select *, nullif(greatest(free_at, now()), now()) as busy_until
             from fermata.connect_account($1, $2, $3, $4, $5)",
        )
        .bind(wanted.client)
        .bind(wanted.platform)
        .bind(wanted.account)
        .bind(Json(wanted.fingerprint))
        .bind(wanted.actor)
        .fetch_one(&self.direct)
        .await?;
        Ok(view(&row)?)
    }

    /// Keeps how an account posts, with its event and its audit row; answers it as it stands then.
    pub(crate) async fn configure_account(&self, wanted: Configuring<'_>) -> Result<AccountView, StoreError> {
        let row = sqlx::query(
            "select *, nullif(greatest(free_at, now()), now()) as busy_until
             from fermata.configure_account($1, $2, $3, $4, $5)",
        )
        .bind(wanted.client)
        .bind(wanted.platform)
        .bind(wanted.account)
        .bind(Json(wanted.settings))
        .bind(wanted.actor)
        .fetch_one(&self.direct)
        .await?;
        Ok(view(&row)?)
    }

    /// An account of a client, by client, platform and account.
    pub(crate) async fn account(&self, by: &str, named: [String; 3]) -> Result<Option<AccountView>, StoreError> {
        const ONE: &str =
            "select *, nullif(greatest(free_at, now()), now()) as busy_until from fermata.platform_account
            where client_id = $1 and platform = $2 and account_id = $3";
        self.snapshot(by, move |on| {
            Box::pin(async move {
                let [client, platform, account] = named;
                let row = sqlx::query(ONE).bind(client).bind(platform).bind(account).fetch_optional(on).await?;
                row.as_ref().map(view).transpose()
            })
        })
        .await
    }

    /// The accounts of a client that something is known of.
    pub(crate) async fn accounts(&self, client: &str, filter: AccountFilter) -> Result<Vec<AccountView>, StoreError> {
        self.snapshot(client, move |on| {
            Box::pin(async move {
                let query = sqlx::query(LIST).bind(MAX_LISTED).bind(filter.client_id).bind(filter.platform);
                let rows = query.bind(filter.mode.map(AccountMode::as_str)).fetch_all(on).await?;
                rows.iter().map(view).collect()
            })
        })
        .await
    }
}

pub(super) fn standing(row: &PgRow) -> Result<Standing, sqlx::Error> {
    Ok(Standing { mode: mode(row)?, reason: row.try_get("reason")?, known: row.try_get("known")? })
}

fn mode(row: &PgRow) -> Result<AccountMode, sqlx::Error> {
    let word: String = row.try_get("mode")?;
    AccountMode::parse(&word).ok_or_else(|| sqlx::Error::Decode(format!("no such mode: {word}").into()))
}

fn view(row: &PgRow) -> Result<AccountView, sqlx::Error> {
    let fingerprint: Option<Json<Fingerprint>> = row.try_get("fingerprint")?;
    Ok(AccountView {
        client_id: row.try_get("client_id")?,
        platform: row.try_get("platform")?,
        account_id: row.try_get("account_id")?,
        mode: mode(row)?,
        reason: row.try_get("reason")?,
        actor: row.try_get("actor")?,
        changed_at: row.try_get("changed_at")?,
        free_at: row.try_get("busy_until")?,
        allowance: row.try_get("allowance")?,
        fingerprint: fingerprint.map(|told| told.0),
        connected_at: row.try_get("connected_at")?,
        connected_by: row.try_get("connected_by")?,
        settings: settings(row)?,
    })
}

fn settings(row: &PgRow) -> Result<AccountSettings, sqlx::Error> {
    let window: Option<PgInterval> = row.try_get("rate_limit_window")?;
    Ok(AccountSettings {
        credential_ref: row.try_get("credential_ref")?,
        default_caption: row.try_get("default_caption")?,
        default_tags: row.try_get("default_tags")?,
        privacy: row.try_get("privacy")?,
        // It is written as seconds, and so has neither months nor days.
        rate_limit_window_s: window.and_then(|window| u32::try_from(window.microseconds / 1_000_000).ok()),
    })
}
