//! A thousand kill switches, turned at random while runs go on (S-057 to S-059; design, section 5): once a trip has answered,
//! nothing takes place at the platform but what the answer lists as under way, and nothing at all once it says that all has
//! ended.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod platform;

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::effect::{DRAIN_PATIENCE, KillSwitch, SwitchTurn};
use fermata_engine::id::ActionId;
use fermata_engine::run::Submission;
use fermata_engine::workflow::Registry;
use fermata_tests::{Lot, TestDb, eventually, submission};
use futures::future::join_all;
use serde_json::json;
use tokio::sync::Mutex;

use platform::{Applied, Platform, Posts, Reach};

const TRIPS: usize = 1_000;
/// How many switches are turned side by side.
const AT_ONCE: u64 = 4;
/// How many runs are under way.
const RUNS: usize = 24;
const CLIENTS: [&str; 3] = ["a", "b", "c"];
const ACCOUNTS: [&str; 2] = ["x", "y"];
const SEED: u64 = 57;

/// A switch that was on.
#[derive(Debug)]
struct Trip {
    whom: Reach,
    drains: bool,
    /// What it said was under way.
    named: BTreeSet<ActionId>,
    /// When it had answered.
    answered: Instant,
    /// When it was to be lifted.
    lifted: Instant,
}

struct Stage {
    db: TestDb,
    platform: Platform,
    engines: [Engine; 2],
    /// Each is turned by one at a time.
    switches: Vec<Mutex<Reach>>,
    left: AtomicUsize,
}

impl Stage {
    async fn new() -> Self {
        let (db, platform) = (TestDb::new().await, Platform::new(RUNS));
        let worker = || db.worker(Registry::new().with(Posts(platform.clone())), Duration::from_secs(30));
        let engines = [worker().await, worker().await];
        let some = |names: &[&'static str]| names.iter().copied().map(Some).chain([None]).collect::<Vec<_>>();
        let accounts = some(&ACCOUNTS);
        let switches = some(&CLIENTS)
            .into_iter()
            .flat_map(|client| accounts.iter().map(move |&account| Mutex::new(Reach { client, account })))
            .collect();
        Self { db, platform, engines, switches, left: AtomicUsize::new(TRIPS) }
    }

    /// Begins runs for as long as it is asked to, as many as there is room for.
    async fn load(&self) -> Vec<Trip> {
        let mut lot = Lot::new(SEED);
        for number in 0_u64.. {
            self.platform.room.acquire().await.unwrap().forget();
            let asked = submission("test.posts", json!({"account": lot.of(&ACCOUNTS), "number": number}));
            let asked = Submission { client_id: lot.of(&CLIENTS).into(), ..asked };
            self.engines[lot.below(2)].submit(&Principal::operator(), asked).await.unwrap();
        }
        Vec::new()
    }

    async fn trips(&self, seed: u64) -> Vec<Trip> {
        let (mut lot, mut trips) = (Lot::new(seed), Vec::new());
        while self.left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok() {
            let whom = self.switches[lot.below(self.switches.len())].lock().await;
            trips.push(self.trip(*whom, lot.one_in(2), &self.engines[lot.below(2)]).await);
        }
        trips
    }

    async fn trip(&self, whom: Reach, drains: bool, engine: &Engine) -> Trip {
        let patience = if drains { DRAIN_PATIENCE } else { Duration::ZERO };
        self.platform.calls(whom).await;
        let turned = turn(engine, whom, true, patience).await;
        let answered = self.platform.now();
        self.platform.stops_one(whom).await;
        let lifted = self.platform.now();
        turn(engine, whom, false, Duration::ZERO).await;
        let named = turned.under_way.unwrap().iter().map(|it| it.action_id).collect();
        Trip { whom, drains, named, answered, lifted }
    }
}

async fn turn(engine: &Engine, whom: Reach, engaged: bool, patience: Duration) -> KillSwitch {
    let turn = SwitchTurn { engaged, reason: "a test".into(), patience };
    engine.turn_switch(&Principal::operator(), &whom.scope(), turn).await.unwrap()
}

/// What took place while it was on, and that it did not list.
fn unlisted<'a>(trip: &'a Trip, applied: &'a [Applied]) -> impl Iterator<Item = &'a Applied> {
    let first = applied.partition_point(|it| it.at <= trip.answered);
    let meanwhile = applied[first..].iter().take_while(|it| it.at < trip.lifted);
    meanwhile.filter(|it| trip.whom.covers(&it.client, &it.account) && !trip.named.contains(&it.action))
}

/// In the order of commits no attempt stands behind a switch that stops it.
async fn no_attempt_stands_behind_a_trip(db: &TestDb) {
    let told: Vec<(String, String, Option<String>, Option<bool>)> = sqlx::query_as(
        "select type, client_id, data ->> 'account_id', (data ->> 'engaged')::boolean from fermata.event
         where type in ('kill_switch.changed', 'action.attempted') order by position",
    )
    .fetch_all(&db.pool)
    .await
    .unwrap();
    let mut engaged = BTreeSet::new();
    for (nth, (kind, client, account, on)) in told.into_iter().enumerate() {
        let account = account.unwrap_or_else(|| "*".into());
        if kind == "kill_switch.changed" {
            let it = (client, account);
            if on == Some(true) {
                engaged.insert(it)
            } else {
                engaged.remove(&it)
            };
            continue;
        }
        let is = |of: &str, name: &str| of == "*" || of == name;
        let stops = engaged.iter().find(|(who, which)| is(who, &client) && is(which, &account));
        assert_eq!(stops, None, "event {nth}: an attempt of {client}/{account}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_takes_place_after_a_trip_but_what_it_lists_and_nothing_once_all_has_ended() {
    let stage = Stage::new().await;
    let trips = tokio::select! {
        trips = join_all((1..=AT_ONCE).map(|nth| stage.trips(SEED + nth))) => trips.into_iter().flatten().collect::<Vec<_>>(),
        none = stage.load() => none,
    };
    eventually("every run has ended", || async {
        (stage.db.count("select count(*) from fermata.live").await == 0).then_some(())
    })
    .await;
    assert_eq!(trips.len(), TRIPS);
    let applied = stage.platform.applied();
    for trip in &trips {
        assert!(!trip.drains || trip.named.is_empty(), "it did not wait: {trip:?}");
        let unlisted: Vec<_> = unlisted(trip, &applied).collect();
        assert!(unlisted.is_empty(), "after {trip:?}: {unlisted:?}");
    }
    no_attempt_stands_behind_a_trip(&stage.db).await;
    let late = trips.iter().filter(|trip| !trip.named.is_empty()).count();
    println!("{} effects, {} stopped, {late} trips had something under way", applied.len(), stage.platform.stops());
    assert!(late > 50 && applied.len() > TRIPS, "there is load");
}
