//! Keeps one chromedriver running, and makes sure that nothing of it outlives this process.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use fermata_engine::clock::Clock;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, BufReader};
use tokio::process::{Child, ChildStdin};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::error::SupervisorError;
use super::process::{Place, find, kill_group};
use super::sandbox::PACKAGES;

/// How long chromedriver may take to listen.
const READY_LIMIT: Duration = Duration::from_secs(20);
/// How often the first driver is started when it loses its port to somebody else.
const FIRST_STARTS: u32 = 3;
/// The first pause before a restart; it doubles up to the longest.
const RESTART_PAUSE: Duration = Duration::from_millis(250);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(10);
/// One that lived this long starts again with the first pause.
const HEALTHY_AFTER: Duration = Duration::from_mins(1);
/// How long killed processes may take to vanish.
const VANISH_LIMIT: Duration = Duration::from_secs(5);
const VANISH_LOOK: Duration = Duration::from_millis(25);
/// Lines of the driver's output kept for its error message.
const LINES_MAX: usize = 64;

/// Leads the process group: starts the driver, and kills the group (Chromium included) when the
/// driver ends or standard input breaks, which it does the moment the supervisor is gone, however.
const GUARD: &str = r#"
exec 3<&0
"$@" </dev/null 3<&- & driver=$!
(read -r _ <&3; kill -KILL 0) &
exec 3<&-
wait "$driver"
kill -KILL 0
"#;

/// A chromedriver that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Driver {
    /// Its address, such as `http://127.0.0.1:40001`.
    pub(super) base: String,
    /// Grows with each start; sessions of an earlier one are gone.
    pub(super) generation: u64,
    /// Its process group, which its Chromiums share.
    pub(super) group: i32,
}

/// A guard with its driver, and the pipe whose end the guard waits for. Apart from the child, because
/// tokio closes a child's standard input when it is waited for.
struct Running {
    child: Child,
    _lifeline: Option<ChildStdin>,
}

/// Restarts the driver when it dies, until told to stop.
#[derive(Debug)]
pub(super) struct Keeper {
    task: JoinHandle<()>,
}

impl Keeper {
    /// Starts the first driver; a failure of that one is reported, later ones are retried. `sender`
    /// tells the driver of the moment.
    pub(super) async fn start(
        place: Place,
        sender: watch::Sender<Option<Driver>>,
        stopping: CancellationToken,
        clock: Clock,
    ) -> Result<Self, SupervisorError> {
        let program = find("chromedriver", Some("CHROMEDRIVER"), PACKAGES)?;
        let mut shift = Shift { place, program, stopping, clock, sender, generation: 0 };
        let mut first = shift.spawn().await;
        for _ in 1..FIRST_STARTS {
            if first.as_ref().is_err_and(lost_its_port) {
                first = shift.spawn().await;
            }
        }
        let first = first?;
        let task = tokio::spawn(async move { shift.work(first).await });
        Ok(Self { task })
    }

    /// Waits until everything is gone; the stop must have been asked for.
    pub(super) async fn ended(&mut self) {
        if let Err(error) = (&mut self.task).await {
            tracing::error!(%error, "the keeper of chromedriver ended badly: {error}");
        }
    }
}

/// What the keeper's task works with.
struct Shift {
    place: Place,
    program: PathBuf,
    stopping: CancellationToken,
    clock: Clock,
    sender: watch::Sender<Option<Driver>>,
    generation: u64,
}

impl Shift {
    async fn work(mut self, first: Running) {
        let mut child = Some(first);
        let mut pause = RESTART_PAUSE;
        loop {
            if let Some(running) = child.take() {
                let since = self.clock.monotonic();
                if self.watch(running).await {
                    return;
                }
                if self.clock.monotonic().duration_since(since) > HEALTHY_AFTER {
                    pause = RESTART_PAUSE;
                }
            }
            tokio::select! {
                () = self.stopping.cancelled() => return self.clear_up().await,
                () = self.clock.wait(pause) => pause = (pause * 2).min(RESTART_PAUSE_MAX),
            }
            match self.spawn().await {
                Ok(running) => child = Some(running),
                Err(error) => tracing::warn!(%error, "chromedriver did not start again: {error}"),
            }
        }
    }

