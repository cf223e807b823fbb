//! The private Postgres: one server for one data folder, run from the binaries that are installed.
//!
//! Owns finding the binaries, creating the cluster, starting, adopting and stopping the server, and the
//! login role `fermata` with its database. It deliberately knows nothing of Fermata's tables: migrations
//! and every other statement belong to the engine's store.
//!
//! Read [`PrivatePostgres`] and [`PostgresError`] first. The rooms: `binaries` (which programs),
//! `folder` (where things lie and who may touch them), `creation` (the cluster), `server` (the process),
//! `log` (what it said), `roles` (first SQL).
//! A new server setting is one more line in `server::SETTINGS`.
//!
//! What holds at any moment:
//! - one owner *process* per data folder, by a file lock that the kernel drops with the process;
//! - the server outlives a killed owner, and the next owner adopts it;
//! - the superuser enters only through the socket, in a folder closed to everybody else; over TCP there is
//!   only a password.

mod backup;
mod binaries;
mod creation;
mod error;
mod folder;
mod log;
mod roles;
mod server;

use std::fmt;
use std::path::{Path, PathBuf};

pub use self::backup::{BackupError, back_up};
pub use self::error::PostgresError;

use self::binaries::Installation;
use self::folder::{Cluster, OwnerLock};
use self::server::{Launch, Server};

/// How often a start is tried again when a port was taken in between or an old server is still going away.
const START_ATTEMPTS: u32 = 5;

/// What to start, and where.
#[derive(Debug, Clone)]
pub struct PostgresOptions {
    /// The data folder; created if it is missing. The lock, the password and the start log lie in it.
    pub data_dir: PathBuf,
    /// The TCP port on 127.0.0.1; 0 chooses a free one. An adopted server keeps the port it has.
    pub port: u16,
    /// The folder of the server binaries; `None` takes `PG_BIN`, or else searches.
    pub bin_dir: Option<PathBuf>,
    /// Where clusters lie when started as root, because the server's user can reach it.
    pub root_clusters: PathBuf,
}

impl PostgresOptions {
    /// A server for `data_dir` on a free port, from the binaries that are found.
    pub fn new(data_dir: impl Into<PathBuf>) -> Self {
        Self { data_dir: data_dir.into(), port: 0, bin_dir: None, root_clusters: PathBuf::from("/var/lib/fermata") }
    }

    /// Asks for one port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = port;
        self
    }
}

/// A running server that this process owns.
///
/// Dropping it is [`PrivatePostgres::detach`]: the server goes on, and the next start on the same folder
/// adopts it.
pub struct PrivatePostgres {
    server: Server,
    cluster: Cluster,
    password: String,
    /// Held, not read: while it lives no other process may start on this folder.
    _lock: OwnerLock,
}

impl PrivatePostgres {
    /// Starts the server of a data folder, or adopts the one a killed owner left running, and returns when
    /// the role `fermata` can log in over TCP.
    ///
    /// On first use it creates the cluster. Progress is told in `tracing` lines at level info.
    pub async fn start(options: PostgresOptions) -> Result<Self, PostgresError> {
        let data_dir = folder::prepare(&options.data_dir)?;
        let mut lock = OwnerLock::take(&data_dir.join("lock"), &data_dir)?;
        let cluster = Cluster::locate(&data_dir, &options.root_clusters)?;
        lock.extend(&cluster)?;
        let password = folder::password(&data_dir)?;
        let server = raise(&cluster, &options).await?;
        roles::bootstrap(&server.place, &password, &cluster.start_log).await?;
        tracing::info!(
            postgres.pid = server.pid,
            postgres.port = server.place.port,
            "the database is ready on 127.0.0.1:{}",
            server.place.port
        );
        Ok(Self { server, cluster, password, _lock: lock })
    }

    /// The URL of the role `fermata` and its database, over TCP. It contains the password.
    pub fn database_url(&self) -> String {
        let port = self.server.place.port;
        format!(
            "postgres://{role}:{password}@127.0.0.1:{port}/{database}",
            role = roles::LOGIN_ROLE,
            password = self.password,
            database = roles::DATABASE
        )
    }

