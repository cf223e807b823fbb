//! Recovery: two worker processes, one of them killed with runs in its hands.

use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use fermata_engine::access::Principal;
use fermata_engine::id::RunId;
use fermata_engine::read::{MAX_LIMIT, Page};
use fermata_engine::{Engine, NodeOptions};
use futures::stream::{self, StreamExt as _, TryStreamExt as _};

use super::count;
use super::workload::{Measured, PATIENCE, Plan, between, ms, submit_all};
use crate::process::{Child, ChildPlan, Exit, Ready, Trouble, remark};

/// How often runs in flight are counted.
const COUNT: Duration = Duration::from_millis(20);
/// How much longer than a lease the server is to be up: nodes look for dead ones in turns.
const SETTLE: Duration = Duration::from_secs(1);
/// Runs whose steps are read at once.
const READERS: usize = 8;
/// How long the worker that is left may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(5);
/// Counts, on a worker's metrics page, how often it was taken for dead.
const LEASES_LOST: &str = "leases_lost_total";

/// From the kill of one of two workers, when all runs are in flight, to the next step of each run that it held.
///
/// Every run ends, or this fails. `false_takeovers` counts how often the worker that lives was taken for dead.
pub(super) async fn recover(plan: &Plan<'_>, database_url: &str) -> Result<Measured, Trouble> {
    let folder = std::env::temp_dir().join(format!("fermata-bench-workers-{}", std::process::id()));
    std::fs::create_dir_all(&folder).map_err(|error| Trouble::file("cannot make", &folder, &error))?;
    let measured = with_workers(plan, database_url, &folder).await;
    if measured.is_ok() {
        drop(std::fs::remove_dir_all(&folder));
    }
    measured
}

async fn with_workers(plan: &Plan<'_>, database_url: &str, folder: &Path) -> Result<Measured, Trouble> {
    let clock = plan.engine.clock();
    let mut killed = Worker::start(plan, database_url, folder, "killed").await?;
    let mut left = Worker::start(plan, database_url, folder, "left").await?;
    server_has_settled(plan.engine).await?;
    let runs = submit_all(plan).await?;
    let in_flight = until(plan.engine, |held, _| held >= plan.runs).await?;
    let held = killed.metric("runs_in_memory").await?;
    let (killed_at, began) = (clock.now(), clock.monotonic());
    killed.child.kill().await.map_err(|error| failed("the worker could not be killed", &error))?;
    remark(format_args!("bench: a worker with {held} of {in_flight} runs is killed"));
    until(plan.engine, |_, open| open == 0).await?;
    let ended = clock.monotonic().duration_since(began);
    let false_takeovers = left.metric(LEASES_LOST).await?;
    left.child.stop(STOP_LIMIT).await;
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

/// A worker process, as `fermata serve --role worker` starts it.
struct Worker {
    child: Child,
    probes: String,
}

impl Worker {
    async fn start(plan: &Plan<'_>, database_url: &str, folder: &Path, name: &str) -> Result<Self, Trouble> {
        let program = std::env::current_exe().map_err(|error| failed("no program", &error))?;
        let ready_file: PathBuf = folder.join(format!("{name}.json"));
        let path = ready_file.to_string_lossy();
        let arguments = ["serve", "--role", "worker", "--node", name, "--probes", "127.0.0.1:0", "--ready-file", &path];
        let child_plan = ChildPlan {
            name: format!("the worker `{name}`"),
            program,
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: [("DATABASE_URL", database_url.to_owned()), ("WORKER_SLOTS", plan.callers.to_string())]
                .map(|(name, value)| (name.to_owned(), value))
                .to_vec(),
            log: folder.join(format!("{name}.log")),
            ready_file,
            apart: true,
        };
        let mut child = child_plan.spawn()?;
        let ready: Ready = child_plan.ready(&mut child, plan.engine.clock()).await?;
        let probes = ready.nodes.into_iter().find_map(|node| node.probes);
        let probes = probes.ok_or_else(|| Trouble::failed("a worker does not say where its probes are"))?;
        Ok(Self { child, probes })
    }

    /// A number of its metrics page; 0 when it is not there yet.
    async fn metric(&self, name: &str) -> Result<f64, Trouble> {
        let unread = |error: reqwest::Error| Trouble::new(Exit::Unreachable, "no metrics page").why(error.to_string());
        let page =
            reqwest::get(format!("{}/metrics", self.probes)).await.map_err(unread)?.text().await.map_err(unread)?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Ok(value.unwrap_or(0.0))
    }
}

/// Waits until the runs that are held by workers, and all that have not ended, are as wanted; answers how many are held.
async fn until(engine: &Engine, wanted: impl Fn(usize, usize) -> bool) -> Result<usize, Trouble> {
    let clock = engine.clock();
    let (mut moved, mut last) = (clock.monotonic(), None);
    loop {
        let state = engine.service_state().await.map_err(|error| failed("runs cannot be counted", &error))?;
        let held: i64 = state.queues.iter().map(|queue| queue.running).sum();
        let open: i64 = state.queues.iter().map(|queue| queue.running + queue.ready + queue.waiting).sum();
        let [held, open] = [held, open].map(|runs| usize::try_from(runs).unwrap_or(0));
        if wanted(held, open) {
            return Ok(held);
        }
        if last != Some((held, open)) {
            (moved, last) = (clock.monotonic(), Some((held, open)));
        }
        if clock.monotonic().duration_since(moved) > PATIENCE {
            return Err(Trouble::failed(format!("{held} of {open} runs are in flight, and nothing moves"))
                .remedy("take more --concurrency, which is the slots of each worker, or a longer --step-ms"));
        }
        clock.wait(COUNT).await;
    }
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

fn failed(what: &str, error: &dyn std::error::Error) -> Trouble {
    Trouble::failed(what.to_owned()).why(error.to_string())
}
