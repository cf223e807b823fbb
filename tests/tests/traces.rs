//! Laws of traces: one command is one trace, from its caller across crash and resume, and to the
//! platforms that it calls; and whatever a collector does is no matter to a run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod collector;

use std::collections::BTreeSet;
use std::time::Duration;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::post;
use fermata_api::telemetry::{Exporter, TraceOptions, render_metrics};
use fermata_engine::clock::Clock;
use fermata_engine::trace::Traces;
use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_engine::{Engine, EngineOptions, NodeOptions};
use fermata_tests::{Dev, TestDb, eventually};
use serde_json::{Value, json};

use collector::{Arrived, Collector, Platform, served};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";
/// What must not be in any span.
const CANARY: &str = "a caption that is nobody's business";

/// Reads, publishes once, waits for a signal, and reads again.
fn flow(platform: &str) -> Value {
    let read = |id: &str| {
        json!({"id": id, "phase": "act", "http": {"method": "GET", "url": format!("{platform}/hello"),
               "query": {"q": CANARY}, "headers": {"traceparent": "00-of-the-author"}}})
    };
    let look = json!({"request": {"method": "GET", "url": format!("{platform}/posts"), "save": {"id": "/posts/0/id"}},
                      "present": [{"at": "/posts/0/id", "is": "present"}]});
    let call = json!({"method": "POST", "url": format!("{platform}/posts"), "json": {"caption": CANARY},
                      "save": {"id": "/id"}});
    json!({
        "name": "test.traced", "version": "1", "title": "Traced", "platform": "demo", "lane": "api",
        "steps": [
            read("hello"),
            {"id": "publish", "phase": "act", "effect": {
                "action_type": "publish", "account": "ada", "payload": {"caption": CANARY}, "honours_keys": false,
                "absence": "inconclusive", "call_timeout_s": 30, "visible_within_s": 0,
                "look": {"http": look}, "call": {"http": call}}},
            {"id": "go", "phase": "act", "wait_signal": {"name": "go"}},
            read("bye"),
        ],
    })
}

fn traceparent(span: &Arrived) -> String {
    format!("00-{}-{}-01", span.trace, span.span)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_one_trace_from_its_caller_across_crash_and_resume() {
    let (collector, endpoint) = Collector::start().await;
    let (platform, site) = Platform::start().await;
    let mut dev = Dev::start_with(&[
        ("OTEL_EXPORTER_OTLP_ENDPOINT", &endpoint),
        ("OTEL_EXPORTER_OTLP_HEADERS", "x-key=secret%20one"),
        ("OTEL_SERVICE_NAME", "fermata-under-test"),
    ])
    .await;
    let command = json!({"type": "flow.run", "payload": {"flow": flow(&site)}});
    let from = format!("00-{TRACE}-{CALLER}-01");
    let (status, accepted) = dev.post_with("/v1/commands", &command, &[("traceparent", &from)]).await;
    assert_eq!(status, 202, "{accepted}");
    let command = accepted["command_id"].as_str().unwrap().to_owned();

    eventually("the call is under way", || async { platform.asked("publish").first().map(drop) }).await;
    // What was told before the crash has to hang on what is told after it.
    eventually("the first step is told", || async { collector.named("engine.step.attempt").first().map(drop) }).await;
    let first = dev.get(&format!("/v1/commands/{command}")).await["node"].as_str().unwrap().to_owned();
    Dev::signal(dev.holder(&command).await, "KILL");
    dev.reaches(&command, &["WAITING"]).await;
    let (status, _) = dev.post(&format!("/v1/commands/{command}/signals/go"), &json!({"payload": {}})).await;
    assert!(status < 300, "{status}");
    let ended = dev.reaches(&command, &["SUCCEEDED", "FAILED", "HUMAN_REQUIRED"]).await;
    assert_eq!(ended["status"], "SUCCEEDED", "{ended}");
    eventually("the whole trace arrives", || async {
        let is_whole =
            collector.named("engine.run.drive").len() == 3 && collector.named("engine.command.carry").len() == 1;
        is_whole.then_some(())
    })
    .await;
    assert_eq!(dev.stop().await, Some(0));

    it_is_one_tree(&collector.spans());
    the_episodes_are_told(&collector, &first);
    what_went_out_came_from_a_span(&collector, &platform);
    let all = format!("{:?}", collector.spans());
    assert!(!all.contains(CANARY) && !all.contains(&site), "{all}");
}

/// Each span is there once, in the caller's trace, below the caller's span or another one.
fn it_is_one_tree(spans: &[Arrived]) {
    let ids: BTreeSet<_> = spans.iter().map(|span| span.span.as_str()).collect();
    assert_eq!(ids.len(), spans.len(), "a span is told twice: {spans:#?}");
    for span in spans {
        assert_eq!((span.trace.as_str(), span.service.as_str()), (TRACE, "fermata-under-test"), "{span:?}");
        let is_root = span.parent == CALLER && span.name == "engine.command.carry";
        assert!(is_root || ids.contains(span.parent.as_str()), "{span:?} hangs on nothing: {spans:#?}");
        assert!(span.began <= span.ended, "{span:?}");
    }
}

fn the_episodes_are_told(collector: &Collector, first: &str) {
    let root = &collector.named("engine.command.carry")[0];
    let episodes = collector.named("engine.run.drive");
    let told: Vec<_> = episodes.iter().map(|span| span.facts["fermata.episode"].as_str()).collect();
    assert_eq!(told, ["1", "2", "3"], "{episodes:#?}");
    assert!(episodes.iter().all(|span| span.parent == root.span && span.began >= root.began));
    let node = |n: usize| episodes[n].facts["fermata.node.id"].as_str();
    assert_eq!((node(0), episodes[0].error.as_deref()), (first, Some("node_lost")));
    assert!(node(1) != first && episodes[1].error.is_none(), "{episodes:#?}");
    assert!(episodes[0].ended <= episodes[1].began, "{episodes:#?}");
    let how = |n: usize| episodes[n].facts.get("fermata.ended").map(String::as_str);
    assert_eq!([how(0), how(1), how(2)], [None, Some("suspended"), Some("succeeded")]);
}

/// What a platform was told to hang its own spans on has arrived, also where the asker was killed.
fn what_went_out_came_from_a_span(collector: &Collector, platform: &Platform) {
    let attempts = collector.named("engine.step.attempt");
    let of = |key: &str| {
        let found: Vec<_> = attempts.iter().filter(|span| span.facts["fermata.step.key"] == key).collect();
        assert_eq!(found.len(), 1, "{key}: {attempts:#?}");
        traceparent(found[0])
    };
    assert_eq!(platform.asked("hello"), [of("hello"), of("bye")]);
    assert_eq!(platform.asked("publish"), [of("publish")]);
    let looks = platform.asked("look");
    assert!(looks.len() >= 2 && looks.iter().all(|from| *from == of("publish")), "{looks:?}");
    assert!(!collector.named("engine.effect.look").is_empty());
}

#[derive(Clone)]
struct Steps;

impl Workflow for Steps {
    type Input = Value;
    type Output = Value;
    const NAME: &'static str = "test.traced";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, _: Value) -> Result<Value, Failure> {
        for n in 0..20 {
            context.step("step").key(n.to_string()).run(|_| async { Ok(json!({"ok": true})) }).await?;
        }
        Ok(Value::Null)
    }
}

