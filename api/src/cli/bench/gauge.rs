//! What is read before and after: WAL, processor time, ended runs.

use std::collections::HashMap;

use fermata_engine::Engine;

use crate::process::Trouble;
use crate::telemetry::{ProcessStats, PrometheusHandle};

/// What `sysconf(_SC_CLK_TCK)` answers on every Linux.
const TICKS_PER_SECOND: f64 = 100.0;

/// One look at what a measurement costs.
#[derive(Debug, Clone)]
pub(super) struct Reading {
    /// Bytes of WAL since the cluster was made.
    pub(super) wal_bytes: i64,
    /// Processor seconds of this process.
    pub(super) client_cpu: Option<f64>,
    /// Processor seconds of the server's processes for us; `None` when they run elsewhere.
    pub(super) postgres_cpu: Option<f64>,
    /// What the server says of itself.
    pub(super) version: String,
}

impl Reading {
    /// Looks now.
    pub(super) async fn take(engine: &Engine) -> Result<Self, Trouble> {
        let stats = engine.server_stats().await?;
        Ok(Self {
            wal_bytes: stats.wal_bytes,
            client_cpu: ProcessStats::of_self().map(|stats| stats.cpu_seconds),
            postgres_cpu: stats.backend_pids.iter().map(|pid| backend_cpu(*pid)).sum(),
            version: stats.version,
        })
    }
}

/// Processor seconds of one of the server's processes; `None` when the number is not one of ours.
fn backend_cpu(pid: i32) -> Option<f64> {
    let pid = u32::try_from(pid).ok()?;
    std::fs::read_to_string(format!("/proc/{pid}/comm")).ok()?.contains("postgres").then(|| process_cpu(pid))?
}

/// Processor seconds of a process.
pub(super) fn process_cpu(pid: u32) -> Option<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_ascii_whitespace().collect();
    let ticks = |index: usize| fields.get(index)?.parse::<f64>().ok();
    Some((ticks(11)? + ticks(12)?) / TICKS_PER_SECOND)
}

/// How many deliveries of runs have ended in this process, by how.
pub(super) fn completed(recorder: &PrometheusHandle) -> HashMap<String, usize> {
    parse(&recorder.render())
}

/// How many deliveries a metrics page says have ended, by how.
pub(super) fn parse(page: &str) -> HashMap<String, usize> {
    let line = |line: &str| {
        let (how, number) = line.strip_prefix("run_deliveries_total{ended=\"")?.split_once("\"} ")?;
        Some((how.to_owned(), number.trim().parse().ok()?))
    };
    page.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ended_deliveries_are_read_from_the_metrics_page() {
        let page = "# TYPE run_deliveries_total counter\nrun_deliveries_total{ended=\"succeeded\"} 12\nother 3\n";
        assert_eq!(parse(page), HashMap::from([("succeeded".to_owned(), 12)]));
    }
}
