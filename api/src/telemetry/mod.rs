//! What a process tells of itself: log lines, metrics, spans.
//!
//! Owns their form and that no secret is in them, and the metrics page ([`Scrape`]): what this process
//! measured and what the database says of the service, and the sending of spans ([`Exporter`]).
//! Read [`LogLines`] and [`redact()`] first. A further field of the log schema is one line in `log.rs`;
//! a further measure is one line in `metrics.rs`, or in `service.rs` when the database counts it.

mod log;
mod metrics;
mod otlp;
mod process;
mod redact;
mod service;
mod traces;

pub use log::{LogError, LogFormat, LogLines, LogOrigin, init_logs};
pub use metrics::{
    BYTES_BUCKETS, COUNT_BUCKETS, MEASURES, MILLISECONDS_BUCKETS, SECONDS_BUCKETS, install_metrics,
    render as render_metrics,
};
pub use metrics_exporter_prometheus::PrometheusHandle;
pub use otlp::otlp_headers;
pub use process::ProcessStats;
pub use redact::{REDACTED, is_secret_name, redact};
pub use service::{SERVICE, Scrape};
pub use traces::{Exporter, TraceOptions};
