//! Where things lie, and who may touch them: the owner's lock, the cluster, the password, the socket.
//!
//! In the data folder: `lock` (held by the owner process), `postgres.password` (mode 0600),
//! `postgres-start.log` (what the server says before its own log is open) and either `postgres` (the
//! cluster) or, when root started it, `postgres.location` (a line that names the cluster elsewhere: the
//! server refuses to be root, and no other user can enter root's folders).

use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use nix::unistd::{Uid, User, geteuid};
use sha2::{Digest as _, Sha256};

use super::PostgresError;
use super::binaries::leading_number;

/// The longest socket folder: the system's limit of 107 bytes less the longest `/.s.PGSQL.65535.lock`.
const SOCKET_DIR_MAX_BYTES: usize = 107 - 21;

/// How many clusters of removed data folders are passed over before giving up on a name.
const CLUSTER_NAMES_MAX: u32 = 1000;

/// Who the server runs as.
#[derive(Debug, Clone)]
pub(super) struct ServerUser {
    pub(super) uid: u32,
    pub(super) gid: u32,
    pub(super) name: String,
    /// Whether this process is root and must become that user to run a server program.
    pub(super) drop_to: bool,
}

/// The cluster that belongs to a data folder.
#[derive(Debug, Clone)]
pub(super) struct Cluster {
    /// The cluster folder (`PGDATA`).
    pub(super) dir: PathBuf,
    /// What the server says before its own log is open.
    pub(super) start_log: PathBuf,
    pub(super) user: ServerUser,
    /// Guards a cluster outside the data folder, where copies of that folder could meet.
    lock: Option<PathBuf>,
}

impl Cluster {
    /// Finds the cluster of a data folder, or the place for it.
    pub(super) fn locate(data_dir: &Path, root_clusters: &Path) -> Result<Self, PostgresError> {
        let own = data_dir.join("postgres");
        let link = data_dir.join("postgres.location");
        let start_log = data_dir.join("postgres-start.log");
        if !geteuid().is_root() {
            if link.exists() && !own.exists() {
                return Err(PostgresError::MadeByRoot { folder: data_dir.to_owned() });
            }
            let user = server_user(geteuid().as_raw(), nix::unistd::getegid().as_raw(), false);
            return Ok(Self { dir: own, start_log, user, lock: None });
        }
        // Root on the folder of an ordinary user goes on with that user's cluster, as that user.
        if let Ok(owner) = fs::metadata(own.join("PG_VERSION"))
            && owner.uid() != 0
        {
            return Ok(Self { dir: own, start_log, user: server_user(owner.uid(), owner.gid(), true), lock: None });
        }
        let dir = outside(data_dir, &link, root_clusters)?;
        let lock = Some(dir.with_extension("lock"));
        let user = unprivileged()?;
        Ok(Self { dir, start_log, user, lock })
    }

    /// The major version that wrote the cluster; `None` where there is none yet.
    pub(super) fn version(&self) -> Result<Option<u32>, PostgresError> {
        let path = self.dir.join("PG_VERSION");
        let not_a_cluster = || PostgresError::NotACluster { folder: self.dir.clone() };
        match fs::read_to_string(&path) {
            Ok(text) => leading_number(&text).map(Some).ok_or_else(not_a_cluster),
            Err(error) if error.kind() == io::ErrorKind::NotFound => match fs::read_dir(&self.dir) {
                Ok(mut entries) => entries.next().map_or(Ok(None), |_| Err(not_a_cluster())),
                Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
                Err(error) => Err(PostgresError::file("read", &self.dir, error)),
            },
            Err(error) => Err(PostgresError::file("read", &path, error)),
        }
    }

    /// An empty folder beside the cluster, the server user's own, in which a new cluster is made.
    /// What an interrupted creation left there is removed first.
    pub(super) fn staging(&self) -> Result<PathBuf, PostgresError> {
        let parent = self.dir.parent().unwrap_or(Path::new("/"));
        let mut prefix = self.dir.file_name().unwrap_or_default().to_owned();
        prefix.push(".new-");
        for entry in fs::read_dir(parent).map_err(|error| PostgresError::file("read", parent, error))?.flatten() {
            if entry.file_name().as_bytes().starts_with(prefix.as_bytes()) {
                remove_tree(&entry.path());
            }
        }
        prefix.push(random_hex(4)?);
        let staging = parent.join(prefix);
        self.make_private(&staging).map_err(|error| PostgresError::file("create", &staging, error))?;
        Ok(staging)
    }

