//! Tokens. Read and written as the writer role only: no request's role can see this table.

use chrono::{DateTime, Utc};
use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Store, StoreError};
use crate::access::TokenRow;
use crate::id::TokenId;

const COLUMNS: &str = "id, client_id, name, hash, scopes, command_types, created_at, expires_at, revoked_at";

impl Store {
    /// A token by its id, ended or not.
    pub(crate) async fn token(&self, id: TokenId) -> Result<Option<TokenRow>, StoreError> {
        let sql = format!("select {COLUMNS} from fermata.token where id = $1");
        let row = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(id.0).fetch_optional(&self.direct).await?;
        Ok(row.as_ref().map(token_row).transpose()?)
    }

    /// The newest tokens of a client; of every client for `*`.
    pub(crate) async fn tokens(&self, client: &str, most: i64) -> Result<Vec<TokenRow>, StoreError> {
        let sql =
            format!("select {COLUMNS} from fermata.token where $1 = '*' or client_id = $1 order by id desc limit $2");
        let rows = sqlx::query(sqlx::AssertSqlSafe(sql)).bind(client).bind(most).fetch_all(&self.direct).await?;
        rows.iter().map(|row| Ok(token_row(row)?)).collect()
    }

    pub(crate) async fn insert_token(&self, row: &TokenRow) -> Result<(), StoreError> {
        sqlx::query(
            "insert into fermata.token (id, client_id, name, hash, scopes, command_types, created_at, expires_at)
             values ($1, $2, $3, $4, $5, $6, $7, $8)",
        )
        .bind(row.id.0)
        .bind(&row.client_id)
        .bind(&row.name)
        .bind(&row.hash)
        .bind(&row.scopes)
        .bind(&row.command_types)
        .bind(row.created_at)
        .bind(row.expires_at)
        .execute(&self.direct)
        .await?;
        Ok(())
    }

    /// Ends a token; answers whether this call did it.
    pub(crate) async fn revoke_token(&self, id: TokenId, client: &str, at: DateTime<Utc>) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "update fermata.token set revoked_at = $3
             where id = $1 and ($2 = '*' or client_id = $2) and revoked_at is null",
        )
        .bind(id.0)
        .bind(client)
        .bind(at)
        .execute(&self.direct)
        .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Bounds the old token's life and inserts the new one, both or neither.
    pub(crate) async fn rotate_token(
        &self,
        old: TokenId,
        until: DateTime<Utc>,
        new: &TokenRow,
    ) -> Result<bool, StoreError> {
        let done = sqlx::query(
            "with old as (
                 update fermata.token set expires_at = least(expires_at, $2)
                 where id = $1 and revoked_at is null returning 1)
             insert into fermata.token (id, client_id, name, hash, scopes, command_types, created_at, expires_at)
             select $3, $4, $5, $6, $7, $8, $9, $10 from old",
        )
        .bind(old.0)
        .bind(until)
        .bind(new.id.0)
        .bind(&new.client_id)
        .bind(&new.name)
        .bind(&new.hash)
        .bind(&new.scopes)
        .bind(&new.command_types)
        .bind(new.created_at)
        .bind(new.expires_at)
        .execute(&self.direct)
        .await?;
        Ok(done.rows_affected() == 1)
    }
}

fn token_row(row: &PgRow) -> Result<TokenRow, sqlx::Error> {
    Ok(TokenRow {
        id: TokenId(row.try_get("id")?),
        client_id: row.try_get("client_id")?,
        name: row.try_get("name")?,
        hash: row.try_get("hash")?,
        scopes: row.try_get("scopes")?,
        command_types: row.try_get("command_types")?,
        created_at: row.try_get("created_at")?,
        expires_at: row.try_get("expires_at")?,
        revoked_at: row.try_get("revoked_at")?,
    })
}
