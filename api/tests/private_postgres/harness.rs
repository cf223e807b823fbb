//! Folders, owner processes and short questions for the laws about the private Postgres.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use fermata_api::postgres::{PostgresOptions, PrivatePostgres};
use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use sqlx::{Connection as _, PgConnection};

/// No awaited fact takes longer than this on a slow machine.
const DEADLINE: Duration = Duration::from_secs(90);
/// Names the folder for the process that owns it.
pub(crate) const OWNER_FOLDER: &str = "FERMATA_TEST_OWNER_FOLDER";
/// Names the file in which that process says what it has.
pub(crate) const OWNER_REPORT: &str = "FERMATA_TEST_OWNER_REPORT";

/// A data folder in a temporary place; dropping it ends the server on it and removes everything.
pub(crate) struct Folder {
    pub(crate) base: PathBuf,
    data: PathBuf,
}

impl Folder {
    pub(crate) fn new() -> Self {
        Self::at("data")
    }

    /// A data folder `below` a temporary place; all of it belongs to the ordinary user.
    pub(crate) fn at(below: &str) -> Self {
        let mut random = [0; 6];
        getrandom::fill(&mut random).unwrap();
        let base = Path::new("/tmp").join(format!("fermata-test-{}", hex::encode(random)));
        let data = base.join(below);
        fs::create_dir_all(&data).unwrap();
        if let Some(user) = ordinary_user() {
            let (uid, gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
            for folder in data.ancestors().take_while(|folder| folder.starts_with(&base)) {
                std::os::unix::fs::chown(folder, uid, gid).unwrap();
            }
        }
        Self { base, data }
    }

    pub(crate) fn path(&self) -> PathBuf {
        self.data.clone()
    }

    pub(crate) async fn start(&self) -> PrivatePostgres {
        PrivatePostgres::start(PostgresOptions::new(self.path())).await.unwrap()
    }

    pub(crate) fn cluster(&self) -> PathBuf {
        cluster_of(&self.path())
    }

    pub(crate) fn forget_cluster_of(&self, data_dir: &Path) {
        let cluster = cluster_of(data_dir);
        assert!(cluster.starts_with(&self.base) || cluster.starts_with("/var/lib/fermata"));
        let _ = fs::remove_dir_all(&cluster);
        let _ = fs::remove_file(cluster.with_extension("lock"));
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let pid = fs::read_to_string(self.cluster().join("postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next().and_then(|line| line.parse().ok()) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGQUIT);
        }
        self.forget_cluster_of(&self.path());
        let _ = fs::remove_dir_all(&self.base);
    }
}

pub(crate) fn cluster_of(data_dir: &Path) -> PathBuf {
    fs::read_to_string(data_dir.join("postgres.location"))
        .map_or_else(|_| data_dir.join("postgres"), |place| PathBuf::from(place.trim()))
}

/// Another process that owns a folder.
pub(crate) struct Owner {
    child: Child,
    report: PathBuf,
}

pub(crate) struct Served {
    pub(crate) pid: i32,
    pub(crate) url: String,
}

impl Owner {
    /// Runs this test binary again; for another user, a copy of it where that user can reach it.
    pub(crate) fn spawn(folder: &Folder, user: Option<&User>) -> Self {
        let report = folder.base.join("report");
        let mut program = std::env::current_exe().unwrap();
        if user.is_some() {
            let copy = folder.base.join("owner");
            fs::copy(&program, &copy).unwrap();
            program = copy;
        }
        let mut command = Command::new(program);
        command
            .args(["private_postgres::owner_process", "--exact", "--nocapture"])
            .env(OWNER_FOLDER, folder.path())
            .env(OWNER_REPORT, &report)
            .current_dir("/")
            .stdin(Stdio::piped());
        if let Some(user) = user {
            command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
        }
        Self { child: command.spawn().unwrap(), report }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) async fn report(&mut self) -> String {
        until("the owner's report", || fs::read_to_string(&self.report).ok()).await
    }

    pub(crate) async fn ready(&mut self) -> Served {
        let report = self.report().await;
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines[0], "ready", "{report}");
        Served { pid: lines[1].parse().unwrap(), url: lines[2].to_owned() }
    }

    pub(crate) async fn failed(&mut self) -> String {
        let report = self.report().await;
        report.strip_prefix("failed\n").expect(&report).to_owned()
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends its input and waits for the orderly end.
    pub(crate) async fn stop(&mut self) {
        drop(self.child.stdin.take());
        let ended = until("the owner to end", || self.child.try_wait().unwrap()).await;
        assert!(ended.success());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A living process of the server's user that is no server.
pub(crate) struct Stranger(Child);

impl Stranger {
    pub(crate) fn of_the_server_user(cluster: &Path) -> Self {
        use std::os::unix::fs::MetadataExt as _;
        let owner = fs::metadata(cluster).unwrap();
        let mut command = Command::new("cat");
        command.stdin(Stdio::piped()).current_dir("/");
        if geteuid().is_root() {
            command.uid(owner.uid()).gid(owner.gid());
        }
        Self(command.spawn().unwrap())
    }

    pub(crate) fn pid(&self) -> String {
        self.0.id().to_string()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The user that stands for an ordinary one when the tests run as root.
pub(crate) fn ordinary_user() -> Option<User> {
    geteuid().is_root().then(|| User::from_name("nobody").unwrap().unwrap())
}

/// Whether a process lives: a zombie that nobody has buried does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| !stat.contains(") Z "))
}

pub(crate) async fn connect(url: &str) -> PgConnection {
    PgConnection::connect(url).await.unwrap()
}

pub(crate) async fn text(url: &str, query: &str) -> String {
    sqlx::query_scalar(sqlx::AssertSqlSafe(query.to_owned())).fetch_one(&mut connect(url).await).await.unwrap()
}

pub(crate) async fn remember(postgres: &PrivatePostgres, what: &str) {
    remember_at(&postgres.database_url(), what).await;
}

pub(crate) async fn remember_at(url: &str, what: &str) {
    sqlx::raw_sql(sqlx::AssertSqlSafe(format!("CREATE TABLE memory AS SELECT '{what}'::text AS what")))
        .execute(&mut connect(url).await)
        .await
        .unwrap();
}

pub(crate) async fn remembered(postgres: &PrivatePostgres) -> String {
    text(&postgres.database_url(), "SELECT what FROM memory").await
}

/// Waits for a fact, at most until the deadline.
pub(crate) async fn until<T>(what: &str, mut fact: impl FnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(25));
    let looking = async {
        loop {
            ticks.tick().await;
            if let Some(value) = fact() {
                return value;
            }
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.unwrap_or_else(|_| panic!("waited too long for {what}"))
}
