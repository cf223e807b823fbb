//! Laws of the way in and of the stream: idempotency, poison in a batch, order, fairness, fences.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fermata_engine::access::Principal;
use fermata_engine::run::{Submission, SubmitError};
use fermata_engine::workflow::Registry;
use fermata_tests::{Steps, TestDb, eventually, submission};
use futures::future::join_all;
use serde_json::{Value, json};
use sqlx::Connection;

fn registry() -> Registry {
    Registry::new().with(Steps)
}

fn keyed(key: &str, payload: Value) -> Submission {
    Submission { idempotency_key: Some(key.into()), ..submission("test.steps", payload) }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_parallel_submissions_with_one_key_are_one_command() {
    let db = TestDb::new().await;
    let (one, two) = (db.engine(registry()).await, db.engine(registry()).await);
    let by = Principal::operator();
    let sent = (0..50).map(|n| if n % 2 == 0 { &one } else { &two }.submit(&by, keyed("k", json!({}))));
    let receipts: Vec<_> = join_all(sent).await.into_iter().map(Result::unwrap).collect();
    assert!(receipts.iter().all(|receipt| receipt.command_id == receipts[0].command_id));
    assert_eq!(receipts.iter().filter(|receipt| !receipt.replayed).count(), 1);
    assert_eq!(db.count("select count(*) from fermata.run").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_key_with_another_body_is_a_mismatch_that_names_the_first_command() {
    let db = TestDb::new().await;
    let engine = db.engine(registry()).await;
    let by = Principal::operator();
    let first = engine.submit(&by, keyed("k", json!({"steps": 1}))).await.unwrap().command_id;
    let second = engine.submit(&by, keyed("k", json!({"steps": 2}))).await;
    assert!(matches!(second, Err(SubmitError::Mismatch { command_id }) if command_id == first));
}

#[tokio::test(flavor = "multi_thread")]
async fn one_poisonous_record_in_a_batch_fails_alone() {
    let db = TestDb::new().await;
    let engine = db.engine(registry()).await;
    let by = Principal::operator();
    // A name comes from our own table and is not checked again: Postgres refuses the NUL.
    let odd = Principal { name: "a\0b".into(), ..Principal::operator() };
    let sent = (0..64).map(|n| {
        let by = if n == 40 { &odd } else { &by };
        engine.submit(by, submission("test.steps", json!({})))
    });
    let answers = join_all(sent).await;
    let refused: Vec<_> = answers.iter().enumerate().filter(|(_, answer)| answer.is_err()).map(|(n, _)| n).collect();
    assert_eq!(refused, [40]);
    assert_eq!(db.count("select count(*) from fermata.run").await, 63);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_postgres_would_refuse_is_refused_before_it_is_queued() {
    let db = TestDb::new().await;
    let engine = db.engine(registry()).await;
    let by = Principal::operator();
    for (payload, pointer) in
        [(json!({"steps": "x\0y"}), "/payload/steps"), (json!({"unknown": 1}), "/payload"), (json!([]), "/payload")]
    {
        let answer = engine.submit(&by, submission("test.steps", payload.clone())).await;
        assert!(
            matches!(&answer, Err(SubmitError::Invalid { pointer: at, .. }) if at == pointer),
            "{payload}: {answer:?}"
        );
    }
    assert!(matches!(engine.submit(&by, submission("none", json!({}))).await, Err(SubmitError::UnknownType { .. })));
    assert_eq!(db.count("select count(*) from fermata.run").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_with_a_hundred_thousand_runs_does_not_starve_another_one() {
    let db = TestDb::new().await;
    let front = db.engine(registry()).await;
    sqlx::query("insert into fermata.run (id, client_id, kind, workflow, priority, input, trace_id, submitted_by, created_at)
        select gen_random_uuid(), 'crowd', 'test.steps', 'test.steps@1', 5, '{\"steps\": 1}', 't', 'me', now() from generate_series(1, 100000)")
        .execute(&db.pool).await.unwrap();
    sqlx::query(
        "insert into fermata.live (id, client_id, workflow, state, priority, ready_at)
        select id, client_id, workflow, 0, 5, created_at from fermata.run",
    )
    .execute(&db.pool)
    .await
    .unwrap();
    let worker = db.worker(registry(), Duration::from_secs(10)).await;
    eventually("the crowd is served", || async {
        (db.count("select count(*) from fermata.outcome").await > 200).then_some(())
    })
    .await;
    let run = db.submit(&front, "test.steps", json!({"steps": 1})).await;
    db.ended(&worker, run).await;
    let left = db.count("select count(*) from fermata.live").await;
    assert!(left > 50_000, "the one ended while {left} of the crowd were still waiting");
}

const NODE: &str = "0190a000-0000-7000-8000-000000000001";

async fn register_a_node(db: &TestDb) {
    let enter = "insert into fermata.node (id, role, pid, lock_key, server_start, started_at, lease_until)
        values ($1::uuid, 'test', 1, 1, pg_postmaster_start_time(), now(), now() + interval '1 hour')";
    sqlx::query(enter).bind(NODE).execute(&db.pool).await.unwrap();
}

/// How many runs a node gets that is in the table, or is not.
async fn claimed_by_a_node(db: &TestDb, registered: bool) -> i64 {
    if registered {
        register_a_node(db).await;
    }
    let claim =
        "select count(id) from fermata.commit(now(), holder => $1::uuid, slots => 1, hosted => array['test.steps@1'])";
    sqlx::query_scalar(claim).bind(NODE).fetch_one(&db.pool).await.unwrap()
}

/// Found by the rig (random-kill, seed 1): the claim of a killed process was carried out after its node was
/// taken for dead, and nobody would ever have taken over what it claimed.
#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_was_taken_for_dead_claims_nothing() {
    let db = TestDb::new().await;
    let front = db.engine(registry()).await;
    db.submit(&front, "test.steps", json!({})).await;
    assert_eq!(claimed_by_a_node(&db, false).await, 0);
    assert_eq!(claimed_by_a_node(&db, true).await, 1);
}

/// Positions and times are given by the commit (design, section 4: "a submission may be inserted already claimed").
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_finds_a_free_slot_is_accepted_and_begun_in_one_commit() {
    let db = TestDb::new().await;
    let worker = db.worker(registry(), Duration::from_secs(10)).await;
    // The node's first claims are over, and its wish waits for a batch.
    let first = db.submit(&worker, "test.steps", json!({"steps": 1})).await;
    db.ended(&worker, first).await;
    let second = db.submit(&worker, "test.steps", json!({"steps": 1})).await;
    db.ended(&worker, second).await;
    let commits = "select count(distinct at) from fermata.event where data ->> 'to' in ('QUEUED', 'RUNNING')
        and run_id = (select id from fermata.run order by id desc limit 1)";
    assert_eq!(db.count(commits).await, 1);
}

/// Commits new commands of one workflow by the statement itself, and a claim for `slots` runs of it with them; answers
/// how many of them were begun, and how many runs in all.
async fn accepted_and_begun(db: &TestDb, workflow: &str, new: i32, envelope: Value, slots: i32) -> (i64, i64) {
    let begun: Vec<uuid::Uuid> = sqlx::query_scalar(
        "select id from fermata.commit(now(), ac_ids => array(select gen_random_uuid() from generate_series(1, $2)),
            ac_clients => array_fill('c'::text, array[$2]), ac_kinds => array_fill($3, array[$2]),
            ac_workflows => array_fill($3, array[$2]), ac_inputs => array_fill('{}'::jsonb, array[$2]),
            ac_envelopes => array_fill($4::jsonb, array[$2]), ac_keys => array_fill(null::text, array[$2]),
            ac_fingerprints => array_fill(''::text, array[$2]), ac_trace_ids => array_fill(''::text, array[$2]),
            ac_submitters => array_fill($5::int::text, array[$2]),
            holder => case when $5 > 0 then $1::uuid end, slots => $5, hosted => array[$3]) where id is not null",
    )
    .bind(NODE)
    .bind(new)
    .bind(workflow)
    .bind(envelope)
    .bind(slots)
    .fetch_all(&db.pool)
    .await
    .unwrap();
    let of_this_batch = "select count(*) from fermata.run r join fermata.live l on l.id = r.id
        where l.state = 1 and l.epoch = 1 and l.deliveries = 1 and r.workflow = $1 and r.submitted_by = $2::int::text";
    let new = sqlx::query_scalar(of_this_batch).bind(workflow).bind(slots).fetch_one(&db.pool).await.unwrap();
    (new, i64::try_from(begun.len()).unwrap())
}

/// What waits goes first; new commands begin in the commit that accepts them with the seats that are left.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_command_begins_at_once_and_overtakes_nobody() {
    let db = TestDb::new().await;
    register_a_node(&db).await;
    let cases = [(0, 2, 4, 2), (0, 3, 2, 2), (1, 1, 1, 0), (1, 1, 2, 1), (3, 2, 3, 0), (2, 2, 3, 1), (300, 2, 256, 0)];
    for (waiting, new, slots, begun) in cases {
        let workflow = format!("of-{waiting}-{new}-{slots}@1");
        assert_eq!(accepted_and_begun(&db, &workflow, waiting, json!({}), 0).await, (0, 0));
        let (new, all) = accepted_and_begun(&db, &workflow, new, json!({}), slots).await;
        assert_eq!(new, begun, "{workflow}");
        assert_eq!(all, begun + i64::from(waiting.min(slots)), "{workflow}");
    }
    let later = json!({"not_before": "2999-01-01T00:00:00Z"});
    assert_eq!(accepted_and_begun(&db, "later@1", 2, later, 4).await, (0, 0));
    // Each tells that it was queued before it tells that it runs.
    let told = "select count(*) from (select run_id, array_agg(data ->> 'to' order by position) as words
        from fermata.event group by run_id) e where words <> '{QUEUED}' and words <> '{QUEUED,RUNNING}'";
    assert_eq!(db.count(told).await, 0);
    assert_eq!(db.count("select max(position) - count(*) from fermata.event").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_sent_again_after_a_lost_answer_is_replayed_and_changes_nothing() {
    let db = TestDb::new().await;
    let front = db.engine(registry()).await;
    let run = db.submit(&front, "test.steps", json!({})).await;
    assert_eq!(claimed_by_a_node(&db, true).await, 1);
    for answer in [json!({}), json!({"1": {"outcome": "replayed"}})] {
        let refused: Value = sqlx::query_scalar(
            "select refused from fermata.commit(now(), ids => array[$1]::uuid[], clients => array['c'], kinds => array[0]::int2[],
                epochs => array[1], seqs => array[0], nexts => array[1], inboxes => array[0], generations => array[0],
                dues => array[null]::timestamptz[], words => array[null]::text[], bodies => array[null]::jsonb[],
                st_ord => array[1], st_key => array['step'], st_attempt => array[1]::int2[], st_kind => array[0]::int2[],
                st_beside => array[false], st_hash => array[''], st_output => array['1']::jsonb[],
                st_error => array[null]::jsonb[], st_started => array[now()],
                ev_ord => array[1], ev_client => array['c'], ev_run => array[$1]::uuid[], ev_type => array['step.succeeded'],
                ev_severity => array[1]::int2[], ev_data => array['{}']::jsonb[])")
            .bind(run.0).fetch_one(&db.pool).await.unwrap();
        assert_eq!(refused, answer);
    }
    assert_eq!(db.count("select count(*) from fermata.step").await, 1);
    assert_eq!(db.count("select max(position) - count(*) from fermata.event").await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_with_an_old_epoch_changes_nothing() {
    let db = TestDb::new().await;
    let front = db.engine(registry()).await;
    let run = db.submit(&front, "test.steps", json!({})).await;
    assert_eq!(claimed_by_a_node(&db, true).await, 1);
    sqlx::query("update fermata.live set epoch = epoch + 1").execute(&db.pool).await.unwrap();
    let refused: Value = sqlx::query_scalar(
        "select refused from fermata.commit(now(), ids => array[$1]::uuid[], clients => array['c'], kinds => array[3]::int2[],
            epochs => array[1], seqs => array[0], nexts => array[1], inboxes => array[0], generations => array[0],
            dues => array[null]::timestamptz[], words => array['SUCCEEDED'], bodies => array['1']::jsonb[],
            ev_ord => array[1], ev_client => array['c'], ev_run => array[$1]::uuid[], ev_type => array['status.changed'],
            ev_severity => array[1]::int2[], ev_data => array['{}']::jsonb[])")
        .bind(run.0).fetch_one(&db.pool).await.unwrap();
    assert_eq!(refused, json!({"1": {"outcome": "fenced"}}));
    assert_eq!(db.count("select count(*) from fermata.outcome").await, 0);
}

/// Autovacuum comes once a minute, in which a full load leaves a million dead rows (docs/speed.md).
#[tokio::test(flavor = "multi_thread")]
async fn dead_rows_of_the_queue_are_swept_under_load() {
    let db = TestDb::new().await;
    let worker = db.worker(registry(), Duration::from_secs(10)).await;
    let mut owner = sqlx::PgConnection::connect(&db.url).await.unwrap();
    sqlx::query("alter table fermata.live set (autovacuum_enabled = off)").execute(&mut owner).await.unwrap();
    let rows = "insert into fermata.live (id, client_id, workflow, state, priority, ready_at)
        select gen_random_uuid(), 'c', 'gone@1', 3, 5, now() from generate_series(1, 25000)";
    sqlx::query(rows).execute(&db.pool).await.unwrap();
    sqlx::query("delete from fermata.live where workflow = 'gone@1'").execute(&db.pool).await.unwrap();
    let run = db.submit(&worker, "test.steps", json!({"steps": 1})).await;
    db.ended(&worker, run).await;
    eventually("the queue is swept", || async {
        let swept = "select count(*) from pg_stat_user_tables where relname = 'live' and vacuum_count > 0";
        (db.count(swept).await == 1).then_some(())
    })
    .await;
}
