//! `fermata bench`: measures this machine, with the engine as it ships (contract, section 5).
//!
//! Owns the workloads and what is printed. The engine runs in this process, with its own worker; those of `recover`
//! and of `--workers` are processes. Without DATABASE_URL a private Postgres in a temporary folder is used and removed
//! again.

mod events;
mod gauge;
mod ground;
mod recover;
mod timers;
mod workers;
mod workload;

use clap::{Args, ValueEnum};
use serde_json::{Map, Value, json};

use self::gauge::{Reading, completed};
use self::ground::Ground;
use self::workers::Workers;
use self::workload::{Measured, Plan};
use super::Output;
use crate::process::{Exit, Trouble, remark};
use crate::telemetry::install_metrics;

/// Runs before the measurement: connections are opened, statements prepared.
const WARM_UP: usize = 50;

const EXAMPLES: &str = "\
Examples:
  fermata bench                                    w3 with 1000 runs
  fermata bench --workload w10 --runs 20000 --json
  DATABASE_URL=postgres://… fermata bench --workload latency --runs 200

One JSON object with --json; what does not apply is left out. Progress goes to standard error.";

/// What is measured, and how much of it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BenchArgs {
    /// What is measured
    #[arg(long, value_enum, default_value = "w3")]
    workload: Workload,
    /// How many runs
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u32).range(1..))]
    runs: u32,
    /// Callers at once, and slots of the worker
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    concurrency: Option<u32>,
    /// Clients that the runs are spread over; each subscriber of `events` follows one of them
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    clients: u32,
    /// Worker processes that carry the runs of w0, w3, w10 and effect, in place of this one
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..=64))]
    workers: Option<u32>,
    /// Steps of each run, in place of the workload's own
    #[arg(long, value_parser = clap::value_parser!(u16).range(0..=1_000))]
    steps: Option<u16>,
    /// How long each step takes
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=60_000))]
    step_ms: Option<u32>,
    /// How long each run sleeps before its first step
    #[arg(long, value_name = "MS", value_parser = clap::value_parser!(u32).range(0..=3_600_000))]
    sleep_ms: Option<u32>,
    /// How much longer the last run sleeps than the first
    #[arg(long, value_name = "MS", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=3_600_000))]
    spread_ms: u32,
}

/// What can be measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Workload {
    /// Runs without steps, submitted as a batch: first submission to last completion
    W0,
    /// The same with 3 steps
    W3,
    /// The same with 10 steps
    W10,
    /// Runs of one effect on a platform that does nothing: what the guard, its records and its look cost
    Effect,
    /// Single submissions from concurrent callers, acknowledged one by one; carried out only afterwards
    Submit,
    /// Idle system, one at a time: submission to first step, and to the result
    Latency,
    /// A run waits for a signal: signal to the start of the next step
    Signal,
    /// Subscribers on the stream while runs of 3 steps go through: event to receipt
    Events,
    /// Runs in flight on two worker processes, one of them killed: the kill to the next step of each of its runs
    Recover,
    /// Runs that sleep: how late each goes on, and what it costs while all are asleep
    Timers,
}

impl Workload {
    /// Whether it is submitted as a whole, and measured until all of it has ended.
    fn is_batch(self) -> bool {
        matches!(self, Self::W0 | Self::W3 | Self::W10 | Self::Effect)
    }

    /// How long a step takes: nothing, unless runs are to be in flight for a while.
    fn step_ms(self) -> u32 {
        if self == Self::Recover { 1_000 } else { 0 }
    }

    /// How long a run sleeps before its first step.
    fn sleep_ms(self) -> u32 {
        if self == Self::Timers { 30_000 } else { 0 }
    }

    fn name(self) -> &'static str {
        match self {
            Self::W0 => "w0",
            Self::W3 => "w3",
            Self::W10 => "w10",
            Self::Effect => "effect",
            Self::Submit => "submit",
            Self::Latency => "latency",
            Self::Signal => "signal",
            Self::Events => "events",
            Self::Recover => "recover",
            Self::Timers => "timers",
        }
    }

    fn steps(self) -> u16 {
        match self {
            Self::W0 | Self::Submit => 0,
            Self::W3 | Self::Events => 3,
            Self::W10 | Self::Recover => 10,
            Self::Effect | Self::Latency | Self::Signal | Self::Timers => 1,
        }
    }

    fn concurrency(self) -> u32 {
        match self {
            Self::W0 | Self::W3 | Self::W10 | Self::Effect | Self::Timers => 1_024,
            Self::Submit => 64,
            Self::Events => 100,
            Self::Recover => 10_000,
            Self::Latency | Self::Signal => 1,
        }
    }
}

