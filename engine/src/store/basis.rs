//! What the verdict on an action is based on, read in one look.

use sqlx::Row;
use sqlx::types::Json;

use super::account::standing;
use super::{Store, StoreError};
use crate::effect::Standing;
use crate::policy::Part;

/// What an action is judged by.
#[derive(Debug)]
pub(crate) struct Basis {
    /// The kill switch that is on.
    pub(crate) switch: Option<String>,
    /// How its account stands.
    pub(crate) standing: Standing,
    /// The documents that are in force, the widest scope first.
    pub(crate) policies: Vec<Part>,
}

impl Store {
    /// What an action for this account is judged by, all of it as it stood at one moment.
    pub(crate) async fn basis(&self, client: &str, platform: &str, account: &str) -> Result<Basis, StoreError> {
        let row = sqlx::query("select switch, mode, reason, known, policies from fermata.basis($1, $2, $3)")
            .bind(client)
            .bind(platform)
            .bind(account)
            .fetch_one(&self.direct)
            .await?;
        // Of an account that nothing is known of there is no mode.
        let known_of = row.try_get::<Option<&str>, _>("mode")?.is_some();
        let standing = if known_of { standing(&row)? } else { Standing::default() };
        let policies: Option<Json<Vec<Part>>> = row.try_get("policies")?;
        let policies = policies.map(|parts| parts.0).unwrap_or_default();
        Ok(Basis { switch: row.try_get("switch")?, standing, policies })
    }
}