    /// The URL of the superuser, over the socket: for tests and repair, by root or the server's own user.
    pub fn superuser_url(&self) -> String {
        let place = &self.server.place;
        format!(
            "postgres:///postgres?host={host}&port={port}&user={user}",
            host = url_encoded(&place.socket_dir),
            port = place.port,
            user = roles::SUPERUSER
        )
    }

    /// The TCP port on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.server.place.port
    }

    /// The process id of the server (the postmaster).
    pub fn pid(&self) -> i32 {
        self.server.pid
    }

    /// Whether the server was found running rather than started.
    pub fn adopted(&self) -> bool {
        self.server.adopted()
    }

    /// Whether the server process lives; a supervisor that sees `false` drops this value and starts anew.
    pub fn is_running(&self) -> bool {
        server::lives_on(&self.cluster, self.server.pid)
    }

    /// The folder of the cluster itself (`PGDATA`); the server's rotated log lies in its `log`.
    pub fn cluster_dir(&self) -> &Path {
        &self.cluster.dir
    }

    /// Stops the server fast: open transactions are rolled back, everything committed stays.
    pub async fn stop(self) -> Result<(), PostgresError> {
        let Self { server, cluster, _lock: lock, .. } = self;
        let socket_dir = server.place.socket_dir.clone();
        let stopped = server.stop(&cluster).await;
        if stopped.is_ok() {
            folder::remove_socket_dir(&socket_dir);
        }
        drop(lock);
        stopped
    }

    /// Leaves the server running and gives up the folder; the next start adopts it.
    pub fn detach(self) {
        drop(self);
    }
}

impl fmt::Debug for PrivatePostgres {
    /// Leaves out the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PrivatePostgres")
            .field("cluster_dir", &self.cluster.dir)
            .field("pid", &self.server.pid)
            .field("port", &self.server.place.port)
            .finish_non_exhaustive()
    }
}

/// Adopts the server that runs on the cluster, or creates what is missing and starts one.
async fn raise(cluster: &Cluster, options: &PostgresOptions) -> Result<Server, PostgresError> {
    let mut last = None;
    for _ in 0..START_ATTEMPTS {
        if let Some(stray) = server::adopt(cluster).await? {
            if options.port != 0 && options.port != stray.place.port {
                tracing::warn!(
                    postgres.port = stray.place.port,
                    "a server left running is used on its port {}, not on {}",
                    stray.place.port,
                    options.port
                );
            }
            return Ok(stray);
        }
        let installation = choose_binaries(cluster, options).await?;
        if cluster.version()?.is_none() {
            creation::create_cluster(&installation, cluster).await?;
        }
        let launch = Launch { installation: &installation, cluster, port: folder::free_port(options.port)? };
        match launch.run().await {
            Ok(server) => return Ok(server),
            Err(error) if error.passes_by(options.port == 0) => {
                last = Some(error);
                server::pause_before_retry().await;
            }
            Err(error) => return Err(error.about_port(options.port)),
        }
    }
    Err(last.unwrap_or(PostgresError::NoFreePort))
}

/// The newest binaries for a new cluster, those of its own major version for an existing one.
async fn choose_binaries(cluster: &Cluster, options: &PostgresOptions) -> Result<Installation, PostgresError> {
    let installed = binaries::find(options.bin_dir.as_deref()).await?;
    match cluster.version()? {
        None => binaries::preferred(installed),
        Some(major) => binaries::of_major(installed, major, &cluster.dir),
    }
}

/// Percent-encodes a path for the query of a URL.
fn url_encoded(path: &Path) -> String {
    use std::os::unix::ffi::OsStrExt as _;
    let mut encoded = String::new();
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || b"/._-".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push('%');
            encoded.push_str(&hex::encode_upper([byte]));
        }
    }
    encoded
}
