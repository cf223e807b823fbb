//! Every type of event: each one is really written, and each one written fits its schema.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::effect::{
    AccountMode, AccountName, AccountSettings, ActionState, Fingerprint, SwitchScope, SwitchTurn,
};
use fermata_engine::event::schema::TYPES;
use fermata_engine::id::RunId;
use fermata_engine::policy::{PolicyDocument, PolicyScope};
use fermata_engine::run::Submission;
use fermata_tests::{TestDb, eventually, submission};
use serde_json::{Value, json};

use super::program::Program;
use super::{Served, validator};

/// A database on which everything happens that can.
struct Stage {
    db: TestDb,
    engine: Engine,
    api: Served,
}

impl Stage {
    async fn open() -> Self {
        let db = TestDb::new().await;
        let engine = db.worker(Program::registry(), Duration::from_secs(10)).await;
        let stopped = SwitchScope::Account { client: Some("c".into()), account: "stopped".into() };
        let turn = SwitchTurn { engaged: true, reason: "a test".into(), patience: Duration::ZERO };
        engine.turn_switch(&Principal::operator(), &stopped, turn).await.unwrap();
        let by = Principal::operator();
        let scope: PolicyScope = "account:c/nobody".parse().unwrap();
        engine.put_policy(&by, &scope, &PolicyDocument::default(), None).await.unwrap();
        let nobody = AccountName { client: Some("c".into()), platform: "memory".into(), account: "nobody".into() };
        engine.turn_account(&by, &nobody, AccountMode::ReadOnly, "a test").await.unwrap();
        let fingerprint = Fingerprint { id: "1".into(), ..Fingerprint::default() };
        engine.connect_account(&by, &nobody, &fingerprint).await.unwrap();
        let settings = AccountSettings { privacy: Some("public".into()), ..AccountSettings::default() };
        engine.configure_account(&by, &nobody, &settings).await.unwrap();
        let api = Served::start(&engine).await;
        Self { db, engine, api }
    }

    async fn start(&self, program: &str, promises: Value) -> RunId {
        self.db.submit(&self.engine, "test.contract", json!({"program": program, "promises": promises})).await
    }

    async fn start_with(&self, change: impl FnOnce(&mut Submission)) -> RunId {
        let mut wanted = submission("test.contract", json!({"program": "signal"}));
        change(&mut wanted);
        self.engine.submit(&Principal::operator(), wanted).await.unwrap().command_id
    }

    /// Decides the open gate of a run.
    async fn decide(&self, run: RunId, body: Value) {
        self.db.reaches(&self.engine, run, &["HUMAN_REQUIRED"]).await;
        let path = format!("/v1/commands/{run}/gates?state=open");
        let gate = eventually("a gate is open", || async {
            self.api.get(&path).await["items"][0]["gate_id"].as_str().map(str::to_owned)
        })
        .await;
        let (status, answer) = self.api.post(&format!("/v1/gates/{gate}/decisions"), &body).await;
        assert_eq!(status, 200, "{answer}");
    }

    async fn ends(&self, run: RunId, status: &str) {
        let ended = self.db.ended(&self.engine, run).await;
        assert_eq!(ended.status, status, "{ended:?}");
    }
}

/// Steps, waits, people, control from outside.
async fn runs(stage: &Stage) {
    let plain = [
        ("steps", "SUCCEEDED"),
        ("fails", "FAILED"),
        ("late", "FAILED"),
        ("parent", "SUCCEEDED"),
        ("renew", "SUCCEEDED"),
    ];
    let mut started = Vec::new();
    for (program, ends) in plain {
        started.push((stage.start(program, json!({})).await, ends));
    }
    let yes = json!({"decision": "approve", "comment": "fine", "outputs": {"code": 1}});
    let (gate, pauses) = (stage.start("gate", json!({})).await, stage.start("pauses", json!({})).await);
    let signal = stage.start("signal", json!({})).await;
    let cancelled = stage.start("signal", json!({})).await;
    let clock = stage.engine.clock().now();
    let never = stage.start_with(|it| it.not_before = Some(clock + chrono::TimeDelta::hours(1))).await;
    let overdue = stage.start_with(|it| it.deadline = Some(clock + chrono::TimeDelta::milliseconds(300))).await;
    let panics = stage.start("panic", json!({})).await;
    stage.decide(gate, yes.clone()).await;
    stage.decide(pauses, yes).await;
    for run in [signal, cancelled] {
        stage.db.reaches(&stage.engine, run, &["WAITING"]).await;
    }
    let (status, answer) = stage.api.post(&format!("/v1/commands/{signal}/signals/go"), &json!({"payload": 1})).await;
    assert_eq!(status, 202, "{answer}");
    for (run, wanted) in [(cancelled, 202), (never, 200)] {
        let (status, answer) =
            stage.api.post(&format!("/v1/commands/{run}/cancel"), &json!({"reason": "enough"})).await;
        assert_eq!(status, wanted, "{answer}");
    }
    started.extend([(gate, "SUCCEEDED"), (pauses, "SUCCEEDED"), (signal, "SUCCEEDED"), (overdue, "FAILED")]);
    started.extend([(cancelled, "CANCELLED"), (never, "CANCELLED")]);
    for (run, status) in started {
        stage.ends(run, status).await;
    }
    stage.db.reaches(&stage.engine, panics, &["WAITING"]).await;
}