    /// A short folder for the socket that only the server's user can enter.
    pub(super) fn socket_dir(&self) -> Result<PathBuf, PostgresError> {
        let mut name = OsString::from("fermata-");
        name.push(fingerprint(&self.dir, 6));
        let mut random = name.clone();
        random.push("-");
        random.push(random_hex(3)?);
        let runtime = std::env::var_os("XDG_RUNTIME_DIR")
            .filter(|_| !self.user.drop_to)
            .map(|folder| PathBuf::from(folder).join(&name));
        let tmp = Path::new("/tmp");
        let places = [runtime, Some(tmp.join(&name)), Some(tmp.join(&random))];
        for place in places.into_iter().flatten() {
            if place.is_absolute() && place.as_os_str().len() <= SOCKET_DIR_MAX_BYTES && self.claim(&place) {
                return Ok(place);
            }
        }
        Err(PostgresError::NoSocketFolder { path: tmp.join(random) })
    }

    /// Makes a folder private, or finds it so and clears it of the sockets of a killed server; false if it
    /// is somebody else's. Only called while no server runs on the cluster.
    fn claim(&self, place: &Path) -> bool {
        match self.make_private(place) {
            Ok(()) => true,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                let ours = fs::symlink_metadata(place).is_ok_and(|found| {
                    let closed_to_others = found.permissions().mode() & 0o777 == 0o700;
                    found.is_dir() && found.uid() == self.user.uid && closed_to_others
                });
                if ours {
                    remove_sockets(place);
                }
                ours
            }
            Err(_) => false,
        }
    }

    /// Creates one folder, mode 0700, for the server's user.
    fn make_private(&self, path: &Path) -> io::Result<()> {
        DirBuilder::new().mode(0o700).create(path)?;
        if self.user.drop_to {
            std::os::unix::fs::chown(path, Some(self.user.uid), Some(self.user.gid))?;
        }
        Ok(())
    }
}

/// The right of one process to a data folder; the kernel takes it back when the process ends, however it ends.
#[derive(Debug)]
pub(super) struct OwnerLock {
    folder: PathBuf,
    held: Vec<File>,
}

impl OwnerLock {
    /// Takes the lock of a data folder, or says who has it.
    pub(super) fn take(path: &Path, folder: &Path) -> Result<Self, PostgresError> {
        let mut lock = Self { folder: folder.to_owned(), held: Vec::new() };
        lock.hold(path)?;
        Ok(lock)
    }

    /// Takes the lock of a cluster outside the data folder too.
    pub(super) fn extend(&mut self, cluster: &Cluster) -> Result<(), PostgresError> {
        cluster.lock.as_deref().map_or(Ok(()), |path| self.hold(path))
    }

    fn hold(&mut self, path: &Path) -> Result<(), PostgresError> {
        let failed = |error| PostgresError::file("lock", path, error);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)
            .map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::Error(error)) => return Err(failed(error)),
            Err(TryLockError::WouldBlock) => {
                let mut owner = String::new();
                // Whatever is not a process id is not worth showing.
                let _ = (&mut file).take(32).read_to_string(&mut owner);
                let pid = leading_number(&owner).map_or_else(|| "unknown".to_owned(), |pid| pid.to_string());
                return Err(PostgresError::Owned { folder: self.folder.clone(), pid });
            }
        }
        file.set_len(0).map_err(failed)?;
        writeln!(file, "{}", std::process::id()).map_err(failed)?;
        self.held.push(file);
        Ok(())
    }
}

/// Creates the data folder if need be (mode 0700: it holds secrets) and gives its one true path.
pub(super) fn prepare(data_dir: &Path) -> Result<PathBuf, PostgresError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|error| PostgresError::file("create", data_dir, error))?;
    data_dir.canonicalize().map_err(|error| PostgresError::file("reach", data_dir, error))
}

