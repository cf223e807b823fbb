//! The names of what this process measures. Service metrics come from the database at scrape.

use std::time::Duration;

/// One batch of the group writer was committed.
pub(crate) fn batch(records: usize, took: Duration) {
    #[expect(clippy::cast_precision_loss, reason = "a batch has at most a few hundred records")]
    metrics::histogram!("writer_batch_records").record(records as f64);
    metrics::histogram!("writer_commit_seconds").record(took.as_secs_f64());
}

/// Runs were claimed in one go.
pub(crate) fn claimed(runs: usize) {
    metrics::counter!("runs_claimed_total").increment(runs as u64);
}

/// A delivery of a run ended, in `how`: `succeeded`, `failed`, `cancelled`, `suspended`, ...
pub(crate) fn delivered(how: &'static str) {
    metrics::counter!("run_deliveries_total", "ended" => how).increment(1);
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
    metrics::counter!("leases_lost_total").increment(1);
}

/// The tail read this many new events in one go.
pub(crate) fn tail_read(events: usize) {
    metrics::counter!("tail_reads_total").increment(1);
    metrics::counter!("tail_events_total").increment(events as u64);
}

/// A follower of the stream came (1) or went (-1).
pub(crate) fn follower(change: f64) {
    metrics::gauge!("stream_followers").increment(change);
}

/// A follower fell behind what is held for it.
pub(crate) fn slow_follower() {
    metrics::counter!("stream_slow_followers_total").increment(1);
}
