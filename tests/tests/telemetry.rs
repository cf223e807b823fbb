//! Laws of what is told of an action (S-084, S-086, S-088): one span around its call and one line of the log for its outcome,
//! by the names of the safety document, with ids and without content.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fermata_engine::workflow::{Context, Failure, Registry, Workflow};
use fermata_tests::{Ledger, Post, Promises, TestDb};
use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::Attributes;
use tracing::{Event, Id, Subscriber};
use tracing_subscriber::layer::{Context as At, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, registry};

const CANARY: &str = "canary-7d1f";

struct Publish(Ledger);

#[derive(serde::Deserialize, schemars::JsonSchema)]
struct Input {
    key: String,
}

impl Workflow for Publish {
    type Input = Input;
    type Output = Value;
    const NAME: &'static str = "test.publish";
    const VERSION: &'static str = "1";

    async fn run(&self, context: Context, input: Input) -> Result<Value, Failure> {
        let post = Post { ledger: self.0.clone(), key: input.key, promises: Promises::default() };
        context.effect("publish", &post).await
    }
}

type Fields = BTreeMap<String, String>;

/// Every span and every event, by their fields; the name of a span is `span`.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<Fields>>>);

struct Reading(Fields);

impl Visit for Reading {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}").trim_matches('"').to_owned());
    }
}

impl<S: Subscriber> Layer<S> for Heard {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: At<'_, S>) {
        let mut reading = Reading(Fields::from([("span".to_owned(), attributes.metadata().name().to_owned())]));
        attributes.record(&mut reading);
        self.0.lock().unwrap().push(reading.0);
    }

    fn on_event(&self, event: &Event<'_>, _: At<'_, S>) {
        let mut reading = Reading(Fields::new());
        event.record(&mut reading);
        self.0.lock().unwrap().push(reading.0);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_action_is_one_span_and_one_line_with_ids_and_without_content() {
    let heard = Heard::default();
    registry().with(heard.clone()).init();
    let (db, ledger) = (TestDb::new().await, Ledger::default());
    let engine = db.worker(Registry::new().with(Publish(ledger)), Duration::from_secs(30)).await;
    let run = db.submit(&engine, "test.publish", json!({"key": "k", "canary": CANARY})).await;
    db.ended(&engine, run).await;
    let action: uuid::Uuid = sqlx::query_scalar("select id from fermata.action").fetch_one(&db.pool).await.unwrap();
    let all = heard.0.lock().unwrap().clone();
    let spans: Vec<_> =
        all.iter().filter(|it| it.get("span").is_some_and(|name| name == "side_effect.action")).collect();
    let lines: Vec<_> =
        all.iter().filter(|it| it.get("message").is_some_and(|text| text == "side_effect.action")).collect();
    assert_eq!((spans.len(), lines.len()), (1, 1), "{all:?}");
    let episode = fermata_engine::audit::episode_id(run, 1).to_string();
    for told in [spans[0], lines[0]] {
        for (name, value) in [
            ("episode_id", episode.as_str()),
            ("action_id", &action.to_string()),
            ("client_id", "c"),
            ("platform_account_id", "ada"),
            ("action_type", "publish"),
            ("lane", "api"),
        ] {
            assert_eq!(told.get(name).map(String::as_str), Some(value), "{name} of {told:?}");
        }
    }
    assert_eq!(lines[0].get("status").map(String::as_str), Some("confirmed_success"));
    // Neither what was asked nor what was sent is anywhere.
    assert!(!all.iter().any(|it| it.values().any(|value| value.contains(CANARY) || value.contains("hello"))));
}
