//! Claim, wake, reap: how runs get to nodes and away from dead ones. Claims ride with the writer's batches.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use serde_json::value::RawValue;
use sqlx::postgres::PgRow;
use sqlx::postgres::types::PgInterval;
use sqlx::types::Json;
use sqlx::{Executor, Row};

use super::{Role, Store, StoreError};
use crate::id::{NodeId, RunId};

/// A run, claimed: everything about it that never changes while it is held.
#[derive(Debug, Clone)]
pub(crate) struct Claim {
    pub(crate) run: RunId,
    pub(crate) client: Arc<str>,
    pub(crate) epoch: i32,
    pub(crate) seq: i32,
    pub(crate) generation: i32,
    pub(crate) inbox: i32,
    pub(crate) deliveries: i16,
    pub(crate) cancel: bool,
    pub(crate) deadline: Option<DateTime<Utc>>,
    pub(crate) parent: Option<RunId>,
    pub(crate) kind: String,
    pub(crate) input: Value,
    pub(crate) account_id: Option<String>,
    pub(crate) trace_id: String,
    /// The span that it was asked from, and its flags.
    pub(crate) caller: Option<String>,
    pub(crate) accepted_at: DateTime<Utc>,
    /// What is recorded of it, as `History` reads it, if there is something and it is not much.
    pub(crate) history: Option<Arc<RawValue>>,
}

#[cfg(test)]
impl Claim {
    /// A claim of a new run, of client `c`.
    pub(crate) fn example(run: RunId) -> Self {
        Self {
            run,
            client: "c".into(),
            epoch: 1,
            seq: 0,
            generation: 0,
            inbox: 0,
            deliveries: 1,
            cancel: false,
            deadline: None,
            parent: None,
            kind: "test".into(),
            input: Value::Null,
            account_id: None,
            trace_id: String::new(),
            caller: None,
            accepted_at: DateTime::UNIX_EPOCH,
            history: None,
        }
    }
}

/// What a claim asks for.
#[derive(Debug, Clone)]
pub(crate) struct Want {
    pub(crate) node: NodeId,
    /// `name@version` of what this node hosts.
    pub(crate) hosted: Arc<[String]>,
    /// The last client served, so that the next claim begins after it.
    pub(crate) after: String,
    pub(crate) max_deliveries: i32,
}

/// The fewest dead rows that are worth a sweep.
const SWEEP_FROM: i64 = 20_000;

/// Who has the oldest snapshot, if anybody has had one for long: a session, a replication slot, a prepared transaction.
const OLDEST_SNAPSHOT: &str = "
    select words from (
        select format('process %s (%s, %s) since %s', pid, coalesce(nullif(application_name, ''), 'no name'), state, xact_start),
               backend_xmin from pg_stat_activity where xact_start < now() - interval '5 s'
        union all select format('replication slot %s', slot_name), coalesce(xmin, catalog_xmin) from pg_replication_slots
        union all select format('prepared transaction %s', gid), transaction from pg_prepared_xacts) held(words, xmin)
    where xmin is not null order by age(xmin) desc limit 1";

/// What a sweep found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Swept {
    /// Who keeps most of the dead rows by an old snapshot, as far as this login sees it.
    pub(crate) kept_by: Option<String>,
}

impl Store {
    /// Takes dead rows out of `live`, unless somebody else is about it. Does not shorten the table, for which everybody
    /// would have to wait.
    pub(crate) async fn sweep(&self) -> Result<Swept, StoreError> {
        const DEAD: &str = "select pg_stat_get_dead_tuples('fermata.live'::regclass)";
        let dead: i64 = sqlx::query_scalar(DEAD).fetch_one(&self.direct).await?;
        if dead < SWEEP_FROM {
            return Ok(Swept::default());
        }
        let mut owner = self.dedicated(Role::Owner).await?;
        owner.execute("vacuum (skip_locked, truncate off) fermata.live").await?;
        let left: i64 = sqlx::query_scalar(DEAD).fetch_one(&mut owner).await?;
        if left <= dead / 2 {
            return Ok(Swept::default());
        }
        Ok(Swept { kept_by: sqlx::query_scalar(OLDEST_SNAPSHOT).fetch_optional(&mut owner).await? })
    }

    /// The runs that a node holds by the database's word, with their epochs.
    pub(crate) async fn held(&self, node: NodeId) -> Result<Vec<(RunId, i32)>, StoreError> {
        let rows: Vec<(uuid::Uuid, i32)> =
            sqlx::query_as("select id, epoch from fermata.live where state = 1 and node = $1")
                .bind(node.0)
                .fetch_all(&self.direct)
                .await?;
        Ok(rows.into_iter().map(|(run, epoch)| (RunId(run), epoch)).collect())
    }

    /// Readies up to `most` runs whose time has come; answers how many, and when to come again.
    pub(crate) async fn wake(&self, most: i32) -> Result<(i32, Option<DateTime<Utc>>), StoreError> {
        let row = sqlx::query("select * from fermata.wake(now(), $1)").bind(most).fetch_one(&self.direct).await?;
        Ok((row.try_get("woken")?, row.try_get("next_due")?))
    }

    /// Takes the runs of nodes that are provably gone; answers how many nodes and runs.
    pub(crate) async fn reap(&self, early: bool, lease: Duration) -> Result<(i32, i32), StoreError> {
        let lease =
            PgInterval { months: 0, days: 0, microseconds: i64::try_from(lease.as_micros()).unwrap_or(i64::MAX) };
        let row = sqlx::query("select * from fermata.reap(now(), $1, $2)")
            .bind(early)
            .bind(lease)
            .fetch_one(&self.direct)
            .await?;
        Ok((row.try_get("nodes")?, row.try_get("runs")?))
    }
}

pub(super) fn claim(row: &PgRow) -> Result<Claim, sqlx::Error> {
    Ok(Claim {
        run: RunId(row.try_get("id")?),
        client: row.try_get::<String, _>("client_id")?.into(),
        epoch: row.try_get("epoch")?,
        seq: row.try_get("seq")?,
        generation: row.try_get("generation")?,
        inbox: row.try_get("inbox")?,
        deliveries: row.try_get("deliveries")?,
        cancel: row.try_get("cancel")?,
        deadline: row.try_get("deadline")?,
        parent: row.try_get::<Option<uuid::Uuid>, _>("parent_id")?.map(RunId),
        kind: row.try_get("kind")?,
        input: row.try_get("input")?,
        account_id: row.try_get("account_id")?,
        trace_id: row.try_get("trace_id")?,
        caller: row.try_get("caller")?,
        accepted_at: row.try_get("created_at")?,
        history: row.try_get::<Option<Json<Box<RawValue>>>, _>("history")?.map(|history| history.0.into()),
    })
}
