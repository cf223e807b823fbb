//! Accounts and their modes.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Store, StoreError};
use crate::effect::{AccountMode, AccountView, ModeTurn};

/// The most accounts that a list shows; those that nothing may be done with come first.
const MAX_LISTED: i64 = 1_000;

const LIST: &str = "select *, nullif(greatest(free_at, now()), now()) as busy_until from fermata.platform_account
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

    /// The accounts of a client that something is known of.
    pub(crate) async fn accounts(&self, client: &str) -> Result<Vec<AccountView>, StoreError> {
        self.snapshot(client, |on| {
            Box::pin(async move {
                let rows = sqlx::query(LIST).bind(MAX_LISTED).fetch_all(on).await?;
                rows.iter().map(view).collect()
            })
        })
        .await
    }
}

fn view(row: &PgRow) -> Result<AccountView, sqlx::Error> {
    let mode: String = row.try_get("mode")?;
    Ok(AccountView {
        client_id: row.try_get("client_id")?,
        platform: row.try_get("platform")?,
        account_id: row.try_get("account_id")?,
        mode: AccountMode::parse(&mode).ok_or_else(|| sqlx::Error::Decode(format!("no such mode: {mode}").into()))?,
        reason: row.try_get("reason")?,
        actor: row.try_get("actor")?,
        changed_at: row.try_get("changed_at")?,
        free_at: row.try_get("busy_until")?,
        allowance: row.try_get("allowance")?,
    })
}
