//! Reads for many things at once: one statement asks for all of them, each with its own limit.

use std::collections::HashMap;

use sqlx::postgres::PgRow;
use sqlx::{Postgres, QueryBuilder, Row};
use uuid::Uuid;

use super::super::{Store, StoreError};
use super::{query, row};
use crate::event::Cursor;
use crate::id::{ActionId, GateId, IntentId, RunId};
use crate::read::{
    ActionFilter, ActionView, ArtifactFilter, ArtifactView, AuditFilter, AuditView, CommandView, EventFilter,
    EventView, GateFilter, GateView, IntentView, NodeKind, Page, StepId, StepSummary, StepView,
};

type Query = QueryBuilder<Postgres>;
type Each<T> = HashMap<Uuid, Vec<T>>;

const INTENT: &str = "select id, client_id, key, spec, current_action, repeat_allowed, created_at
    from fermata.intent where ";
const AUDIT: &str = "select position, id, at, client_id, run_id, action_id, actor, phase, body
    from fermata.audit where true";
const EVENT: &str = "select e.position, e.at, e.client_id, e.run_id, e.type, e.severity, e.data,
    r.account_id, r.session_id, r.correlation_id, r.trace_id
    from fermata.event e join fermata.run r on r.id = e.run_id where e.run_id = k.id and e.position > ";
/// The newest attempt of each step, with what its first one tells.
const STEP: &str = "select distinct on (generation, key) key, attempt, kind, input_hash, output, error, started_at,
    ended_at, epoch, generation, min(seq) over step as first_seq, min(started_at) over step as began_at
    from fermata.step where run_id = k.id window step as (partition by generation, key)
    order by generation, key, attempt desc";
/// Those that still run and those that have ended: both are found by an index.
const CHILD: &str = "select l.id from fermata.live l where l.parent_id = k.id
    union all select o.id from fermata.outcome o where o.parent_id = k.id";

impl Store {
    pub(crate) async fn node_kind(&self, client: &str, id: Uuid) -> Result<Option<NodeKind>, StoreError> {
        self.snapshot(client, move |on| {
            Box::pin(async move {
                let word: Option<String> = sqlx::query_scalar(
                    "select 'command' from fermata.run where id = $1
                     union all select 'action' from fermata.action where id = $1
                     union all select 'intent' from fermata.intent where id = $1
                     union all select 'gate' from fermata.gate where id = $1
                     union all select 'artifact' from fermata.artifact where id = $1 limit 1",
                )
                .bind(id)
                .fetch_optional(on)
                .await?;
                Ok(word.and_then(|word| match word.as_str() {
                    "command" => Some(NodeKind::Command),
                    "action" => Some(NodeKind::Action),
                    "intent" => Some(NodeKind::Intent),
                    "gate" => Some(NodeKind::Gate),
                    "artifact" => Some(NodeKind::Artifact),
                    _ => None,
                }))
            })
        })
        .await
    }

    pub(crate) async fn commands_by_id(&self, client: &str, ids: &[RunId]) -> Result<Vec<CommandView>, StoreError> {
        self.all(client, by_id(query::COMMAND, "id", ids.iter().map(|id| id.0)), row::command).await
    }

    pub(crate) async fn actions_by_id(&self, client: &str, ids: &[ActionId]) -> Result<Vec<ActionView>, StoreError> {
        self.all(client, by_id(query::ACTION, " and id", ids.iter().map(|id| id.0)), row::action).await
    }

    pub(crate) async fn intents_by_id(&self, client: &str, ids: &[IntentId]) -> Result<Vec<IntentView>, StoreError> {
        self.all(client, by_id(INTENT, "id", ids.iter().map(|id| id.0)), row::intent).await
    }

    pub(crate) async fn gates_by_id(&self, client: &str, ids: &[GateId]) -> Result<Vec<GateView>, StoreError> {
        self.all(client, by_id(query::GATE, "g.id", ids.iter().map(|id| id.0)), row::gate).await
    }

    pub(crate) async fn children_of(
        &self,
        client: &str,
        parents: &[RunId],
        page: Page,
    ) -> Result<Each<CommandView>, StoreError> {
        let query = each(runs(parents), "x.id desc", |inner| {
            inner.push(query::COMMAND).push("id in (select p.id from (").push(CHILD).push(") p where true");
            newest_first(inner, "p.id", page);
            inner.push(")");
        });
        self.grouped(client, query, row::command).await
    }

