//! How many rows a statement reads: in proportion to what it is about, whatever the planner was told of the table.
//!
//! The statements themselves are asked, often enough for a plan that is kept. The queue was last analysed when nothing was
//! under way, as it is by an autovacuum that comes in a quiet minute, and has filled since.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ops::RangeInclusive;

use fermata_tests::TestDb;
use serde_json::{Value, json};
use sqlx::postgres::{PgArguments, PgConnection, PgPool};
use sqlx::query::QueryScalar;
use sqlx::{Connection, Executor, Postgres};
use uuid::Uuid;

/// How many runs each statement is about.
const SOME: i32 = 16;
/// A plan that is kept is made by the sixth time.
const TIMES: i32 = 10;
const NODE: Uuid = Uuid::from_u128(1);

/// A connection to a queue with 2,000 runs in other nodes' hands and 2,000 that sleep, of which the planner knows nothing.
async fn filled(db: &TestDb) -> PgConnection {
    let owner = PgPool::connect(&db.url).await.unwrap();
    let fill = "
        insert into fermata.live (id, client_id, workflow, state, priority, epoch, node, ready_at, due)
        select gen_random_uuid(), 'c', 'w@1', state, 5, 1, case when state = 1 then gen_random_uuid() end, now(),
               case when state = 2 then now() + interval '1 day' end
        from generate_series(1, 2000), unnest(array[1, 2]) state";
    owner.execute("alter table fermata.live set (autovacuum_enabled = off)").await.unwrap();
    db.pool.execute(fill).await.unwrap();
    db.pool.execute("delete from fermata.live").await.unwrap();
    owner.execute("vacuum (analyze, truncate off) fermata.live").await.unwrap();
    let known = "select reltuples::int4, relpages from pg_class where oid = 'fermata.live'::regclass";
    let (rows, pages): (i32, i32) = sqlx::query_as(known).fetch_one(&owner).await.unwrap();
    assert!(rows == 0 && pages > 10, "analysed empty, with pages: {rows}, {pages}");
    db.pool.execute(fill).await.unwrap();
    let mut connection = db.pool.acquire().await.unwrap().detach();
    connection.execute("set jit = off; set enable_seqscan = off").await.unwrap();
    connection
}

/// How many rows of the queue a statement reads, which tells how many runs it was about.
async fn reads(connection: &mut PgConnection, statement: QueryScalar<'_, Postgres, i32, PgArguments>) -> i64 {
    reads_of("live", connection, statement).await
}

/// The same of another table.
async fn reads_of(
    table: &str,
    connection: &mut PgConnection,
    statement: QueryScalar<'_, Postgres, i32, PgArguments>,
) -> i64 {
    let read = "select coalesce(sum(seq_tup_read + idx_tup_fetch), 0)::int8 from pg_stat_xact_user_tables
        where schemaname = 'fermata' and relname = $1";
    let mut batch = connection.begin().await.unwrap();
    let before: i64 = sqlx::query_scalar(read).bind(table).fetch_one(&mut *batch).await.unwrap();
    let about = statement.fetch_one(&mut *batch).await.unwrap();
    let after: i64 = sqlx::query_scalar(read).bind(table).fetch_one(&mut *batch).await.unwrap();
    batch.commit().await.unwrap();
    assert_eq!(about, SOME);
    after - before
}

