//! The whole metrics page: what this process measured, and what the database says of the service.
//!
//! The database is asked at most once at a time, its answer is kept for a moment, and no scrape
//! waits for it longer than [`PATIENCE`]: what is wrong with it is itself on the page.

use std::fmt::{self, Write as _};
use std::time::{Duration, Instant};

use fermata_engine::Engine;
use fermata_engine::read::{QueueState, ReadError, ServiceState};
use fermata_engine::telemetry::{Kind, Measure};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;

/// How long an answer is shown again.
const KEPT: Duration = Duration::from_secs(2);
/// An answer is kept for at least this many times as long as it took: counting has a bounded share.
const SHARE: u32 = 10;
/// How long a scrape waits for the database.
const PATIENCE: Duration = Duration::from_millis(1500);

/// What the page tells of the service and of its reading.
pub const SERVICE: &[Measure] = &[
    UP,
    FRESH,
    READ_SECONDS,
    CONNECTIONS,
    DEPTH,
    OLDEST_READY,
    RUNS,
    ACTIVE,
    TIMERS_DUE,
    TIMER_LATE,
    GATES,
    GATE_AGE,
    UNKNOWN,
    UNKNOWN_AGE,
    SEAL_LAG,
    HEAD,
    OLDEST,
    NODES,
    LAPSED,
    SWITCHES,
];

const UP: Measure = Measure::gauge("fermata_database_up", &[], "1 when the database answers this process, 0 when not.");
const FRESH: Measure =
    Measure::gauge("service_metrics_up", &[], "1 when the numbers of the service are on this page, 0 when not.");
const READ_SECONDS: Measure =
    Measure::gauge("service_read_seconds", &[], "Time that the last look at the database took.");
const CONNECTIONS: Measure =
    Measure::gauge("database_connections", &["pool", "state"], "Open connections of this process' pools.");
const DEPTH: Measure =
    Measure::gauge("queue_depth", &["queue", "client"], "Runs that are ready and wait for a free slot.");
const OLDEST_READY: Measure = Measure::gauge(
    "queue_oldest_ready_seconds",
    &["queue", "client"],
    "How long the first ready run of the queue has waited.",
);
const RUNS: Measure = Measure::gauge("runs", &["state"], "Runs that have not ended, by state.");
const ACTIVE: Measure = Measure::gauge("runs_active", &[], "Runs that have not ended.");
const TIMERS_DUE: Measure = Measure::gauge("timers_due", &[], "Waiting runs whose time has come.");
const TIMER_LATE: Measure = Measure::gauge("timer_oldest_due_seconds", &[], "How late the first due timer is.");
const GATES: Measure = Measure::gauge("gates_open", &["kind"], "Gates that wait for a person.");
const GATE_AGE: Measure =
    Measure::gauge("gate_oldest_open_seconds", &["kind"], "How long the first open gate has waited for a person.");
const UNKNOWN: Measure =
    Measure::gauge("actions_unknown", &[], "Actions of which nobody can tell whether they happened.");
const UNKNOWN_AGE: Measure =
    Measure::gauge("action_oldest_unknown_seconds", &[], "How long the first unknown action has been so.");
const SEAL_LAG: Measure = Measure::gauge(
    "audit_seal_lag_seconds",
    &[],
    "How long the first row of the audit trail that is not sealed has been so.",
);
const HEAD: Measure = Measure::gauge("stream_head_position", &[], "Position of the newest event.");
const OLDEST: Measure = Measure::gauge("stream_oldest_position", &[], "Position before the oldest event kept.");
const NODES: Measure = Measure::gauge("nodes_alive", &[], "Nodes whose lease holds.");
const LAPSED: Measure =
    Measure::gauge("nodes_lapsed", &[], "Nodes whose lease has run out and whose runs are not freed yet.");
const SWITCHES: Measure = Measure::gauge("kill_switches_engaged", &[], "Kill switches that are on.");

/// Renders the page. One for all listeners of the process.
pub struct Scrape {
    recorder: PrometheusHandle,
    engine: Engine,
    last: Mutex<Last>,
}

/// What the database said last.
#[derive(Debug, Default)]
struct Last {
    page: String,
    until: Option<Instant>,
    /// A question without an answer yet; there is never a second one.
    asked: Option<JoinHandle<Result<ServiceState, ReadError>>>,
}

impl fmt::Debug for Scrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Scrape").field("last", &self.last).finish_non_exhaustive()
    }
}

impl Scrape {
    /// A page over what `recorder` holds and what `engine` can reach.
    pub fn new(recorder: PrometheusHandle, engine: Engine) -> Self {
        Self { recorder, engine, last: Mutex::default() }
    }

    /// The page.
    pub async fn page(&self) -> String {
        let service = self.service().await;
        let mut page = super::metrics::render(&self.recorder);
        page.push_str(&service);
        let mut out = Page::default();
        out.family(CONNECTIONS);
        for pool in self.engine.connections() {
            out.line(CONNECTIONS, &[pool.pool, "idle"], pool.idle);
            out.line(CONNECTIONS, &[pool.pool, "busy"], pool.busy);
        }
        page.push_str(&out.0);
        page
    }

