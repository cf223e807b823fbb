//! Why the supervisor did not start, and what to do about it.

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Each text ends with what to try.
#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    /// A program that is needed is not there.
    #[error(
        "{program} was not found in PATH{}; install it (Debian: `apt-get install {package}`)",
        variable.map(|name| format!(" nor named by {name}")).unwrap_or_default()
    )]
    NotInstalled {
        /// The program.
        program: &'static str,
        /// The variable that may name it.
        variable: Option<&'static str>,
        /// The Debian packages that hold it and what it needs.
        package: &'static str,
    },
    /// Started as root, and the user for browsers does not exist.
    #[error("there is no user `{user}` to run browsers as; create it, or name another one")]
    NoSuchUser {
        /// The user.
        user: String,
    },
    /// The folder cannot be made ready.
    #[error("the browser folder {} cannot be used: {source}", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// The user for browsers cannot reach the folder.
    #[error(
        "the user `{user}` cannot write to {}; use a folder whose parents others may enter, such as /var/lib/fermata",
        folder.display()
    )]
    FolderClosed {
        /// The folder.
        folder: PathBuf,
        /// The user.
        user: String,
    },
    /// Another supervisor has the folder.
    #[error("{} is in use by another browser supervisor; stop that one, or use another folder", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// The address is taken.
    #[error("cannot listen on {address}: {source}; stop what listens there, or use port 0")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// chromedriver could not be started at all.
    #[error("{program} could not be started: {source}")]
    Spawn {
        /// The program.
        program: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// chromedriver started and never said that it is ready.
    #[error("chromedriver did not become ready within {limit_secs} s; its last line: {last_line}")]
    NotReady {
        /// How long it was waited for.
        limit_secs: u64,
        /// What it said last.
        last_line: String,
    },
    /// The HTTP client for chromedriver could not be made.
    #[error("no HTTP client could be made: {0}")]
    Client(#[source] reqwest::Error),
}
