//! The supervisor's folder, the user browsers run as, and the processes that belong to it.

use std::collections::{HashMap, HashSet};
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use nix::sys::signal::{Signal, kill, killpg};
use nix::unistd::{Pid, User, chown, geteuid};
use tokio::process::Command;

use super::error::SupervisorError;

/// Marks every process of ours in its environment.
const MARK: &str = "FERMATA_BROWSERS";

/// What of our environment a browser may see; the rest may hold secrets.
const PASSED_ON: [&str; 13] = [
    "PATH",
    "LANG",
    "LC_ALL",
    "TZ",
    "DISPLAY",
    "XAUTHORITY",
    "WAYLAND_DISPLAY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
];

/// The folder, claimed for this process until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    /// Temporary profiles and uploads; belongs to the user that browsers run as.
    profiles: PathBuf,
    /// The user to become, when this process is root.
    user: Option<User>,
    setpriv: PathBuf,
    _claim: Flock<fs::File>,
}

impl Place {
    /// Makes the folder ready: claims it, ends what an earlier supervisor left, empties it.
    pub(super) fn claim(work_dir: &Path, run_as: &str) -> Result<Self, SupervisorError> {
        let setpriv = find("setpriv", None, "util-linux")?;
        let user = if geteuid().is_root() { Some(user_named(run_as)?) } else { None };
        let unusable = |source| SupervisorError::Folder { folder: work_dir.to_owned(), source };
        fs::create_dir_all(work_dir).map_err(unusable)?;
        let folder = work_dir.canonicalize().map_err(unusable)?;
        // Others may pass through to the profiles, but not look around.
        fs::set_permissions(&folder, fs::Permissions::from_mode(0o711)).map_err(unusable)?;
        let file = fs::File::create(folder.join("lock")).map_err(unusable)?;
        let claim = Flock::lock(file, FlockArg::LockExclusiveNonblock)
            .map_err(|_| SupervisorError::InUse { folder: folder.clone() })?;
        let place = Self { profiles: folder.join("profiles"), user, setpriv, _claim: claim };
        let left = place.kill_all();
        if left > 0 {
            tracing::warn!(
                browser.processes = left,
                "killed {left} browser processes that an earlier supervisor left behind"
            );
        }
        place.empty().map_err(unusable)?;
        place.check_reachable(&folder)?;
        Ok(place)
    }

    /// A program as the user for browsers, in a process group of its own, with a clean environment.
    pub(super) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new(&self.setpriv);
        if let Some(user) = &self.user {
            command.arg(format!("--reuid={}", user.uid)).arg(format!("--regid={}", user.gid)).arg("--clear-groups");
        } else {
            // setpriv wants to be told something.
            command.arg("--inh-caps=-all");
        }
        command.arg("--").arg(program).env_clear().process_group(0).current_dir(&self.profiles);
        for name in PASSED_ON {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        command
            .env("HOME", &self.profiles)
            .env("TMPDIR", &self.profiles)
            .env("XDG_RUNTIME_DIR", &self.profiles)
            .env(MARK, &self.profiles);
        command
    }

    /// setpriv, for the guard script.
    pub(super) fn setpriv(&self) -> &Path {
        &self.setpriv
    }

    /// Where profiles live.
    pub(super) fn profiles(&self) -> &Path {
        &self.profiles
    }

    /// The name of the user that browsers run as, for a person to read.
    pub(super) fn user_name(&self) -> &str {
        self.user.as_ref().map_or("this user", |user| user.name.as_str())
    }

    /// Sends SIGKILL to every process of this folder; answers how many there were.
    pub(super) fn kill_all(&self) -> usize {
        let ours = members(&self.profiles);
        for pid in &ours {
            // It may have ended meanwhile, which is what is wanted.
            let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
        }
        ours.len()
    }

