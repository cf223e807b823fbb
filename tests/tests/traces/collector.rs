//! A collector of spans, and a platform that notes what it was asked with: real HTTP, and nothing
//! of ours in the reading of what was sent.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::{get, post};
use axum::{Json, Router};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value as Any};
use prost::Message as _;
use serde_json::{Value, json};

/// The header that the collector wants to see.
pub(super) const KEY: (&str, &str) = ("x-key", "secret one");

/// A span as it arrived, in words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Arrived {
    pub(super) trace: String,
    pub(super) span: String,
    pub(super) parent: String,
    pub(super) name: String,
    pub(super) began: u64,
    pub(super) ended: u64,
    pub(super) error: Option<String>,
    pub(super) facts: BTreeMap<String, String>,
    pub(super) service: String,
}

#[derive(Clone, Default)]
pub(super) struct Collector(Arc<Mutex<Vec<Arrived>>>);

impl Collector {
    /// A collector, and where it listens.
    pub(super) async fn start() -> (Self, String) {
        let collector = Self::default();
        let routes = Router::new().route("/v1/traces", post(take)).with_state(collector.clone());
        (collector, served(routes).await)
    }

    pub(super) fn spans(&self) -> Vec<Arrived> {
        self.0.lock().unwrap().clone()
    }

    /// The spans of this name, the oldest first.
    pub(super) fn named(&self, name: &str) -> Vec<Arrived> {
        let mut found: Vec<_> = self.spans().into_iter().filter(|span| span.name == name).collect();
        found.sort_by_key(|span| span.began);
        found
    }
}

/// Serves routes at a free port; answers where.
pub(super) async fn served(routes: Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, routes).await.unwrap() });
    base
}

async fn take(State(collector): State<Collector>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let says = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    if says("content-type") != Some("application/x-protobuf") || says(KEY.0) != Some(KEY.1) {
        return StatusCode::UNAUTHORIZED;
    }
    let Ok(request) = ExportTraceServiceRequest::decode(body) else { return StatusCode::BAD_REQUEST };
    for resource in request.resource_spans {
        let service = facts(resource.resource.unwrap_or_default().attributes)["service.name"].clone();
        for span in resource.scope_spans.into_iter().flat_map(|scope| scope.spans) {
            collector.0.lock().unwrap().push(Arrived {
                trace: hex::encode(span.trace_id),
                span: hex::encode(span.span_id),
                parent: hex::encode(span.parent_span_id),
                name: span.name,
                began: span.start_time_unix_nano,
                ended: span.end_time_unix_nano,
                error: span.status.filter(|status| status.code == 2).map(|status| status.message),
                facts: facts(span.attributes),
                service: service.clone(),
            });
        }
    }
    StatusCode::OK
}

fn facts(attributes: Vec<KeyValue>) -> BTreeMap<String, String> {
    let text = |value| match value {
        Some(Any::StringValue(text)) => text,
        Some(Any::IntValue(number)) => number.to_string(),
        other => panic!("an attribute of ours is text or a number, not {other:?}"),
    };
    attributes.into_iter().map(|one| (one.key, text(one.value.and_then(|value| value.value)))).collect()
}

/// A platform that applies the first post and never answers it. It keeps where each request said it
/// came from, by method and path.
#[derive(Clone, Default)]
pub(super) struct Platform(Arc<Mutex<Vec<(&'static str, String)>>>);

impl Platform {
    pub(super) async fn start() -> (Self, String) {
        let platform = Self::default();
        let routes = Router::new()
            .route("/hello", get(hello))
            .route("/posts", get(posts).post(publish))
            .with_state(platform.clone());
        (platform, served(routes).await)
    }

    /// The `traceparent` of every request of this kind.
    pub(super) fn asked(&self, what: &str) -> Vec<String> {
        let asked = self.0.lock().unwrap();
        asked.iter().filter(|(at, _)| *at == what).map(|(_, from)| from.clone()).collect()
    }

    fn note(&self, what: &'static str, headers: &HeaderMap) {
        let given: Vec<_> = headers.get_all("traceparent").iter().map(|value| value.to_str().unwrap()).collect();
        self.0.lock().unwrap().push((what, given.join(" and ")));
    }
}

async fn hello(State(platform): State<Platform>, headers: HeaderMap) -> Json<Value> {
    platform.note("hello", &headers);
    Json(json!({"ok": true}))
}

async fn posts(State(platform): State<Platform>, headers: HeaderMap) -> Json<Value> {
    platform.note("look", &headers);
    let done = platform.asked("publish").len();
    Json(json!({"posts": (0..done).map(|n| json!({"id": format!("p{n}")})).collect::<Vec<_>>()}))
}

async fn publish(State(platform): State<Platform>, headers: HeaderMap) -> Json<Value> {
    platform.note("publish", &headers);
    std::future::pending().await
}
