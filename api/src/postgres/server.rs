//! The server process: starting, recognising, adopting and stopping it.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use nix::errno::Errno;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::process::{Child, Command};

use super::PostgresError;
use super::binaries::Installation;
use super::error::advice_for;
use super::folder::{Cluster, ServerUser, remove_socket_dir};
use super::log::{last_lines, log_sizes, newest_log, read_from, said_since};

/// How long a server may take to become ready; after a crash it first replays up to 1 GB of its log.
const START_LIMIT: Duration = Duration::from_mins(3);
/// How long a fast shutdown may take; it writes at most the shared buffers.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// How long an immediate shutdown may take, after a fast one did not end.
const IMMEDIATE_LIMIT: Duration = Duration::from_secs(10);
/// How long the server's log may lag behind its death.
const LAST_WORDS_LIMIT: Duration = Duration::from_secs(2);
/// How long to let a killed server's remains go away before the next attempt.
const RETRY_PAUSE: Duration = Duration::from_millis(400);
/// How often an awaited fact is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(50);

/// What makes the server durable, modest and quiet. The command line wins over the cluster's own files.
const SETTINGS: [(&str, &str); 26] = [
    ("listen_addresses", "127.0.0.1"),
    ("unix_socket_permissions", "0700"),
    ("password_encryption", "scram-sha-256"),
    ("fsync", "on"),
    ("full_page_writes", "on"),
    ("synchronous_commit", "on"),
    ("wal_level", "replica"),
    ("max_wal_size", "1GB"),
    ("max_connections", "200"),
    ("shared_buffers", "256MB"),
    // Workflow tables are small and change often.
    ("autovacuum_naptime", "10s"),
    // Compiling short statements costs more than it gives.
    ("jit", "off"),
    // Short prepared statements over a loopback connection that a dead worker must not hold for hours.
    ("tcp_keepalives_idle", "60"),
    ("timezone", "UTC"),
    ("cluster_name", "fermata"),
    ("logging_collector", "on"),
    ("log_destination", "stderr"),
    ("log_directory", "log"),
    // One file a day, seven days.
    ("log_filename", "server-%a.log"),
    ("log_rotation_age", "1d"),
    ("log_rotation_size", "0"),
    ("log_truncate_on_rotation", "on"),
    ("log_timezone", "UTC"),
    ("log_line_prefix", "%m [%p] %q%u@%d %a "),
    ("log_lock_waits", "on"),
    // A failing statement is logged without the values it carried.
    ("log_parameter_max_length_on_error", "0"),
];

/// How a server is reached.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub(super) port: u16,
    pub(super) socket_dir: PathBuf,
}

/// A running server.
#[derive(Debug)]
pub(super) struct Server {
    pub(super) pid: i32,
    pub(super) place: Place,
    /// The process as our child; `None` for an adopted one.
    child: Option<Child>,
}

impl Server {
    pub(super) fn adopted(&self) -> bool {
        self.child.is_none()
    }

    /// Asks for a fast shutdown and waits for the end; if that does not come, for an immediate one, which
    /// loses nothing that was committed.
    pub(super) async fn stop(mut self, cluster: &Cluster) -> Result<(), PostgresError> {
        for (signal, limit) in [(Signal::SIGINT, STOP_LIMIT), (Signal::SIGQUIT, IMMEDIATE_LIMIT)] {
            if self.is_gone(cluster) {
                break;
            }
            send(self.pid, signal)?;
            if until(limit, || self.is_gone(cluster).then_some(())).await.is_none() {
                tracing::warn!(
                    postgres.pid = self.pid,
                    "the database server (pid {}) did not end within {} s of {signal}",
                    self.pid,
                    limit.as_secs()
                );
            }
        }
        if !self.is_gone(cluster) {
            return Err(PostgresError::Timeout {
                what: "stopping the database server",
                limit_secs: (STOP_LIMIT + IMMEDIATE_LIMIT).as_secs(),
                advice: "look for a disk that does not answer, and start again to take the server over",
                log: newest_log(cluster),
            });
        }
        if let Some(child) = &mut self.child {
            // Already dead: this only takes its status, so that it does not stay as a zombie.
            let _ = tokio::time::timeout(IMMEDIATE_LIMIT, child.wait()).await;
        }
        Ok(())
    }

    fn is_gone(&mut self, cluster: &Cluster) -> bool {
        let ended = self.child.as_mut().is_some_and(|child| matches!(child.try_wait(), Ok(Some(_))));
        ended || !lives_on(cluster, self.pid)
    }
}

