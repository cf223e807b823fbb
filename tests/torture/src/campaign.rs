//! A campaign: many trials of one fault or mutant, on lanes of stages, within a budget, with a tally.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use fermata_checker::Figures;
use serde::Serialize;
use serde_json::Value;
use tokio::task::JoinSet;

use crate::clock;
use crate::cluster::Cluster;
use crate::fault::Fault;
use crate::plan::Plan;
use crate::stage::{Programs, Stage};
use crate::trial::{self, Report};
use crate::trouble::Trouble;

/// After so much trouble in a row with itself a lane gives up.
const MOST_TROUBLE: u32 = 3;

/// What one fault is to be tried with.
#[derive(Debug, Clone)]
pub(crate) struct Campaign {
    pub(crate) fault: Fault,
    pub(crate) mutant: Option<String>,
    /// The seed of the first trial; the others follow it.
    pub(crate) seed: u64,
    pub(crate) trials: u64,
    pub(crate) budget: Duration,
    pub(crate) stages: usize,
    /// A violation is what is looked for: the first one ends it.
    pub(crate) until_caught: bool,
}

/// What became of it.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Tally {
    pub(crate) fault: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) mutant: Option<String>,
    pub(crate) first_seed: u64,
    pub(crate) last_seed: u64,
    pub(crate) trials: u64,
    /// Blows that struck.
    pub(crate) struck: u64,
    pub(crate) runs: u64,
    pub(crate) facts: u64,
    /// What the platform was asked for and did.
    #[serde(flatten)]
    pub(crate) figures: Figures,
    /// All requests to the platform, looks and logins included (B-057).
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    /// Violations by invariant.
    pub(crate) violations: BTreeMap<String, u64>,
    pub(crate) failing_seeds: Vec<u64>,
    /// How often a process fell at each point, of those that were tried.
    pub(crate) points: BTreeMap<String, (u64, u64)>,
    /// What went wrong with the rig itself.
    pub(crate) trouble: Vec<String>,
}

impl Tally {
    pub(crate) fn violated(&self) -> u64 {
        self.violations.values().sum()
    }

    fn take(&mut self, report: &Report, point: Option<&str>) {
        self.trials += 1;
        self.runs += u64::try_from(report.runs).unwrap_or(0);
        self.facts += report.facts;
        self.figures += report.figures;
        self.requests += report.requests;
        self.struck += report.struck;
        self.last_seed = self.last_seed.max(report.seed);
        for violation in &report.violations {
            let invariant = violation["invariant"].as_str().unwrap_or("?").to_owned();
            *self.violations.entry(invariant).or_default() += 1;
        }
        if !report.violations.is_empty() {
            self.failing_seeds.push(report.seed);
        }
        if let Some(point) = point {
            let (fell, tried) = self.points.entry(point.to_owned()).or_default();
            *fell += u64::from(report.fell.iter().any(|name| name == point));
            *tried += 1;
        }
    }
}

/// The rig's folders, programs and Postgres.
pub(crate) struct Ground {
    pub(crate) programs: Programs,
    /// Where the running stages keep their files.
    pub(crate) scratch: PathBuf,
    /// Where failing trials and the report are kept.
    pub(crate) out: PathBuf,
    pub(crate) cluster: Cluster,
    /// The crash points of the rigged build.
    pub(crate) points: Vec<String>,
    pub(crate) mutants: Vec<String>,
    /// Whether the folders of trials that held are kept too.
    pub(crate) keep_all: bool,
    numbers: AtomicU64,
}

