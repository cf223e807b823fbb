//! A database per test, on the suite's cluster.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use fermata_api::postgres::{PostgresOptions, PrivatePostgres};
use fermata_engine::access::Principal;
use fermata_engine::artifact::Artifacts;
use fermata_engine::id::RunId;
use fermata_engine::read::CommandView;
use fermata_engine::run::{Receipt, Submission};
use fermata_engine::workflow::Registry;
use fermata_engine::{Engine, EngineOptions, NodeOptions};
use serde_json::Value;
use sqlx::postgres::PgPool;
use sqlx::{Connection, Executor, PgConnection};

use crate::eventually;

/// Names the suite's cluster; `make test` starts it and sets this.
const CLUSTER: &str = "FERMATA_TEST_DATABASE_URL";

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// The cluster of this run of the suite; without `make test` each test process starts its own.
///
/// # Panics
/// When there is no cluster and none can be started.
#[expect(clippy::expect_used, reason = "without a cluster no test can run")]
pub async fn cluster_url() -> String {
    if let Ok(url) = std::env::var(CLUSTER) {
        return url;
    }
    let folder = std::env::temp_dir().join(format!("fermata-tests-{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
    let server = PrivatePostgres::start(PostgresOptions::new(&folder)).await.expect("a private Postgres starts");
    let url = server.database_url();
    // The server stays until the machine's next clean-up: the process may run more tests.
    server.detach();
    url
}

/// A fresh, migrated database.
#[derive(Debug)]
pub struct TestDb {
    /// As the program's login.
    pub url: String,
    /// Looks at everything, as the writer's role.
    pub pool: PgPool,
    folder: std::path::PathBuf,
}

#[expect(clippy::expect_used, reason = "a harness fails its test by panicking")]
impl TestDb {
    /// Makes a database for one test.
    ///
    /// # Panics
    /// When the cluster cannot be used.
    pub async fn new() -> Self {
        let cluster = cluster_url().await;
        let name = format!("t{}_{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let mut admin = PgConnection::connect(&cluster).await.expect("the suite's cluster answers");
        let statement = format!("create database {name}");
        admin.execute(sqlx::AssertSqlSafe(statement)).await.expect("a database can be made");
        let (server, _) = cluster.rsplit_once('/').expect("a database URL names a database");
        let url = format!("{server}/{name}");
        fermata_engine::store::migrate(&url).await.expect("the migrations run");
        let pool = sqlx::postgres::PgPoolOptions::new()
            .max_connections(4)
            .after_connect(|connection, _| {
                Box::pin(async move { connection.execute("set role fermata_writer").await.map(drop) })
            })
            .connect(&url)
            .await
            .expect("the new database answers");
        let folder = std::env::temp_dir().join(format!("fermata-artifacts-{name}"));
        Self { url, pool, folder }
    }

    /// An engine on this database that carries no runs.
    ///
    /// # Panics
    /// When it cannot be opened.
    pub async fn engine(&self, registry: Registry) -> Engine {
        Engine::open(self.options(registry)).await.expect("an engine opens on a fresh database")
    }

    /// How an engine on this database is opened.
    pub fn options(&self, registry: Registry) -> EngineOptions {
        // The world in memory and the demo site are platforms of this host.
        let words = registry.vocabulary().clone().with_platforms(["demo", "memory"]);
        let registry = registry.knowing(words);
        let mut options = EngineOptions::new(&self.url, Artifacts::new(&self.folder), registry);
        options.call_skew = Duration::from_millis(200);
        options
    }

    /// An engine that carries runs, with a lease of `lease`.
    ///
    /// # Panics
    /// When it cannot be started.
    pub async fn worker(&self, registry: Registry, lease: Duration) -> Engine {
        let engine = self.engine(registry).await;
        let options = NodeOptions { slots: 64, lease, role: "test".into() };
        engine.work(options).await.expect("a worker registers");
        engine
    }

    /// Submits a command for client `c`.
    ///
    /// # Panics
    /// When it is refused.
    pub async fn submit(&self, engine: &Engine, kind: &str, payload: Value) -> RunId {
        accepted(engine, submission(kind, payload)).await.command_id
    }

    /// The command, once it has ended.
    pub async fn ended(&self, engine: &Engine, run: RunId) -> CommandView {
        self.reaches(engine, run, &["SUCCEEDED", "FAILED", "CANCELLED"]).await
    }

    /// The command, once it has one of these statuses.
    ///
    /// # Panics
    /// When it cannot be read, or does not get there in time.
    pub async fn reaches(&self, engine: &Engine, run: RunId, statuses: &[&str]) -> CommandView {
        let by = Principal::operator();
        eventually(&format!("command {run} becomes one of {statuses:?}"), || async {
            let view = engine.command(&by, run).await.expect("a command can be read")?;
            statuses.contains(&view.status.as_str()).then_some(view)
        })
        .await
    }

    /// One number from the database.
    ///
    /// # Panics
    /// When the statement fails.
    pub async fn count(&self, statement: &'static str) -> i64 {
        sqlx::query_scalar(statement).fetch_one(&self.pool).await.expect("a count can be read")
    }
}

/// Everything that Fermata keeps in a database, as text: each row of each table.
///
/// # Panics
/// When it cannot be read.
#[expect(clippy::expect_used, reason = "a harness fails its test by panicking")]
pub async fn contents(url: &str) -> String {
    let mut database = PgConnection::connect(url).await.expect("the database answers");
    database.execute("set role fermata_writer").await.expect("the writer's role can be taken");
    // Partitions are read through their table, so that no row is left out or read twice.
    let tables: Vec<String> = sqlx::query_scalar(
        "select format('%I.%I', n.nspname, c.relname) from pg_class c join pg_namespace n on n.oid = c.relnamespace
         where c.relkind in ('r', 'p', 'm') and not c.relispartition and n.nspname = 'fermata' order by 1",
    )
    .fetch_all(&mut database)
    .await
    .expect("the tables can be listed");
    let mut all = String::new();
    for table in tables {
        let statement = format!("select coalesce(string_agg(t::text, chr(10)), '') from {table} t");
        let rows: String = sqlx::query_scalar(sqlx::AssertSqlSafe(statement))
            .fetch_one(&mut database)
            .await
            .unwrap_or_else(|error| panic!("{table} can be read: {error}"));
        all = format!("{all}{table}\n{rows}\n");
    }
    all
}

/// A command for client `c`.
pub fn submission(kind: &str, payload: Value) -> Submission {
    Submission { client_id: "c".into(), kind: kind.into(), payload, ..Submission::default() }
}

#[expect(clippy::expect_used, reason = "a harness fails its test by panicking")]
async fn accepted(engine: &Engine, submission: Submission) -> Receipt {
    engine.submit(&Principal::operator(), submission).await.expect("the command is accepted")
}
