//! What can go wrong with the private Postgres, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};

/// Why the private Postgres did not start or stop. Each text ends with what to try.
#[derive(Debug, thiserror::Error)]
pub enum PostgresError {
    /// No usable server binaries on this machine.
    #[error(
        "no PostgreSQL server binaries (initdb and postgres, version {} or newer) found; looked in {looked}; \
         install them (Debian, Ubuntu: `apt-get install postgresql`), or name their folder in PG_BIN, \
         or set DATABASE_URL to use a server of your own",
        super::binaries::OLDEST_MAJOR
    )]
    NotInstalled {
        /// The folders that were searched, for a person to read.
        looked: String,
    },
    /// Started as root, and there is no user to run the server as.
    #[error(
        "the database server refuses to run as root, and this machine has neither a user `postgres` nor \
         `nobody`; create one (`useradd --system postgres`), or start as an ordinary user"
    )]
    NoUnprivilegedUser,
    /// Another living process owns the folder.
    #[error(
        "{} is in use by a running Fermata (pid {pid}); stop that one (`kill {pid}`), or give this one \
         another folder with --data-dir",
        folder.display()
    )]
    Owned {
        /// The folder both want.
        folder: PathBuf,
        /// The process that has it, as it wrote itself down; `unknown` in the instant before it does.
        pid: String,
    },
    /// The folder's cluster was made by root and cannot be reached by this user.
    #[error(
        "the database of {} was created by root; start as root again, or use another folder with --data-dir",
        folder.display()
    )]
    MadeByRoot {
        /// The data folder.
        folder: PathBuf,
    },
    /// The link to the cluster points to a place where no cluster of ours can be.
    #[error(
        "{} points outside {}; correct it, or remove it to begin with an empty database",
        link.display(), clusters.display()
    )]
    StrangeLocation {
        /// The link file.
        link: PathBuf,
        /// Where root's clusters lie.
        clusters: PathBuf,
    },
    /// There are files where the cluster should be, but no cluster.
    #[error(
        "{} holds files but no database cluster (no readable PG_VERSION); move it away, or use another \
         folder with --data-dir",
        folder.display()
    )]
    NotACluster {
        /// The cluster folder.
        folder: PathBuf,
    },
    /// The cluster belongs to a major version that is not installed.
    #[error(
        "{} was written by PostgreSQL {found}, and installed is {installed}; install `postgresql-{found}` beside it, \
         or carry the data over (pg_upgrade, or pg_dump with {found} and restore), or begin anew in \
         another folder with --data-dir",
        folder.display()
    )]
    OtherMajor {
        /// The cluster folder.
        folder: PathBuf,
        /// The major version that wrote it.
        found: u32,
        /// The major versions on this machine, for a person to read.
        installed: String,
    },
    /// The port that was asked for is taken.
    #[error("port {port} on 127.0.0.1 is in use; stop what listens there, or ask for port 0 to get a free one")]
    PortInUse {
        /// The port.
        port: u16,
    },
    /// No port could be had at all.
    #[error("no free port on 127.0.0.1; is the loopback interface up?")]
    NoFreePort,
    /// No folder for the server's socket could be made that only its user can enter.
    #[error("no private folder for the database socket could be made at {}; remove what is there", path.display())]
    NoSocketFolder {
        /// The last place tried.
        path: PathBuf,
    },
    /// A file or folder could not be made, read or written.
    #[error("cannot {doing} {}: {source}; {advice}", path.display())]
    File {
        /// The verb, such as `create`.
        doing: &'static str,
        /// The file or folder.
        path: PathBuf,
        /// What to try.
        advice: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// A program could not be run.
    #[error("cannot run {}: {source}; is it executable for the user {user}? PG_BIN names another folder", program.display())]
    Program {
        /// The program.
        program: PathBuf,
        /// Who runs it.
        user: String,
        /// What the system said.
        source: io::Error,
    },
    /// The cluster could not be created.
    #[error("creating the database cluster failed: {output}; {advice}")]
    CreateFailed {
        /// The end of what `initdb` said.
        output: String,
        /// What to try.
        advice: &'static str,
    },
    /// The server ended instead of becoming ready.
    #[error("the database server did not start: {output}; {advice}; its log is {}", log.display())]
    StartFailed {
        /// The end of what the server said.
        output: String,
        /// What to try.
        advice: &'static str,
        /// Where the whole of it is.
        log: PathBuf,
    },
    /// Something did not happen in time.
    #[error("{what} took longer than {limit_secs} s; {advice}; the server's log is {}", log.display())]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit_secs: u64,
        /// What to try.
        advice: &'static str,
        /// Where the server says why.
        log: PathBuf,
    },
    /// The server could not be signalled.
    #[error("cannot signal the database server (pid {pid}): {source}; stop it by hand with `kill -INT {pid}`")]
    Signal {
        /// The server.
        pid: i32,
        /// What the system said.
        source: io::Error,
    },
    /// A statement of the first setup failed.
    #[error("{what} failed: {source}; the server's log is {}", log.display())]
    Sql {
        /// What was being done.
        what: &'static str,
        /// Where the server says why.
        log: PathBuf,
        /// What the server said.
        source: sqlx::Error,
    },
    /// The system gave no random bytes for the password.
    #[error("the system gave no random bytes for the database password: {0}; is /dev/urandom there?")]
    Random(String),
}