/// Once and up to `times` for each of the runs that a statement is about.
fn for_each(times: i32) -> RangeInclusive<i64> {
    i64::from(SOME)..=i64::from(SOME * times)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_reads_each_run_of_its_records_once() {
    let db = TestDb::new().await;
    let mut connection = filled(&db).await;
    let some =
        "select array_agg(id order by id) from (select id from fermata.live where state = 1 order by id limit $1) l";
    let runs: Vec<Uuid> = sqlx::query_scalar(some).bind(SOME).fetch_one(&db.pool).await.unwrap();
    let write = "select cardinality(applied) from fermata.commit(now(), ids => $1,
        clients => array_fill('c'::text, array[$2]), kinds => array_fill(0::int2, array[$2]),
        epochs => array_fill(1, array[$2]), seqs => array_fill($3, array[$2]), nexts => array_fill($3 + 1, array[$2]),
        inboxes => array_fill(0, array[$2]), generations => array_fill(0, array[$2]),
        dues => array_fill(null::timestamptz, array[$2]), words => array_fill(null::text, array[$2]),
        bodies => array_fill(null::jsonb, array[$2]))";
    for seq in 0..TIMES {
        let statement = sqlx::query_scalar(write).bind(&runs).bind(SOME).bind(seq);
        assert_eq!(reads(&mut connection, statement).await, i64::from(SOME));
    }
    let lock = "select $2::int4 from fermata.commit(now(), locks => $1)";
    for _ in 0..TIMES {
        let statement = sqlx::query_scalar(lock).bind(&runs).bind(SOME);
        assert!(for_each(2).contains(&reads(&mut connection, statement).await));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_reads_only_what_it_takes() {
    let db = TestDb::new().await;
    let mut connection = filled(&db).await;
    let enter = "insert into fermata.node (id, role, pid, lock_key, server_start, started_at, lease_until)
        values ($1, 'test', 1, 1, pg_postmaster_start_time(), now(), now() + interval '1 hour')";
    sqlx::query(enter).bind(NODE).execute(&db.pool).await.unwrap();
    let ready = "insert into fermata.live (id, client_id, workflow, state, priority, ready_at)
        select gen_random_uuid(), 'c', 'w@1', 0, 5, now() from generate_series(1, $1)";
    let claim = "select slots::int4 from fermata.commit(now(), holder => $1, slots => $2, hosted => array['w@1'])
        cross join lateral (select $2 as slots) s limit 1";
    for time in 1..=TIMES {
        sqlx::query(ready).bind(SOME).execute(&db.pool).await.unwrap();
        let read = reads(&mut connection, sqlx::query_scalar(claim).bind(NODE).bind(SOME)).await;
        let held = "select count(*)::int4 from fermata.live where node = $1";
        let held: i32 = sqlx::query_scalar(held).bind(NODE).fetch_one(&db.pool).await.unwrap();
        assert_eq!(held, SOME * time);
        // Found, moved, and told of; and one look for the next client.
        assert!(for_each(4).contains(&read), "{read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_wake_without_a_look_at_those_that_sleep() {
    let db = TestDb::new().await;
    let mut connection = filled(&db).await;
    let due = "update fermata.live set due = now() where id in (select id from fermata.live where state = 2 limit $1)";
    for _ in 0..TIMES {
        sqlx::query(due).bind(SOME).execute(&db.pool).await.unwrap();
        let wake = "select woken from fermata.wake(now(), 256) where $1 > 0";
        let read = reads(&mut connection, sqlx::query_scalar(wake).bind(SOME)).await;
        assert!(for_each(3).contains(&read), "{read}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dead_nodes_runs_are_moved_without_a_look_at_those_of_others() {
    let db = TestDb::new().await;
    let mut connection = filled(&db).await;
    let enter = "insert into fermata.node (id, role, pid, lock_key, server_start, started_at, lease_until)
        values ($1, 'test', 1, 1, pg_postmaster_start_time(), now(), now() - interval '1 hour')";
    let held = "update fermata.live set node = $1 where id in (select id from fermata.live where state = 1 limit $2)";
    for _ in 0..TIMES {
        sqlx::query(enter).bind(NODE).execute(&db.pool).await.unwrap();
        sqlx::query(held).bind(NODE).bind(SOME).execute(&db.pool).await.unwrap();
        let look = "select runs from fermata.reap(now(), false, interval '10 s') where $1 > 0";
        let read = reads(&mut connection, sqlx::query_scalar(look).bind(SOME)).await;
        // Found, locked, moved, and told of.
        assert!(for_each(6).contains(&read), "{read}");
    }
}

/// A connection to 2,000 actions of other runs, of which the planner knows nothing.
async fn acted(db: &TestDb) -> PgConnection {
    let owner = PgPool::connect(&db.url).await.unwrap();
    let fill = "
        with i as (
            insert into fermata.intent (id, client_id, key, spec, created_at)
            select gen_random_uuid(), 'c', 'old ' || n, '{}', now() from generate_series(1, 2000) n returning id)
        insert into fermata.action (id, intent_id, run_id, client_id, step_key, number, state, action_type, platform, account_id,
            lane, idempotency_key, payload_hash, policy_hash, verdict, epoch, created_at, updated_at)
        select gen_random_uuid(), i.id, gen_random_uuid(), 'c', 's', 1, 'queued', 'publish', 'p', 'a', 'api', 'k', 'h', 'h', '{}',
            1, now(), now() from i";
    db.pool.execute(fill).await.unwrap();
    for table in ["action", "intent"] {
        owner
            .execute(sqlx::AssertSqlSafe(format!("alter table fermata.{table} set (autovacuum_enabled = off)")))
            .await
            .unwrap();
        db.pool.execute(sqlx::AssertSqlSafe(format!("delete from fermata.{table}"))).await.unwrap();
        let analyze = format!("vacuum (analyze, truncate off) fermata.{table}");
        owner.execute(sqlx::AssertSqlSafe(analyze)).await.unwrap();
    }
    db.pool.execute(fill).await.unwrap();
    let mut connection = db.pool.acquire().await.unwrap().detach();
    connection.execute("set jit = off; set enable_seqscan = off").await.unwrap();
    connection
}

#[tokio::test(flavor = "multi_thread")]
async fn the_parts_of_a_batch_read_only_what_they_are_about() {
    let db = TestDb::new().await;
    let mut connection = acted(&db).await;
    let apply = "select $2::int4 from (select fermata.judge(now(), $1) as said offset 0) j
        cross join lateral (select fermata.apply_parts(now(), $1, array(select n from generate_series(1, $2) n)) where said = '{}') a";
    for time in 1..=TIMES {
        let each = |part: fn(Value) -> Value| {
            let parts = (1..=SOME).map(|ord| {
                let id = |kind: i32| Uuid::from_u128(u128::try_from(kind * 1_000_000 + time * 1_000 + ord).unwrap());
                let about =
                    json!({"ord": ord, "action_id": id(1), "intent_id": id(2), "run_id": id(3), "attempt_id": id(4)});
                let mut whole = part(about.clone());
                whole.as_object_mut().unwrap().extend(about.as_object().unwrap().clone());
                whole
            });
            Value::from(parts.collect::<Vec<_>>())
        };
        let plans = each(|about| {
            let spec = json!({"action_type": "publish", "platform": "p", "account_id": "a", "lane": "api"});
            json!({"op": "plan", "client_id": "c", "intent_key": about["intent_id"], "step_key": "s", "epoch": 1, "spec": spec,
                "idempotency_key": "k", "payload_hash": "h", "policy_hash": "h", "verdict": {"allowed": true}})
        });
        let attempts = each(|_| json!({"op": "attempt", "client_id": "c", "account_id": "a", "epoch": 1}));
        let moves = each(|_| json!({"op": "move", "state": "confirmed_success", "effect": true}));
        // States that were left in the same moment count too; a walk would read 2,000 and more.
        for (parts, table) in [(plans, "intent"), (attempts, "action"), (moves, "action")] {
            let read = reads_of(table, &mut connection, sqlx::query_scalar(apply).bind(&parts).bind(SOME)).await;
            assert!(for_each(24).contains(&read), "{table}, time {time}: {read}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn reading_a_runs_steps_looks_at_no_other_run() {
    let db = TestDb::new().await;
    let owner = PgPool::connect(&db.url).await.unwrap();
    // Ids of no day lie in the partition for the rest. The planner is told that all of its steps are one run's.
    for fill in [
        "alter table fermata.run_rest set (autovacuum_enabled = off)",
        "alter table fermata.step_rest set (autovacuum_enabled = off), alter run_id set (n_distinct = 1)",
        "insert into fermata.run (id, client_id, kind, workflow, priority, input, trace_id, submitted_by, created_at)
         select lpad(to_hex(i), 32, '0')::uuid, 'c', 'k', 'w@1', 5, '{}', repeat('0', 32), 'test', now()
         from generate_series(1, 2000) i",
        "insert into fermata.step
             (run_id, generation, key, attempt, seq, epoch, kind, beside, input_hash, started_at, ended_at)
         select r.id, 0, i::text, 1, i, 1, 0, false, repeat('0', 64), now(), now()
         from fermata.run r, generate_series(1, 16) i",
        "analyze fermata.run_rest",
        "analyze fermata.step_rest",
    ] {
        owner.execute(fill).await.unwrap();
    }
    let mut connection = owner.acquire().await.unwrap().detach();
    connection.execute("set fermata.client = 'c'; set role fermata_reader").await.unwrap();
    for time in 1..=TIMES {
        let steps = "select count(*)::int4 from fermata.step where run_id = $1";
        let statement = sqlx::query_scalar(steps).bind(Uuid::from_u128(u128::try_from(time).unwrap()));
        let read = reads_of("run_rest", &mut connection, statement).await;
        assert_eq!(read, i64::from(SOME));
    }
}