/// The password of the login role: read from its file, or made and kept there.
pub(super) fn password(data_dir: &Path) -> Result<String, PostgresError> {
    let path = data_dir.join("postgres.password");
    match fs::read_to_string(&path) {
        Ok(text) if text.trim().len() >= 32 && text.trim().bytes().all(|byte| byte.is_ascii_hexdigit()) => {
            return Ok(text.trim().to_owned());
        }
        Ok(_) => tracing::warn!("{} held no password; a new one is made", path.display()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(PostgresError::file("read", &path, error)),
    }
    let password = random_hex(32)?;
    replace(&path, password.as_bytes())?;
    Ok(password)
}

/// The port that was asked for if it is free, or a free one for 0. The server may still lose it to another
/// process before it listens; the caller tries again.
pub(super) fn free_port(asked: u16) -> Result<u16, PostgresError> {
    match TcpListener::bind((Ipv4Addr::LOCALHOST, asked)) {
        Ok(listener) => Ok(listener.local_addr().map_err(|_| PostgresError::NoFreePort)?.port()),
        Err(_) if asked == 0 => Err(PostgresError::NoFreePort),
        Err(_) => Err(PostgresError::PortInUse { port: asked }),
    }
}

/// Removes the socket's folder after a stop. It is only tidiness: a folder that stays is used again.
pub(super) fn remove_socket_dir(path: &Path) {
    if let Err(error) = fs::remove_dir(path) {
        tracing::debug!("{} stays: {error}", path.display());
    }
}

fn remove_sockets(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_name().as_bytes().starts_with(b".s.PGSQL.") {
            // One that stays only takes a name of its own port.
            let _ = fs::remove_file(entry.path());
        }
    }
}

/// Removes a folder tree that nothing needs, or says that it stays.
pub(super) fn remove_tree(path: &Path) {
    if let Err(error) = fs::remove_dir_all(path) {
        tracing::warn!("cannot remove {}: {error}", path.display());
    }
}

/// The cluster of a data folder of root: where the link says, or a new place that the link then names.
fn outside(data_dir: &Path, link: &Path, clusters: &Path) -> Result<PathBuf, PostgresError> {
    match fs::read(link) {
        Ok(text) => {
            let place = PathBuf::from(OsString::from_vec(text.trim_ascii().to_vec()));
            if place.parent() == Some(clusters) && place.file_name().is_some() {
                return Ok(place);
            }
            return Err(PostgresError::StrangeLocation { link: link.to_owned(), clusters: clusters.to_owned() });
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(PostgresError::file("read", link, error)),
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(clusters)
        .map_err(|error| PostgresError::file("create", clusters, error))?;
    let name = fingerprint(data_dir, 8);
    // A cluster without a link is that of a data folder that was removed: the new folder begins empty, and
    // the old data is not ours to delete.
    let place = (1..=CLUSTER_NAMES_MAX)
        .map(|nth| match nth {
            1 => clusters.join(&name),
            nth => clusters.join(format!("{name}-{nth}")),
        })
        .inspect(|place| {
            if place.exists() {
                tracing::warn!("{} is left from a removed data folder", place.display());
            }
        })
        .find(|place| !place.exists());
    let place =
        place.ok_or_else(|| PostgresError::StrangeLocation { link: link.to_owned(), clusters: clusters.to_owned() })?;
    replace(link, place.as_os_str().as_bytes())?;
    Ok(place)
}

/// Writes a small file whole or not at all, mode 0600.
fn replace(path: &Path, content: &[u8]) -> Result<(), PostgresError> {
    let staging = path.with_extension("staging");
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&staging)?;
        file.write_all(content)?;
        file.write_all(b"\n")?;
        file.sync_all()?;
        fs::rename(&staging, path)
    };
    write().map_err(|error| PostgresError::file("write", path, error))
}

/// The user a server started by root runs as.
fn unprivileged() -> Result<ServerUser, PostgresError> {
    ["postgres", "nobody"]
        .iter()
        .find_map(|name| User::from_name(name).ok().flatten())
        .filter(|user| !user.uid.is_root())
        .map(|user| ServerUser { uid: user.uid.as_raw(), gid: user.gid.as_raw(), name: user.name, drop_to: true })
        .ok_or(PostgresError::NoUnprivilegedUser)
}

fn server_user(uid: u32, gid: u32, drop_to: bool) -> ServerUser {
    let named = User::from_uid(Uid::from_raw(uid)).ok().flatten();
    ServerUser { uid, gid, name: named.map_or_else(|| uid.to_string(), |user| user.name), drop_to }
}

/// A short name for a path.
fn fingerprint(path: &Path, size_bytes: usize) -> String {
    let mut name = hex::encode(Sha256::digest(path.as_os_str().as_bytes()));
    name.truncate(2 * size_bytes);
    name
}

fn random_hex(size_bytes: usize) -> Result<String, PostgresError> {
    let mut bytes = vec![0; size_bytes];
    getrandom::fill(&mut bytes).map_err(|error| PostgresError::Random(error.to_string()))?;
    Ok(hex::encode(bytes))
}
