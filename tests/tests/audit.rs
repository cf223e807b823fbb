//! Laws of the audit trail (S-024, S-075 to S-083): every row is sealed, whoever changes one is found out, and what proves a
//! run proves it to somebody who has nothing of ours. And of proofs (S-013, S-047, S-050 to S-056): a level is what its
//! proofs carry, and what the platform says is believed once it is seen.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use fermata_engine::access::Principal;
use fermata_engine::audit::{AuditEvent, HeadSink, ProofBundle, SignedHead, SigningKey, Tamper, Verification};
use fermata_engine::id::RunId;
use fermata_engine::read::{AuditFilter, Page};
use fermata_engine::run::Submission;
use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_engine::{Engine, NodeOptions};
use fermata_tests::{Ledger, Post, Promises, TestDb, eventually, submission};
use serde_json::{Value, json};
use sqlx::{Connection as _, Executor as _, PgConnection};

mod tampers;

use tampers::Intruder;

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
        context.effect("publish", &post).await
    }
}

/// What left the database.
#[derive(Debug, Default)]
struct Outside(Mutex<Vec<SignedHead>>);

#[async_trait]
impl HeadSink for Outside {
    async fn keep(&self, heads: &[SignedHead]) -> Result<(), String> {
        self.0.lock().unwrap().extend_from_slice(heads);
        Ok(())
    }
}

struct Stage {
    db: TestDb,
    ledger: Ledger,
    engine: Engine,
    key: SigningKey,
    outside: Arc<Outside>,
}

fn key() -> SigningKey {
    SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap()
}

async fn worker(db: &TestDb, ledger: &Ledger, key: &SigningKey, outside: &Arc<Outside>) -> Engine {
    let mut options = db.options(Registry::new().with(Publish(ledger.clone())));
    options.sealing.key = Some(key.clone());
    options.sealing.sinks = vec![outside.clone()];
    let engine = Engine::open(options).await.unwrap();
    engine.work(NodeOptions { slots: 64, ..NodeOptions::default() }).await.unwrap();
    engine
}

impl Stage {
    async fn new() -> Self {
        let (db, ledger, key, outside) = (TestDb::new().await, Ledger::default(), key(), Arc::default());
        let engine = worker(&db, &ledger, &key, &outside).await;
        Self { db, ledger, engine, key, outside }
    }

    async fn publish(&self, client: &str, key: &str, promises: &Promises) -> RunId {
        let asked = submission("test.publish", json!({"key": key, "promises": promises}));
        let asked = Submission { client_id: client.into(), ..asked };
        self.engine.submit(&Principal::operator(), asked).await.unwrap().command_id
    }

    /// All that was written is sealed, and its ends have left.
    async fn sealed(&self) {
        eventually("every row is sealed and every head has left", || async {
            let left = "select (select audit from fermata.position) - (select count(*) from fermata.audit_seal)
                + (select count(*) from fermata.signed_head where exported_at is null)";
            (self.db.count(left).await == 0).then_some(())
        })
        .await;
    }

    fn heads(&self) -> Vec<SignedHead> {
        self.outside.0.lock().unwrap().clone()
    }

    async fn verify(&self, heads: Vec<SignedHead>) -> Verification {
        let trusted = [self.key.public()];
        self.engine.verify_audit(&Principal::operator(), heads, &trusted).await.unwrap()
    }

