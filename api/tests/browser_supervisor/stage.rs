//! What each test stands on: a supervisor, a site, and looking at processes.

use std::error::Error;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fermata_api::supervisor::{Supervisor, SupervisorOptions};
use fermata_engine::clock::Clock;
use fermata_workflows::browser::{BrowserError, BrowserLane, BrowserOptions, Fence, Page, Target};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::site::Site;

/// What tests and their helpers return.
pub(crate) type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// How long an observed fact may take on a busy machine.
pub(crate) const FACT_LIMIT: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(50);

/// A supervisor of its own, and a site to drive.
pub(crate) struct Stage {
    /// The supervisor.
    pub(crate) supervisor: Supervisor,
    /// The site.
    pub(crate) site: Site,
    /// The supervisor's folder.
    pub(crate) folder: PathBuf,
}

impl Stage {
    /// With the default options.
    pub(crate) async fn start() -> Outcome<Self> {
        Self::with(|_| {}).await
    }

    /// With other options.
    pub(crate) async fn with(change: impl FnOnce(&mut SupervisorOptions)) -> Outcome<Self> {
        let folder = fresh_folder();
        let mut options = SupervisorOptions::new(folder.clone());
        change(&mut options);
        Ok(Self { supervisor: Supervisor::start(options).await?, site: Site::start().await?, folder })
    }

    /// A browser for this run and epoch.
    pub(crate) async fn open(&self, run: &str, epoch: i32) -> Result<Page, BrowserError> {
        open_at(self.supervisor.endpoint(), run, epoch).await
    }

    /// A browser for this run and epoch that shows the form.
    pub(crate) async fn open_form(&self, run: &str, epoch: i32) -> Result<Page, BrowserError> {
        let page = self.open(run, epoch).await?;
        page.goto(&self.site.at("/form")).await?;
        Ok(page)
    }

    /// How many sessions the supervisor has.
    pub(crate) async fn sessions(&self) -> Outcome<usize> {
        let url = format!("{}/_sessions", self.supervisor.endpoint());
        let told: serde_json::Value = client()?.get(url).send().await?.json().await?;
        Ok(told["value"].as_array().map_or(0, Vec::len))
    }

    /// Stops the supervisor and removes its folder.
    pub(crate) async fn end(self) -> Outcome {
        self.supervisor.stop().await;
        Ok(fs::remove_dir_all(&self.folder)?)
    }
}

/// A browser at this endpoint.
pub(crate) async fn open_at(endpoint: String, run: &str, epoch: i32) -> Result<Page, BrowserError> {
    let lane = BrowserLane::new(endpoint, BrowserOptions::default());
    let run = run.to_owned();
    lane.open(Fence { run, epoch }).await
}

/// A client that no proxy of the environment stands in front of.
pub(crate) fn client() -> Outcome<reqwest::Client> {
    drop(rustls::crypto::ring::default_provider().install_default());
    Ok(reqwest::Client::builder().no_proxy().build()?)
}

/// A folder that the browsers' user can reach.
pub(crate) fn fresh_folder() -> PathBuf {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    std::env::temp_dir().join(format!("fermata-browsers-{}-{number}", std::process::id()))
}

/// Waits for an observed fact.
pub(crate) async fn until(what: &str, fact: impl AsyncFn() -> bool) -> Outcome {
    let clock = Clock::system();
    let limit = clock.monotonic() + FACT_LIMIT;
    while !fact().await {
        if clock.monotonic() >= limit {
            return Err(format!("waited in vain until {what}").into());
        }
        clock.wait(LOOK_INTERVAL).await;
    }
    Ok(())
}

/// The living processes of a supervisor's folder, by command line or environment; Chromium's
/// helpers overwrite both, so their parents count too.
pub(crate) fn processes_of(folder: &Path) -> Vec<i32> {
    let mark = folder.display().to_string();
    let read = |pid: i32, file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let says = |pid: i32, file: &str| String::from_utf8_lossy(&read(pid, file)).contains(&mark);
    let stat = |pid: i32| -> Option<(String, i32)> {
        let text = String::from_utf8_lossy(&read(pid, "stat")).into_owned();
        let mut fields = text.rsplit_once(')')?.1.split_whitespace().map(str::to_owned);
        Some((fields.next()?, fields.next()?.parse().ok()?))
    };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids: Vec<i32> = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    let living: Vec<(i32, i32)> = pids
        .into_iter()
        .filter(|pid| *pid != own)
        .filter_map(|pid| stat(pid).filter(|(state, _)| state != "Z").map(|(_, parent)| (pid, parent)))
        .collect();
    let mut ours: Vec<i32> =
        living.iter().map(|(pid, _)| *pid).filter(|pid| says(*pid, "cmdline") || says(*pid, "environ")).collect();
    loop {
        let born = living.iter().find(|(pid, parent)| ours.contains(parent) && !ours.contains(pid));
        match born {
            Some((pid, _)) => ours.push(*pid),
            None => return ours,
        }
    }
}

/// The main process of chromedriver in a folder.
pub(crate) fn chromedriver_of(folder: &Path) -> Option<i32> {
    processes_of(folder).into_iter().find(|pid| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        name.trim() == "chromedriver"
    })
}

/// A process of this test, killed when the test is over, however it ends.
pub(crate) struct Process(Child);

impl Process {
    /// Runs one ignored test of this binary as a process of its own.
    pub(crate) fn start(test: &str, given: &[(&str, &str)]) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["--exact", test, "--ignored", "--nocapture"]).stdin(Stdio::null()).stdout(Stdio::null());
        for (name, value) in given {
            command.env(name, value);
        }
        Ok(Self(command.spawn()?))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Outcome {
        Ok(kill(Pid::from_raw(i32::try_from(self.0.id())?), signal)?)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// A control by role and accessible name.
pub(crate) fn named(role: &str, name: &str) -> Target {
    Target { role: Some(role.to_owned()), name: Some(name.to_owned()), ..Target::default() }
}

/// A control by CSS alone.
pub(crate) fn css(selector: &str) -> Target {
    Target { css: Some(selector.to_owned()), ..Target::default() }
}