/// One attempt to start a server.
pub(super) struct Launch<'a> {
    pub(super) installation: &'a Installation,
    pub(super) cluster: &'a Cluster,
    pub(super) port: u16,
}

impl Launch<'_> {
    /// Starts the server and waits until it is ready, or says what it said when it ended.
    pub(super) async fn run(&self) -> Result<Server, PostgresError> {
        let cluster = self.cluster;
        let socket_dir = cluster.socket_dir()?;
        let already_said = log_sizes(cluster);
        let mut child = self.spawn(&socket_dir)?;
        let fact = until(START_LIMIT, || match child.try_wait() {
            Ok(Some(_)) | Err(_) => Some(None),
            Ok(None) => PidFile::read(cluster)
                .filter(|file| file.is_ready() && child.id() == Some(file.pid.cast_unsigned()))
                .map(Some),
        });
        match fact.await {
            Some(Some(file)) => {
                Ok(Server { pid: file.pid, place: Place { port: self.port, socket_dir }, child: Some(child) })
            }
            Some(None) => {
                let failure = self.failure(&already_said).await;
                remove_socket_dir(&socket_dir);
                Err(failure)
            }
            // The server is left to go on: killing one that replays its log would only begin that anew.
            None => Err(slow_start(cluster)),
        }
    }

    fn spawn(&self, socket_dir: &Path) -> Result<Child, PostgresError> {
        let cluster = self.cluster;
        let log_failed = |error| PostgresError::file("write", &cluster.start_log, error);
        let log = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&cluster.start_log)
            .map_err(log_failed)?;
        let program = self.installation.program("postgres");
        let mut command = server_command(&program, &cluster.user);
        command.arg("-D").arg(&cluster.dir).args(["-c", &format!("port={}", self.port), "-c"]).arg({
            let mut setting = std::ffi::OsString::from("unix_socket_directories=");
            setting.push(socket_dir);
            setting
        });
        for (name, value) in SETTINGS {
            command.args(["-c", &format!("{name}={value}")]);
        }
        command
            .stdout(log.try_clone().map_err(log_failed)?)
            .stderr(log)
            // A group of its own: Ctrl-C at the terminal is for the owner, which stops the server last.
            .process_group(0)
            .kill_on_drop(false);
        tracing::info!("starting the database server…");
        command.spawn().map_err(|source| PostgresError::Program { program, user: cluster.user.name.clone(), source })
    }

    /// What the server said before it ended. Its log is written by another process that ends a little later.
    async fn failure(&self, already_said: &[(PathBuf, u64)]) -> PostgresError {
        let cluster = self.cluster;
        let said = || format!("{}{}", read_from(&cluster.start_log, 0), said_since(cluster, already_said));
        let words = until(LAST_WORDS_LIMIT, || Some(said()).filter(|words| words.contains("FATAL"))).await;
        let output = last_lines(&words.unwrap_or_else(said));
        let advice = advice_for(&output);
        PostgresError::StartFailed { output, advice, log: newest_log(cluster) }
    }
}

/// Finds the server that already runs on a cluster, waits until it is ready, and takes it as it is.
/// One that is going away is waited for; one whose socket is gone is stopped.
pub(super) async fn adopt(cluster: &Cluster) -> Result<Option<Server>, PostgresError> {
    let found = until(START_LIMIT, || {
        let Some(file) = PidFile::read(cluster) else {
            return Some(None);
        };
        match occupant(cluster, file.pid) {
            Occupant::Server => file.is_ready().then_some(Some(file)),
            Occupant::Nobody => Some(None),
            Occupant::Stranger => {
                // The crashed server's number was given to another process, which would hinder the next server.
                // Should parts of the crashed one live still, its shared memory tells the next one so.
                tracing::warn!("removing the stale postmaster.pid of a crashed server (pid {})", file.pid);
                let _ = fs::remove_file(cluster.dir.join("postmaster.pid"));
                Some(None)
            }
        }
    });
    let Some(found) = found.await else {
        return Err(slow_start(cluster));
    };
    let Some(file) = found else {
        return Ok(None);
    };
    tracing::info!(postgres.pid = file.pid, "taking over the database server that is still running (pid {})", file.pid);
    let socket = file.socket_dir.join(format!(".s.PGSQL.{}", file.port));
    let server = Server { pid: file.pid, place: Place { port: file.port, socket_dir: file.socket_dir }, child: None };
    if socket.exists() {
        return Ok(Some(server));
    }
    tracing::warn!("its socket {} is gone, so it is started anew", socket.display());
    server.stop(cluster).await?;
    Ok(None)
}