impl Ground {
    pub(crate) fn new(programs: Programs, (scratch, out): (PathBuf, PathBuf), keep_all: bool) -> Result<Self, Trouble> {
        std::fs::create_dir_all(&scratch)?;
        std::fs::create_dir_all(&out)?;
        let said = Command::new(&programs.rigged).arg("rig").output()?;
        let rig: Value = serde_json::from_slice(&said.stdout)?;
        let names = |what: &str| -> Vec<String> {
            rig[what].as_array().into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let cluster = Cluster::start(&programs.cluster, &scratch.join("cluster"))?;
        let (points, mutants) = (names("points"), names("mutants"));
        Ok(Self { programs, scratch, out, cluster, points, mutants, keep_all, numbers: AtomicU64::new(0) })
    }

    /// The point that the trial of a seed aims at.
    fn point(&self, fault: Fault, seed: u64) -> Option<&str> {
        let count = u64::try_from(self.points.len()).ok().filter(|_| fault == Fault::CrashPoint)?;
        self.points.get(usize::try_from(seed.checked_rem(count)?).ok()?).map(String::as_str)
    }
}

/// What the lanes of one campaign share.
struct Race {
    campaign: Campaign,
    ends: Instant,
    next: AtomicU64,
    over: AtomicBool,
    tally: Mutex<Tally>,
}

/// Carries out a campaign.
pub(crate) async fn carry_out(ground: &Arc<Ground>, campaign: Campaign) -> Result<Tally, Trouble> {
    let began = clock::monotonic();
    let race = Arc::new(Race {
        ends: began + campaign.budget,
        next: AtomicU64::new(0),
        over: AtomicBool::new(false),
        tally: Mutex::new(Tally {
            fault: campaign.fault.name().to_owned(),
            mutant: campaign.mutant.clone(),
            first_seed: campaign.seed,
            last_seed: campaign.seed,
            ..Tally::default()
        }),
        campaign,
    });
    let mut lanes = JoinSet::new();
    for _ in 0..race.campaign.stages {
        lanes.spawn(lane(Arc::clone(ground), Arc::clone(&race)));
    }
    while let Some(done) = lanes.join_next().await {
        done.map_err(|error| Trouble::Answer(error.to_string()))??;
    }
    let mut tally = race.tally.lock().unwrap_or_else(PoisonError::into_inner).clone();
    tally.seconds = began.elapsed().as_secs_f64();
    tally.failing_seeds.sort_unstable();
    Ok(tally)
}

async fn lane(ground: Arc<Ground>, race: Arc<Race>) -> Result<(), Trouble> {
    let mut trouble = 0;
    while trouble < MOST_TROUBLE {
        match Box::pin(stage_of_trials(&ground, &race)).await {
            Ok(()) => return Ok(()),
            Err(error) => {
                trouble += 1;
                println!("  trouble with the rig: {error}");
                let mut tally = race.tally.lock().unwrap_or_else(PoisonError::into_inner);
                tally.trouble.push(error.to_string());
            }
        }
    }
    Ok(())
}

/// Trials on one stage, until there is nothing left to do or something is wrong with the stage.
async fn stage_of_trials(ground: &Ground, race: &Race) -> Result<(), Trouble> {
    let campaign = &race.campaign;
    let number = ground.numbers.fetch_add(1, Ordering::SeqCst);
    let name = format!("stage-{number}");
    let mut own = None;
    // A Postgres that is killed is nobody else's.
    let url = if campaign.fault == Fault::PostgresKill {
        let cluster = Cluster::start(&ground.programs.cluster, &ground.scratch.join(format!("cluster-{number}")))?;
        own.insert(cluster).url.clone()
    } else {
        ground.cluster.url.clone()
    };
    let rigged = campaign.mutant.is_some() || campaign.fault == Fault::CrashPoint;
    let place = (ground.scratch.as_path(), name.as_str());
    let mut stage = Box::pin(Stage::start(&ground.programs, place, &url, (rigged, campaign.mutant.as_deref()))).await?;
    loop {
        let nth = race.next.fetch_add(1, Ordering::SeqCst);
        if nth >= campaign.trials || clock::monotonic() >= race.ends || race.over.load(Ordering::SeqCst) {
            break;
        }
        let seed = campaign.seed + nth;
        let point = ground.point(campaign.fault, seed);
        let plan = Plan::of(campaign.fault, seed, campaign.mutant.as_deref(), point);
        let folder = stage.folder.join(format!("trial-{seed}"));
        let report = match Box::pin(trial::run(&mut stage, &mut own, &plan, &folder)).await {
            Ok(report) => report,
            Err(error) => {
                keep(ground, race, &folder, seed)?;
                return Err(Trouble::Answer(format!(
                    "{} seed {seed} on {}: {error}",
                    campaign.fault.name(),
                    stage.name
                )));
            }
        };
        tell(&report, point, campaign.mutant.as_deref());
        race.tally.lock().unwrap_or_else(PoisonError::into_inner).take(&report, point);
        if report.violations.is_empty() && !ground.keep_all {
            std::fs::remove_dir_all(&folder)?;
        } else if report.violations.is_empty() {
            keep(ground, race, &folder, seed)?;
        } else {
            keep(ground, race, &folder, seed)?;
            if campaign.until_caught {
                race.over.store(true, Ordering::SeqCst);
            }
        }
    }
    Ok(())
}

/// Keeps the folder of a trial.
fn keep(ground: &Ground, race: &Race, folder: &std::path::Path, seed: u64) -> Result<(), Trouble> {
    if !folder.exists() {
        return Ok(());
    }
    let of = race.campaign.mutant.as_deref().unwrap_or(race.campaign.fault.name());
    let kept = ground.out.join("kept").join(format!("{of}-{seed}"));
    drop(std::fs::remove_dir_all(&kept));
    std::fs::create_dir_all(ground.out.join("kept"))?;
    let moved = Command::new("cp").arg("-r").arg(folder).arg(&kept).status()?;
    if !moved.success() {
        return Err(Trouble::Answer(format!("{} could not be kept", folder.display())));
    }
    std::fs::remove_dir_all(folder)?;
    Ok(())
}

fn tell(report: &Report, point: Option<&str>, mutant: Option<&str>) {
    let what = point.or(mutant).map(|what| format!(" ({what})")).unwrap_or_default();
    let fell = if point.is_some() && report.fell.is_empty() { ", the point was not reached" } else { "" };
    let held = if report.violations.is_empty() { "held" } else { "BROKEN" };
    println!(
        "  {} seed {}{what}: {held}, {} runs, {} facts, {:.1} s{fell}",
        report.fault, report.seed, report.runs, report.facts, report.seconds
    );
    for violation in &report.violations {
        println!(
            "    {}: {}",
            violation["invariant"].as_str().unwrap_or("?"),
            violation["says"].as_str().unwrap_or("?")
        );
    }
}
