//! The statements of reads. A condition is in the text only when it is asked for, so that each
//! statement can use the index that fits it; values are always bound.

use chrono::{DateTime, TimeDelta, Utc};
use sqlx::{Postgres, QueryBuilder};
use uuid::Uuid;

use crate::id::{ArtifactId, GateId, RunId};
use crate::log::LineFilter;
use crate::read::{ActionFilter, ArtifactFilter, CommandFilter, EventFilter, GateFilter, Page};

type Query = QueryBuilder<Postgres>;

pub(super) const COMMAND: &str =
    "select id, client_id, kind, workflow, platform, account_id, session_id, correlation_id,
    idempotency_key, priority, not_before, deadline, policy, input, trace_id, parent_id, submitted_by, created_at,
    status, wait_reason, due, epoch, seq, node, result, error, ended_at from fermata.command where ";
pub(super) const ACTION: &str =
    "select id, intent_id, run_id, client_id, step_key, number, state, action_type, platform,
    account_id, lane, idempotency_key, payload_hash, policy_hash, verdict, attempt_id, epoch, call_deadline, resends,
    looks, identity_ok, effect, receipt, error, level, created_at, updated_at,
    (select coalesce(jsonb_agg(jsonb_build_object('proof_id', p.id, 'kind', p.kind, 'evidence', p.body, 'created_at', p.created_at)
                               order by p.created_at, p.id), '[]')
     from fermata.proof p where p.action_id = action.id) as proofs
    from fermata.action where true";
pub(super) const GATE: &str = "select to_jsonb(g) as gate_row from fermata.gate g where ";
pub(super) const ARTIFACT: &str = "select id, client_id, run_id, kind, content_type, checksum, bytes, created_at
    from fermata.artifact where ";

/// How far a run's id may be off its `created_at`: ids are made by nodes, times by the database.
const ID_SLACK: TimeDelta = TimeDelta::hours(1);

pub(super) fn command(id: RunId) -> Query {
    let mut query = Query::new(COMMAND);
    query.push("id = ").push_bind(id.0);
    query
}

/// The newest changes of status, newest first.
pub(super) fn lifecycle(id: RunId, most: i64) -> Query {
    let mut query = Query::new(
        "select at, data ->> 'to' as status, coalesce(data ->> 'wait_reason', data ->> 'reason') as reason
         from fermata.event where type = 'status.changed' and run_id = ",
    );
    query.push_bind(id.0).push(" order by position desc limit ").push_bind(most);
    query
}

pub(super) fn commands(client: &str, filter: &CommandFilter, page: Page) -> Query {
    let mut query = Query::new(COMMAND);
    query.push("true");
    // The policy hides other clients' rows; said again here, it can use the index.
    equal(&mut query, "client_id", of_client(client));
    equal(&mut query, "client_id", filter.client_id.as_deref());
    equal(&mut query, "kind", filter.kind.as_deref());
    equal(&mut query, "account_id", filter.account_id.as_deref());
    equal(&mut query, "correlation_id", filter.correlation_id.as_deref());
    any(&mut query, "status", &filter.statuses);
    if let Some(parent) = filter.parent_id {
        query.push(" and parent_id = ").push_bind(parent.0);
    }
    if let Some(since) = filter.since {
        query.push(" and created_at >= ").push_bind(since);
        query.push(" and id >= ").push_bind(floor(since, -ID_SLACK));
    }
    if let Some(until) = filter.until {
        query.push(" and created_at < ").push_bind(until);
        query.push(" and id < ").push_bind(floor(until, ID_SLACK));
    }
    newest_first(query, page)
}

pub(super) fn steps(run: RunId, page: Page) -> Query {
    let mut query = Query::new(
        "select key, attempt, kind, input_hash, output, error, started_at, ended_at, epoch, generation
         from fermata.step where run_id = ",
    );
    query.push_bind(run.0);
    // A run's steps only grow at this order's end, so a count is a place in it; those of one record came after each other.
    query.push(" order by generation, seq, started_at, key, attempt offset ").push_bind(page.skipped());
    query.push(" limit ").push_bind(page.probe());
    query
}

pub(super) fn actions(client: &str, filter: &ActionFilter, page: Page) -> Query {
    let mut query = Query::new(ACTION);
    equal(&mut query, "client_id", of_client(client));
    equal(&mut query, "account_id", filter.account_id.as_deref());
    equal(&mut query, "action_type", filter.action_type.as_deref());
    any(&mut query, "state", &filter.states);
    if let Some(run) = filter.run {
        query.push(" and run_id = ").push_bind(run.0);
    }
    newest_first(query, page)
}

pub(super) fn gate(id: GateId) -> Query {
    let mut query = Query::new(GATE);
    query.push("g.id = ").push_bind(id.0);
    query
}

pub(super) fn gates(client: &str, filter: &GateFilter, page: Page) -> Query {
    let mut query = Query::new(GATE);
    query.push("true");
    equal(&mut query, "g.client_id", of_client(client));
    equal(&mut query, "g.client_id", filter.client_id.as_deref());
    // A single state is said as `=`, which the index of open gates can serve.
    match filter.states.as_slice() {
        [state] if state == "open" => {
            query.push(" and g.state = 'open'");
        }
        states => any(&mut query, "g.state", states),
    }
    if let Some(run) = filter.run {
        query.push(" and g.run_id = ").push_bind(run.0);
    }
    opened_before(&mut query, page);
    query.push(" order by g.opened_at desc, g.id desc limit ").push_bind(page.probe());
    query
}

