//! What stands against an action, read in one look.

use sqlx::Row;
use sqlx::types::Json;

use super::account::mode;
use super::{Store, StoreError};
use crate::effect::Standing;
use crate::policy::Part;

/// What an action is judged by.
#[derive(Debug)]
pub(crate) struct Guarded {
    /// The kill switch that is on.
    pub(crate) switch: Option<String>,
    /// How its account stands.
    pub(crate) standing: Standing,
    /// The documents that are in force, the widest scope first.
    pub(crate) policies: Vec<Part>,
}

impl Store {
    /// What an action for this account is judged by, all of it as it stood at one moment.
    pub(crate) async fn guard(&self, client: &str, platform: &str, account: &str) -> Result<Guarded, StoreError> {
        let row = sqlx::query("select switch, mode, reason, known, policies from fermata.guard($1, $2, $3)")
            .bind(client)
            .bind(platform)
            .bind(account)
            .fetch_one(&self.direct)
            .await?;
        let known_of = row.try_get::<Option<&str>, _>("mode")?.is_some();
        let standing = if known_of {
            Standing { mode: mode(&row)?, reason: row.try_get("reason")?, known: row.try_get("known")? }
        } else {
            Standing::default()
        };
        let policies: Option<Json<Vec<Part>>> = row.try_get("policies")?;
        Ok(Guarded {
            switch: row.try_get("switch")?,
            standing,
            policies: policies.map(|parts| parts.0).unwrap_or_default(),
        })
    }
}
