//! A policy changed at each boundary of an action, under load (S-015 to S-020; design, section 5): no effect begins by a
//! policy that was replaced before its attempt was recorded, and what had begun is not undone.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod platform;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::id::{ActionId, RunId};
use fermata_engine::policy::{PolicyDocument, PolicyScope};
use fermata_engine::run::Submission;
use fermata_engine::workflow::Registry;
use fermata_tests::{Lot, TestDb, eventually, submission};
use serde_json::{Value, json};
use uuid::Uuid;

use platform::{Boundary, Deeds, Platform, Station};

/// How often each boundary is met.
const ROUNDS: usize = 10;
/// How many runs are under way besides the one that is held.
const RUNS: usize = 16;
const SEED: u64 = 15;
const SCOPE: &str = "account:acme/main";

/// A time in which follows were forbidden.
struct Forbidden {
    version: i64,
    /// When the change had answered.
    answered: Instant,
    /// When they were to be allowed again.
    lifted: Instant,
}

struct Stage {
    db: TestDb,
    platform: Platform,
    engines: Vec<Engine>,
}

impl Stage {
    async fn new() -> Self {
        let (db, platform) = (TestDb::new().await, Platform::new(RUNS));
        Self { db, platform, engines: Vec::new() }
    }

    async fn join(&mut self, lease: Duration) {
        self.engines.push(self.db.worker(Registry::new().with(Deeds(self.platform.clone())), lease).await);
    }

    async fn put(&self, document: Value) -> i64 {
        let document: PolicyDocument = serde_json::from_value(document).unwrap();
        let scope: PolicyScope = SCOPE.parse().unwrap();
        self.engines[0].put_policy(&Principal::operator(), &scope, &document, None).await.unwrap().version
    }

    async fn forbid_follows(&self) -> i64 {
        self.put(json!({"allowed_actions": {"memory": ["publish"]}})).await
    }

    async fn begin(&self, engine: &Engine, kind: &str, key: &str, held: Option<Boundary>) -> RunId {
        let input = json!({"kind": kind, "key": key, "held": held});
        let wanted = Submission { client_id: "acme".into(), ..submission("test.deeds", input) };
        engine.submit(&Principal::operator(), wanted).await.unwrap().command_id
    }

    /// Begins runs for as long as it is asked to, as many as there is room for.
    async fn load(&self) -> Vec<Forbidden> {
        let mut lot = Lot::new(SEED);
        for nth in 0_u64.. {
            self.platform.room.acquire().await.unwrap().forget();
            let kind = lot.of(&["follow", "publish"]);
            self.begin(&self.engines[lot.below(2)], kind, &format!("load {nth}"), None).await;
        }
        Vec::new()
    }

    /// Follows are forbidden while one is at its boundary.
    async fn round(&self, nth: usize, boundary: Boundary) -> Forbidden {
        let key = format!("held {nth}");
        let station = self.platform.station(&key);
        let run = self.begin(&self.engines[nth % 2], "follow", &key, Some(boundary)).await;
        station.reached().await;
        let version = match boundary {
            Boundary::Attempt => self.forbid_before_an_attempt(&station).await,
            _ => self.forbid_follows().await,
        };
        let answered = self.platform.now();
        station.let_go();
        let ended = self.ended(&self.engines[0], run).await;
        assert_eq!(ended.is_none(), boundary.is_attempted(), "changed at {boundary:?}: {ended:?}");
        assert_eq!(self.platform.calls_of(&key), usize::from(boundary.is_attempted()), "changed at {boundary:?}");
        let lifted = self.platform.now();
        self.put(json!({})).await;
        Forbidden { version, answered, lifted }
    }

    /// `None` when it did what it was to do; the rule that forbade it if not.
    async fn ended(&self, by: &Engine, run: RunId) -> Option<Value> {
        let ended = self.db.ended(by, run).await;
        let rule = ended.error.map(|error| error["details"]["rule"].clone());
        assert!(rule.as_ref().is_none_or(|rule| rule == "allowed_actions"), "{rule:?}");
        assert_eq!(ended.status, if rule.is_none() { "SUCCEEDED" } else { "FAILED" });
        rule
    }

    /// The change is on its way before the attempt is: it waits for a version that is being written, with all attempts behind it.
    async fn forbid_before_an_attempt(&self, station: &Station) -> i64 {
        let mut version = self.db.pool.begin().await.unwrap();
        let blocks: i32 = sqlx::query_scalar(
            "insert into fermata.policy (scope, version, client_id, platform, account_id, document, actor, at)
             select $1, coalesce(max(version), 0) + 1, 'acme', '*', 'main', '{}', 'who', now() from fermata.policy
             where scope = $1 returning pg_backend_pid()",
        )
        .bind(SCOPE)
        .fetch_one(&mut *version)
        .await
        .unwrap();
        let (changed, ()) = tokio::join!(self.forbid_follows(), async {
            let waits = "select count(*) from pg_locks l where not l.granted and $1 = any (pg_blocking_pids(l.pid))";
            eventually("the change waits", || async {
                let waiting: i64 = sqlx::query_scalar(waits).bind(blocks).fetch_one(&self.db.pool).await.unwrap();
                (waiting > 0).then_some(())
            })
            .await;
            station.let_go();
            let attempts = "select count(*) from pg_locks l where not l.granted and l.locktype = 'advisory'
                and l.mode = 'ShareLock' and l.database = (select oid from pg_database where datname = current_database())";
            eventually("an attempt waits", || async { (self.db.count(attempts).await > 0).then_some(()) }).await;
            version.rollback().await.unwrap();
        });
        changed
    }
}