async fn traced_to(db: &TestDb, endpoint: &str) -> (Engine, Exporter) {
    let options = TraceOptions {
        endpoint: endpoint.parse().unwrap(),
        headers: axum::http::HeaderMap::default(),
        service: "fermata".to_owned(),
        role: "worker".to_owned(),
    };
    let (exporter, traces) = Exporter::start(options, &Clock::system()).unwrap();
    (worker(db, traces).await, exporter)
}

async fn worker(db: &TestDb, traces: Traces) -> Engine {
    let options = EngineOptions { traces, ..db.options(Registry::new().with(Steps)) };
    let engine = Engine::open(options).await.unwrap();
    engine.work(NodeOptions::default()).await.unwrap();
    engine
}

/// How many spans were dropped so far, by the page of metrics.
fn dropped() -> u64 {
    let page = render_metrics(&crate::metrics::recorder());
    let count = page.lines().find_map(|line| line.strip_prefix("trace_spans_dropped_total "));
    count.and_then(|count| count.parse().ok()).unwrap_or_default()
}

async fn all_end_well(db: &TestDb, engine: &Engine, runs: usize) {
    for run in futures::future::join_all((0..runs).map(|_| db.submit(engine, Steps::NAME, json!({})))).await {
        assert_eq!(db.ended(engine, run).await.status, "SUCCEEDED");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_that_is_away_costs_no_run_and_holds_up_no_end() {
    crate::metrics::recorder();
    let clock = Clock::system();
    // Nobody listens; somebody listens and never answers; somebody refuses.
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = format!("http://{}", taken.local_addr().unwrap());
    let refusing = Router::new().route("/v1/traces", post(async || StatusCode::BAD_REQUEST));
    for endpoint in ["http://127.0.0.1:1", &silent, &served(refusing).await] {
        let (db, before) = (TestDb::new().await, dropped());
        let (engine, exporter) = traced_to(&db, endpoint).await;
        all_end_well(&db, &engine, 50).await;
        let began = clock.monotonic();
        exporter.stop().await;
        assert!(clock.monotonic() - began < Duration::from_secs(4), "{endpoint} holds up the end");
        // What was on its way to the silent one when the process ended is not known to be lost.
        assert!(endpoint == silent || dropped() >= before + 50 * 22, "{endpoint}: {}", dropped());
        engine.close(Duration::from_secs(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn spans_that_wait_are_bounded_and_what_is_too_much_is_counted() {
    crate::metrics::recorder();
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let (db, before) = (TestDb::new().await, dropped());
    let (engine, exporter) = traced_to(&db, &format!("http://{}", taken.local_addr().unwrap())).await;
    // 22 spans each: more than wait and are on their way.
    all_end_well(&db, &engine, 900).await;
    assert!(dropped() > before, "900 runs have more spans than may wait");
    exporter.stop().await;
    engine.close(Duration::from_secs(5)).await;
}