/// Gates opened inside the database have ids without time: the order is by opening.
pub(super) fn opened_before(query: &mut Query, page: Page) {
    if let Some(after) = page.after() {
        query.push(" and (g.opened_at, g.id) < (select a.opened_at, a.id from fermata.gate a where a.id = ");
        query.push_bind(after).push(")");
    }
}

pub(super) fn artifact(id: ArtifactId) -> Query {
    let mut query = Query::new(ARTIFACT);
    query.push("id = ").push_bind(id.0);
    query
}

pub(super) fn artifacts(client: &str, filter: &ArtifactFilter, page: Page) -> Query {
    let mut query = Query::new(ARTIFACT);
    query.push("true");
    equal(&mut query, "client_id", of_client(client));
    equal(&mut query, "kind", filter.kind.as_deref());
    if let Some(run) = filter.run {
        query.push(" and run_id = ").push_bind(run.0);
    }
    newest_first(query, page)
}

pub(super) fn events(client: &str, filter: &EventFilter, (after, until): (i64, i64), most: u32) -> Query {
    let mut query = Query::new(
        "select e.position, e.at, e.client_id, e.run_id, e.type, e.severity, e.data,
                r.account_id, r.session_id, r.correlation_id, r.trace_id
         from fermata.event e left join fermata.run r on r.id = e.run_id where e.position > ",
    );
    query.push_bind(after).push(" and e.position <= ").push_bind(until);
    equal(&mut query, "e.client_id", of_client(client));
    equal(&mut query, "e.client_id", filter.client_id.as_deref());
    equal(&mut query, "r.account_id", filter.account_id.as_deref());
    equal(&mut query, "r.session_id", filter.session_id.as_deref());
    any(&mut query, "e.type", &filter.types);
    if let Some(run) = filter.run {
        query.push(" and e.run_id = ").push_bind(run.0);
    }
    if let Some(least) = filter.min_severity {
        query.push(" and e.severity >= ").push_bind(least as i16);
    }
    query.push(" order by e.position limit ").push_bind(i64::from(most));
    query
}

pub(in crate::store) fn logs(filter: &LineFilter, page: Page) -> Query {
    let mut query = Query::new(
        "select id, at, received_at, level, service, message, trace_id, correlation_id, run_id, data
         from fermata.logs where true",
    );
    equal(&mut query, "service", filter.service.as_deref());
    equal(&mut query, "trace_id", filter.trace_id.as_deref());
    equal(&mut query, "correlation_id", filter.correlation_id.as_deref());
    any(&mut query, "level", &filter.levels);
    if let Some(run) = filter.run {
        query.push(" and run_id = ").push_bind(run.0);
    }
    if let Some(since) = filter.since {
        // Nothing is received long before it happens; it may be received long after.
        query.push(" and at >= ").push_bind(since);
        query.push(" and id >= ").push_bind(floor(since, -ID_SLACK));
    }
    if let Some(until) = filter.until {
        query.push(" and at < ").push_bind(until);
    }
    newest_first(query, page)
}

/// The one client to narrow a query to, if the principal acts for one only.
pub(super) fn of_client(client: &str) -> Option<&str> {
    (client != "*").then_some(client)
}

pub(super) fn equal(query: &mut Query, column: &'static str, value: Option<&str>) {
    if let Some(value) = value {
        query.push(" and ").push(column).push(" = ").push_bind(value.to_owned());
    }
}

pub(super) fn any(query: &mut Query, column: &'static str, values: &[String]) {
    if !values.is_empty() {
        query.push(" and ").push(column).push(" = any (").push_bind(values.to_vec()).push(")");
    }
}

fn newest_first(mut query: Query, page: Page) -> Query {
    if let Some(after) = page.after() {
        query.push(" and id < ").push_bind(after);
    }
    query.push(" order by id desc limit ").push_bind(page.probe());
    query
}

/// The smallest UUID of version 7 of a time, moved by `slack`.
fn floor(at: DateTime<Utc>, slack: TimeDelta) -> Uuid {
    let at = at.checked_add_signed(slack).unwrap_or(at);
    let millis = u128::try_from(at.timestamp_millis().max(0)).unwrap_or(0).min((1 << 48) - 1);
    Uuid::from_u128(millis << 80)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_of_a_time_is_below_its_ids_and_above_earlier_ones() {
        let at = DateTime::from_timestamp_millis(1_700_000_000_000).unwrap();
        let id = crate::id::uuid_at(at);
        assert!(floor(at, TimeDelta::zero()) < id);
        assert!(floor(at, TimeDelta::milliseconds(1)) > id);
        assert_eq!(floor(DateTime::<Utc>::MIN_UTC, -ID_SLACK), Uuid::nil());
    }

    #[test]
    fn values_are_bound_and_never_part_of_the_text() {
        let filter = CommandFilter { kind: Some("' or true --".into()), ..CommandFilter::default() };
        let query = commands("acme", &filter, Page::default());
        assert!(!query.sql().as_str().contains("or true"));
        assert!(query.sql().as_str().contains("client_id = $1"), "{}", query.sql().as_str());
    }

    #[test]
    fn a_principal_of_every_client_is_not_narrowed() {
        let query = commands("*", &CommandFilter::default(), Page::default());
        assert!(!query.sql().as_str().contains("client_id = "));
    }
}
