//! Runs that sleep: what they cost while nothing happens, and how late each wakes.

use std::time::Duration;

use chrono::{DateTime, Utc};
use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::id::RunId;
use fermata_engine::read::Page;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::gauge::Reading;
use super::workload::{Measured, Plan, between, carried_since, submit_all};
use super::{count, failed};
use crate::process::{Trouble, remark};
use crate::telemetry::ProcessStats;

/// How often sleeping runs are counted.
const COUNT: Duration = Duration::from_millis(500);
/// How long the costs of sleeping are measured.
const REST: Duration = Duration::from_secs(10);
/// The most runs whose steps are read.
const MAX_READ: usize = 10_000;
/// Runs whose steps are read at once.
const READERS: usize = 8;

/// How late each run goes on after its sleep, and what it costs in memory and processor time while all are asleep.
pub(super) async fn timers(plan: &Plan<'_>) -> Result<Measured, Trouble> {
    let clock = plan.engine.clock();
    let before = (plan.completed)();
    let (began, empty) = (clock.monotonic(), resident());
    let runs = submit_all(plan).await?;
    all_asleep(plan).await?;
    remark(format_args!("bench: all sleep since {:.1} s", clock.monotonic().duration_since(began).as_secs_f64()));
    let (first, asleep) = (Reading::take(plan.engine).await?, resident());
    clock.wait(REST).await;
    let last = Reading::take(plan.engine).await?;
    let cost = |cpu: fn(&Reading) -> Option<f64>| {
        let spent = cpu(&last).zip(cpu(&first)).map(|(last, first)| (last - first).max(0.0));
        spent.map(|spent| spent * 1_000.0 / REST.as_secs_f64())
    };
    let mut counts = vec![("asleep_mib", asleep), ("asleep_mib_more_than_empty", asleep - empty)];
    counts.extend(cost(|reading| reading.client_cpu).map(|cost| ("asleep_client_cpu_ms_per_s", cost)));
    counts.extend(cost(|reading| reading.postgres_cpu).map(|cost| ("asleep_postgres_cpu_ms_per_s", cost)));
    clock
        .wait(Duration::from_millis(plan.sleep_ms.into()).saturating_sub(clock.monotonic().duration_since(began)))
        .await;
    carried_since(plan, &before).await?;
    let took = clock.monotonic().duration_since(began);
    counts.push(("woken_mib", resident()));
    let every = runs.len().div_ceil(MAX_READ).max(1);
    let times = stream::iter(runs.into_iter().step_by(every))
        .map(|run| late(plan.engine, run))
        .buffer_unordered(READERS)
        .try_collect()
        .await?;
    Ok(Measured { took, times, counts, ..Measured::default() })
}

/// Waits until every run is put away.
async fn all_asleep(plan: &Plan<'_>) -> Result<(), Trouble> {
    loop {
        let state = plan.engine.service_state().await.map_err(|error| failed("runs cannot be counted", &error))?;
        let waiting: i64 = state.queues.iter().map(|queue| queue.waiting).sum();
        let open: i64 = state.queues.iter().map(|queue| queue.waiting + queue.running + queue.ready).sum();
        if usize::try_from(waiting).unwrap_or(0) >= plan.runs {
            return Ok(());
        }
        if usize::try_from(open).unwrap_or(0) < plan.runs {
            return Err(
                Trouble::failed("some had slept enough before all were asleep").remedy("take a longer --sleep-ms")
            );
        }
        plan.engine.clock().wait(COUNT).await;
    }
}

/// How long after its sleep was over the run's first step began, in milliseconds.
async fn late(engine: &Engine, run: RunId) -> Result<f64, Trouble> {
    let steps = engine.steps(&Principal::operator(), run, Page::default()).await;
    let steps = steps.map_err(|error| failed("steps cannot be read", &error))?.items;
    let due = steps.iter().find(|step| step.kind == "sleep").and_then(|step| step.output.clone());
    let due: Option<DateTime<Utc>> = due.and_then(|due| serde_json::from_value(due).ok());
    let went_on = steps.iter().find(|step| step.kind == "step").map(|step| step.started_at);
    due.zip(went_on)
        .map(|(due, at)| between(due, at))
        .ok_or_else(|| Trouble::failed(format!("run {run} did not sleep")))
}

/// Memory of this process, in MiB.
fn resident() -> f64 {
    let kib = ProcessStats::of_self().map_or(0, |stats| stats.resident_bytes / 1_024);
    count(usize::try_from(kib).unwrap_or(0)) / 1_024.0
}
