//! What a node reads of a run when it takes it on, and when something arrives for it.

use serde::Deserialize;
use sqlx::types::Json;

use super::{Store, StoreError};
use crate::effect::ActionRow;
use crate::id::RunId;
use crate::step::Recorded;
use crate::wait::MailboxRows;

/// Everything recorded of one generation of a run.
#[derive(Debug, Deserialize)]
pub(crate) struct History {
    pub(crate) steps: Vec<Recorded>,
    pub(crate) actions: Vec<ActionRow>,
    #[serde(flatten)]
    pub(crate) mailbox: MailboxRows,
}

impl Store {
    /// Steps, actions and mailbox of a run, in one round trip.
    pub(crate) async fn history(&self, run: RunId, generation: i32) -> Result<History, StoreError> {
        let row: Json<History> = sqlx::query_scalar("select fermata.history($1, $2)")
            .bind(run.0)
            .bind(generation)
            .fetch_one(&self.direct)
            .await?;
        Ok(row.0)
    }

    /// The mailbox of a run.
    pub(crate) async fn mailbox(&self, run: RunId, generation: i32) -> Result<MailboxRows, StoreError> {
        let row: Json<MailboxRows> = sqlx::query_scalar("select fermata.mailbox($1, $2)")
            .bind(run.0)
            .bind(generation)
            .fetch_one(&self.direct)
            .await?;
        Ok(row.0)
    }

    /// Gives a run back without a record; `false` when it is not ours any more.
    pub(crate) async fn release(&self, run: RunId, epoch: i32) -> Result<bool, StoreError> {
        Ok(sqlx::query_scalar("select fermata.release(now(), $1, $2)")
            .bind(run.0)
            .bind(epoch)
            .fetch_one(&self.direct)
            .await?)
    }
}
