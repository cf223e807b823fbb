//! What this process measures: the names, and what they mean. Service metrics come from the database at scrape.
//!
//! [`MEASURES`] is the whole list; whoever installs a recorder describes it ([`describe`]). A new
//! measure is a line there and a function here. Labels hold words of ours, never an id.

use std::time::Duration;

use metrics::Unit;

/// What kind of number it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Rises and falls.
    Gauge,
    /// Counts values by their size.
    Histogram,
}

/// One metric as the page shows it.
#[derive(Debug, Clone, Copy)]
pub struct Measure {
    /// Its name; the ending tells the unit.
    pub name: &'static str,
    /// What kind of number it is.
    pub kind: Kind,
    /// The names of its labels.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub help: &'static str,
}

impl Measure {
    /// A number that only grows.
    pub const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Counter, labels, help }
    }

    /// A number that rises and falls.
    pub const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Gauge, labels, help }
    }

    /// Values by their size.
    pub const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Self {
        Self { name, kind: Kind::Histogram, labels, help }
    }

    fn unit(&self) -> Unit {
        match self.name.rsplit('_').next() {
            Some("seconds") => Unit::Seconds,
            Some("ms") => Unit::Milliseconds,
            Some("bytes") => Unit::Bytes,
            _ => Unit::Count,
        }
    }
}

/// What the engine measures of itself.
pub const MEASURES: &[Measure] = &[
    Measure::histogram("writer_batch_records", &[], "Records in one batch of the group writer."),
    Measure::histogram("writer_commit_seconds", &[], "Time from sending a batch to its commit."),
    Measure::histogram("claim_seconds", &[], "Time that one claim of runs took."),
    Measure::histogram("claim_runs", &[], "Runs that one claim got."),
    Measure::counter("runs_claimed_total", &[], "Runs claimed by this node."),
    Measure::counter("run_deliveries_total", &["ended"], "Deliveries of runs to this node, by how they ended."),
    Measure::counter("runs_success_total", &[], "Runs that ended well on this node."),
    Measure::counter("runs_failure_total", &[], "Runs that failed on this node."),
    Measure::counter("nodes_reaped_total", &[], "Dead nodes that this node found."),
    Measure::counter("runs_taken_over_total", &[], "Runs that this node freed from dead nodes."),
    Measure::counter(
        "commands_handed_over_total",
        &["taken"],
        "Commands that were handed to a worker of this machine, by whether it took them in time.",
    ),
    Measure::gauge("runs_in_memory", &[], "Runs that this node holds."),
    Measure::counter("leases_lost_total", &[], "Times this node lost its lease."),
    Measure::gauge("lease_margin_seconds", &[], "Time that was left of the node's lease when it was last renewed."),
    Measure::gauge(
        "audit_broken",
        &[],
        "1 when rows of the audit trail are missing, so that nothing is sealed any more.",
    ),
    Measure::counter("tail_reads_total", &[], "Looks of the tail for new events."),
    Measure::counter("tail_events_total", &[], "Events that the tail read."),
    Measure::histogram("tail_lag_seconds", &[], "Time from an event to its arrival in this process' ring."),
    Measure::gauge("stream_followers", &[], "Followers of the stream in this process."),
    Measure::counter("stream_slow_followers_total", &[], "Followers that fell behind what is held for them."),
    Measure::counter("side_effect_attempts", &["lane"], "Calls that may have an effect outside."),
    Measure::counter("side_effect_success", &["lane"], "Effects that were confirmed."),
    Measure::counter(
        "side_effect_unknown",
        &["lane"],
        "Effects that nobody could prove or disprove; a person is asked, at once or when the looks of the policy are over.",
    ),
    Measure::histogram("side_effect_latency_ms", &["lane"], "Time that one call with an effect took, in milliseconds."),
];

/// Tells the recorder what the measures mean; counters without labels start at zero.
pub fn describe(measures: &[Measure]) {
    for measure in measures {
        let Measure { name, kind, labels, help } = *measure;
        match kind {
            Kind::Counter => metrics::describe_counter!(name, measure.unit(), help),
            Kind::Gauge => metrics::describe_gauge!(name, measure.unit(), help),
            Kind::Histogram => metrics::describe_histogram!(name, measure.unit(), help),
        }
        if kind == Kind::Counter && labels.is_empty() {
            metrics::counter!(name).increment(0);
        }
    }
}

