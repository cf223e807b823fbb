//! Laws of effects on the engine alone: what a lost answer, a lost call and a hidden effect end in.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::id::RunId;
use fermata_engine::policy::{PolicyDocument, PolicyScope};
use fermata_engine::run::Decision;
use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_tests::{Ledger, Post, Promises, TestDb, eventually};
use serde_json::{Value, json};

struct Publish(Ledger);

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Input {
    key: String,
    promises: Promises,
}

impl Workflow for Publish {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.publish";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        let post = Post { ledger: self.0.clone(), key: input.key, promises: input.promises };
        let receipt = context.effect("publish", &post).await?;
        context.step("after").run(|_| async { Ok(json!("done")) }).await?;
        Ok(receipt)
    }
}

async fn publish(promises: Promises) -> (TestDb, Ledger, Engine, RunId) {
    publish_under(None, promises).await
}

async fn publish_under(policy: Option<Value>, promises: Promises) -> (TestDb, Ledger, Engine, RunId) {
    let (db, ledger) = (TestDb::new().await, Ledger::default());
    let engine = db.worker(Registry::new().with(Publish(ledger.clone())), Duration::from_secs(10)).await;
    if let Some(policy) = policy {
        let policy: PolicyDocument = serde_json::from_value(policy).unwrap();
        engine.put_policy(&Principal::operator(), &PolicyScope::Global, &policy, None).await.unwrap();
    }
    let run = db.submit(&engine, "test.publish", json!({"key": "k", "promises": promises})).await;
    (db, ledger, engine, run)
}

