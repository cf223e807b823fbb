//! One of our programs as a process that can be killed, stopped, woken and started again.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use crate::clock;
use crate::trouble::Trouble;

/// How much of its log is shown when a program does not start.
const LAST_LINES: usize = 12;
/// How long a program may take until everything of it answers, on a machine that does much else.
const READY_WITHIN: Duration = Duration::from_secs(40);

/// How it is started.
#[derive(Debug, Clone)]
pub(crate) struct Recipe {
    /// Its name in logs.
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    /// Where its log, its ready file and its data are.
    pub(crate) folder: PathBuf,
}

/// A program; killed when dropped.
#[derive(Debug)]
pub(crate) struct Program {
    recipe: Recipe,
    child: Option<Child>,
    /// Settings of this start alone.
    extra: Vec<(String, String)>,
}

impl Program {
    pub(crate) fn new(recipe: Recipe) -> Self {
        Self { recipe, child: None, extra: Vec::new() }
    }

    fn ready_file(&self) -> PathBuf {
        self.recipe.folder.join(format!("{}.ready.json", self.recipe.name))
    }

    /// Its log, all of its starts after each other.
    pub(crate) fn log(&self) -> PathBuf {
        self.recipe.folder.join(format!("{}.log", self.recipe.name))
    }

    /// Starts it, with settings of this start alone; does not wait until it answers.
    pub(crate) fn start(&mut self, extra: Vec<(String, String)>) -> Result<(), Trouble> {
        self.kill();
        drop(fs::remove_file(self.ready_file()));
        let log = File::options().create(true).append(true).open(self.log())?;
        let mut command = Command::new(&self.recipe.program);
        command.args(&self.recipe.args).arg("--ready-file").arg(self.ready_file()).env_clear();
        if let Some(path) = std::env::var_os("PATH") {
            command.env("PATH", path);
        }
        command.envs(self.recipe.env.iter().cloned()).envs(extra.iter().cloned()).current_dir(&self.recipe.folder);
        let child = command.stdin(Stdio::piped()).stdout(log.try_clone()?).stderr(log).spawn()?;
        self.child = Some(child);
        self.extra = extra;
        Ok(())
    }

    /// What it wrote when everything of it answered.
    pub(crate) async fn ready(&mut self) -> Result<Value, Trouble> {
        let file = self.ready_file();
        let began = clock::monotonic();
        loop {
            if let Some(ready) = read_json(&file) {
                return Ok(ready);
            }
            if !self.is_running()? {
                return Err(self.trouble("it ended while starting"));
            }
            if began.elapsed() > READY_WITHIN {
                return Err(self.trouble("it is not ready in time"));
            }
            clock::pause(Duration::from_millis(10)).await;
        }
    }

    /// Whether its process is there. One that fell is not.
    pub(crate) fn is_running(&mut self) -> Result<bool, Trouble> {
        match self.child.as_mut() {
            Some(child) => Ok(child.try_wait()?.is_none()),
            None => Ok(false),
        }
    }

    /// Whether this start had settings of its own.
    pub(crate) fn is_special(&self) -> bool {
        !self.extra.is_empty()
    }

    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Trouble> {
        let Some(pid) = self.child.as_ref().and_then(|child| i32::try_from(child.id()).ok()) else { return Ok(()) };
        match kill(Pid::from_raw(pid), signal) {
            // It fell by itself meanwhile.
            Ok(()) | Err(nix::Error::ESRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// SIGKILL, and its status is taken.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Killing what has ended is no error; there is nobody to tell of another one.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// With the end of its log, which goes with its stage.
    pub(crate) fn trouble(&self, why: &str) -> Trouble {
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<_> = log.lines().collect();
        let said = lines.get(lines.len().saturating_sub(LAST_LINES)..).unwrap_or_default().join("\n    ");
        Trouble::Program { program: self.recipe.name.clone(), why: why.to_owned(), said }
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}

fn read_json(path: &Path) -> Option<Value> {
    serde_json::from_str(&fs::read_to_string(path).ok()?).ok()
}