    pub(crate) async fn steps_of(
        &self,
        client: &str,
        of: &[RunId],
        page: Page,
    ) -> Result<Each<StepSummary>, StoreError> {
        let query = each(runs(of), "x.generation, x.first_seq, x.began_at, x.key", |inner| {
            inner.push("select * from (").push(STEP).push(") s order by generation, first_seq, began_at, key");
            inner.push(" offset ").push_bind(page.skipped()).push(" limit ").push_bind(page.probe());
        });
        self.grouped(client, query, row::step_summary).await
    }

    pub(crate) async fn attempts_of(
        &self,
        client: &str,
        steps: &[StepId],
        page: Page,
    ) -> Result<HashMap<StepId, Vec<StepView>>, StoreError> {
        let mut query = Query::new("select k.id as of_id, x.* from unnest(");
        query.push_bind(steps.iter().map(|step| step.command_id.0).collect::<Vec<_>>()).push("::uuid[], ");
        query.push_bind(steps.iter().map(|step| step.generation).collect::<Vec<_>>()).push("::int4[], ");
        query.push_bind(steps.iter().map(|step| step.key.clone()).collect::<Vec<_>>()).push("::text[]");
        query.push(
            ") with ordinality k(id, generation, key, n) cross join lateral (
               select s.key, s.attempt, s.kind, s.input_hash, s.output, s.error, s.started_at, s.ended_at, s.epoch,
                      s.generation
               from fermata.step s where s.run_id = k.id and s.generation = k.generation and s.key = k.key
               order by s.attempt offset ",
        );
        query.push_bind(page.skipped()).push(" limit ").push_bind(page.probe()).push(") x order by k.n, x.attempt");
        let rows = self.all(client, query, |row| Ok((RunId(row.try_get("of_id")?), row::step(row)?))).await?;
        let mut found: HashMap<StepId, Vec<StepView>> = HashMap::new();
        for (command_id, step) in rows {
            let id = StepId { command_id, generation: step.generation, key: step.key.clone() };
            found.entry(id).or_default().push(step);
        }
        Ok(found)
    }

    pub(crate) async fn actions_of(
        &self,
        client: &str,
        of: &[RunId],
        filter: &ActionFilter,
        page: Page,
    ) -> Result<Each<ActionView>, StoreError> {
        let query = each(runs(of), "x.id desc", |inner| {
            inner.push(query::ACTION).push(" and run_id = k.id");
            query::equal(inner, "account_id", filter.account_id.as_deref());
            query::equal(inner, "action_type", filter.action_type.as_deref());
            query::any(inner, "state", &filter.states);
            newest_first(inner, "id", page);
        });
        self.grouped(client, query, row::action).await
    }

    pub(crate) async fn actions_of_intents(
        &self,
        client: &str,
        intents: &[IntentId],
        page: Page,
    ) -> Result<Each<ActionView>, StoreError> {
        let ids = intents.iter().map(|intent| intent.0).collect();
        let query = each(ids, "x.id desc", |inner| {
            inner.push(query::ACTION).push(" and intent_id = k.id");
            newest_first(inner, "id", page);
        });
        self.grouped(client, query, row::action).await
    }

    pub(crate) async fn gates_of(
        &self,
        client: &str,
        of: &[RunId],
        filter: &GateFilter,
        page: Page,
    ) -> Result<Each<GateView>, StoreError> {
        let query = each(runs(of), "x.opened_at desc, x.id desc", |inner| {
            inner.push("select to_jsonb(g) as gate_row, g.opened_at, g.id from fermata.gate g where g.run_id = k.id");
            query::any(inner, "g.state", &filter.states);
            query::opened_before(inner, page);
            inner.push(" order by g.opened_at desc, g.id desc limit ").push_bind(page.probe());
        });
        self.grouped(client, query, row::gate).await
    }

    pub(crate) async fn artifacts_of(
        &self,
        client: &str,
        of: &[RunId],
        filter: &ArtifactFilter,
        page: Page,
    ) -> Result<Each<ArtifactView>, StoreError> {
        let query = each(runs(of), "x.id desc", |inner| {
            inner.push(query::ARTIFACT).push("run_id = k.id");
            query::equal(inner, "kind", filter.kind.as_deref());
            newest_first(inner, "id", page);
        });
        self.grouped(client, query, row::artifact).await
    }