async fn states(db: &TestDb) -> Vec<String> {
    sqlx::query_scalar("select phase from fermata.audit order by position").fetch_all(&db.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answered_call_walks_the_whole_machine_with_one_audit_row_each() {
    let (db, ledger, engine, run) = publish(Promises::default()).await;
    assert_eq!(db.ended(&engine, run).await.result, Some(json!({"id": "k"})));
    assert_eq!(ledger.count("k"), 1);
    let path =
        ["queued", "preflight_passed", "identity_verified", "attempted", "confirmed_success", "postcheck_complete"];
    assert_eq!(states(&db).await, path);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_answer_is_confirmed_by_looking_and_the_call_is_made_once() {
    let (db, ledger, engine, run) = publish(Promises { loses_answer: true, ..Promises::default() }).await;
    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
    assert_eq!((ledger.count("k"), ledger.calls()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_call_on_a_platform_with_keys_is_sent_again_with_the_same_key() {
    let (db, ledger, engine, run) =
        publish(Promises { loses_call: true, honours_keys: true, ..Promises::default() }).await;
    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
    assert_eq!((ledger.count("k"), ledger.calls()), (1, 2));
    assert_eq!(db.count("select count(*) from fermata.action where resends = 1").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_call_with_conclusive_absence_gets_one_successor_after_the_deadline() {
    let (db, ledger, engine, run) =
        publish(Promises { loses_call: true, conclusive: true, ..Promises::default() }).await;
    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
    assert_eq!((ledger.count("k"), ledger.calls()), (1, 2));
    assert_eq!(db.count("select count(*) from fermata.action").await, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_call_with_inconclusive_absence_is_unknown_and_a_person_is_asked() {
    let (db, ledger, engine, run) = publish(Promises { loses_call: true, ..Promises::default() }).await;
    db.reaches(&engine, run, &["HUMAN_REQUIRED"]).await;
    assert_eq!((ledger.count("k"), ledger.calls()), (0, 1));
    assert_eq!(db.count("select count(*) from fermata.action where state = 'unknown'").await, 1);
    assert_eq!(db.count("select count(*) from fermata.gate where state = 'open'").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hidden_post_is_unknown_and_never_posted_twice_until_a_person_confirms_it() {
    let (db, ledger, engine, run) = publish(Promises { loses_answer: true, hides: true, ..Promises::default() }).await;
    db.reaches(&engine, run, &["HUMAN_REQUIRED"]).await;
    assert_eq!((ledger.count("k"), ledger.calls()), (1, 1));
    assert_eq!(db.count("select count(*) from fermata.step where key = 'after'").await, 0);
    let gate: uuid::Uuid = sqlx::query_scalar("select id from fermata.gate").fetch_one(&db.pool).await.unwrap();
    let yes = Decision { approve: true, comment: Some("I saw it".into()), outputs: json!({"id": "seen"}) };
    engine.decide(&Principal::operator(), fermata_engine::id::GateId(gate), yes).await.unwrap();
    assert_eq!(db.ended(&engine, run).await.result, Some(json!({"id": "seen"})));
    assert_eq!(ledger.count("k"), 1);
}

/// S-056: so many looks as the policy says, then a person.
#[tokio::test(flavor = "multi_thread")]
async fn a_person_is_asked_after_as_many_looks_as_the_policy_says_and_nothing_is_sent_meanwhile() {
    let policy = json!({"verification": {"pauses_s": [1, 1, 3_600], "ask_after": 2}});
    let hidden = Promises { loses_answer: true, hides: true, ..Promises::default() };
    let (db, ledger, engine, run) = publish_under(Some(policy), hidden).await;
    db.reaches(&engine, run, &["HUMAN_REQUIRED"]).await;
    assert_eq!(db.count("select doubts::int8 from fermata.action where state = 'unknown'").await, 2);
    let asked = "select count(*) from fermata.gate g join fermata.action a on g.opened_at >= a.updated_at";
    assert_eq!((db.count(asked).await, ledger.calls()), (1, 1), "asked after the second look");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_seen_before_a_person_would_be_asked_goes_on_by_itself() {
    let policy = json!({"verification": {"pauses_s": [1, 1, 1, 1, 1], "ask_after": 5}});
    let (db, ledger, engine, run) =
        publish_under(Some(policy), Promises { loses_call: true, ..Promises::default() }).await;
    let unknown = "select count(*) from fermata.action where state = 'unknown'";
    eventually("nobody knows", || async { (db.count(unknown).await == 1).then_some(()) }).await;
    ledger.apply("k");
    assert_eq!(db.ended(&engine, run).await.status, "SUCCEEDED");
    assert_eq!((db.count("select count(*) from fermata.gate").await, ledger.calls()), (0, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_intent_in_another_command_returns_the_stored_result() {
    let (db, ledger, engine, run) = publish(Promises::default()).await;
    db.ended(&engine, run).await;
    let again = db.submit(&engine, "test.publish", json!({"key": "k", "promises": Promises::default()})).await;
    let ended = db.ended(&engine, again).await;
    assert_eq!(ended.result, Some(json!({"id": "k"})));
    assert_eq!((ledger.count("k"), ledger.calls()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn intents_are_locked_in_the_order_of_their_keys_whatever_the_order_of_a_batch_and_the_second_plan_is_held() {
    let db = TestDb::new().await;
    let plan = |ord: i32, key: &str| {
        json!({
            "ord": ord, "op": "plan", "action_id": uuid::Uuid::from_u128(ord.unsigned_abs().into()), "intent_key": key,
            "intent_id": uuid::Uuid::from_u128(100 + u128::from(ord.unsigned_abs())), "client_id": "c", "spec": {},
        })
    };
    let asked = json!([plan(1, "b"), plan(2, "c"), plan(3, "a"), plan(4, "b")]);
    let verdict: Value =
        sqlx::query_scalar("select fermata.judge(now(), $1)").bind(asked).fetch_one(&db.pool).await.unwrap();
    assert_eq!(verdict, json!({"4": {"held": null}}));
    let taken: Vec<String> =
        sqlx::query_scalar("select key from fermata.intent order by ctid").fetch_all(&db.pool).await.unwrap();
    assert_eq!(taken, ["a", "b", "c"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_effect_that_is_found_done_closes_its_action_and_holds_up_nobody() {
    let (db, ledger) = (TestDb::new().await, Ledger::default());
    ledger.apply("k");
    let engine = db.worker(Registry::new().with(Publish(ledger.clone())), Duration::from_secs(10)).await;
    let promises = Promises { looked_at_first: true, ..Promises::default() };
    for _ in 0..2 {
        let run = db.submit(&engine, "test.publish", json!({"key": "k", "promises": promises})).await;
        assert_eq!(db.ended(&engine, run).await.result, Some(json!({"id": "k"})));
    }
    assert_eq!((ledger.count("k"), ledger.calls()), (1, 0));
    let closed = "select count(*) from fermata.action where state = 'postcheck_complete' and level = 2 and not effect";
    assert_eq!((db.count(closed).await, db.count("select count(*) from fermata.action").await), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn runs_that_mean_the_same_at_once_do_it_once() {
    let (db, ledger) = (TestDb::new().await, Ledger::default());
    let engine = db.worker(Registry::new().with(Publish(ledger.clone())), Duration::from_secs(10)).await;
    let asked = || json!({"key": "k", "promises": Promises::default()});
    let runs = futures::future::join_all((0..40).map(|_| db.submit(&engine, "test.publish", asked()))).await;
    for run in runs {
        assert_eq!(db.ended(&engine, run).await.result, Some(json!({"id": "k"})));
    }
    assert_eq!((ledger.count("k"), ledger.calls()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn postgres_refuses_every_move_that_the_machine_does_not_have() {
    let (db, _, engine, run) = publish(Promises::default()).await;
    db.ended(&engine, run).await;
    for to in ["queued", "attempted", "unknown", "confirmed_success", "nonsense"] {
        let moved = sqlx::query("update fermata.action set state = $1").bind(to).execute(&db.pool).await;
        assert!(moved.is_err(), "postcheck_complete -> {to}");
    }
    assert!(sqlx::query("delete from fermata.audit").execute(&db.pool).await.is_err());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refusal_of_a_resend_proves_nothing_about_the_first_call() {
    let promises =
        Promises { loses_answer: true, hides: true, honours_keys: true, refuses_second: true, ..Promises::default() };
    let (db, ledger, engine, run) = publish(promises).await;
    db.reaches(&engine, run, &["HUMAN_REQUIRED", "FAILED"]).await;
    assert_eq!(db.count("select count(*) from fermata.action where state = 'unknown'").await, 1);
    assert_eq!(ledger.count("k"), 1);
}

#[tokio::test]
async fn migrating_twice_is_the_same_as_once() {
    let db = TestDb::new().await;
    fermata_engine::store::migrate(&db.url).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_whose_lock_connection_alone_is_cut_makes_no_second_call_happen() {
    let (db, ledger) = (TestDb::new().await, Ledger::default());
    let lease = Duration::from_millis(900);
    let registry = || Registry::new().with(Publish(ledger.clone()));
    let first = db.worker(registry(), lease).await;
    let promises =
        Promises { applies_after_ms: 2_500, call_timeout_ms: 4_000, conclusive: true, ..Promises::default() };
    let run = db.submit(&first, "test.publish", json!({"key": "k", "promises": promises})).await;
    eventually("the call is under way", || async { (ledger.calls() == 1).then_some(()) }).await;
    let second = db.worker(registry(), lease).await;

    sqlx::query(
        "select pg_terminate_backend(l.pid) from pg_locks l join fermata.node n
                 on (l.classid::int8 << 32 | l.objid::int8) = n.lock_key and l.locktype = 'advisory'
                 where n.id = (select node from fermata.live)",
    )
    .execute(&sqlx::PgPool::connect(&db.url).await.unwrap())
    .await
    .unwrap();

    let ended = db.ended(&second, run).await;
    assert_eq!(ended.status, "SUCCEEDED", "{ended:?}");
    assert!(ended.epoch > Some(1), "the run moved: {ended:?}");
    assert_eq!((ledger.count("k"), ledger.calls()), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_call_whose_time_is_over_before_it_begins_is_not_sent_and_its_run_goes_on() {
    let (db, ledger) = (TestDb::new().await, Ledger::default());
    let engine = db.worker(Registry::new().with(Publish(ledger.clone())), Duration::from_mins(1)).await;
    // What a kill switch holds while it is turned: nobody commits `attempted` meanwhile.
    let mut turn = db.pool.begin().await.unwrap();
    sqlx::query("select pg_advisory_xact_lock(fermata.switch_lock())").execute(&mut *turn).await.unwrap();
    let run = db.submit(&engine, "test.publish", json!({"key": "k", "promises": Promises::default()})).await;
    let late = "select count(*) from pg_locks l where not l.granted and l.locktype = 'advisory'
        and l.database = (select oid from pg_database where datname = current_database())
        and l.waitstart < clock_timestamp() - interval '1.1 s'";
    eventually("the call's time is over", || async { (db.count(late).await == 1).then_some(()) }).await;
    assert_eq!(ledger.calls(), 0);
    turn.commit().await.unwrap();

    let ended = db.ended(&engine, run).await;
    assert_eq!(ended.status, "SUCCEEDED", "{ended:?}");
    assert_eq!((ledger.count("k"), ledger.calls()), (1, 1));
    let told = "select count(*) from fermata.action where effect is false and error ->> 'code' = 'call_too_late'";
    assert_eq!(db.count(told).await, 1);
}