/// One batch of the group writer was committed.
pub(crate) fn batch(records: usize, took: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a batch has at most a few hundred records")]
    metrics::histogram!("writer_batch_records").record(records as f64);
    metrics::histogram!("writer_commit_seconds").record(took.as_secs_f64());
}

/// A command was handed to a worker of this machine, which `taken` it, or not in time.
pub(crate) fn handed_over(taken: bool) {
    let taken = if taken { "true" } else { "false" };
    metrics::counter!("commands_handed_over_total", "taken" => taken).increment(1);
}

/// Runs were claimed in one go.
pub(crate) fn claimed(runs: usize, took: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a claim gets at most a few hundred runs")]
    metrics::histogram!("claim_runs").record(runs as f64);
    metrics::histogram!("claim_seconds").record(took.as_secs_f64());
    metrics::counter!("runs_claimed_total").increment(runs as u64);
}

/// A delivery of a run ended, in `how`: `succeeded`, `failed`, `cancelled`, `suspended`, ...
pub(crate) fn delivered(how: &'static str) {
    metrics::counter!("run_deliveries_total", "ended" => how).increment(1);
    match how {
        "succeeded" => metrics::counter!("runs_success_total").increment(1),
        "failed" => metrics::counter!("runs_failure_total").increment(1),
        _ => {}
    }
}

/// Runs were taken from nodes that are gone.
pub(crate) fn reaped(nodes: u64, runs: u64) {
    metrics::counter!("nodes_reaped_total").increment(nodes);
    metrics::counter!("runs_taken_over_total").increment(runs);
}

/// How many runs this node holds.
pub(crate) fn running(runs: usize) {
    #[expect(clippy::cast_precision_loss, reason = "a node holds at most a few thousand runs")]
    metrics::gauge!("runs_in_memory").set(runs as f64);
}

/// The lease could not be renewed in time, or the node was taken for dead.
pub(crate) fn lease_lost() {
    lease_margin(Duration::ZERO);
    metrics::counter!("leases_lost_total").increment(1);
}

/// The lease is taken or renewed, when it would have held for another `left`.
pub(crate) fn lease_margin(left: Duration) {
    metrics::gauge!("lease_margin_seconds").set(left.as_secs_f64());
}

/// A call that may have an effect outside is about to be made.
pub(crate) fn effect_attempted(lane: &'static str) {
    metrics::counter!("side_effect_attempts", "lane" => lane).increment(1);
}

/// That call has returned, with whatever answer.
pub(crate) fn effect_returned(lane: &'static str, took: Duration) {
    metrics::histogram!("side_effect_latency_ms", "lane" => lane).record(took.as_secs_f64() * 1000.0);
}

/// An effect is confirmed.
pub(crate) fn effect_confirmed(lane: &'static str) {
    metrics::counter!("side_effect_success", "lane" => lane).increment(1);
}

/// Nobody can tell whether an effect happened.
pub(crate) fn effect_unknown(lane: &'static str) {
    metrics::counter!("side_effect_unknown", "lane" => lane).increment(1);
}

/// Whether the sealer found a gap in the audit trail.
pub(crate) fn audit_broken(broken: bool) {
    metrics::gauge!("audit_broken").set(f64::from(u8::from(broken)));
}

/// The tail read this many new events in one go.
pub(crate) fn tail_read(events: usize) {
    metrics::counter!("tail_reads_total").increment(1);
    metrics::counter!("tail_events_total").increment(events as u64);
}

/// An event reached the ring, `late` after it happened.
pub(crate) fn tail_lag(late: Duration) {
    metrics::histogram!("tail_lag_seconds").record(late.as_secs_f64());
}

/// A follower of the stream came (1) or went (-1).
pub(crate) fn follower(change: f64) {
    metrics::gauge!("stream_followers").increment(change);
}

/// A follower fell behind what is held for it.
pub(crate) fn slow_follower() {
    metrics::counter!("stream_slow_followers_total").increment(1);
}