    /// `which` ties a row to the thing asked for, `k.id`, and says which of its rows.
    pub(crate) async fn audit_of(
        &self,
        client: &str,
        of: Vec<Uuid>,
        which: (&'static str, &AuditFilter),
        page: Page,
    ) -> Result<Each<AuditView>, StoreError> {
        let query = each(of, "x.position desc", |inner| {
            inner.push(AUDIT).push(which.0);
            audit_matches(inner, which.1, page);
        });
        self.grouped(client, query, row::audit).await
    }

    /// `None` when the client has no such run.
    pub(crate) async fn audit(
        &self,
        client: &str,
        filter: &AuditFilter,
        page: Page,
    ) -> Result<Option<Vec<AuditView>>, StoreError> {
        let mut query = Query::new(AUDIT);
        query::equal(&mut query, "client_id", query::of_client(client));
        if let Some(run) = filter.run {
            query.push(" and run_id = ").push_bind(run.0);
        }
        if let Some(action) = filter.action {
            query.push(" and action_id = ").push_bind(action.0);
        }
        audit_matches(&mut query, filter, page);
        let run = filter.run;
        self.snapshot(client, move |on| {
            Box::pin(async move {
                if !super::exists(on, run).await? {
                    return Ok(None);
                }
                let rows = query.build().fetch_all(on).await?;
                rows.iter().map(row::audit).collect::<Result<_, _>>().map(Some)
            })
        })
        .await
    }

    /// One event more than `limit`, where there is one.
    pub(crate) async fn events_of(
        &self,
        client: &str,
        of: &[RunId],
        filter: &EventFilter,
        (after, limit): (Cursor, u32),
    ) -> Result<Each<EventView>, StoreError> {
        let query = each(runs(of), "x.position", |inner| {
            inner.push(EVENT).push_bind(after.position);
            query::any(inner, "e.type", &filter.types);
            if let Some(least) = filter.min_severity {
                inner.push(" and e.severity >= ").push_bind(least as i16);
            }
            inner.push(" order by e.position limit ").push_bind(i64::from(limit) + 1);
        });
        self.grouped(client, query, move |row| row::event(row, after.epoch)).await
    }

    async fn all<T: Send + 'static>(
        &self,
        client: &str,
        mut query: Query,
        read: impl Fn(&PgRow) -> Result<T, sqlx::Error> + Send + 'static,
    ) -> Result<Vec<T>, StoreError> {
        self.snapshot(client, move |on| {
            Box::pin(async move { query.build().fetch_all(on).await?.iter().map(&read).collect() })
        })
        .await
    }

    async fn grouped<T: Send + 'static>(
        &self,
        client: &str,
        mut query: Query,
        read: impl Fn(&PgRow) -> Result<T, sqlx::Error> + Send + 'static,
    ) -> Result<Each<T>, StoreError> {
        self.snapshot(client, move |on| {
            Box::pin(async move {
                let mut found = Each::new();
                for row in query.build().fetch_all(on).await? {
                    found.entry(row.try_get("of_id")?).or_insert_with(Vec::new).push(read(&row)?);
                }
                Ok(found)
            })
        })
        .await
    }
}

/// Asks `inner` once for each id, which it knows as `k.id`; `order` is that of `inner`, as `x`.
fn each(ids: Vec<Uuid>, order: &'static str, inner: impl FnOnce(&mut Query)) -> Query {
    let mut query = Query::new("select k.id as of_id, x.* from unnest(");
    query.push_bind(ids).push("::uuid[]) with ordinality k(id, n) cross join lateral (");
    inner(&mut query);
    query.push(") x order by k.n, ").push(order);
    query
}

fn by_id(select: &'static str, id: &'static str, ids: impl Iterator<Item = Uuid>) -> Query {
    let mut query = Query::new(select);
    query.push(id).push(" = any (").push_bind(ids.collect::<Vec<_>>()).push(")");
    query
}

fn runs(ids: &[RunId]) -> Vec<Uuid> {
    ids.iter().map(|id| id.0).collect()
}

fn newest_first(query: &mut Query, id: &'static str, page: Page) {
    if let Some(after) = page.after() {
        query.push(" and ").push(id).push(" < ").push_bind(after);
    }
    query.push(" order by ").push(id).push(" desc limit ").push_bind(page.probe());
}

fn audit_matches(query: &mut Query, filter: &AuditFilter, page: Page) {
    query::equal(query, "client_id", filter.client_id.as_deref());
    query::equal(query, "actor", filter.actor.as_deref());
    query::any(query, "phase", &filter.phases);
    query::equal(query, "body ->> 'platform_account_id'", filter.account_id.as_deref());
    query::equal(query, "body ->> 'platform'", filter.platform.as_deref());
    query::equal(query, "body ->> 'action_type'", filter.action_type.as_deref());
    if let Some(since) = filter.since {
        query.push(" and at >= ").push_bind(since);
    }
    if let Some(until) = filter.until {
        query.push(" and at < ").push_bind(until);
    }
    if page.after().is_some() {
        query.push(" and position < ").push_bind(page.skipped());
    }
    query.push(" order by position desc limit ").push_bind(page.probe());
}
