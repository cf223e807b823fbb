//! Workers that are processes of their own, as `fermata serve --role worker` starts them.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use fermata_engine::Engine;
use fermata_engine::clock::Clock;

use super::failed;
use super::gauge::{parse, process_cpu};
use super::workload::{PATIENCE, Plan};
use crate::process::{Child, ChildPlan, Exit, Ready, Trouble};

/// How often runs are counted.
const COUNT: Duration = Duration::from_millis(20);
/// How long a worker may take to count a run whose end is committed.
const COUNTED: Duration = Duration::from_secs(5);
/// How long they may take to end.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// Some workers on one database. Dropping them kills them.
pub(super) struct Workers {
    folder: PathBuf,
    workers: Vec<Worker>,
}

struct Worker {
    child: Child,
    probes: String,
}

impl Workers {
    /// Starts so many, with as many slots each as the plan has callers.
    pub(super) async fn start(plan: &Plan<'_>, database_url: &str, how_many: u32) -> Result<Self, Trouble> {
        let folder = std::env::temp_dir().join(format!("fermata-bench-workers-{}", std::process::id()));
        std::fs::create_dir_all(&folder).map_err(|error| Trouble::file("cannot make", &folder, &error))?;
        let mut workers = Vec::new();
        for n in 1..=how_many {
            workers.push(Worker::start(plan, database_url, &folder, &format!("worker-{n}")).await?);
        }
        Ok(Self { folder, workers })
    }

    /// Kills the first, as a crash would.
    pub(super) async fn kill_the_first(&mut self) -> Result<(), Trouble> {
        let mut worker = self.workers.remove(0);
        worker.child.kill().await.map_err(|error| failed("the worker could not be killed", &error))
    }

    /// A number of the first one's metrics page; 0 when it is not there yet.
    pub(super) async fn metric(&self, name: &str) -> Result<f64, Trouble> {
        let Some(worker) = self.workers.first() else { return Ok(0.0) };
        let page = worker.metrics().await?;
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.trim().parse().ok());
        Ok(value.unwrap_or(0.0))
    }

    /// Waits until `runs` more deliveries than `before` have succeeded on them; fails when a run has.
    pub(super) async fn succeeded(
        &self,
        clock: &Clock,
        runs: usize,
        before: &HashMap<String, usize>,
    ) -> Result<(), Trouble> {
        let began = clock.monotonic();
        loop {
            let now = self.completed().await?;
            let since = |how: &str| now.get(how).copied().unwrap_or(0) - before.get(how).copied().unwrap_or(0);
            if since("failed") > 0 {
                return Err(Trouble::failed("a run of the benchmark failed").remedy("fermata runs list --state FAILED"));
            }
            if since("succeeded") >= runs {
                return Ok(());
            }
            if clock.monotonic().duration_since(began) > COUNTED {
                let done = since("succeeded");
                return Err(Trouble::failed(format!("the workers carried {done} of {runs} runs, and all have ended")));
            }
            clock.wait(COUNT).await;
        }
    }

    /// How many deliveries have ended on them, by how.
    pub(super) async fn completed(&self) -> Result<HashMap<String, usize>, Trouble> {
        let mut all = HashMap::new();
        for worker in &self.workers {
            for (how, number) in parse(&worker.metrics().await?) {
                *all.entry(how).or_default() += number;
            }
        }
        Ok(all)
    }

    /// Processor seconds of all of them.
    pub(super) fn cpu(&self) -> f64 {
        self.workers.iter().filter_map(|worker| process_cpu(worker.child.pid)).sum()
    }

    /// Lets them drain and end.
    pub(super) async fn stop(mut self) {
        for worker in &mut self.workers {
            worker.child.stop(STOP_LIMIT).await;
        }
        // Their logs are of use only when something failed.
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

impl Worker {
    async fn metrics(&self) -> Result<String, Trouble> {
        let unread = |error: reqwest::Error| Trouble::new(Exit::Unreachable, "no metrics page").why(error.to_string());
        let page = reqwest::get(format!("{}/metrics", self.probes)).await.map_err(unread)?;
        page.text().await.map_err(unread)
    }

    async fn start(plan: &Plan<'_>, database_url: &str, folder: &Path, name: &str) -> Result<Self, Trouble> {
        let program = std::env::current_exe().map_err(|error| failed("no program", &error))?;
        let ready_file: PathBuf = folder.join(format!("{name}.json"));
        let path = ready_file.to_string_lossy();
        let arguments = ["serve", "--role", "worker", "--node", name, "--probes", "127.0.0.1:0", "--ready-file", &path];
        let child_plan = ChildPlan {
            name: name.to_owned(),
            program,
            arguments: arguments.map(str::to_owned).to_vec(),
            environment: [
                ("DATABASE_URL", database_url.to_owned()),
                ("WORKER_SLOTS", plan.callers.to_string()),
                ("FERMATA_DATA_DIR", folder.join("data").to_string_lossy().into_owned()),
            ]
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
}

/// Waits until the runs that are held by workers, and all that have not ended, are as wanted; answers how many are held.
pub(super) async fn until(engine: &Engine, wanted: impl Fn(usize, usize) -> bool) -> Result<usize, Trouble> {
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
