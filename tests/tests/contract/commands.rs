//! Every command type: what its schema takes the API takes, and what it refuses the API refuses.

use fermata_engine::clock::Clock;
use fermata_engine::workflow::Registry;
use fermata_tests::TestDb;
use fermata_workflows::{Catalog, Installation, registry};
use serde_json::{Value, json};

use super::Served;

/// Payloads of one command type.
struct Samples {
    kind: &'static str,
    good: Vec<Value>,
    bad: Vec<Value>,
}

/// One entry for each command type; a type without one fails the law below.
fn samples() -> Vec<Samples> {
    vec![action_run(), flow_run(), bench_steps(), sora_generate()]
}

fn action_run() -> Samples {
    let publish = json!({"action_type": "publish", "inputs": {"caption": "Hello"}});
    let with = |name: &str, value: Value| {
        let mut payload = publish.clone();
        payload[name] = value;
        payload
    };
    Samples {
        kind: "action.run",
        good: vec![
            publish.clone(),
            with("platform", json!("demo")),
            with("surface", json!("post")),
            with("surface", Value::Null),
            json!({"action_type": "dm_send", "target_ref": "bob", "inputs": {"text": "Hello"}}),
        ],
        bad: vec![
            json!({}),
            json!({"inputs": {"caption": "Hello"}}),
            with("action_type", json!(1)),
            with("action_type", Value::Null),
            with("platform", json!(["demo"])),
            with("surface", json!(1)),
            with("target_ref", json!(1)),
            with("inputs", json!(["Hello"])),
            with("account_id", json!("ada")),
        ],
    }
}

fn flow_run() -> Samples {
    let flow = json!({"name": "nap", "version": "1", "platform": "demo", "lane": "api",
                      "steps": [{"id": "nap", "phase": "act", "sleep": {"seconds": 1}}]});
    let installed = json!({"workflow_name": "demo.http_publish", "inputs": {"caption": "Hello"}});
    let with = |name: &str, value: Value| {
        let mut payload = installed.clone();
        payload[name] = value;
        payload
    };
    Samples {
        kind: "flow.run",
        good: vec![
            installed.clone(),
            json!({"workflow_name": "bench.steps", "inputs": {"steps": 2}}),
            json!({"flow": flow}),
            with("policy", json!({"max_retries": 99, "max_duration_s": 1})),
            with("policy", json!({})),
            with("policy", Value::Null),
        ],
        bad: vec![
            json!({}),
            json!({"inputs": {}}),
            json!({"workflow_name": 1}),
            json!({"workflow_name": null}),
            json!({"flow": []}),
            with("flow", flow),
            with("inputs", json!(["caption"])),
            with("input", json!({})),
            with("policy", json!({"max_retries": 100})),
            with("policy", json!({"max_retries": -1})),
            with("policy", json!({"max_duration_s": 0})),
            with("policy", json!({"retries": 1})),
        ],
    }
}

fn bench_steps() -> Samples {
    Samples {
        kind: "bench.steps",
        good: vec![json!({}), json!({"steps": 1000}), json!({"steps": 3, "pad": "x", "wait_signal": true})],
        bad: vec![
            json!({"steps": -1}),
            json!({"steps": 1001}),
            json!({"steps": "3"}),
            json!({"steps": null}),
            json!({"step": 1}),
            json!({"wait_signal": 1}),
            json!({"pad": 1}),
        ],
    }
}

fn sora_generate() -> Samples {
    let with = |name: &str, value: Value| {
        let mut payload = json!({"prompt": "A fox in the snow"});
        payload[name] = value;
        payload
    };
    Samples {
        kind: "sora.generate",
        good: vec![
            json!({"prompt": "A fox in the snow"}),
            with("prompt", json!("ü".repeat(2_000))),
            with("poll", json!({})),
            with("poll", json!({"interval_s": 3600, "timeout_s": 86_400})),
            with("download", json!(false)),
        ],
        bad: vec![
            json!({}),
            with("prompt", json!("")),
            with("prompt", json!(" \n")),
            with("prompt", json!("ü".repeat(2_001))),
            with("prompt", Value::Null),
            with("poll", Value::Null),
            with("poll", json!({"interval_s": 0})),
            with("poll", json!({"interval_s": 3601})),
            with("poll", json!({"timeout_s": 86_401})),
            with("poll", json!({"timeout_s": "1800"})),
            with("poll", json!({"every_s": 5})),
            with("download", json!("yes")),
            with("aspect", json!("16:9")),
        ],
    }
}

/// What may stand in an envelope beside type and payload.
fn good_envelopes() -> Vec<Value> {
    vec![
        json!({}),
        json!({"client_id": "c", "platform": "demo", "account_id": "ada", "session_id": "s", "correlation_id": "order 7",
               "priority": 0, "not_before": "2030-01-01T00:00:00Z", "deadline": "2031-06-01T12:00:00.5+02:00",
               "approval": true, "policy": {"max_retries": 1, "max_duration_s": 5}, "dry_run": false}),
        json!({"priority": 9, "platform": null, "deadline": null, "policy": null}),
        json!({"dry_run": true}),
    ]
}

