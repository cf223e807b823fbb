//! A child process: started so that it cannot outlive us, awaited until it says that it is ready.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use fermata_engine::clock::Clock;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;
use tokio::process::Command;

use super::Trouble;

/// How long a child may take until it is ready; the first start of a browser on a busy machine is slow.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// How often the ready file is looked for.
const LOOK: Duration = Duration::from_millis(10);
/// How many of the last lines of its log are shown when a child does not start.
const TAIL_LINES: usize = 12;

/// How to start a child.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// Its name, such as `worker-1`.
    pub(crate) name: String,
    /// What to run.
    pub(crate) program: PathBuf,
    /// Its arguments; no secret may be among them.
    pub(crate) arguments: Vec<String>,
    /// What its environment has beside ours.
    pub(crate) environment: Vec<(String, String)>,
    /// Where its output goes.
    pub(crate) log: PathBuf,
    /// What it writes when it is ready.
    pub(crate) ready_file: PathBuf,
    /// Kept out of our process group, because it would take Ctrl-C for its own end.
    pub(crate) apart: bool,
}

/// A running child. Dropping it kills it.
#[derive(Debug)]
pub(crate) struct Child {
    process: tokio::process::Child,
    /// Its process id.
    pub(crate) pid: u32,
}

impl Plan {
    /// Starts the child. Must be called on the main thread: the kernel ties the child's life to the
    /// *thread* that started it.
    pub(crate) fn spawn(&self) -> Result<Child, Trouble> {
        let refused = |error: io::Error| {
            Trouble::failed(format!("{} did not start", self.name)).why(format!("{}: {error}", self.program.display()))
        };
        match fs::remove_file(&self.ready_file) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(refused(error)),
            _ => {}
        }
        let log = OpenOptions::new().append(true).create(true).open(&self.log).map_err(refused)?;
        let mut command = self.command();
        command
            .args(&self.arguments)
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(File::try_clone(&log).map_err(refused)?)
            .stderr(log)
            .kill_on_drop(true);
        let process = command.spawn().map_err(refused)?;
        let pid = process.id().unwrap_or_default();
        Ok(Child { process, pid })
    }

    /// The program behind `setpriv`, so that the kernel kills it when we die; plain without that tool.
    fn command(&self) -> Command {
        let Some(setpriv) = setpriv() else {
            return Command::new(&self.program);
        };
        let mut command = Command::new(setpriv);
        command.args(["--pdeathsig", "KILL", "--"]).arg(&self.program);
        if self.apart {
            command.process_group(0);
        }
        command
    }

    /// Waits until the child says that it is ready, and answers what it says.
    pub(crate) async fn ready<T: DeserializeOwned>(&self, child: &mut Child, clock: &Clock) -> Result<T, Trouble> {
        let began = clock.monotonic();
        loop {
            if let Some(ready) = fs::read(&self.ready_file).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok()) {
                return Ok(ready);
            }
            let failed = |how: String| Trouble::failed(format!("{} {how}", self.name)).why(self.tail());
            if let Ok(Some(status)) = child.process.try_wait() {
                return Err(failed(format!("ended before it was ready ({})", ending(status))));
            }
            if clock.monotonic().duration_since(began) > READY_LIMIT {
                return Err(failed(format!("was not ready within {} s", READY_LIMIT.as_secs())));
            }
            clock.wait(LOOK).await;
        }
    }

    /// The end of its log.
    fn tail(&self) -> String {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        let last = lines.split_at(lines.len().saturating_sub(TAIL_LINES)).1.join("\n");
        format!("the end of {}:\n{last}", self.log.display())
    }
}

impl Child {
    /// Waits until it ends, and says how.
    pub(crate) async fn ended(&mut self) -> String {
        self.process.wait().await.map_or_else(|error| error.to_string(), ending)
    }

    /// Kills it, as a crash would.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.process.kill().await
    }

    /// Asks it to end, and kills it when it has not within `patience`.
    pub(crate) async fn stop(&mut self, patience: Duration) {
        if let Some(pid) = self.process.id().and_then(|pid| i32::try_from(pid).ok()) {
            // It may have ended in between; then there is nothing to ask.
            let _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        if tokio::time::timeout(patience, self.process.wait()).await.is_err() {
            drop(self.process.kill().await);
        }
    }
}

/// How a process ended, for people.
fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => {
            Signal::try_from(signal).map_or_else(|_| format!("signal {signal}"), |name| name.as_str().to_owned())
        }
        (None, None) => "no status".to_owned(),
    }
}

/// Finds util-linux' `setpriv`.
fn setpriv() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut places = std::env::split_paths(&path).map(|folder| folder.join("setpriv"));
    places.find(|place| Path::is_file(place))
}