    /// Empties the profiles; the folder is there and belongs to the user afterwards.
    pub(super) fn empty(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.profiles) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        fs::create_dir(&self.profiles)?;
        fs::set_permissions(&self.profiles, fs::Permissions::from_mode(0o700))?;
        if let Some(user) = &self.user {
            chown(&self.profiles, Some(user.uid), Some(user.gid))?;
        }
        Ok(())
    }

    fn check_reachable(&self, folder: &Path) -> Result<(), SupervisorError> {
        let Some(user) = &self.user else {
            return Ok(());
        };
        let mut probe = self.command(Path::new("test"));
        let reached = probe.arg("-w").arg(&self.profiles).current_dir("/").as_std_mut().status();
        match reached {
            Ok(status) if status.success() => Ok(()),
            _ => Err(SupervisorError::FolderClosed { folder: folder.to_owned(), user: user.name.clone() }),
        }
    }
}

/// Ends a process group at once.
pub(super) fn kill_group(leader: i32) {
    let _ = killpg(Pid::from_raw(leader), Signal::SIGKILL);
}

/// Ends one browser at once, if the process is (still) one of this folder.
pub(super) fn kill_browser(profiles: &Path, pid: i32) -> bool {
    marked(profiles, pid) && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
}

/// Finds a program by its variable, else in PATH.
pub(super) fn find(
    program: &'static str,
    variable: Option<&'static str>,
    package: &'static str,
) -> Result<PathBuf, SupervisorError> {
    if let Some(named) = variable.and_then(std::env::var_os).filter(|value| !value.is_empty()) {
        return Ok(PathBuf::from(named));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|candidate| is_program(candidate))
        .ok_or(SupervisorError::NotInstalled { program, variable, package })
}

fn is_program(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|it| it.is_file() && it.permissions().mode() & 0o111 != 0)
}

fn user_named(name: &str) -> Result<User, SupervisorError> {
    User::from_name(name).ok().flatten().ok_or_else(|| SupervisorError::NoSuchUser { user: name.to_owned() })
}

/// The marked processes and all that descend from them: Chromium's helpers overwrite their marks.
fn members(profiles: &Path) -> HashSet<i32> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return HashSet::new();
    };
    let own = i32::try_from(std::process::id()).unwrap_or_default();
    let pids: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != own)
        .collect();
    let parents: HashMap<i32, i32> = pids.iter().filter_map(|pid| Some((*pid, living_parent(*pid)?))).collect();
    let mut ours: HashSet<i32> = pids.into_iter().filter(|pid| marked(profiles, *pid)).collect();
    loop {
        let born: Vec<i32> = parents
            .iter()
            .filter(|(pid, parent)| ours.contains(parent) && !ours.contains(pid))
            .map(|(pid, _)| *pid)
            .collect();
        if born.is_empty() {
            return ours;
        }
        ours.extend(born);
    }
}

/// Whether the process says of itself that it belongs to this folder. A zombie says nothing.
fn marked(profiles: &Path, pid: i32) -> bool {
    let mark = [MARK.as_bytes(), b"=", profiles.as_os_str().as_bytes()].concat();
    let profile = [b"--user-data-dir=", profiles.as_os_str().as_bytes(), b"/"].concat();
    let read = |file: &str| fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    let has = |words: &[u8], wanted: &dyn Fn(&[u8]) -> bool| words.split(|byte| *byte == 0).any(wanted);
    has(&read("environ"), &|word| word == mark) || has(&read("cmdline"), &|word| word.starts_with(&profile))
}

/// The parent of a process that is not a zombie.
fn living_parent(pid: i32) -> Option<i32> {
    let stat = fs::read(format!("/proc/{pid}/stat")).ok()?;
    // The name stands in brackets and may hold anything.
    let after_name = stat.iter().rposition(|byte| *byte == b')')?;
    let rest = OsStr::from_bytes(stat.get(after_name + 1..)?).to_str()?;
    let mut fields = rest.split_ascii_whitespace();
    let state = fields.next()?;
    let parent = fields.next()?.parse().ok()?;
    (state != "Z").then_some(parent)
}
