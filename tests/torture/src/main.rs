//! The rig: real programs, a real Postgres, and everything that can go wrong between them.
//!
//! A *trial* is a plan ([`plan::Plan`]) that its seed alone decides: commands, what their clients do, and
//! the blows that are dealt meanwhile. It is carried out on a *stage* ([`stage::Stage`]), written down, and
//! judged by the checker, which shares no code with the engine. To add a fault, add a variant to
//! [`fault::Fault`] and the blows that a seed makes of it; to add a kind of blow, deal it in `blow.rs`.
//!
//! It depends on no crate of the product: it drives the programs as anybody else would.

mod blow;
mod campaign;
mod client;
mod clock;
mod cluster;
mod dump;
mod fault;
mod flow;
mod history;
mod plan;
mod program;
mod proxy;
mod reader;
mod report;
mod stage;
mod trial;
mod trouble;
mod work;

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::campaign::{Campaign, Ground, Tally};
use crate::fault::Fault;
use crate::stage::Programs;
use crate::trouble::Trouble;

/// Throws crashes, cuts and freezes at Fermata, and checks what it promised.
#[derive(Debug, Parser)]
#[command(name = "fermata-torture", version)]
struct Cli {
    #[command(subcommand)]
    command: Verb,
    /// Where the programs are; beside this one when left out
    #[arg(long, global = true, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// Where the report and the folders of failing trials go
    #[arg(long, global = true, value_name = "DIR", default_value = "target/torture")]
    out: PathBuf,
    /// Keeps the folders of trials that held too
    #[arg(long, global = true)]
    keep_all: bool,
    /// How many stages run side by side
    #[arg(long, global = true, default_value_t = 4)]
    stages: usize,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Every fault and every mutant, within a budget of time
    All {
        /// How long, in seconds
        #[arg(long, default_value_t = 1_200)]
        budget: u64,
        /// The seed of each fault's first trial
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Trials of one fault
    Fault {
        /// Which
        fault: Fault,
        #[command(flatten)]
        trials: Trials,
    },
    /// Trials of a mutant, until the checker catches it
    Mutant {
        /// Which; every one when left out
        name: Option<String>,
        #[command(flatten)]
        trials: Trials,
    },
}

#[derive(Debug, Clone, Args)]
struct Trials {
    /// The seed of the first trial; a failing seed alone is run again with `--trials 1`
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How many
    #[arg(long = "trials", default_value_t = 1_000)]
    count: u64,
    /// How long at most, in seconds
    #[arg(long, default_value_t = 86_400)]
    budget: u64,
    /// The fault, for mutants: each has its own where it shows soonest
    #[arg(long)]
    with: Option<Fault>,
}

/// What part of the faults' time each of them gets, in hundredths.
const SHARES: [(Fault, u64); 6] = [
    (Fault::RandomKill, 30),
    (Fault::CrashPoint, 25),
    (Fault::CutCommit, 10),
    (Fault::Stop, 10),
    (Fault::PostgresKill, 10),
    (Fault::Network, 15),
];
/// What part of a budget the mutants get, in hundredths, where it is enough for them.
const OF_THE_MUTANTS: u64 = 40;
/// A mutant must be caught within so many trials.
const MUTANT_TRIALS: u64 = 1_000;
/// Seconds that a mutant needs to be caught with some certainty.
const LEAST_FOR_A_MUTANT: u64 = 30;
/// Seconds of one fault that are worth a long beginning.
const A_LONG_BUDGET: u64 = 60;

#[tokio::main]
async fn main() -> ExitCode {
    // reqwest asks for a provider even where nothing is encrypted; there can be only one.
    drop(rustls::crypto::ring::default_provider().install_default());
    match run(Cli::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("torture: {error}");
            ExitCode::from(2)
        }
    }
}

async fn run(cli: Cli) -> Result<bool, Trouble> {
    let out = std::path::absolute(&cli.out)?;
    let scratch = std::env::temp_dir().join(format!("fermata-torture-{}", std::process::id()));
    let ground = Arc::new(Ground::new(programs(cli.programs.as_deref())?, (scratch.clone(), out), cli.keep_all)?);
    let tallies = campaigns(&ground, &cli).await?;
    let held = report::write(&ground.out, &tallies)?;
    drop(ground);
    std::fs::remove_dir_all(&scratch).or_else(|error| if scratch.exists() { Err(error) } else { Ok(()) })?;
    Ok(held)
}

