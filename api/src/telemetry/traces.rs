//! Sends spans to a collector, when one is configured: OTLP over HTTP.
//!
//! Whoever tells of a span only puts it into a queue, and goes on when that is full: a collector
//! that is slow or away costs spans, never a run. What is lost is counted
//! (`trace_spans_dropped_total`). The engine decides what a span is; nothing here knows of runs.

use std::time::{Duration, Instant};

use fermata_engine::clock::Clock;
use fermata_engine::id::uuid_at;
use fermata_engine::trace::{Span, SpanSink, Traces};
use http::{HeaderMap, StatusCode, header};
use reqwest::redirect::Policy;
use reqwest::{Client, Response, Url};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::otlp::{self, Teller};

/// The most spans that wait to be sent; one more is dropped. About ten megabytes.
const QUEUE_SPANS: usize = 16_384;
/// The most spans of one request.
const BATCH_SPANS: usize = 512;
/// How long spans gather before they are sent.
const GATHER: Duration = Duration::from_secs(1);
/// The longest that a collector may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(10);
/// How often the same spans are sent before they are given up.
const TRIES: u32 = 4;
/// The pause after the first try; it doubles.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// How long the last spans of a process that ends may take.
const FLUSH_LIMIT: Duration = Duration::from_secs(2);
/// How often a collector that does not take spans is complained of.
const COMPLAIN_EVERY: Duration = Duration::from_mins(1);
/// The most of an answer that is read.
const ANSWER_BYTES: usize = 16_384;

/// Where spans go, and in whose name.
#[derive(Debug)]
pub struct TraceOptions {
    /// The collector, without the path of traces.
    pub endpoint: Url,
    /// What it wants to see beside them.
    pub headers: HeaderMap,
    /// The name under which they are shown.
    pub service: String,
    /// What this process does.
    pub role: String,
}

/// The sending of spans; ended with [`Exporter::stop`].
#[derive(Debug)]
pub struct Exporter {
    stopping: CancellationToken,
    task: JoinHandle<()>,
}

/// Takes spans out of the engine's hands.
struct Queue(mpsc::Sender<Span>);

impl SpanSink for Queue {
    fn take(&self, span: Span) {
        if self.0.try_send(span).is_err() {
            dropped(1);
        }
    }
}

impl Exporter {
    /// Starts sending; what is put into the answered [`Traces`] is sent.
    pub fn start(options: TraceOptions, clock: &Clock) -> Result<(Self, Traces), reqwest::Error> {
        // reqwest needs a provider for TLS; whoever installed one first has made the choice.
        drop(rustls::crypto::ring::default_provider().install_default());
        let mut headers = options.headers;
        headers.insert(header::CONTENT_TYPE, http::HeaderValue::from_static("application/x-protobuf"));
        let client = Client::builder()
            .default_headers(headers)
            .timeout(ANSWER_LIMIT)
            .redirect(Policy::none())
            .no_proxy()
            .user_agent(concat!("fermata/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let (queue, spans) = mpsc::channel(QUEUE_SPANS);
        let stopping = CancellationToken::new();
        let instance = uuid_at(clock.now()).to_string();
        let sender = Sender {
            client,
            address: otlp::address(&options.endpoint),
            teller: Teller { service: options.service, instance, role: options.role },
            clock: clock.clone(),
            stopping: stopping.clone(),
            complained: None,
            lost: 0,
        };
        let task = tokio::spawn(sender.run(spans));
        Ok((Self { stopping, task }, Traces::to(Queue(queue))))
    }

    /// Sends what is there, for at most two seconds. What is told of later is dropped.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        if tokio::time::timeout(FLUSH_LIMIT, &mut self.task).await.is_err() {
            self.task.abort();
            tracing::warn!("the last spans were not taken within {} s", FLUSH_LIMIT.as_secs());
        }
    }
}

struct Sender {
    client: Client,
    address: Url,
    teller: Teller,
    clock: Clock,
    stopping: CancellationToken,
    complained: Option<Instant>,
    /// Spans given up since the last complaint.
    lost: u64,
}

/// Why spans were not taken.
struct Refusal {
    why: String,
    /// Whether the same may be taken later.
    again: bool,
}

impl Sender {
    async fn run(mut self, mut spans: mpsc::Receiver<Span>) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                () = self.stopping.cancelled(), if !spans.is_closed() => {
                    spans.close();
                    continue;
                }
                taken = spans.recv_many(&mut batch, BATCH_SPANS) => if taken == 0 { return },
            }
            if batch.len() < BATCH_SPANS {
                tokio::select! {
                    () = self.clock.wait(GATHER) => {}
                    () = self.stopping.cancelled() => {}
                }
                while batch.len() < BATCH_SPANS
                    && let Ok(span) = spans.try_recv()
                {
                    batch.push(span);
                }
            }
            self.deliver(std::mem::take(&mut batch)).await;
        }
    }

    /// Sends a batch until it is taken, or given up.
    async fn deliver(&mut self, batch: Vec<Span>) {
        let count = batch.len() as u64;
        let body = bytes::Bytes::from(otlp::request(&self.teller, batch));
        for tried in 0..TRIES {
            match self.send(body.clone()).await {
                Ok(rejected) => {
                    metrics::counter!("trace_spans_exported_total").increment(count.saturating_sub(rejected));
                    if rejected > 0 {
                        self.give_up(rejected, "it would not take all of them");
                    }
                    return;
                }
                Err(Refusal { why, again }) => {
                    if !again || tried + 1 == TRIES || self.stopping.is_cancelled() {
                        self.give_up(count, &why);
                        return;
                    }
                    tokio::select! {
                        () = self.clock.wait(FIRST_PAUSE * 2_u32.pow(tried)) => {}
                        () = self.stopping.cancelled() => {}
                    }
                }
            }
        }
    }

    /// Sends once; answers how many of the spans were rejected.
    async fn send(&self, body: bytes::Bytes) -> Result<u64, Refusal> {
        let sent = self.client.post(self.address.clone()).body(body).send().await;
        let answer = sent.map_err(|error| Refusal { why: error.without_url().to_string(), again: true })?;
        let status = answer.status();
        if status.is_success() {
            return Ok(otlp::rejected(&beginning(answer).await));
        }
        // Those of which OTLP says that the same may be sent again.
        let again = matches!(
            status,
            StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT
        );
        Err(Refusal { why: format!("it answered {}", status.as_u16()), again })
    }

    fn give_up(&mut self, spans: u64, why: &str) {
        dropped(spans);
        self.lost += spans;
        let now = self.clock.monotonic();
        if self.complained.is_none_or(|last| now.saturating_duration_since(last) >= COMPLAIN_EVERY) {
            tracing::warn!(
                spans = self.lost,
                error = why,
                "{} spans were lost: the collector does not take them: {why}",
                self.lost
            );
            self.complained = Some(now);
            self.lost = 0;
        }
    }
}

fn dropped(spans: u64) {
    metrics::counter!("trace_spans_dropped_total").increment(spans);
}

/// As much of an answer as anybody wants to know.
async fn beginning(mut answer: Response) -> Vec<u8> {
    let mut body = Vec::new();
    while let Ok(Some(chunk)) = answer.chunk().await {
        if body.len() + chunk.len() > ANSWER_BYTES {
            break;
        }
        body.extend_from_slice(&chunk);
    }
    body
}