/// In the order of commits each attempt follows the policy that is in force. Which one that was, by action.
async fn attempts_follow_the_policy_in_force(db: &TestDb) -> BTreeMap<ActionId, i64> {
    let told: Vec<(Option<Uuid>, Option<String>, i64)> = sqlx::query_as(
        "select (e.data ->> 'action_id')::uuid, e.data ->> 'action_type', case e.type when 'policy.changed'
                then (e.data ->> 'version')::int8 else coalesce((select (p ->> 'version')::int8 from fermata.action a
                    join fermata.policy_snapshot s on s.client_id = a.client_id and s.hash = a.policy_hash
                    cross join jsonb_array_elements(s.document) p
                    where a.id = (e.data ->> 'action_id')::uuid and p ->> 'scope' = $1), 0) end
         from fermata.event e where e.type in ('policy.changed', 'action.attempted') order by e.position",
    )
    .bind(SCOPE)
    .fetch_all(&db.pool)
    .await
    .unwrap();
    let (mut in_force, mut followed) = (0, BTreeMap::new());
    for (action, kind, version) in told {
        let Some(action) = action else {
            in_force = version;
            continue;
        };
        assert_eq!(version, in_force, "an attempt of {action}");
        assert!(in_force % 2 == 0 || kind.as_deref() == Some("publish"), "follows are forbidden by {in_force}");
        followed.insert(ActionId(action), version);
    }
    followed
}

#[tokio::test(flavor = "multi_thread")]
async fn no_effect_begins_by_a_policy_that_was_replaced_at_any_boundary_before_its_attempt() {
    let mut stage = Stage::new().await;
    for _ in 0..2 {
        stage.join(Duration::from_secs(30)).await;
    }
    let mut order: Vec<_> = Boundary::ALL.into_iter().cycle().take(ROUNDS * Boundary::ALL.len()).collect();
    let mut lot = Lot::new(SEED);
    order.sort_by_cached_key(|_| lot.below(usize::MAX));
    let rounds = async {
        let mut forbidden = Vec::new();
        for (nth, boundary) in order.into_iter().enumerate() {
            forbidden.push(stage.round(nth, boundary).await);
        }
        forbidden
    };
    let forbidden = tokio::select! { all = rounds => all, none = stage.load() => none };
    eventually("every run has ended", || async {
        (stage.db.count("select count(*) from fermata.live").await == 0).then_some(())
    })
    .await;
    let (followed, calls) = (attempts_follow_the_policy_in_force(&stage.db).await, stage.platform.calls());
    for Forbidden { version, answered, lifted } in forbidden {
        let meanwhile =
            calls.iter().filter(|call| answered < call.began && call.began < lifted && call.kind == "follow");
        for late in meanwhile {
            assert!(followed[&late.action] < version, "{late:?} was attempted after the change to {version}");
        }
    }
    let blocked = stage.db.count("select count(*) from fermata.action where state = 'blocked'").await;
    println!("{} calls, {blocked} blocked", calls.len());
    assert!(calls.len() > 100 && blocked > 100, "there is load: {} calls, {blocked} blocked", calls.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_that_another_node_takes_up_is_judged_again() {
    let mut stage = Stage::new().await;
    let lease = Duration::from_millis(900);
    stage.join(lease).await;
    let station = stage.platform.station("k");
    let run = stage.begin(&stage.engines[0], "follow", "k", Some(Boundary::Planned)).await;
    station.reached().await;
    stage.forbid_follows().await;
    stage.join(lease).await;
    // The first node's hold on its runs is cut, and its effect goes nowhere.
    let cut = "select pg_terminate_backend(l.pid) from pg_locks l join fermata.node n
        on (l.classid::int8 << 32 | l.objid::int8) = n.lock_key and l.locktype = 'advisory'
        where n.id = (select node from fermata.live)";
    sqlx::query(cut).execute(&sqlx::PgPool::connect(&stage.db.url).await.unwrap()).await.unwrap();

    assert!(stage.ended(&stage.engines[1], run).await.is_some());
    assert_eq!(stage.platform.calls_of("k"), 0);
    let states = "select count(*) from fermata.action where state in ('cancelled', 'blocked') and effect is false";
    assert_eq!(stage.db.count(states).await, 2, "the old plan is withdrawn, and the new one is blocked");
}