pub(super) async fn run(args: BenchArgs, out: Output) -> Result<Exit, Trouble> {
    if args.workers.is_some() && !args.workload.is_batch() {
        return Err(Trouble::new(Exit::Usage, "--workers goes with w0, w3, w10 and effect"));
    }
    let recorder = install_metrics().map_err(|error| Trouble::failed("no metrics").why(error.to_string()))?;
    let concurrency = args.concurrency.unwrap_or_else(|| args.workload.concurrency());
    let slots = usize::try_from(concurrency).unwrap_or(1).max(64);
    let ground = Box::pin(Ground::prepare(slots)).await?;
    let measured = tokio::select! {
        measured = Box::pin(measure(&ground, &args, concurrency, &recorder)) => measured.map(Some),
        _ = tokio::signal::ctrl_c() => Ok(None),
    };
    ground.clear().await;
    let Some(answer) = measured? else { return Ok(Exit::Interrupted) };
    out.print(&answer, || text(&answer));
    Ok(Exit::Done)
}

async fn measure(
    ground: &Ground,
    args: &BenchArgs,
    concurrency: u32,
    recorder: &crate::telemetry::PrometheusHandle,
) -> Result<Value, Trouble> {
    let steps = args.steps.unwrap_or_else(|| args.workload.steps());
    let runs = usize::try_from(args.runs).unwrap_or(usize::MAX);
    let plan = Plan {
        engine: &ground.engine,
        runs,
        steps,
        step_ms: args.step_ms.unwrap_or_else(|| args.workload.step_ms()),
        sleep_ms: args.sleep_ms.unwrap_or_else(|| args.workload.sleep_ms()),
        spread_ms: args.spread_ms,
        effects: args.workload == Workload::Effect,
        callers: usize::try_from(concurrency).unwrap_or(1),
        clients: usize::try_from(args.clients).unwrap_or(1),
        completed: &|| completed(recorder),
    };
    let workers = match args.workers {
        Some(how_many) => Some(Workers::start(&plan, &ground.database_url, how_many).await?),
        None => None,
    };
    warm_up(args.workload, &plan, ground, workers.as_ref()).await?;
    remark(format_args!("bench: {} with {runs} runs, {steps} steps, concurrency {concurrency}", args.workload.name()));
    let before = Reading::take(&ground.engine).await?;
    let measured = match (args.workload, &workers) {
        (workload, Some(workers)) if workload.is_batch() => workload::batch_on(&plan, workers).await?,
        (workload, _) => measure_here(workload, &plan, ground).await?,
    };
    let after = Reading::take(&ground.engine).await?;
    if let Some(workers) = workers {
        workers.stop().await;
    }
    if args.workload == Workload::Submit && !ground.is_private() {
        remark(format_args!("bench: carrying out what was submitted"));
        ground.work().await?;
        workload::carried(&Plan { runs: WARM_UP + runs, ..plan }).await?;
    }
    let mut answer = json!({
        "workload": args.workload.name(), "runs": runs, "steps": steps, "concurrency": concurrency,
    });
    let setup = ground.setup(&after.version, WARM_UP);
    if let Some(answer) = answer.as_object_mut() {
        answer.extend(numbers(&measured, args.workload, (runs, steps)));
        answer.extend(costs(&before, &after, measured.worker_cpu, runs));
        answer.insert("setup".to_owned(), setup);
    }
    Ok(answer)
}

async fn warm_up(
    workload: Workload,
    plan: &Plan<'_>,
    ground: &Ground,
    workers: Option<&Workers>,
) -> Result<(), Trouble> {
    remark(format_args!("bench: warming up with {WARM_UP} runs"));
    let plan = Plan { runs: WARM_UP, step_ms: 0, sleep_ms: 0, spread_ms: 0, ..*plan };
    match (workload, workers) {
        (Workload::Submit, _) => workload::submit(&plan).await.map(drop),
        // It starts workers of its own, to kill one.
        (Workload::Recover, _) => Ok(()),
        (_, Some(workers)) => workload::batch_on(&plan, workers).await.map(drop),
        (_, None) => {
            ground.work().await?;
            workload::batch(&plan).await.map(drop)
        }
    }
}