    /// Watches one driver to its end; answers whether it ended because we stop.
    async fn watch(&mut self, mut running: Running) -> bool {
        let stopped = tokio::select! {
            () = self.stopping.cancelled() => true,
            _ = running.child.wait() => false,
        };
        let group = self.sender.borrow().as_ref().map(|driver| driver.group);
        self.sender.send_replace(None);
        if stopped {
            group.into_iter().for_each(kill_group);
        } else {
            tracing::warn!("chromedriver died, and all browser sessions with it; it is started again");
        }
        if let Err(error) = running.child.wait().await {
            tracing::warn!(%error, "cannot wait for chromedriver: {error}");
        }
        self.clear_up().await;
        stopped
    }

    /// Kills until nothing is left, then empties the profiles.
    async fn clear_up(&self) {
        let until = self.clock.monotonic() + VANISH_LIMIT;
        while self.place.kill_all() > 0 {
            if self.clock.monotonic() >= until {
                tracing::error!("browser processes survive SIGKILL; they are left to the kernel");
                break;
            }
            self.clock.wait(VANISH_LOOK).await;
        }
        if let Err(error) = self.place.empty() {
            tracing::warn!(%error, "browser profiles could not be removed: {error}");
        }
    }

    async fn spawn(&mut self) -> Result<Running, SupervisorError> {
        let unstartable = |source| SupervisorError::Spawn { program: self.program.clone(), source };
        let mut command = self.place.command(std::path::Path::new("sh"));
        command
            .args(["-c", GUARD, "fermata-browsers"])
            .arg(self.place.setpriv())
            .args(["--pdeathsig", "KILL", "--"])
            .arg(&self.program)
            .args(["--port=0", "--log-level=WARNING"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().map_err(unstartable)?;
        let group = child.id().and_then(|id| i32::try_from(id).ok()).unwrap_or_default();
        let (lines, mut heard) = mpsc::channel(LINES_MAX);
        if let Some(output) = child.stdout.take() {
            tokio::spawn(listen(output, lines.clone()));
        }
        if let Some(errors) = child.stderr.take() {
            tokio::spawn(listen(errors, lines));
        }
        match port(&mut heard).await {
            Ok(port) => {
                self.generation += 1;
                self.sender.send_replace(Some(Driver {
                    base: format!("http://127.0.0.1:{port}"),
                    generation: self.generation,
                    group,
                }));
                Ok(Running { _lifeline: child.stdin.take(), child })
            }
            Err(last_line) => {
                kill_group(group);
                Err(SupervisorError::NotReady { limit_secs: READY_LIMIT.as_secs(), last_line })
            }
        }
    }
}

/// Whether it found a free port of IPv6 that somebody else had taken by IPv4: another try finds another.
fn lost_its_port(error: &SupervisorError) -> bool {
    matches!(error, SupervisorError::NotReady { last_line, .. } if last_line.contains("port not available"))
}

/// Waits for the line that names the port; else answers the last line heard.
async fn port(heard: &mut mpsc::Receiver<String>) -> Result<u16, String> {
    let mut last = "none".to_owned();
    let named = async {
        while let Some(line) = heard.recv().await {
            if let Some(port) = port_in(&line) {
                return Some(port);
            }
            last = line;
        }
        None
    };
    let named = tokio::time::timeout(READY_LIMIT, named).await;
    named.ok().flatten().ok_or(last)
}

fn port_in(line: &str) -> Option<u16> {
    let (_, after) = line.split_once("started successfully on port ")?;
    after.trim_end_matches('.').parse().ok()
}

/// Reads to the end, so that the driver never blocks on a full pipe; what nobody hears is let go.
async fn listen(output: impl AsyncRead + Unpin, lines: mpsc::Sender<String>) {
    let mut reader = BufReader::new(output).split(b'\n');
    while let Ok(Some(line)) = reader.next_segment().await {
        let line = String::from_utf8_lossy(&line).into_owned();
        tracing::trace!("chromedriver: {line}");
        // Full or closed: the port is known by then.
        let _ = lines.try_send(line);
    }
}

#[cfg(test)]
mod tests {
    use super::{SupervisorError, lost_its_port, port_in};

    #[test]
    fn a_port_that_was_lost_to_somebody_else_is_told_from_other_failures() {
        let error = |last_line: &str| SupervisorError::NotReady { limit_secs: 20, last_line: last_line.to_owned() };
        assert!(lost_its_port(&error("IPv4 port not available. Exiting...")));
        assert!(!lost_its_port(&error("none")));
    }

    #[test]
    fn the_port_is_read_from_the_line_that_says_ready() {
        assert_eq!(port_in("ChromeDriver was started successfully on port 41665."), Some(41665));
        assert_eq!(port_in("Starting ChromeDriver 156.0 on port 0"), None);
    }
}
