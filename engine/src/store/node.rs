//! Nodes and their leases.

use std::time::Duration;

use sqlx::Row;

use super::stream::Hints;
use super::{Store, StoreError};
use crate::id::NodeId;

/// A node as it enters the table.
#[derive(Debug, Clone)]
pub(crate) struct NodeRow {
    pub(crate) id: NodeId,
    pub(crate) role: String,
    pub(crate) pid: i32,
    pub(crate) lease: Duration,
}

impl NodeRow {
    /// The key of the session lock that dies with the process.
    pub(crate) fn lock_key(&self) -> i64 {
        let (high, low) = self.id.0.as_u64_pair();
        i64::from_ne_bytes((high ^ low.rotate_left(17)).to_ne_bytes())
    }
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

impl Store {
    /// Renews a lease; `false` once the node was taken for dead.
    pub(crate) async fn renew(&self, node: NodeId, lease: Duration) -> Result<bool, StoreError> {
        let done = sqlx::query("update fermata.node set lease_until = now() + $2 * interval '1 ms' where id = $1")
            .bind(node.0)
            .bind(millis(lease))
            .execute(&self.direct)
            .await?;
        Ok(done.rows_affected() == 1)
    }

    /// Removes a node that ends in good order; one that holds a run without knowing of it dies, so that others look for it.
    pub(crate) async fn leave(&self, node: NodeId) -> Result<(), StoreError> {
        sqlx::query("select fermata.leave($1)").bind(node.0).execute(&self.direct).await?;
        Ok(())
    }

    /// Runs of this node to which something was delivered: `(run, inbox, cancel)`.
    pub(crate) async fn inboxes(&self, node: NodeId) -> Result<Vec<(uuid::Uuid, i32, bool)>, StoreError> {
        let rows = sqlx::query(
            "select id, inbox, cancel from fermata.live where state = 1 and node = $1 and (inbox > 0 or cancel)",
        )
        .bind(node.0)
        .fetch_all(&self.direct)
        .await?;
        rows.iter().map(|row| Ok((row.try_get(0)?, row.try_get(1)?, row.try_get(2)?))).collect()
    }
}

/// Idempotency keys are kept this long (C-35).
const IDEMPOTENCY_DAYS: i32 = 14;
/// The most keys pruned by one statement.
const MAX_PRUNED: i64 = 10_000;

impl Store {
    /// Enters a node on a connection of its own, which then listens for hints.
    pub(crate) async fn listen(&self, node: &NodeRow) -> Result<Hints, StoreError> {
        let mut hints = self.hints().await?;
        let listener = hints.connection();
        sqlx::query("select pg_advisory_lock($1)").bind(node.lock_key()).execute(&mut *listener).await?;
        sqlx::query(
            "insert into fermata.node (id, role, pid, lock_key, server_start, started_at, lease_until)
             values ($1, $2, $3, $4, pg_postmaster_start_time(), now(), now() + $5 * interval '1 ms')",
        )
        .bind(node.id.0)
        .bind(&node.role)
        .bind(node.pid)
        .bind(node.lock_key())
        .bind(millis(node.lease))
        .execute(&mut *listener)
        .await?;
        Ok(hints)
    }

    /// Ends a lease now: its runs may be taken by others.
    pub(crate) async fn expire(&self, node: NodeId) -> Result<(), StoreError> {
        sqlx::query("update fermata.node set lease_until = now() - interval '1 ms' where id = $1")
            .bind(node.0)
            .execute(&self.direct)
            .await?;
        Ok(())
    }

    /// Whether a client has used an idempotency key for a command that is still known by it.
    pub(crate) async fn is_kept(&self, client: &str, key: &str) -> Result<bool, StoreError> {
        let kept =
            "select exists (select from fermata.idempotency where client_id = $1 and family = 'commands' and key = $2)";
        Ok(sqlx::query_scalar(kept).bind(client).bind(key).fetch_one(&self.direct).await?)
    }

    /// Forgets idempotency keys that have expired, a bounded number at a time.
    pub(crate) async fn prune_idempotency(&self) -> Result<u64, StoreError> {
        let done = sqlx::query(
            "delete from fermata.idempotency where ctid in (
                select ctid from fermata.idempotency where created_at < now() - $1 * interval '1 day' limit $2)",
        )
        .bind(IDEMPOTENCY_DAYS)
        .bind(MAX_PRUNED)
        .execute(&self.direct)
        .await?;
        Ok(done.rows_affected())
    }
}
