//! Metrics of this process. What is true of the service comes from the database at scrape (`service.rs`).

use fermata_engine::telemetry::{self, Measure, describe};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};

use super::process::ProcessStats;

/// Bounds of histograms whose name ends in `_seconds`: from half a millisecond to half an hour.
pub const SECONDS_BUCKETS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// Bounds of histograms whose name ends in `_ms`: the same spread.
pub const MILLISECONDS_BUCKETS: &[f64] = &[
    0.5,
    1.0,
    2.5,
    5.0,
    10.0,
    25.0,
    50.0,
    100.0,
    250.0,
    500.0,
    1000.0,
    2500.0,
    5000.0,
    10_000.0,
    30_000.0,
    60_000.0,
    300_000.0,
    1_800_000.0,
];

/// Bounds of histograms whose name ends in `_bytes`.
pub const BYTES_BUCKETS: &[f64] = &[256.0, 1024.0, 4096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0, 16_777_216.0];

/// Bounds of all other histograms, which count things: batch sizes, attempts.
pub const COUNT_BUCKETS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0];

/// What the surfaces of a process measure; the engine has its own list.
pub const MEASURES: &[Measure] = &[
    Measure::counter("http_requests_total", &["route", "method", "status"], "Requests that were answered."),
    Measure::histogram("http_request_duration_seconds", &["route", "method"], "Time from a request to its answer."),
    Measure::counter("http_requests_turned_away_total", &[], "Requests refused because too many were under way."),
    Measure::counter("http_handler_panics_total", &[], "Requests whose handler panicked."),
    Measure::counter("api_rate_limited_requests_total", &["limiter"], "Requests refused by a rate limit."),
    Measure::counter(
        "graphql_operations_total",
        &["outcome"],
        "GraphQL requests executed: answered, partial, refused.",
    ),
    Measure::gauge("stream_connections", &[], "WebSockets of the stream that are open in this process."),
    Measure::counter("stream_closed_total", &["code"], "WebSockets that this process closed, by the closing code."),
    Measure::counter("stream_acks_total", &[], "Positions that stream clients acknowledged."),
    Measure::counter("trace_spans_exported_total", &[], "Spans that the collector took."),
    Measure::counter(
        "trace_spans_dropped_total",
        &[],
        "Spans that were lost: too many waited, or the collector did not take them.",
    ),
];

/// Installs the process-wide recorder of the `metrics` facade. All histograms are true ones.
///
/// Somebody must call `run_upkeep` now and then; [`render`] does.
pub fn install_metrics() -> Result<PrometheusHandle, BuildError> {
    let recorder = builder()?.install_recorder()?;
    describe(telemetry::MEASURES);
    describe(MEASURES);
    Ok(recorder)
}

/// The page of a scrape: what the code recorded, then what the kernel knows of this process.
pub fn render(handle: &PrometheusHandle) -> String {
    handle.run_upkeep();
    let mut page = handle.render();
    if let Some(stats) = ProcessStats::of_self() {
        page.push_str(&stats.to_string());
    }
    page
}

fn builder() -> Result<PrometheusBuilder, BuildError> {
    let suffix = |ending: &str| Matcher::Suffix(ending.to_owned());
    PrometheusBuilder::new()
        .set_buckets(COUNT_BUCKETS)?
        .set_buckets_for_metric(suffix("_seconds"), SECONDS_BUCKETS)?
        .set_buckets_for_metric(suffix("_ms"), MILLISECONDS_BUCKETS)?
        .set_buckets_for_metric(suffix("_bytes"), BYTES_BUCKETS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_histogram_is_a_true_one_with_the_bounds_of_its_unit() {
        let recorder = builder().unwrap().build_recorder();
        metrics::with_local_recorder(&recorder, || {
            for name in ["api_request_duration_seconds", "side_effect_latency_ms", "artifact_bytes", "writer_batch"] {
                metrics::histogram!(name).record(3.0);
            }
        });

        let page = render(&recorder.handle());

        for line in [
            "api_request_duration_seconds_bucket{le=\"5\"} 1",
            "api_request_duration_seconds_bucket{le=\"0.0005\"} 0",
            "side_effect_latency_ms_bucket{le=\"1800000\"} 1",
            "artifact_bytes_bucket{le=\"256\"} 1",
            "writer_batch_bucket{le=\"4\"} 1",
            "writer_batch_bucket{le=\"+Inf\"} 1",
            "# TYPE process_resident_memory_bytes gauge",
        ] {
            assert!(page.contains(line), "{line} in\n{page}");
        }
        assert!(!page.contains("quantile"));
    }

    #[test]
    fn bounds_rise() {
        for buckets in [SECONDS_BUCKETS, MILLISECONDS_BUCKETS, BYTES_BUCKETS, COUNT_BUCKETS] {
            assert!(buckets.windows(2).all(|pair| pair[0] < pair[1]));
        }
    }
}