/// Whether a process is the living server of this cluster.
pub(super) fn lives_on(cluster: &Cluster, pid: i32) -> bool {
    occupant(cluster, pid) == Occupant::Server
}

/// Who has the process id that `postmaster.pid` names.
#[derive(Debug, PartialEq, Eq)]
enum Occupant {
    /// The server of this cluster.
    Server,
    /// No living process, or one about which nothing is known; the next server looks for itself.
    Nobody,
    /// A process that certainly is not this cluster's server.
    Stranger,
}

/// A server works in its cluster's folder, which tells it from a process that has its old number.
fn occupant(cluster: &Cluster, pid: i32) -> Occupant {
    if pid <= 0 {
        return Occupant::Nobody;
    }
    if !Path::new("/proc/self/cwd").exists() {
        return match kill(Pid::from_raw(pid), None) {
            Ok(()) => Occupant::Server,
            Err(_) => Occupant::Nobody,
        };
    }
    match fs::metadata(format!("/proc/{pid}/cwd")) {
        Ok(at) => match fs::metadata(&cluster.dir) {
            Ok(dir) if (at.dev(), at.ino()) == (dir.dev(), dir.ino()) => Occupant::Server,
            _ => Occupant::Stranger,
        },
        // Root without CAP_SYS_PTRACE (the rule in containers) may not look into another user's process;
        // the command line is open to all, and empty for a zombie.
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            by_command_line(&line, &cluster.dir)
        }
        Err(_) => Occupant::Nobody,
    }
}

/// Root without CAP_SYS_PTRACE (the rule in containers) may not look into another user's process, but the
/// command line is open to all. A zombie's is empty.
fn by_command_line(line: &[u8], cluster_dir: &Path) -> Occupant {
    let mut words = line.split(|&byte| byte == 0);
    let program = words.next().unwrap_or_default();
    if words.any(|word| word == cluster_dir.as_os_str().as_bytes()) {
        Occupant::Server
    } else if program.is_empty() || program.ends_with(b"postgres") {
        Occupant::Nobody
    } else {
        Occupant::Stranger
    }
}

/// What a server writes down about itself in `postmaster.pid`.
#[derive(Debug)]
struct PidFile {
    pid: i32,
    port: u16,
    socket_dir: PathBuf,
    status: String,
}

impl PidFile {
    /// `None` where there is no file, or one that is only half written.
    fn read(cluster: &Cluster) -> Option<Self> {
        let text = fs::read_to_string(cluster.dir.join("postmaster.pid")).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let line = |number: usize| lines.get(number - 1).copied().unwrap_or_default();
        Some(Self {
            pid: line(1).parse().ok()?,
            port: line(4).parse().unwrap_or(0),
            socket_dir: PathBuf::from(line(5)),
            status: line(8).to_owned(),
        })
    }

    fn is_ready(&self) -> bool {
        self.status == "ready"
    }
}

/// A server program as the server's user, with nothing of our environment but what finding libraries needs.
pub(super) fn server_command(program: &Path, user: &ServerUser) -> Command {
    let mut command = Command::new(program);
    command.env_clear().env("LC_ALL", "C").current_dir("/").stdin(Stdio::null());
    for name in ["PATH", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "TMPDIR"] {
        if let Some(value) = std::env::var_os(name) {
            command.env(name, value);
        }
    }
    if user.drop_to {
        command.uid(user.uid).gid(user.gid);
    }
    command
}

/// Looks at a fact until it is there; `None` when the limit passes first.
async fn until<T>(limit: Duration, mut fact: impl FnMut() -> Option<T>) -> Option<T> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let looking = async {
        loop {
            ticks.tick().await;
            if let Some(value) = fact() {
                return value;
            }
        }
    };
    tokio::time::timeout(limit, looking).await.ok()
}

/// Lets the remains of a killed server go away: there is no fact to look at from outside.
pub(super) async fn pause_before_retry() {
    until(RETRY_PAUSE, || None::<()>).await;
}

fn send(pid: i32, signal: Signal) -> Result<(), PostgresError> {
    match kill(Pid::from_raw(pid), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(error) => Err(PostgresError::Signal { pid, source: error.into() }),
    }
}

fn slow_start(cluster: &Cluster) -> PostgresError {
    PostgresError::Timeout {
        what: "waiting for the database server to be ready",
        limit_secs: START_LIMIT.as_secs(),
        advice: "after a crash it may still be replaying its log: start again to wait on",
        log: newest_log(cluster),
    }
}