/// Every way that an effect can go.
async fn effects(stage: &Stage) {
    let ways = [
        ("publish", json!({}), "SUCCEEDED"),
        ("publish", json!({"loses_answer": true}), "SUCCEEDED"),
        ("publish", json!({"loses_call": true, "honours_keys": true}), "SUCCEEDED"),
        ("publish", json!({"loses_call": true, "conclusive": true}), "SUCCEEDED"),
        ("publish", json!({"asks_to_wait": true}), "SUCCEEDED"),
        ("unready", json!({}), "FAILED"),
        ("stopped", json!({}), "FAILED"),
    ];
    let mut started = Vec::new();
    for (program, promises, ends) in ways {
        started.push((stage.start(program, promises).await, ends));
    }
    let hidden = json!({"loses_answer": true, "hides": true});
    let (seen, denied) = (stage.start("publish", hidden.clone()).await, stage.start("publish", hidden).await);
    stage.decide(seen, json!({"decision": "approve", "outputs": {"id": "seen"}})).await;
    stage.decide(denied, json!({"decision": "reject"})).await;
    started.extend([(seen, "SUCCEEDED"), (denied, "FAILED")]);
    for (run, status) in started {
        stage.ends(run, status).await;
    }
}

/// A run in hands that let go of it, and one that was delivered too often.
async fn deliveries(stage: &Stage) {
    let waits = stage.start("signal", json!({})).await;
    stage.db.reaches(&stage.engine, waits, &["WAITING"]).await;
    let poison = "update fermata.live set deliveries = 5, state = 0, wait_reason = null where id = $1";
    sqlx::query(poison).bind(waits.0).execute(&stage.db.pool).await.unwrap();
    stage.db.reaches(&stage.engine, waits, &["HUMAN_REQUIRED"]).await;
    let (status, answer) = stage.api.post(&format!("/v1/commands/{waits}/resume"), &json!({"comment": "again"})).await;
    assert_eq!(status, 202, "{answer}");
    stage.db.reaches(&stage.engine, waits, &["WAITING"]).await;
}

async fn all_events(api: &Served) -> Vec<Value> {
    let (mut events, mut path) = (Vec::new(), "/v1/events?limit=200".to_owned());
    loop {
        let page = api.get(&path).await;
        events.extend(page["items"].as_array().unwrap().clone());
        let Some(next) = page["next_cursor"].as_str() else { return events };
        path = format!("/v1/events?limit=200&after={next}");
    }
}

/// A published schema without room for fields that it does not tell of. What is published stays
/// open, because fields may be added; here one that nobody described is a mistake.
fn closed(mut schema: Value) -> Value {
    fn close(schema: &mut Value) {
        match schema {
            Value::Object(fields) => {
                if fields.contains_key("properties") && !fields.contains_key("additionalProperties") {
                    fields.insert("additionalProperties".into(), false.into());
                }
                fields.values_mut().for_each(close);
            }
            Value::Array(items) => items.iter_mut().for_each(close),
            _ => {}
        }
    }
    close(&mut schema);
    schema
}

