//! Whatever happens to readers and to the processes that serve them, the stream, GraphQL and REST show each
//! event once, in order, and agree.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod front;
mod readers;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};
use std::time::Duration;

use fermata_engine::Engine;
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::workflow::Registry;
use fermata_tests::{Pooler, Steps, TestDb, eventually, submission};
use futures::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::json;

use self::front::Front;
use self::readers::{Reader, Surface};

/// How long the eight writers write.
const WRITING: Duration = Duration::from_mins(1);
/// So many events are read between two kills, at random.
const BETWEEN_KILLS: std::ops::Range<usize> = 2_000..20_000;
/// The least that must have happened for the law to mean something.
const MIN_CUTS: usize = 200;
/// The same, for processes killed.
const MIN_KILLS: usize = 5;

/// What the readers are told, and what they tell.
pub(crate) struct Reading {
    /// Events received so far, by all of them.
    pub(crate) seen: AtomicUsize,
    /// The last position there will be; negative while there will be more.
    pub(crate) head: AtomicI64,
}

async fn token(engine: &Engine) -> String {
    let new = NewToken {
        client_id: "*".into(),
        name: "reader".into(),
        scopes: vec![Scope::EventsRead, Scope::CommandsRead],
        command_types: None,
        ttl: None,
    };
    engine.create_token(&Principal::operator(), new).await.unwrap().token
}

/// Each writer submits one run after the other, and waits for none of them.
async fn write(writers: &[Engine]) -> i64 {
    let by = Principal::operator();
    let until = writers[0].clock().monotonic() + WRITING;
    let accepted = join_all(writers.iter().zip(1_u32..).map(|(writer, n)| {
        let by = &by;
        async move {
            let mut accepted = 0_i64;
            while writer.clock().monotonic() < until {
                let steps = u32::try_from(accepted).unwrap().wrapping_mul(n) % 5;
                writer.submit(by, submission("test.steps", json!({"steps": steps}))).await.unwrap();
                accepted += 1;
                // Readers share two cores with the writers; they are to be behind, not hopelessly so.
                writer.clock().wait(Duration::from_millis(20)).await;
            }
            accepted
        }
    }))
    .await;
    accepted.iter().sum()
}

/// Kills one process after the other with SIGKILL and starts it again, each time after some more events.
async fn kill(fronts: &mut [Front], reading: &Reading, seed: u64) -> usize {
    let mut chance = StdRng::seed_from_u64(seed);
    let mut kills = 0;
    loop {
        let due = reading.seen.load(Ordering::SeqCst) + chance.random_range(BETWEEN_KILLS);
        while reading.seen.load(Ordering::SeqCst) < due {
            if reading.head.load(Ordering::SeqCst) >= 0 {
                return kills;
            }
            tokio::task::yield_now().await;
            fermata_engine::clock::Clock::system().wait(Duration::from_millis(5)).await;
        }
        let turn = kills % fronts.len();
        let front = &mut fronts[turn];
        front.kill();
        front.start().await;
        kills += 1;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn stream_graphql_and_rest_agree_on_each_event_once_and_in_order_while_cut_and_killed() {
    let db = TestDb::new().await;
    let registry = || Registry::new().with(Steps);
    let writers = join_all((0..8).map(|_| db.worker(registry(), Duration::from_secs(10)))).await;
    let (oldest, _) = writers[0].stream_bounds(&Principal::operator()).await.unwrap();
    // API processes, killed in turns; one of them reads by way of a pooler in transaction mode.
    let pooler = Pooler::before(&db.url).await;
    let poolers = [None, Some(pooler.url.as_str())];
    let mut fronts = join_all(poolers.map(|pooler| Front::new(&db.url, pooler))).await;
    let (token, addresses) = (token(&writers[0]).await, fronts.iter().map(Front::address).collect::<Vec<_>>());
    // Somebody else's write transaction, open all the time, must stall nobody.
    let mut idle = db.pool.begin().await.unwrap();
    sqlx::query("insert into fermata.kill_switch (scope, engaged, reason, actor, changed_at) values ('x', false, '', '', now())")
        .execute(&mut *idle)
        .await
        .unwrap();

    let reading = Arc::new(Reading { seen: AtomicUsize::new(0), head: AtomicI64::new(-1) });
    let surfaces = [Surface::Stream, Surface::Stream, Surface::Graphql, Surface::Graphql, Surface::Rest];
    let readers: Vec<_> = surfaces
        .into_iter()
        .zip(1..)
        .map(|(surface, seed)| {
            let reader = Reader::new(surface, &addresses, &token, oldest, seed);
            tokio::spawn(reader.read(Arc::clone(&reading)))
        })
        .collect();
    let writing = async {
        let accepted = write(&writers).await;
        eventually("all runs end", || async {
            (db.count("select count(*) from fermata.outcome").await == accepted).then_some(())
        })
        .await;
        let head = db.count("select event from fermata.position").await;
        reading.head.store(head, Ordering::SeqCst);
        head
    };
    let (kills, head) = tokio::join!(kill(&mut fronts, &reading, 7), writing);

    let all: Vec<i64> = (1..=head).collect();
    let (mut cuts, mut ids) = (0, Vec::new());
    for (surface, reader) in surfaces.into_iter().zip(readers) {
        let read = reader.await.unwrap();
        assert!(read.positions == all, "{surface:?}, cut {} times, misses or repeats", read.cuts);
        cuts += read.cuts;
        ids.push(read.ids);
    }
    assert!(ids.windows(2).all(|pair| pair[0] == pair[1]), "they do not agree on the events themselves");
    assert!(cuts >= MIN_CUTS && kills >= MIN_KILLS, "{cuts} cuts and {kills} kills prove little");
    println!("{head} events, {} readers, {cuts} cuts, {kills} kills", surfaces.len());
    idle.rollback().await.unwrap();
}
