//! Laws of the stream: every follower sees every event once and in order, whatever happens to it.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fermata_engine::Engine;
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::event::{Cursor, CursorError, FollowEnd, Followed, Follower, RING_EVENTS, Severity, Start};
use fermata_engine::read::EventFilter;
use fermata_engine::run::Submission;
use fermata_engine::workflow::Registry;
use fermata_tests::{PATIENCE, Steps, TestDb, eventually, submission};
use futures::future::join_all;
use serde_json::json;

/// How long the eight writers write.
const WRITING: Duration = Duration::from_secs(30);

fn registry() -> Registry {
    Registry::new().with(Steps)
}

/// Pages through the stream by its cursor until told to stop and the head is reached.
async fn page(engine: Engine, stop: Arc<AtomicBool>) -> Vec<i64> {
    let (by, mut after, mut seen) = (Principal::operator(), None, Vec::new());
    loop {
        let stopping = stop.load(Ordering::SeqCst);
        let page = engine.events(&by, &EventFilter::default(), after, 100).await.unwrap();
        seen.extend(page.items.iter().map(|event| event.cursor.position));
        after = page.items.last().map(|event| event.cursor).or(after);
        if page.items.is_empty() && stopping {
            return seen;
        }
    }
}

/// Follows until told to stop and the head is reached, and is cut off after ever other counts of
/// events, each time to be resumed from the last one that it was given.
async fn follow_in_pieces(engine: Engine, mut chance: u64, stop: Arc<AtomicBool>) -> (Vec<i64>, usize) {
    let by = Principal::operator();
    let (mut start, mut seen, mut cuts) = (Start::Earliest, Vec::new(), 0);
    loop {
        // A linear congruential generator: the pieces differ, and are the same in each run.
        chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let mut left = (chance >> 33) % 500;
        let mut follower = engine.follow(&by, EventFilter::default(), start).await.unwrap();
        cuts += 1;
        while left > 0 {
            let stopping = stop.load(Ordering::SeqCst);
            match tokio::time::timeout(Duration::from_millis(300), follower.next()).await {
                Ok(Ok(Followed::Event(event))) => {
                    seen.push(event.cursor.position);
                    start = Start::After(event.cursor);
                    left -= 1;
                }
                Ok(Ok(Followed::CaughtUp(_)) | Err(FollowEnd::Slow { .. })) => {}
                Ok(Err(end)) => panic!("{end}"),
                Err(_) if stopping => return (seen, cuts),
                Err(_) => {}
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn eight_writers_and_whoever_pages_or_follows_in_pieces_sees_every_event_once_and_in_commit_order() {
    let db = TestDb::new().await;
    let writers = join_all((0..8).map(|_| db.worker(registry(), Duration::from_secs(10)))).await;
    // Followers stand in a process of their own, which hears of the others' commits by hints alone.
    let front = db.engine(registry()).await;
    // A write transaction held open by somebody else must stall nobody.
    let mut idle = db.pool.begin().await.unwrap();
    sqlx::query("insert into fermata.kill_switch (scope, engaged, reason, actor, changed_at) values ('x', false, '', '', now())")
        .execute(&mut *idle)
        .await
        .unwrap();
    let stop = Arc::new(AtomicBool::new(false));
    let pager = tokio::spawn(page(front.clone(), Arc::clone(&stop)));
    let followers: Vec<_> = (1..=6)
        .map(|n| {
            let engine = if n == 6 { writers[0].clone() } else { front.clone() };
            tokio::spawn(follow_in_pieces(engine, n, Arc::clone(&stop)))
        })
        .collect();
    let by = Principal::operator();
    let until = writers[0].clock().monotonic() + WRITING;
    let accepted = join_all(writers.iter().zip(1_u32..).map(|(writer, n)| {
        let by = &by;
        async move {
            let mut round = 0;
            while writer.clock().monotonic() < until {
                round += n;
                writer.submit(by, submission("test.steps", json!({"steps": round % 7}))).await.unwrap();
            }
            round / n
        }
    }))
    .await;
    let accepted = i64::from(accepted.iter().sum::<u32>());
    eventually("all runs end", || async {
        (db.count("select count(*) from fermata.outcome").await == accepted).then_some(())
    })
    .await;
    stop.store(true, Ordering::SeqCst);
    let head = db.count("select event from fermata.position").await;
    let all = (1..=head).collect::<Vec<_>>();
    assert!(pager.await.unwrap() == all, "a pager misses or repeats");
    for (n, follower) in followers.into_iter().enumerate() {
        let (seen, cuts) = follower.await.unwrap();
        assert!(seen == all, "follower {n}, cut {cuts} times, misses or repeats");
        assert!(cuts > 10, "follower {n} was cut only {cuts} times");
    }
    idle.rollback().await.unwrap();
}

/// The next event, or how it ended.
async fn next(follower: &mut Follower) -> Result<Followed, FollowEnd> {
    tokio::time::timeout(PATIENCE, follower.next()).await.unwrap()
}

/// Everything up to the present.
async fn caught_up(follower: &mut Follower) -> Vec<(String, String)> {
    let mut seen = Vec::new();
    loop {
        match next(follower).await.unwrap() {
            Followed::Event(event) => seen.push((event.clientid.clone(), event.r#type.clone())),
            Followed::CaughtUp(_) => return seen,
        }
    }
}

/// Appends events without runs.
async fn append(db: &TestDb, client: &str, count: usize) {
    sqlx::query(
        "select fermata.append(now(), array_fill($1::text, array[$2]), array_fill(null::uuid, array[$2]),
            array_fill('status.changed'::text, array[$2]), array_fill(1::int2, array[$2]),
            array_fill('{}'::jsonb, array[$2]), null)",
    )
    .bind(client)
    .bind(i32::try_from(count).unwrap())
    .execute(&db.pool)
    .await
    .unwrap();
    sqlx::query("select pg_notify('fermata', replace(gen_random_uuid()::text, '-', '') || ' events')")
        .execute(&db.pool)
        .await
        .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_holds_in_the_replay_as_in_the_present() {
    let db = TestDb::new().await;
    let engine = db.worker(registry(), Duration::from_secs(10)).await;
    let by = Principal::operator();
    let filters = [
        EventFilter { account_id: Some("ada".into()), ..EventFilter::default() },
        EventFilter { session_id: Some("s-1".into()), ..EventFilter::default() },
        EventFilter { client_id: Some("acme".into()), ..EventFilter::default() },
        EventFilter { types: vec!["step.succeeded".into()], ..EventFilter::default() },
        EventFilter { min_severity: Some(Severity::Error), ..EventFilter::default() },
    ];
    let mut live = Vec::new();
    for filter in &filters {
        let mut follower = engine.follow(&by, filter.clone(), Start::Latest).await.unwrap();
        assert_eq!(caught_up(&mut follower).await, []);
        live.push(follower);
    }
    let of = |client: &str, account: &str, session: &str| Submission {
        client_id: client.into(),
        account_id: Some(account.into()),
        session_id: Some(session.into()),
        ..submission("test.steps", json!({"steps": 1}))
    };
    for submission in [of("acme", "ada", "s-2"), of("other", "bob", "s-1"), of("other", "bob", "s-2")] {
        let run = engine.submit(&by, submission).await.unwrap().command_id;
        db.ended(&engine, run).await;
    }
    // Queued, running, the step, ended.
    for ((filter, wanted), mut live) in filters.into_iter().zip([4, 4, 4, 3, 0]).zip(live) {
        let mut replayed = engine.follow(&by, filter.clone(), Start::Earliest).await.unwrap();
        let replayed = caught_up(&mut replayed).await;
        assert_eq!(replayed.len(), wanted, "{filter:?} {replayed:?}");
        for past in &replayed {
            match next(&mut live).await.unwrap() {
                Followed::Event(event) => assert_eq!(past, &(event.clientid.clone(), event.r#type.clone())),
                Followed::CaughtUp(_) => panic!("it was caught up already"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_principal_follows_its_own_client_only() {
    let db = TestDb::new().await;
    let engine = db.worker(registry(), Duration::from_secs(10)).await;
    append(&db, "other", 10).await;
    append(&db, "acme", 2).await;
    let acme = Principal { client_id: "acme".into(), ..Principal::operator() };
    let mut follower = engine.follow(&acme, EventFilter::default(), Start::Earliest).await.unwrap();
    assert_eq!(caught_up(&mut follower).await.len(), 2);
    let asks_for_more = EventFilter { client_id: Some("other".into()), ..EventFilter::default() };
    let mut nosy = engine.follow(&acme, asks_for_more, Start::Earliest).await.unwrap();
    assert_eq!(caught_up(&mut nosy).await, []);
    append(&db, "other", 10).await;
    append(&db, "acme", 1).await;
    assert!(matches!(next(&mut follower).await.unwrap(), Followed::Event(event) if event.clientid == "acme"));
    let blind = Principal { scopes: [Scope::CommandsRead].into(), ..acme };
    let refused = engine.follow(&blind, EventFilter::default(), Start::Latest).await.unwrap_err();
    assert!(refused.to_string().contains("events:read"), "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_follower_that_falls_out_of_the_ring_is_told_where_to_resume_and_misses_nothing() {
    let db = TestDb::new().await;
    let engine = db.engine(registry()).await;
    let by = Principal::operator();
    let mut slow = engine.follow(&by, EventFilter::default(), Start::Latest).await.unwrap();
    let mut fast = engine.follow(&by, EventFilter::default(), Start::Latest).await.unwrap();
    caught_up(&mut slow).await;
    caught_up(&mut fast).await;
    // The first may still come from the database; with the second it stands in the ring.
    for _ in 0..2 {
        append(&db, "c", 1).await;
        assert!(matches!(next(&mut slow).await, Ok(Followed::Event(_))));
        assert!(matches!(next(&mut fast).await, Ok(Followed::Event(_))));
    }
    let mut seen = 0;
    for _ in 0..=(RING_EVENTS / 1_000) {
        append(&db, "c", 1_000).await;
        while seen < 1_000 {
            assert!(matches!(next(&mut fast).await, Ok(Followed::Event(_))));
            seen += 1;
        }
        seen = 0;
    }
    let Err(FollowEnd::Slow { resume }) = next(&mut slow).await else { panic!("it was not told") };
    assert_eq!(resume.position, 2);
    let mut resumed = engine.follow(&by, EventFilter::default(), Start::After(resume)).await.unwrap();
    let rest = caught_up(&mut resumed).await.len();
    assert_eq!(i64::try_from(rest).unwrap() + 2, db.count("select event from fermata.position").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_older_than_what_is_kept_has_expired_and_one_of_another_history_is_foreign() {
    let db = TestDb::new().await;
    let engine = db.engine(registry()).await;
    let by = Principal::operator();
    append(&db, "c", 10).await;
    sqlx::query("delete from fermata.event where position <= 5").execute(&db.pool).await.unwrap();
    let follow = async |engine: &Engine, cursor| {
        engine.follow(&by, EventFilter::default(), Start::After(cursor)).await.map(drop)
    };
    let expired = follow(&engine, Cursor::at(4)).await;
    assert!(matches!(expired, Err(FollowEnd::Cursor(CursorError::Expired { oldest })) if oldest == Cursor::at(5)));
    assert!(follow(&engine, Cursor::at(5)).await.is_ok());
    assert!(matches!(follow(&engine, Cursor::at(11)).await, Err(FollowEnd::Cursor(CursorError::Foreign))));

    // The database comes back from a backup on another server: whoever opens it next sees that.
    sqlx::query("update fermata.position set history = 'another server/00000001'").execute(&db.pool).await.unwrap();
    let later = db.engine(registry()).await;
    assert!(matches!(follow(&later, Cursor::at(10)).await, Err(FollowEnd::Cursor(CursorError::Foreign))));
    let mut anew = later.follow(&by, EventFilter::default(), Start::Earliest).await.unwrap();
    assert_eq!(caught_up(&mut anew).await.len(), 5);
    assert_eq!(anew.cursor(), Cursor { epoch: 2, position: 10 });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_follower_within_five_seconds() {
    let db = TestDb::new().await;
    let (here, there) = (db.engine(registry()).await, db.engine(registry()).await);
    let new = NewToken {
        client_id: "c".into(),
        name: "ci".into(),
        scopes: vec![Scope::EventsRead],
        command_types: None,
        ttl: None,
    };
    let operator = Principal::operator();
    let created = there.create_token(&operator, new).await.unwrap();
    let by = here.authenticate(&created.token).await.unwrap();
    let mut follower = here.follow(&by, EventFilter::default(), Start::Latest).await.unwrap();
    caught_up(&mut follower).await;
    let revoked = here.clock().monotonic();
    there.revoke_token(&operator, created.id).await.unwrap();
    assert!(matches!(next(&mut follower).await, Err(FollowEnd::Revoked(_))));
    assert!(here.clock().monotonic() - revoked < Duration::from_secs(5));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_ticket_is_good_once() {
    let db = TestDb::new().await;
    let (here, there) = (db.engine(registry()).await, db.engine(registry()).await);
    let new = NewToken {
        client_id: "c".into(),
        name: "browser".into(),
        scopes: vec![Scope::EventsRead],
        command_types: None,
        ttl: None,
    };
    let created = here.create_token(&Principal::operator(), new).await.unwrap();
    let by = here.authenticate(&created.token).await.unwrap();
    let ticket = here.ticket(&by).await.unwrap();
    assert_eq!(there.redeem(&ticket.text).await.unwrap(), by);
    assert!(here.redeem(&ticket.text).await.is_err());
    assert!(here.redeem(&format!("ticket_{}", "0".repeat(48))).await.is_err());
    assert_eq!(db.count("select count(*) from fermata.ticket").await, 0);
    let late = here.ticket(&by).await.unwrap();
    let owner = sqlx::PgPool::connect(&db.url).await.unwrap();
    sqlx::query("update fermata.ticket set expires_at = now()").execute(&owner).await.unwrap();
    assert!(here.redeem(&late.text).await.is_err());
}