/// Where the schema of each identity is, as the API lists them.
async fn paths_by_id(api: &Served) -> BTreeMap<String, String> {
    let list = api.get("/v1/schemas").await;
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    list["items"].as_array().unwrap().iter().map(|schema| (text(&schema["id"]), text(&schema["path"]))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_type_of_event_is_written_and_every_event_fits_its_schema() {
    let stage = Stage::open().await;
    tokio::join!(runs(&stage), effects(&stage), deliveries(&stage));

    let events = all_events(&stage.api).await;
    let envelope = validator(&closed(stage.api.get("/v1/schemas/event").await));
    let paths = paths_by_id(&stage.api).await;
    let mut schemas = BTreeMap::new();
    for event in &events {
        let misfits: Vec<_> = envelope.iter_errors(event).map(|error| error.to_string()).collect();
        assert!(misfits.is_empty(), "{misfits:?}: {event:#}");
        let (kind, id) = (event["type"].as_str().unwrap(), event["dataschema"].as_str());
        let path = id.and_then(|id| paths.get(id)).unwrap_or_else(|| panic!("`{kind}` has no published schema"));
        assert_eq!(path, &format!("/v1/schemas/event/{kind}"));
        if !schemas.contains_key(kind) {
            schemas.insert(kind.to_owned(), validator(&closed(stage.api.get(path).await)));
        }
        let misfits: Vec<_> = schemas[kind].iter_errors(&event["data"]).map(|error| error.to_string()).collect();
        assert!(misfits.is_empty(), "{misfits:?}: {event:#}");
    }
    let listed: BTreeSet<&str> = TYPES.iter().map(|known| known.name).collect();
    let seen: BTreeSet<&str> = schemas.keys().map(String::as_str).collect();
    assert_eq!(seen, listed, "write a program that makes each type happen");

    let of_actions = |event: &&Value| event["type"].as_str().is_some_and(|kind| kind.starts_with("action."));
    let states: BTreeSet<&str> =
        events.iter().filter(of_actions).filter_map(|event| event["data"]["status"].as_str()).collect();
    assert_eq!(states, ActionState::ALL.iter().map(|state| state.as_str()).collect(), "every state of an action");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_command_tells_of_its_beginning_and_every_gate_of_its_opening_and_its_end() {
    let stage = Stage::open().await;
    tokio::join!(runs(&stage), effects(&stage), deliveries(&stage));

    let silent = "select count(*) from fermata.run r where not exists (
        select 1 from fermata.event e where e.run_id = r.id and e.type = 'status.changed'
            and e.data = '{\"from\": null, \"to\": \"QUEUED\", \"version\": 0}'
            and e.position = (select min(position) from fermata.event first where first.run_id = r.id))";
    let children = "select count(*) from fermata.run where parent_id is not null";
    assert_eq!((stage.db.count(silent).await, stage.db.count(children).await > 0), (0, true));
    let unopened = "select count(*) from fermata.gate g where not exists (
        select 1 from fermata.event e where e.type = 'human.required' and e.data ->> 'gate_id' = g.id::text)";
    let poison = "select count(*) from fermata.gate where reason = 'poison'";
    assert_eq!((stage.db.count(unopened).await, stage.db.count(poison).await > 0), (0, true));
    let unclosed = "select count(*) from fermata.gate g where state not in ('open', 'cancelled') and 1 <> (
        select count(*) from fermata.event e where e.type = 'gate.resolved' and e.data ->> 'gate_id' = g.id::text)";
    assert_eq!(stage.db.count(unclosed).await, 0);

    let unversioned = "select count(*) from fermata.event
        where type = 'status.changed' and data ->> 'version' is null";
    let backward = "select count(*) from (
        select (data ->> 'version')::int4 < lag((data ->> 'version')::int4)
            over (partition by run_id order by position) as back
        from fermata.event where type = 'status.changed') x where back";
    assert_eq!((stage.db.count(unversioned).await, stage.db.count(backward).await), (0, 0));
}

/// Words in quotes with a dot between, such as `"step.failed"`.
fn quoted_names(text: &str, quote: char) -> BTreeSet<String> {
    let is_word = |word: &str| !word.is_empty() && word.chars().all(|c| c.is_ascii_lowercase() || c == '_');
    let is_name = |text: &&str| text.split_once('.').is_some_and(|(a, b)| is_word(a) && is_word(b));
    text.split(quote).filter(is_name).map(str::to_owned).collect()
}

#[test]
fn a_name_of_an_event_in_sql_or_in_the_list_of_names_has_a_schema() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let listed: BTreeSet<String> = TYPES.iter().map(|known| known.name.to_owned()).collect();
    let names = std::fs::read_to_string(root.join("engine/src/event/mod.rs")).unwrap();
    assert_eq!(quoted_names(&names, '"'), listed, "each name has one line in event::schema::TYPES");
    for entry in std::fs::read_dir(root.join("migrations")).unwrap().flatten() {
        let sql = std::fs::read_to_string(entry.path()).unwrap();
        let code: String = sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect();
        // `'fermata.client'` is a setting, not an event.
        let written = quoted_names(&code, '\'').into_iter().filter(|name| !name.starts_with("fermata."));
        for name in written {
            assert!(listed.contains(&name), "{} writes `{name}`, which has no schema", entry.path().display());
        }
    }
}
