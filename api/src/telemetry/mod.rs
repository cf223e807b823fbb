//! What a process tells of itself: log lines, metrics, trace ids.
//!
//! Owns their form and that no secret is in them. Knows nothing of what is logged or measured; service
//! metrics that come from the database are rendered elsewhere and put on the same page.
//! Read [`LogLines`] and [`redact()`] first. A further field of the log schema is one line in `log.rs`;
//! a further unit of histograms is one constant and one line in `metrics.rs`.

mod log;
mod metrics;
mod process;
mod redact;
mod trace_context;

pub use log::{LogError, LogFormat, LogLines, LogOrigin, init_logs};
pub use metrics::{
    BYTES_BUCKETS, COUNT_BUCKETS, MILLISECONDS_BUCKETS, SECONDS_BUCKETS, install_metrics, render as render_metrics,
};
pub use metrics_exporter_prometheus::PrometheusHandle;
pub use process::ProcessStats;
pub use redact::{REDACTED, is_secret_name, redact};
pub use trace_context::TraceContext;