/// Measures a workload whose runs this process carries, or starts workers for as it needs them.
async fn measure_here(workload: Workload, plan: &Plan<'_>, ground: &Ground) -> Result<Measured, Trouble> {
    match workload {
        Workload::W0 | Workload::W3 | Workload::W10 | Workload::Effect => workload::batch(plan).await,
        Workload::Submit => workload::submit(plan).await,
        Workload::Latency => workload::latency(plan).await,
        Workload::Signal => workload::signal(plan).await,
        Workload::Events => Box::pin(events::events(plan)).await,
        Workload::Recover => Box::pin(recover::recover(plan, &ground.database_url)).await,
        Workload::Timers => timers::timers(plan).await,
    }
}

/// What was measured by the clock.
fn numbers(measured: &Measured, workload: Workload, (runs, steps): (usize, u16)) -> Map<String, Value> {
    let mut numbers = Map::new();
    let mut put = |name: &str, value: f64| numbers.insert(name.to_owned(), rounded(value));
    let seconds = measured.took.as_secs_f64();
    put("seconds", seconds);
    if !matches!(workload, Workload::Latency | Workload::Signal | Workload::Recover | Workload::Timers) {
        let runs = count(runs);
        put("runs_per_s", runs / seconds);
        if steps > 0 && workload != Workload::Submit {
            put("steps_per_s", runs * f64::from(steps) / seconds);
        }
    }
    for (prefix, times) in [("", &measured.times), ("result_", &measured.result_times)] {
        if !times.is_empty() {
            put(&format!("{prefix}p50_ms"), percentile(times, 50));
            put(&format!("{prefix}p99_ms"), percentile(times, 99));
        }
    }
    for (name, counted) in &measured.counts {
        put(name, *counted);
    }
    numbers
}

/// What it cost: WAL always, CPU of Postgres only where its processes can be seen.
fn costs(before: &Reading, after: &Reading, workers: f64, runs: usize) -> Map<String, Value> {
    let runs = count(runs);
    let mut cpu = Map::new();
    for (name, first, last, more) in [
        ("client", before.client_cpu, after.client_cpu, workers),
        ("postgres", before.postgres_cpu, after.postgres_cpu, 0.0),
    ] {
        if let (Some(first), Some(last)) = (first, last) {
            cpu.insert(name.to_owned(), rounded((last - first + more).max(0.0) * 1_000.0 / runs));
        }
    }
    let wal = usize::try_from((after.wal_bytes - before.wal_bytes) / 1_024).map_or(0.0, count) * 1_024.0;
    let mut costs = Map::new();
    costs.insert("wal_bytes_per_run".to_owned(), rounded(wal / runs));
    costs.insert("cpu_ms_per_run".to_owned(), Value::Object(cpu));
    costs
}

/// A time of which `percent` of all are no greater, in milliseconds.
fn percentile(times: &[f64], percent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).copied().unwrap_or_default()
}

fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::from(u32::MAX), f64::from)
}

/// Three decimals are more than was measured.
fn rounded(value: f64) -> Value {
    json!((value * 1_000.0).round() / 1_000.0)
}

fn text(answer: &Value) -> String {
    let lines = answer.as_object().into_iter().flatten().map(|(name, value)| format!("{name:<18} {value}"));
    lines.collect::<Vec<_>>().join("\n")
}

fn failed(what: &str, error: &dyn std::error::Error) -> Trouble {
    Trouble::failed(what.to_owned()).why(error.to_string())
}

/// Tells how far a long measurement is.
fn progress(done: usize, of: usize) {
    remark(format_args!("bench: {done} of {of}"));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_time_that_was_measured() {
        let times: Vec<f64> = (1..=200).rev().map(f64::from).collect();
        assert_eq!(
            [percentile(&times, 50), percentile(&times, 99)].map(f64::to_bits),
            [100.0_f64, 198.0].map(f64::to_bits)
        );
        assert_eq!(percentile(&[7.0], 99).to_bits(), 7.0_f64.to_bits());
    }
}
