//! The workloads: each submits, waits, and gives back times.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use fermata_engine::Engine;
use fermata_engine::access::Principal;
use fermata_engine::id::RunId;
use fermata_engine::read::{Page, StepView};
use fermata_engine::run::{NewSignal, Submission, SubmitError};
use fermata_workflows::bench::GO;
use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use serde_json::{Value, json};

use super::progress;
use super::workers::{Workers, until};
use crate::process::{Exit, Trouble};

/// How often ended runs are counted.
const COUNT: Duration = Duration::from_millis(5);
/// How often a waiting caller looks.
const LOOK: Duration = Duration::from_millis(1);
/// The pause after the node said that it is busy.
const BUSY: Duration = Duration::from_millis(5);
/// A run or a batch without any progress for this long has failed.
pub(super) const PATIENCE: Duration = Duration::from_mins(1);
/// How often progress is told.
const TELL: Duration = Duration::from_secs(2);
/// Brings the input to about 200 bytes.
const PAD_BYTES: usize = 143;

/// What is to be done.
#[derive(Clone, Copy)]
pub(super) struct Plan<'a> {
    /// The engine that is measured.
    pub(super) engine: &'a Engine,
    /// How many runs.
    pub(super) runs: usize,
    /// Steps of each.
    pub(super) steps: u16,
    /// Callers at once.
    pub(super) callers: usize,
    /// Clients that the runs are spread over.
    pub(super) clients: usize,
    /// How long each step takes, in milliseconds.
    pub(super) step_ms: u32,
    /// How long each run sleeps before its first step, in milliseconds.
    pub(super) sleep_ms: u32,
    /// How much longer the last run sleeps than the first, in milliseconds.
    pub(super) spread_ms: u32,
    /// Each step is an effect.
    pub(super) effects: bool,
    /// How many deliveries have ended in this process, by how.
    pub(super) completed: &'a (dyn Fn() -> HashMap<String, usize> + Sync),
}

/// What came out; times are in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Measured {
    /// From the first submission to the end.
    pub(super) took: Duration,
    /// The time that the workload is about.
    pub(super) times: Vec<f64>,
    /// The time to the result, where that is another one.
    pub(super) result_times: Vec<f64>,
    /// Processor seconds of workers that are processes of their own.
    pub(super) worker_cpu: f64,
    /// What else was counted, by its name in the answer.
    pub(super) counts: Vec<(&'static str, f64)>,
}

/// First submission to last completion.
pub(super) async fn batch(plan: &Plan<'_>) -> Result<Measured, Trouble> {
    let began = plan.engine.clock().monotonic();
    let before = (plan.completed)();
    submit_all(plan).await?;
    carried_since(plan, &before).await?;
    Ok(Measured { took: plan.engine.clock().monotonic().duration_since(began), ..Measured::default() })
}

/// The same, carried by worker processes.
pub(super) async fn batch_on(plan: &Plan<'_>, workers: &Workers) -> Result<Measured, Trouble> {
    let clock = plan.engine.clock();
    let carried = workers.completed().await?;
    let (began, before) = (clock.monotonic(), workers.cpu());
    submit_all(plan).await?;
    until(plan.engine, |_, open| open == 0).await?;
    let (took, worker_cpu) = (clock.monotonic().duration_since(began), workers.cpu() - before);
    workers.succeeded(clock, plan.runs, &carried).await?;
    Ok(Measured { took, worker_cpu, ..Measured::default() })
}

/// Waits until all of the plan's runs have succeeded in this process.
pub(super) async fn carried(plan: &Plan<'_>) -> Result<(), Trouble> {
    carried_since(plan, &HashMap::new()).await
}

pub(super) async fn carried_since(plan: &Plan<'_>, before: &HashMap<String, usize>) -> Result<(), Trouble> {
    let clock = plan.engine.clock();
    let since = |how: &str, now: &HashMap<String, usize>| {
        now.get(how).copied().unwrap_or(0) - before.get(how).copied().unwrap_or(0)
    };
    let (mut told, mut moved, mut last) = (clock.monotonic(), clock.monotonic(), 0);
    loop {
        let counted = (plan.completed)();
        let (done, now) = (since("succeeded", &counted), clock.monotonic());
        if done >= plan.runs {
            return Ok(());
        }
        if since("failed", &counted) > 0 {
            return Err(Trouble::failed("a run of the benchmark failed").remedy("fermata runs list --state FAILED"));
        }
        if done > last {
            (last, moved) = (done, now);
        }
        if now.duration_since(moved) > PATIENCE {
            return Err(Trouble::new(Exit::Unreachable, format!("{done} of {} runs ended, and then none", plan.runs)));
        }
        if now.duration_since(told) > TELL {
            progress(done, plan.runs);
            told = now;
        }
        clock.wait(COUNT).await;
    }
}

/// Submits all runs, `callers` at once.
pub(super) async fn submit_all(plan: &Plan<'_>) -> Result<Vec<RunId>, Trouble> {
    stream::iter(0..plan.runs).map(|n| submit_one(plan, n, false)).buffer_unordered(plan.callers).try_collect().await
}

/// Single submissions, acknowledged one by one.
pub(super) async fn submit(plan: &Plan<'_>) -> Result<Measured, Trouble> {
    let clock = plan.engine.clock();
    let began = clock.monotonic();
    let one = async |n| {
        let asked = clock.monotonic();
        submit_one(plan, n, false).await?;
        Ok::<_, Trouble>(ms(clock.monotonic().duration_since(asked)))
    };
    let times = stream::iter(0..plan.runs).map(one).buffer_unordered(plan.callers).try_collect().await?;
    Ok(Measured { took: clock.monotonic().duration_since(began), times, ..Measured::default() })
}