    async fn events(&self, run: RunId) -> Vec<AuditEvent> {
        let filter = AuditFilter { run: Some(run), ..AuditFilter::default() };
        let page = self.engine.audit(&Principal::operator(), &filter, Page::default()).await.unwrap();
        page.items.into_iter().rev().map(|row| row.event).collect()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_row_is_sealed_per_client_and_an_honest_trail_has_nothing_wrong() {
    let stage = Stage::new().await;
    for (n, client) in ["a", "b", "a"].into_iter().enumerate() {
        let run = stage.publish(client, &format!("k{n}"), &Promises::default()).await;
        stage.db.ended(&stage.engine, run).await;
    }
    stage.sealed().await;
    let found = stage.verify(stage.heads()).await;
    assert!(found.ok, "{found:?}");
    assert_eq!((found.rows, found.sealed, found.clients), (18, 18, 2));
    assert!(found.heads >= 2);
    assert_eq!(stage.db.count("select max(seq) from fermata.audit_seal where client_id = 'a'").await, 12);
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_follow_are_chained_to_those_of_an_earlier_node() {
    let stage = Stage::new().await;
    let run = stage.publish("a", "one", &Promises::default()).await;
    stage.db.ended(&stage.engine, run).await;
    stage.sealed().await;
    stage.engine.close(Duration::from_secs(5)).await;
    let engine = worker(&stage.db, &stage.ledger, &stage.key, &stage.outside).await;
    let stage = Stage { engine, ..stage };
    let run = stage.publish("a", "two", &Promises::default()).await;
    stage.db.ended(&stage.engine, run).await;
    stage.sealed().await;
    let found = stage.verify(stage.heads()).await;
    assert!(found.ok && found.sealed == 12, "{found:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_of_ours_can_change_a_row_a_link_or_a_proof() {
    let stage = Stage::new().await;
    let run = stage.publish("a", "k", &Promises::default()).await;
    stage.db.ended(&stage.engine, run).await;
    stage.sealed().await;
    let mut owner = PgConnection::connect(&stage.db.url).await.unwrap();
    for table in ["audit", "audit_seal", "proof"] {
        for sql in ["update fermata.{t} set client_id = 'x'", "delete from fermata.{t}", "truncate fermata.{t}"] {
            let sql = sql.replace("{t}", table);
            assert!(owner.execute(sqlx::AssertSqlSafe(sql.clone())).await.is_err(), "the owner: {sql}");
            assert!(stage.db.pool.execute(sqlx::AssertSqlSafe(sql.clone())).await.is_err(), "the writer: {sql}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_sealed_behind_a_gap() {
    let stage = Stage::new().await;
    let run = stage.publish("a", "k", &Promises::default()).await;
    stage.db.ended(&stage.engine, run).await;
    stage.sealed().await;
    let mut intruder = Intruder::on(&stage.db).await;
    intruder.does("update fermata.position set audit = audit + 1").await;
    let run = stage.publish("a", "k2", &Promises::default()).await;
    stage.db.ended(&stage.engine, run).await;
    stage.engine.close(Duration::from_secs(5)).await;
    let engine = worker(&stage.db, &stage.ledger, &stage.key, &stage.outside).await;
    let stage = Stage { engine, ..stage };
    let found = stage.verify(Vec::new()).await;
    assert_eq!((found.rows, found.sealed, found.wrong), (12, 6, 1), "{found:?}");
    assert_eq!(found.findings[0].kind, Tamper::Missing);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_event_of_an_action_fits_the_published_schema_and_holds_no_content() {
    let stage = Stage::new().await;
    let lost = Promises { loses_answer: true, hides: true, ..Promises::default() };
    let runs = [stage.publish("a", "k", &Promises::default()).await, stage.publish("a", "hidden", &lost).await];
    stage.db.ended(&stage.engine, runs[0]).await;
    stage.db.reaches(&stage.engine, runs[1], &["HUMAN_REQUIRED"]).await;
    let schema =
        jsonschema::validator_for(&fermata_engine::audit::schema(stage.engine.registry().vocabulary())).unwrap();
    for run in runs {
        for event in stage.events(run).await {
            let shown = json!(event);
            assert_eq!(
                schema.iter_errors(&shown).map(|error| error.to_string()).collect::<Vec<_>>(),
                [""; 0],
                "{shown}"
            );
            assert!(event.action.request.is_some() && event.episode_id.is_some(), "{shown}");
        }
    }
    let events = stage.events(runs[0]).await;
    let told: Vec<_> = events
        .iter()
        .map(|event| {
            let result = json!(event.action.result);
            let word = |name: &str| result[name].as_str().unwrap_or_default().to_owned();
            (event.phase.as_str(), word("status"), word("platform_object_id"), event.action.verification_level)
        })
        .collect();
    let row = |phase, status: &str, object: &str, level| (phase, status.to_owned(), object.to_owned(), Some(level));
    assert_eq!(
        told,
        [
            row("queued", "queued", "", 0),
            row("preflight_passed", "queued", "", 0),
            row("identity_verified", "queued", "", 0),
            row("attempted", "attempted", "", 1),
            row("confirmed_success", "confirmed_success", "k", 2),
            row("postcheck_complete", "confirmed_success", "k", 0),
        ]
    );
    // The text of the post is in no row.
    assert_eq!(stage.db.count("select count(*) from fermata.audit where body::text like '%hello%'").await, 0);
}

async fn proofs(db: &TestDb) -> Vec<String> {
    sqlx::query_scalar("select kind from fermata.proof order by created_at, id").fetch_all(&db.pool).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_level_without_its_proofs_is_refused_by_postgres() {
    let stage = Stage::new().await;
    let run = stage.publish("a", "k", &Promises::default()).await;
    stage.db.ended(&stage.engine, run).await;
    let copy = "insert into fermata.action (id, intent_id, run_id, client_id, step_key, number, state, action_type,
        platform, account_id, lane, idempotency_key, payload_hash, policy_hash, verdict, epoch, created_at, updated_at, level)
        select gen_random_uuid(), intent_id, run_id, client_id, step_key, 2, 'queued', action_type, platform, account_id, lane,
        idempotency_key, payload_hash, policy_hash, verdict, epoch, created_at, updated_at, ";
    let pool = &stage.db.pool;
    assert!(pool.execute(sqlx::AssertSqlSafe(format!("{copy} 1 from fermata.action"))).await.is_err());
    pool.execute(sqlx::AssertSqlSafe(format!("{copy} 0 from fermata.action"))).await.unwrap();
    let raise = |level| format!("update fermata.action set level = {level} where number = 2");
    let prove = |kind: &str, body: &str| {
        format!(
            "insert into fermata.proof (client_id, run_id, action_id, kind, body, created_at)
             select client_id, run_id, id, '{kind}', '{body}', now() from fermata.action where number = 2"
        )
    };
    let steps = [
        (1, prove("request", "{}")),
        (2, prove("look", "{}")),
        (3, format!("{}; {}", prove("surface", "{}"), prove("answer", r#"{"permalink": "https://demo/p/1"}"#))),
    ];
    for (level, proof) in steps {
        assert!(pool.execute(sqlx::AssertSqlSafe(raise(level))).await.is_err(), "level {level} without its proof");
        pool.execute(sqlx::AssertSqlSafe(proof)).await.unwrap();
        pool.execute(sqlx::AssertSqlSafe(raise(level))).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_platform_answered_is_looked_for_before_it_is_believed() {
    let stage = Stage::new().await;
    let run = stage.publish("a", "k", &Promises::default()).await;
    stage.db.ended(&stage.engine, run).await;
    assert_eq!((stage.ledger.calls(), stage.ledger.looks()), (1, 1));
    assert_eq!(stage.db.count("select level::int8 from fermata.action").await, 2);
    let mut kinds = proofs(&stage.db).await;
    kinds.sort();
    assert_eq!(kinds, ["answer", "look", "request"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_nobody_heard_is_no_proof() {
    let stage = Stage::new().await;
    let run = stage.publish("a", "k", &Promises { loses_answer: true, ..Promises::default() }).await;
    stage.db.ended(&stage.engine, run).await;
    let mut kinds = proofs(&stage.db).await;
    kinds.sort();
    assert_eq!(kinds, ["look", "request"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_platform_says_and_does_not_show_is_unknown_and_never_sent_again() {
    for promises in [
        Promises { hides: true, conclusive: true, ..Promises::default() },
        Promises { hides: true, honours_keys: true, ..Promises::default() },
    ] {
        let stage = Stage::new().await;
        let run = stage.publish("a", "k", &promises).await;
        stage.db.reaches(&stage.engine, run, &["HUMAN_REQUIRED"]).await;
        assert_eq!((stage.ledger.count("k"), stage.ledger.calls()), (1, 1));
        assert_eq!(
            stage.db.count("select count(*) from fermata.action where state = 'unknown' and level = 1").await,
            1
        );
        assert!(proofs(&stage.db).await.contains(&"answer".to_owned()), "its answer is kept");
    }
}

/// What is changed, and how.
type Change = (&'static str, Box<dyn Fn(&mut Value)>);

/// What `tests/audit/verify.mjs` says of a bundle: its exit code.
fn verified(bundle: &Value, key: &str) -> Option<i32> {
    let file = std::env::temp_dir().join(format!("fermata-bundle-{}.json", std::process::id()));
    std::fs::write(&file, bundle.to_string()).unwrap();
    let script = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("audit/verify.mjs");
    let done = Command::new("node").arg(script).arg(&file).arg(key).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    done.status.code()
}

async fn bundle(stage: &Stage, run: RunId) -> Value {
    stage.sealed().await;
    let bundle: ProofBundle = stage.engine.proof_bundle(&Principal::operator(), run).await.unwrap();
    json!(bundle)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_of_another_language_verifies_a_bundle_and_finds_each_change() {
    let stage = Stage::new().await;
    let promises = Promises { loses_call: true, conclusive: true, ..Promises::default() };
    let run = stage.publish("a", "k", &promises).await;
    eventually("its first call is lost", || async { (stage.ledger.calls() == 1).then_some(()) }).await;
    // Rows of others stand between those of the run.
    for n in 0..5 {
        let other = stage.publish("a", &format!("other{n}"), &Promises::default()).await;
        stage.db.ended(&stage.engine, other).await;
    }
    stage.db.ended(&stage.engine, run).await;
    let honest = bundle(&stage, run).await;
    assert_eq!(honest["actions"].as_array().unwrap().len(), 2);
    let public = stage.key.public();
    assert_eq!(verified(&honest, &public), Some(0), "{honest:#}");
    assert_eq!(verified(&honest, &key().public()), Some(1), "another key is not trusted");
    let entry = |nth: usize| format!("/audit/0/entries/{nth}");
    let changes: Vec<Change> = vec![
        (
            "a row",
            Box::new(|it: &mut Value| {
                let text = it.pointer_mut("/audit/0/entries/0/text").unwrap();
                *text = text.as_str().unwrap().replace("queued", "cancelled").into();
            }),
        ),
        (
            "a link less",
            Box::new(move |it: &mut Value| {
                it.pointer_mut("/audit/0/entries").unwrap().as_array_mut().unwrap().remove(1);
            }),
        ),
        (
            "a row as another's",
            Box::new(move |it: &mut Value| {
                let entry = it.pointer_mut(&entry(2)).unwrap().as_object_mut().unwrap();
                let text = entry.remove("text").unwrap_or_default();
                let leaf = hex::encode(<sha2::Sha256 as sha2::Digest>::digest(text.as_str().unwrap_or_default()));
                entry.insert("leaf".into(), leaf.into());
            }),
        ),
        ("a head", Box::new(|it: &mut Value| *it.pointer_mut("/audit/0/head/seq").unwrap() = json!(9999))),
        ("an action less", Box::new(|it: &mut Value| drop(it["actions"].as_array_mut().unwrap().pop()))),
        ("a state", Box::new(|it: &mut Value| *it.pointer_mut("/actions/0/state").unwrap() = json!("unknown"))),
        ("a payload", Box::new(|it: &mut Value| *it.pointer_mut("/actions/1/payload_hash").unwrap() = json!("00"))),
    ];
    for (what, change) in changes {
        let mut forged = honest.clone();
        change(&mut forged);
        assert_eq!(verified(&forged, &public), Some(1), "{what}");
    }
}
