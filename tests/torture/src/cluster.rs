//! A Postgres of the rig's own, which can be killed as a whole and comes back on the same data.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::clock;
use crate::trouble::Trouble;

/// How long a killed server's processes may take to be gone.
const GONE_WITHIN: Duration = Duration::from_secs(20);

/// The server, run by the program that the test suite's cluster is run by.
pub(crate) struct Cluster {
    program: PathBuf,
    folder: PathBuf,
    child: Option<Child>,
    /// `postgres://…` of the login.
    pub(crate) url: String,
}

impl Cluster {
    pub(crate) fn start(program: &Path, folder: &Path) -> Result<Self, Trouble> {
        std::fs::create_dir_all(folder)?;
        let mut cluster =
            Self { program: program.to_owned(), folder: folder.to_owned(), child: None, url: String::new() };
        cluster.run()?;
        Ok(cluster)
    }

    fn run(&mut self) -> Result<(), Trouble> {
        let mut child =
            Command::new(&self.program).arg(&self.folder).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut url = String::new();
        if let Some(output) = child.stdout.take() {
            BufReader::new(output).read_line(&mut url)?;
        }
        self.child = Some(child);
        url.trim().clone_into(&mut self.url);
        if self.url.is_empty() { Err(Trouble::Late("the rig's Postgres did not start".into())) } else { Ok(()) }
    }

    /// `host:port` of the server.
    pub(crate) fn address(&self) -> &str {
        let host = self.url.rsplit_once('@').map_or("", |(_, rest)| rest);
        host.split_once('/').map_or(host, |(address, _)| address)
    }

    /// Where the server keeps its data.
    fn data(&self) -> PathBuf {
        // Only a server that root started is elsewhere.
        let elsewhere = std::fs::read_to_string(self.folder.join("postgres.location"));
        elsewhere.map_or_else(|_| self.folder.join("postgres"), |kept| PathBuf::from(kept.trim()))
    }

    /// SIGKILL for the postmaster and every process of it: what was not on disk is gone.
    pub(crate) async fn kill(&mut self) -> Result<(), Trouble> {
        let file = find(&self.data(), "postmaster.pid")
            .ok_or_else(|| Trouble::Answer("the rig's Postgres has no postmaster.pid".into()))?;
        let pid: i32 = std::fs::read_to_string(file)?
            .lines()
            .next()
            .and_then(|line| line.trim().parse().ok())
            .ok_or_else(|| Trouble::Answer("postmaster.pid names no process".into()))?;
        // Who runs the server would start looking for it.
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        let family = family(pid);
        for pid in &family {
            match kill(Pid::from_raw(*pid), Signal::SIGKILL) {
                Ok(()) | Err(nix::Error::ESRCH) => {}
                Err(error) => return Err(error.into()),
            }
        }
        let gone = clock::until(GONE_WITHIN, || async { !family.iter().any(|pid| is_alive(*pid)) }).await;
        if gone { Ok(()) } else { Err(Trouble::Late("the killed Postgres is still there".into())) }
    }

    /// Starts it again on what is on disk.
    pub(crate) fn again(&mut self) -> Result<(), Trouble> {
        self.run()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let kept = self.data();
        if let Some(mut child) = self.child.take() {
            // The end of its input stops the server.
            drop(child.stdin.take());
            drop(child.wait());
        }
        drop(std::fs::remove_dir_all(&kept));
        drop(std::fs::remove_file(format!("{}.lock", kept.display())));
        drop(std::fs::remove_dir_all(&self.folder));
    }
}

/// A file of that name in a folder or one below it.
fn find(folder: &Path, name: &str) -> Option<PathBuf> {
    let here = folder.join(name);
    if here.exists() {
        return Some(here);
    }
    std::fs::read_dir(folder).ok()?.flatten().map(|entry| entry.path().join(name)).find(|path| path.exists())
}

/// A process and its children.
fn family(pid: i32) -> Vec<i32> {
    let children = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    std::iter::once(pid).chain(children.split_whitespace().filter_map(|pid| pid.parse().ok())).collect()
}

/// A zombie has nothing any more: its parent has not looked yet.
fn is_alive(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status.rsplit_once(')').is_some_and(|(_, rest)| !rest.trim_start().starts_with('Z'))
}