/// Idle system, one at a time.
pub(super) async fn latency(plan: &Plan<'_>) -> Result<Measured, Trouble> {
    let clock = plan.engine.clock();
    let began = clock.monotonic();
    let mut measured = Measured::default();
    for n in 0..plan.runs {
        let (asked_at, asked) = (clock.now(), clock.monotonic());
        let run = submit_one(plan, n, false).await?;
        succeeds(plan.engine, run).await?;
        measured.result_times.push(ms(clock.monotonic().duration_since(asked)));
        if let Some(first) = first_step(plan.engine, run).await? {
            measured.times.push(between(asked_at, first.started_at));
        }
    }
    measured.took = clock.monotonic().duration_since(began);
    Ok(measured)
}

/// Signal to the start of the next step.
pub(super) async fn signal(plan: &Plan<'_>) -> Result<Measured, Trouble> {
    let clock = plan.engine.clock();
    let began = clock.monotonic();
    let mut measured = Measured::default();
    for n in 0..plan.runs {
        let run = submit_one(plan, n, true).await?;
        reaches(plan.engine, run, "WAITING").await?;
        let sent_at = clock.now();
        let signal = NewSignal { id: None, name: GO.to_owned(), payload: Value::Null };
        let sent = plan.engine.signal(&Principal::operator(), run, signal).await;
        sent.map_err(|error| Trouble::failed("a signal was refused").why(error.to_string()))?;
        succeeds(plan.engine, run).await?;
        if let Some(next) = first_step(plan.engine, run).await? {
            measured.times.push(between(sent_at, next.started_at));
        }
    }
    measured.took = clock.monotonic().duration_since(began);
    Ok(measured)
}

impl Plan<'_> {
    /// The client of the n-th run.
    pub(super) fn client(&self, n: usize) -> String {
        if self.clients > 1 { format!("bench-{}", n % self.clients) } else { "bench".to_owned() }
    }

    /// How long the n-th run sleeps, in milliseconds.
    pub(super) fn sleep_of(&self, n: usize) -> usize {
        let ms = |time: u32| usize::try_from(time).unwrap_or(usize::MAX);
        ms(self.sleep_ms) + ms(self.spread_ms) * n / self.runs
    }

    /// How many of the runs are the n-th client's.
    pub(super) fn runs_of(&self, n: usize) -> usize {
        self.runs / self.clients + usize::from(n % self.clients < self.runs % self.clients)
    }
}

/// Submits the n-th run.
async fn submit_one(plan: &Plan<'_>, n: usize, wait_signal: bool) -> Result<RunId, Trouble> {
    let pad = "x".repeat(PAD_BYTES);
    let payload = json!({
        "steps": plan.steps, "wait_signal": wait_signal, "step_ms": plan.step_ms, "sleep_ms": plan.sleep_of(n), "pad": pad,
        "effects": plan.effects,
    });
    loop {
        let submission = Submission {
            client_id: plan.client(n),
            kind: "bench.steps".to_owned(),
            payload: payload.clone(),
            ..Submission::default()
        };
        match plan.engine.submit(&Principal::operator(), submission).await {
            Ok(receipt) => return Ok(receipt.command_id),
            Err(SubmitError::Busy) => plan.engine.clock().wait(BUSY).await,
            Err(error) => return Err(Trouble::failed("a submission was refused").why(error.to_string())),
        }
    }
}

/// Waits for the run's result.
async fn succeeds(engine: &Engine, run: RunId) -> Result<(), Trouble> {
    let ended = engine.ended(&Principal::operator(), run, PATIENCE).await;
    match ended.map_err(|error| Trouble::failed("a command cannot be read").why(error.to_string()))? {
        Some(ending) if ending.status == "SUCCEEDED" => Ok(()),
        Some(_) => Err(Trouble::failed(format!("run {run} of the benchmark failed"))),
        None => Err(Trouble::new(Exit::Unreachable, format!("run {run} did not end in time"))),
    }
}

/// Looks until the command has this status.
async fn reaches(engine: &Engine, run: RunId, wanted: &str) -> Result<(), Trouble> {
    let clock = engine.clock();
    let began: Instant = clock.monotonic();
    loop {
        let status = engine.command_status(&Principal::operator(), run).await;
        let status = status.map_err(|error| Trouble::failed("a command cannot be read").why(error.to_string()))?;
        match status.as_deref() {
            Some(status) if status == wanted => return Ok(()),
            Some("FAILED" | "CANCELLED") => return Err(Trouble::failed(format!("run {run} of the benchmark failed"))),
            _ if clock.monotonic().duration_since(began) > PATIENCE => {
                return Err(Trouble::new(Exit::Unreachable, format!("run {run} did not become {wanted} in time")));
            }
            _ => clock.wait(LOOK).await,
        }
    }
}

/// The first step of the run that is a step, not a wait.
async fn first_step(engine: &Engine, run: RunId) -> Result<Option<StepView>, Trouble> {
    let steps = engine.steps(&Principal::operator(), run, Page::default()).await;
    let steps = steps.map_err(|error| Trouble::failed("steps cannot be read").why(error.to_string()))?;
    Ok(steps.items.into_iter().find(|step| step.kind == "step"))
}

pub(super) fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}

/// Milliseconds between two moments of one clock.
pub(super) fn between(first: DateTime<Utc>, second: DateTime<Utc>) -> f64 {
    (second - first).to_std().map(ms).unwrap_or_default()
}
