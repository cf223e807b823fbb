//! Kill switches. Asked for fresh each time, never from a cache.

use sqlx::Row;
use sqlx::postgres::PgRow;

use super::{Store, StoreError};
use crate::effect::{EVERY, Extent, KillSwitch, MAX_UNDER_WAY, UnderWay};
use crate::id::{ActionId, RunId};

/// The most switches that a list shows; those that are on come first.
const MAX_LISTED: i64 = 1_000;

const LIST: &str = "select scope, client_id, account_id, engaged, reason, actor, version, changed_at
    from fermata.kill_switch order by engaged desc, scope limit $1";

impl Store {
    /// The kill switch that stops this account, if one is on.
    pub(crate) async fn kill_switch(&self, client: &str, account: &str) -> Result<Option<String>, StoreError> {
        Ok(sqlx::query_scalar("select fermata.stopped_by($1, $2)")
            .bind(client)
            .bind(account)
            .fetch_one(&self.direct)
            .await?)
    }

    /// Turns a switch, with its event and its audit row; answers it as it stands then.
    pub(crate) async fn turn_switch(
        &self,
        extent: &Extent,
        engaged: bool,
        reason: &str,
        actor: &str,
    ) -> Result<KillSwitch, StoreError> {
        let row = sqlx::query("select * from fermata.turn_switch($1, $2, $3, $4, $5)")
            .bind(&extent.client)
            .bind(&extent.account)
            .bind(engaged)
            .bind(reason)
            .bind(actor)
            .fetch_one(&self.direct)
            .await?;
        Ok(switch(&row)?)
    }

    /// The actions within its extent whose call may be under way, the oldest first.
    pub(crate) async fn under_way(&self, extent: &Extent) -> Result<Vec<UnderWay>, StoreError> {
        let rows = sqlx::query(
            "select id, run_id, client_id, account_id, call_deadline from fermata.action
             where state = 'attempted' and ($1 = $3 or client_id = $1) and ($2 = $3 or account_id = $2)
             order by id limit $4",
        )
        .bind(&extent.client)
        .bind(&extent.account)
        .bind(EVERY)
        .bind(MAX_UNDER_WAY)
        .fetch_all(&self.direct)
        .await?;
        Ok(rows.iter().map(under_way).collect::<Result<_, _>>()?)
    }

    /// The switches that a client may see: its own, and those of everybody.
    pub(crate) async fn kill_switches(&self, client: &str) -> Result<Vec<KillSwitch>, StoreError> {
        self.snapshot(client, |on| {
            Box::pin(async move {
                let rows = sqlx::query(LIST).bind(MAX_LISTED).fetch_all(on).await?;
                rows.iter().map(switch).collect()
            })
        })
        .await
    }
}

fn switch(row: &PgRow) -> Result<KillSwitch, sqlx::Error> {
    let one = |name: String| (name != EVERY).then_some(name);
    Ok(KillSwitch {
        scope: row.try_get("scope")?,
        client_id: one(row.try_get("client_id")?),
        account_id: one(row.try_get("account_id")?),
        engaged: row.try_get("engaged")?,
        reason: row.try_get("reason")?,
        actor: row.try_get("actor")?,
        version: row.try_get("version")?,
        changed_at: row.try_get("changed_at")?,
        under_way: None,
    })
}

fn under_way(row: &PgRow) -> Result<UnderWay, sqlx::Error> {
    Ok(UnderWay {
        action_id: ActionId(row.try_get("id")?),
        command_id: RunId(row.try_get("run_id")?),
        client_id: row.try_get("client_id")?,
        account_id: row.try_get("account_id")?,
        call_deadline: row.try_get("call_deadline")?,
    })
}
