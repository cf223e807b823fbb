//! Recovery: two worker processes, one of them killed with runs in its hands.

use std::time::Duration;

use chrono::{DateTime, Utc};
use fermata_engine::access::Principal;
use fermata_engine::id::RunId;
use fermata_engine::read::{MAX_LIMIT, Page};
use fermata_engine::{Engine, NodeOptions};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::workers::{Workers, until};
use super::workload::{Measured, Plan, between, ms, submit_all};
use super::{count, failed};
use crate::process::{Trouble, remark};

/// How much longer than a lease the server is to be up: nodes look for dead ones in turns.
const SETTLE: Duration = Duration::from_secs(1);
/// Runs whose steps are read at once.
const READERS: usize = 8;
/// Counts, on a worker's metrics page, how often it was taken for dead.
const LEASES_LOST: &str = "leases_lost_total";

/// From the kill of one of two workers, when all runs are in flight, to the next step of each run that it held.
///
/// Every run ends, or this fails. `false_takeovers` counts how often the worker that lives was taken for dead.
pub(super) async fn recover(plan: &Plan<'_>, database_url: &str) -> Result<Measured, Trouble> {
    let clock = plan.engine.clock();
    let mut workers = Workers::start(plan, database_url, 2).await?;
    server_has_settled(plan.engine).await?;
    let runs = submit_all(plan).await?;
    let in_flight = until(plan.engine, |held, _| held >= plan.runs).await?;
    let held = workers.metric("runs_in_memory").await?;
    let (killed_at, began) = (clock.now(), clock.monotonic());
    workers.kill_the_first().await?;
    remark(format_args!("bench: a worker with {held} of {in_flight} runs is killed"));
    until(plan.engine, |_, open| open == 0).await?;
    let ended = clock.monotonic().duration_since(began);
    let false_takeovers = workers.metric(LEASES_LOST).await?;
    workers.stop().await;
    remark(format_args!("bench: all have ended; reading their steps"));
    let resumed: Vec<_> = stream::iter(runs)
        .map(|run| gone_on(plan.engine, run, plan.steps))
        .buffer_unordered(READERS)
        .try_collect()
        .await?;
    let times: Vec<f64> = resumed.into_iter().flatten().map(|at| between(killed_at, at)).collect();
    let last = times.iter().copied().fold(0.0, f64::max);
    let first = times.iter().copied().fold(last, f64::min);
    let counts = vec![
        ("in_flight", count(in_flight)),
        ("taken_over", count(times.len())),
        ("first_ms", first),
        ("last_ms", last),
        ("all_ended_ms", ms(ended)),
        ("false_takeovers", false_takeovers),
    ];
    Ok(Measured { took: Duration::from_secs_f64(last / 1_000.0), times, counts, ..Measured::default() })
}

/// Waits until the server has been up for longer than a lease: before that, nodes only take over from those whose lease
/// has run out.
async fn server_has_settled(engine: &Engine) -> Result<(), Trouble> {
    let settled = engine.server_stats().await?.started_at + NodeOptions::default().lease + SETTLE;
    if let Ok(left) = (settled - engine.clock().now()).to_std() {
        remark(format_args!(
            "bench: the server was just started; {:.0} s until it counts as settled",
            left.as_secs_f64()
        ));
        engine.clock().wait(left).await;
    }
    Ok(())
}

/// When the run's first step after it was taken over began; `None` when it was not, or had no step left.
async fn gone_on(engine: &Engine, run: RunId, steps: u16) -> Result<Option<DateTime<Utc>>, Trouble> {
    let unread = |error: &dyn std::error::Error| failed("steps cannot be read", error);
    let (mut done, mut resumed, mut after) = (0, None, None);
    loop {
        let page = Page::new(Some(MAX_LIMIT), after.as_deref()).map_err(|error| unread(&error))?;
        let read = engine.steps(&Principal::operator(), run, page).await.map_err(|error| unread(&error))?;
        done += read.items.len();
        let again = read.items.iter().filter(|step| step.epoch > 1).map(|step| step.started_at);
        resumed = resumed.into_iter().chain(again).min();
        after = read.next_cursor;
        if after.is_none() {
            break;
        }
    }
    if done == usize::from(steps) {
        return Ok(resumed);
    }
    Err(Trouble::failed(format!("run {run} recorded {done} steps, not {steps}")))
}