/// What must not; `null` in place of a required field takes it away.
fn bad_envelopes() -> Vec<Value> {
    let long = "x".repeat(256);
    let fields = [
        ("type", Value::Null),
        ("type", json!("no.such")),
        ("type", json!(1)),
        ("payload", Value::Null),
        ("payload", json!([])),
        ("payload", json!("{}")),
        ("client_id", json!("")),
        ("client_id", json!(7)),
        ("platform", json!("")),
        ("account_id", json!(long)),
        ("session_id", json!([])),
        ("correlation_id", json!("")),
        ("idempotency_key", json!("")),
        ("idempotency_key", json!("a b")),
        ("idempotency_key", json!("ä")),
        ("idempotency_key", json!(long)),
        ("priority", json!(10)),
        ("priority", json!(-1)),
        ("priority", json!("5")),
        ("not_before", json!("tomorrow")),
        ("not_before", json!("2030-01-01")),
        ("deadline", json!(1_900_000_000)),
        ("approval", json!("yes")),
        ("policy", json!({"retries": 1})),
        ("policy", json!({"max_retries": -1})),
        ("policy", json!([])),
        ("dry_run", json!("yes")),
        ("dry_run", Value::Null),
        ("prio", json!(1)),
    ];
    fields.into_iter().map(|(name, value)| json!({ name: value })).collect()
}

fn command(kind: &str, payload: &Value, more: &Value) -> Value {
    let mut command = json!({"type": kind, "payload": payload});
    for (name, value) in more.as_object().unwrap() {
        if value.is_null() && command.get(name).is_some() {
            command.as_object_mut().unwrap().remove(name);
        } else {
            command[name] = value.clone();
        }
    }
    command
}

/// The flows and the registry of an installation whose demo site does not answer.
fn installation() -> (Catalog, Registry) {
    drop(rustls::crypto::ring::default_provider().install_default());
    let mut installation = Installation::with_packs(Clock::system()).unwrap();
    installation.sites.insert("demo_site".into(), "http://127.0.0.1:9".into());
    (Catalog::of_flows(&installation.flows), registry(installation).unwrap())
}

/// An API whose commands nobody carries out.
pub(crate) async fn front() -> (TestDb, Served) {
    let (flows, registry) = installation();
    let db = TestDb::new().await;
    let engine = db.engine(registry).await;
    let served = Served::start_with(&engine, flows).await;
    (db, served)
}

async fn runs(db: &TestDb) -> i64 {
    db.count("select count(*) from fermata.run").await
}

#[test]
fn every_command_type_has_samples() {
    let samples = samples();
    let registry = installation().1;
    for name in registry.names() {
        let of_type = samples.iter().find(|samples| samples.kind == name);
        let of_type = of_type.unwrap_or_else(|| panic!("`{name}` has no samples: add them to samples()"));
        assert!(!of_type.good.is_empty() && !of_type.bad.is_empty(), "`{name}` needs good and bad ones");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_of_a_command_takes_the_api_takes() {
    let (db, api) = front().await;
    let envelope = api.schema("/v1/schemas/command").await;
    for Samples { kind, good, .. } in samples() {
        let schema = api.schema(&format!("/v1/schemas/command/{kind}")).await;
        let payloads = good.iter().map(|payload| command(kind, payload, &json!({})));
        let envelopes = good_envelopes();
        for fit in payloads.chain(envelopes.iter().map(|more| command(kind, &good[0], more))) {
            assert_eq!(schema.validate(&fit).map_err(|error| error.to_string()), Ok(()), "{fit}");
            assert!(envelope.is_valid(&fit), "{fit}");
            let before = runs(&db).await;
            let dry = fit["dry_run"] == true;
            let (status, answer) = api.post("/v1/commands", &fit).await;
            assert_eq!((status, runs(&db).await - before), if dry { (200, 0) } else { (202, 1) }, "{fit}: {answer}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_schema_of_a_command_refuses_the_api_refuses_before_anything_is_queued() {
    let (db, api) = front().await;
    for Samples { kind, good, bad } in samples() {
        let schema = api.schema(&format!("/v1/schemas/command/{kind}")).await;
        let payloads = bad.iter().map(|payload| command(kind, payload, &json!({})));
        let envelopes = bad_envelopes();
        for unfit in payloads.chain(envelopes.iter().map(|more| command(kind, &good[0], more))) {
            assert!(!schema.is_valid(&unfit), "the schema of `{kind}` takes {unfit}");
            let (status, problem) = api.post("/v1/commands", &unfit).await;
            assert!((400..500).contains(&status), "{unfit}: {status} {problem}");
            assert!(problem["code"].is_string() && problem["requestId"].is_string(), "{unfit}: {problem}");
        }
    }
    assert_eq!(runs(&db).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn every_schema_is_listed_with_its_identity() {
    let (_, api) = front().await;
    let list = api.get("/v1/schemas").await;
    let mut names = Vec::new();
    for schema in list["items"].as_array().unwrap() {
        let document = api.get(schema["path"].as_str().unwrap()).await;
        assert_eq!(document["$id"], schema["id"]);
        assert!(jsonschema::meta::is_valid(&document), "{schema}");
        names.push(schema["name"].as_str().unwrap().to_owned());
    }
    let registry = installation().1;
    let commands: Vec<&str> = registry.names().collect();
    let events = fermata_engine::event::schema::TYPES.iter().map(|known| known.name);
    for wanted in commands.into_iter().chain(events).chain(["command", "event", "flow"]) {
        assert!(names.iter().any(|name| name == wanted), "{wanted}");
    }
}