impl PostgresError {
    /// A file error, with advice by kind.
    pub(super) fn file(doing: &'static str, path: &Path, source: io::Error) -> Self {
        let advice = match source.kind() {
            io::ErrorKind::PermissionDenied => "start as its owner, or use a folder of your own with --data-dir",
            io::ErrorKind::ReadOnlyFilesystem => "the disk is read-only: use a writable folder with --data-dir",
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                "the disk is full: free some space, or use another folder with --data-dir"
            }
            io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => {
                "a file is in the way: move it, or use another folder with --data-dir"
            }
            _ => "check the folder, or use another one with --data-dir",
        };
        Self::File { doing, path: path.to_owned(), advice, source }
    }

    /// Whether another attempt may do better: a port lost to somebody else when any port will do, or the
    /// remains of a killed server that are still going away.
    pub(super) fn passes_by(&self, any_port: bool) -> bool {
        let Self::StartFailed { output, .. } = self else {
            return false;
        };
        let leftover = output.contains("pre-existing shared memory block") || output.contains("lock file");
        leftover || (any_port && output.contains(ADDRESS_IN_USE))
    }

    /// Says plainly that the port was taken, when that is why the server did not start.
    pub(super) fn about_port(self, port: u16) -> Self {
        match self {
            Self::StartFailed { output, .. } if output.contains(ADDRESS_IN_USE) => Self::PortInUse { port },
            other => other,
        }
    }
}

/// How the server says that a port is taken.
const ADDRESS_IN_USE: &str = "Address already in use";

/// What to try, from the last words of a server program.
pub(super) fn advice_for(output: &str) -> &'static str {
    const KNOWN: [(&str, &str); 6] = [
        ("No space left on device", "the disk is full: free some space, or use another folder with --data-dir"),
        ("Disk quota exceeded", "the disk quota is used up: free some space, or use another folder with --data-dir"),
        ("Read-only file system", "the disk is read-only: use a writable folder with --data-dir"),
        ("Permission denied", "the server's user must reach and own the folder: use another one with --data-dir"),
        ("Cannot allocate memory", "the machine is out of memory: stop something"),
        (
            "could not look up effective user ID",
            "this user has no name: add it to /etc/passwd, or start as a user that has one",
        ),
    ];
    KNOWN
        .iter()
        .find(|(words, _)| output.contains(words))
        .map_or("try again, or use another folder with --data-dir", |(_, advice)| advice)
}