async fn campaigns(ground: &Arc<Ground>, cli: &Cli) -> Result<Vec<Tally>, Trouble> {
    let mut tallies = Vec::new();
    let mut carry_out = async |campaign: Campaign| -> Result<(), Trouble> {
        let what = campaign.mutant.as_deref().unwrap_or(campaign.fault.name());
        println!("torture: {what}, from seed {}", campaign.seed);
        let tally = campaign::carry_out(ground, campaign).await?;
        println!("torture: {}", report::line(&tally));
        tallies.push(tally);
        Ok(())
    };
    match &cli.command {
        Verb::All { budget, seed } => {
            let mutants = u64::try_from(ground.mutants.len()).unwrap_or(u64::MAX);
            let mut left = budget * OF_THE_MUTANTS / 100;
            if left < LEAST_FOR_A_MUTANT * mutants {
                println!("torture: no mutants: {left} s would not show whether each is caught");
                left = 0;
            }
            for (fault, share) in SHARES {
                let trials = Trials { seed: *seed, count: u64::MAX, budget: (budget - left) * share / 100, with: None };
                carry_out(Campaign::fault(fault, &trials, cli.stages)).await?;
            }
            // What one does not need, the others may.
            let ends = clock::monotonic() + Duration::from_secs(left);
            for (name, rest) in ground.mutants.iter().zip((1..=mutants).rev()).filter(|_| left > 0) {
                let left = ends.saturating_duration_since(clock::monotonic()).as_secs();
                let each = (left / rest).max(LEAST_FOR_A_MUTANT);
                let trials = Trials { seed: *seed, count: MUTANT_TRIALS, budget: each, with: None };
                carry_out(Campaign::mutant(name, &trials, cli.stages)).await?;
            }
        }
        Verb::Fault { fault, trials } => carry_out(Campaign::fault(*fault, trials, cli.stages)).await?,
        Verb::Mutant { name, trials } => {
            for known in ground.mutants.iter().filter(|known| name.as_ref().is_none_or(|name| name == *known)) {
                carry_out(Campaign::mutant(known, trials, cli.stages)).await?;
            }
        }
    }
    Ok(tallies)
}

impl Campaign {
    fn fault(fault: Fault, trials: &Trials, stages: usize) -> Self {
        // Each lane of this one begins with a Postgres of its own, which is worth it only for many trials.
        let stages = if fault == Fault::PostgresKill && trials.budget < A_LONG_BUDGET { 1 } else { stages };
        Self {
            fault,
            mutant: None,
            seed: trials.seed,
            trials: trials.count,
            budget: Duration::from_secs(trials.budget),
            stages,
            until_caught: false,
        }
    }

    fn mutant(name: &str, trials: &Trials, stages: usize) -> Self {
        // Where each shows soonest; any fault shows it sooner or later.
        let fault = trials.with.unwrap_or(match name {
            "no-fencing" => Fault::Stop,
            "ack-before-commit" | "no-rollback" => Fault::Network,
            _ => Fault::RandomKill,
        });
        Self { mutant: Some(name.to_owned()), until_caught: true, ..Self::fault(fault, trials, stages) }
    }
}

fn programs(folder: Option<&Path>) -> Result<Programs, Trouble> {
    let here = std::env::current_exe()?;
    let folder = folder.or_else(|| here.parent()).unwrap_or(Path::new("."));
    let program = |name: &str| -> Result<PathBuf, Trouble> {
        let path = std::path::absolute(folder.join(name))?;
        if path.exists() {
            return Ok(path);
        }
        Err(Trouble::Answer(format!("{} is missing; `make torture` builds it", path.display())))
    };
    Ok(Programs {
        fermata: program("fermata")?,
        rigged: program("fermata-rigged")?,
        site: program("fermata-demo-site")?,
        proxy: program("fermata-fault-proxy")?,
        cluster: program("fermata-test-cluster")?,
    })
}
