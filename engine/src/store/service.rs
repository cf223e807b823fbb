//! What is true of the whole service, counted for the metrics page: numbers of every client at once.
//!
//! One read-only transaction with a time limit of its own, whatever the tables have grown to.

use sqlx::postgres::PgRow;
use sqlx::{Executor, PgConnection, Row};

use super::{Store, StoreError};
use crate::read::{ConnectionsInUse, GatesOpen, QueueState, ServiceState};

const BEGIN: &str = "begin isolation level repeatable read read only";
/// Counting may scan `live`, which the writer's role must not do otherwise.
const LIMITS: &str = "set local statement_timeout = '1s'; set local enable_seqscan = on";
/// The most queues that are told apart; the rest is summed as `other`.
const MAX_QUEUES: i64 = 50;

const QUEUES: &str = "
    with each as (
        select workflow, client_id,
               count(*) filter (where state = 0) as ready, count(*) filter (where state = 1) as running,
               count(*) filter (where state = 2) as waiting, count(*) filter (where state = 3) as parked,
               min(ready_at) filter (where state = 0) as oldest,
               count(*) filter (where state = 2 and due <= now()) as due,
               min(due) filter (where state = 2 and due <= now()) as first_due
        from fermata.live group by workflow, client_id),
    placed as (select *, row_number() over (order by ready desc, workflow, client_id) as place from each)
    select case when place <= $1 then workflow else 'other' end as workflow,
           case when place <= $1 then client_id else 'other' end as client,
           sum(ready)::int8 as ready, sum(running)::int8 as running, sum(waiting)::int8 as waiting,
           sum(parked)::int8 as parked, sum(due)::int8 as due,
           greatest(extract(epoch from now() - min(oldest)), 0)::float8 as oldest_s,
           greatest(extract(epoch from now() - min(first_due)), 0)::float8 as due_s
    from placed group by 1, 2 order by 1, 2";

const GATES: &str = "
    select k.kind, count(g.id) as open,
           coalesce(greatest(extract(epoch from now() - min(g.opened_at)), 0), 0)::float8 as oldest_s
    from (values ('approval'), ('takeover')) k(kind)
    left join fermata.gate g on g.kind = k.kind and g.state = 'open'
    group by k.kind order by k.kind";

const SERVICE: &str = "
    select (select count(*) from fermata.action where state = 'unknown') as unknown,
           (select coalesce(greatest(extract(epoch from now() - min(updated_at)), 0), 0)::float8
              from fermata.action where state = 'unknown') as unknown_s,
           (select event from fermata.position) as head,
           (select position - 1 from fermata.event order by position limit 1) as oldest,
           (select count(*) from fermata.node where lease_until > now()) as alive,
           (select count(*) from fermata.node where lease_until <= now()) as lapsed,
           (select count(*) from fermata.kill_switch where engaged) as switches,
           (select coalesce(greatest(extract(epoch from now() - min(a.at)), 0), 0)::float8 from fermata.audit a
              where a.position > (select coalesce(max(position), 0) from fermata.audit_seal)) as seal_lag_s";

impl Store {
    /// Counts, on one snapshot.
    pub(crate) async fn service_state(&self) -> Result<ServiceState, StoreError> {
        let mut transaction = self.direct.begin_with(BEGIN).await?;
        transaction.execute(LIMITS).await?;
        let state = counted(&mut transaction).await?;
        transaction.rollback().await?;
        Ok(state)
    }

    /// How full the pools are; asks nobody.
    pub(crate) fn connections(&self) -> [ConnectionsInUse; 2] {
        [("direct", &self.direct), ("reads", &self.reads)].map(|(pool, connections)| {
            let idle = connections.num_idle();
            let open = usize::try_from(connections.size()).unwrap_or(usize::MAX);
            ConnectionsInUse { pool, idle, busy: open.saturating_sub(idle) }
        })
    }
}

async fn counted(on: &mut PgConnection) -> Result<ServiceState, sqlx::Error> {
    let queues = sqlx::query(QUEUES).bind(MAX_QUEUES).fetch_all(&mut *on).await?;
    let gates = sqlx::query(GATES).fetch_all(&mut *on).await?;
    let row = sqlx::query(SERVICE).fetch_one(&mut *on).await?;
    let head = row.try_get("head")?;
    Ok(ServiceState {
        queues: queues.iter().map(queue).collect::<Result<_, _>>()?,
        gates: gates.iter().map(gates_open).collect::<Result<_, _>>()?,
        actions_unknown: row.try_get("unknown")?,
        oldest_unknown_s: row.try_get("unknown_s")?,
        seal_lag_s: row.try_get("seal_lag_s")?,
        stream_head: head,
        stream_oldest: row.try_get::<Option<i64>, _>("oldest")?.unwrap_or(head),
        nodes_alive: row.try_get("alive")?,
        nodes_lapsed: row.try_get("lapsed")?,
        kill_switches: row.try_get("switches")?,
    })
}

fn queue(row: &PgRow) -> Result<QueueState, sqlx::Error> {
    Ok(QueueState {
        workflow: row.try_get("workflow")?,
        client: row.try_get("client")?,
        ready: row.try_get("ready")?,
        running: row.try_get("running")?,
        waiting: row.try_get("waiting")?,
        parked: row.try_get("parked")?,
        oldest_ready_s: row.try_get::<Option<f64>, _>("oldest_s")?.unwrap_or_default(),
        timers_due: row.try_get("due")?,
        oldest_due_s: row.try_get::<Option<f64>, _>("due_s")?.unwrap_or_default(),
    })
}

fn gates_open(row: &PgRow) -> Result<GatesOpen, sqlx::Error> {
    Ok(GatesOpen { kind: row.try_get("kind")?, open: row.try_get("open")?, oldest_s: row.try_get("oldest_s")? })
}