    async fn service(&self) -> String {
        let clock = self.engine.clock();
        let mut last = self.last.lock().await;
        let began = clock.monotonic();
        if last.until.is_some_and(|until| began < until) {
            return last.page.clone();
        }
        let asked = match last.asked.take() {
            Some(asked) if !asked.is_finished() => asked,
            _ => {
                let engine = self.engine.clone();
                tokio::spawn(async move { engine.service_state().await })
            }
        };
        let asked = last.asked.insert(asked);
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        if answer.is_ok() {
            last.asked = None;
        }
        let took = clock.monotonic() - began;
        last.page = match answer {
            Ok(Ok(Ok(state))) => full(&state, took),
            Ok(Ok(Err(error))) => {
                tracing::warn!(error = %error, "the service's metrics cannot be read: {error}");
                absent(matches!(error, ReadError::TooSlow), took)
            }
            Ok(Err(error)) => {
                tracing::error!(error = %error, "reading the service's metrics ended badly: {error}");
                absent(false, took)
            }
            Err(_) => {
                tracing::warn!("the database did not answer the scrape within {} ms", PATIENCE.as_millis());
                absent(false, took)
            }
        };
        last.until = Some(clock.monotonic() + KEPT.max(took * SHARE));
        last.page.clone()
    }
}

/// The page without the numbers: old ones would pass for today's.
fn absent(up: bool, took: Duration) -> String {
    let mut out = Page::default();
    out.one(UP, u8::from(up));
    out.one(FRESH, 0);
    out.one(READ_SECONDS, took.as_secs_f64());
    out.0
}

fn full(state: &ServiceState, took: Duration) -> String {
    let mut out = Page::default();
    out.one(UP, 1);
    out.one(FRESH, 1);
    out.one(READ_SECONDS, took.as_secs_f64());
    queues(&mut out, &state.queues);
    out.family(GATES);
    for gates in &state.gates {
        out.line(GATES, &[&gates.kind], gates.open);
    }
    out.family(GATE_AGE);
    for gates in &state.gates {
        out.line(GATE_AGE, &[&gates.kind], gates.oldest_s);
    }
    out.one(UNKNOWN, state.actions_unknown);
    out.one(UNKNOWN_AGE, state.oldest_unknown_s);
    out.one(SEAL_LAG, state.seal_lag_s);
    out.one(HEAD, state.stream_head);
    out.one(OLDEST, state.stream_oldest);
    out.one(NODES, state.nodes_alive);
    out.one(LAPSED, state.nodes_lapsed);
    out.one(SWITCHES, state.kill_switches);
    out.0
}

fn queues(out: &mut Page, queues: &[QueueState]) {
    out.family(DEPTH);
    for queue in queues {
        out.line(DEPTH, &[&queue.workflow, &queue.client], queue.ready);
    }
    out.family(OLDEST_READY);
    for queue in queues {
        out.line(OLDEST_READY, &[&queue.workflow, &queue.client], queue.oldest_ready_s);
    }
    let sum = |of: fn(&QueueState) -> i64| queues.iter().map(of).sum::<i64>();
    let states = [
        ("ready", sum(|queue| queue.ready)),
        ("running", sum(|queue| queue.running)),
        ("waiting", sum(|queue| queue.waiting)),
        ("parked", sum(|queue| queue.parked)),
    ];
    out.family(RUNS);
    for (state, runs) in states {
        out.line(RUNS, &[state], runs);
    }
    out.one(ACTIVE, states.iter().map(|(_, runs)| runs).sum::<i64>());
    out.one(TIMERS_DUE, sum(|queue| queue.timers_due));
    out.one(TIMER_LATE, queues.iter().map(|queue| queue.oldest_due_s).fold(0.0, f64::max));
}

/// The Prometheus text format, as it grows.
#[derive(Debug, Default)]
struct Page(String);

impl Page {
    fn family(&mut self, measure: Measure) {
        let Measure { name, kind, help, .. } = measure;
        let kind = if kind == Kind::Counter { "counter" } else { "gauge" };
        let _ = write!(self.0, "\n# HELP {name} {help}\n# TYPE {name} {kind}\n");
    }

    fn line(&mut self, measure: Measure, labels: &[&str], value: impl fmt::Display) {
        self.0.push_str(measure.name);
        for (nth, (label, text)) in measure.labels.iter().zip(labels).enumerate() {
            let text = text.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
            let _ = write!(self.0, "{}{label}=\"{text}\"", if nth == 0 { '{' } else { ',' });
        }
        let _ = writeln!(self.0, "{} {value}", if labels.is_empty() { "" } else { "}" });
    }

    fn one(&mut self, measure: Measure, value: impl fmt::Display) {
        self.family(measure);
        self.line(measure, &[], value);
    }
}
