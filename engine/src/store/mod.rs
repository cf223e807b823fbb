//! SQL's one address. One file per table or per path; the rest of the engine speaks in records.
//!
//! Owns connections, roles, batches and rows. Does not decide anything: what a record means is
//! decided in `run/`, `step/`, `effect/`. Read `record::Record` and `writer::Writer` first.

pub(crate) mod access;
mod account;
mod audit;
pub(crate) mod basis;
pub(crate) mod batch;
pub(crate) mod history;
mod kill_switch;
mod log;
pub(crate) mod migrate;
pub(crate) mod node;
pub(crate) mod outside;
mod policy;
pub(crate) mod queue;
pub(crate) mod read;
pub(crate) mod record;
#[cfg(feature = "rigged")]
mod rigged;
pub(crate) mod service;
pub(crate) mod stream;
pub(crate) mod writer;

use std::io::ErrorKind;
use std::str::FromStr;
use std::time::Duration;

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, Executor, Row};

pub use migrate::{MIGRATOR, migrate, open_to_backup, outdated};

use crate::clock::Clock;

/// How long a caller waits for a free connection before it is told that the database is busy.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often the database's clock is read until one answer comes soon enough.
const CLOCK_READS: u32 = 5;
/// An answer within this time is exact enough: well below any margin that deadlines have.
const CLOCK_EXACT: Duration = Duration::from_millis(50);

/// What went wrong between us and Postgres.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// No connection to Postgres could be had: nothing was begun.
    #[error(
        "the database cannot be reached; check that it runs, that DATABASE_URL names it, and that DB_MAX_CONNECTIONS is enough"
    )]
    Unreachable(#[source] sqlx::Error),
    /// The pooler for reads cannot be used.
    #[error(
        "the pooler for reads cannot be used; check that it runs, that DATABASE_POOLER_URL names it, and that it lets extra_float_digits pass"
    )]
    Pooler(#[source] sqlx::Error),
    /// The connection broke under way: what was asked may have been done.
    #[error("the connection to the database broke")]
    Lost(#[source] sqlx::Error),
    /// Postgres refused a statement.
    #[error("the database refused a statement: {0}")]
    Refused(#[source] sqlx::Error),
    /// The schema is missing, older, or newer than this program.
    #[error("the schema does not fit this program: {0}; run `fermata migrate`")]
    Schema(String),
    /// A setting of the server would lose acknowledged work.
    #[error(
        "the database runs with {setting}={value}, which loses acknowledged work; set it to {wanted}, or set ALLOW_UNSAFE_DURABILITY=true to accept that"
    )]
    Unsafe {
        /// The setting's name.
        setting: &'static str,
        /// What it is.
        value: String,
        /// What it must be.
        wanted: &'static str,
    },
    /// More is waiting than the node can take (`MAX_QUEUED`).
    #[error("this node has more work than it can take; try again in a moment")]
    Busy,
    /// The writer has stopped: the process is ending.
    #[error("this node is shutting down; send the request again")]
    Stopped,
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // Too many connections, a server that starts or ends: refused at the door.
                Some("53300" | "57P03") => Self::Unreachable(error),
                Some(code) if ["08", "53", "57P"].iter().any(|class| code.starts_with(class)) => Self::Lost(error),
                _ => Self::Refused(error),
            },
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::Encode(_)
            | sqlx::Error::RowNotFound
            | sqlx::Error::TypeNotFound { .. } => Self::Refused(error),
            sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::Configuration(_)
            | sqlx::Error::Tls(_) => Self::Unreachable(error),
            sqlx::Error::Io(io) if matches!(io.kind(), ErrorKind::ConnectionRefused | ErrorKind::NotFound) => {
                Self::Unreachable(error)
            }
            _ => Self::Lost(error),
        }
    }
}

/// The roles that connections take on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The group writer, the queue, and what acts from outside.
    Writer,
    /// Everything that answers a request, under row-level security.
    Reader,
    /// The owner of the schema: migrations and partitions.
    Owner,
}

/// The server as a benchmark sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerStats {
    /// Bytes of WAL since the cluster was made.
    pub wal_bytes: i64,
    /// Processes that serve this database.
    pub backend_pids: Vec<i32>,
    /// What it says of itself.
    pub version: String,
    /// When it was started.
    pub started_at: chrono::DateTime<chrono::Utc>,
}

/// Connections to one database.
#[derive(Debug, Clone)]
pub(crate) struct Store {
    options: PgConnectOptions,
    /// Short statements as the writer role: claims, signals, decisions, leases.
    pub(crate) direct: PgPool,
    /// Reads that answer requests.
    pub(crate) reads: PgPool,
    /// Whether they go through a pooler.
    pooled: bool,
}

impl Store {
    /// Connects with at most `max` connections in each of the two pools; reads go through `pooler`
    /// when there is one.
    pub(crate) async fn connect(url: &str, pooler: Option<&str>, max: u32) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url)?.application_name("fermata");
        let direct = pool(&options, Some(Role::Writer), max).await?;
        let reads = match pooler {
            None => pool(&options, Some(Role::Reader), max).await?,
            // Between transactions the server's end may become another's: no role is taken on it, and
            // no statement kept there.
            Some(pooler) => {
                let options = PgConnectOptions::from_str(pooler)?.application_name("fermata");
                let reads = pool(&options.statement_cache_capacity(0), None, max).await;
                reads.map_err(|error| match error {
                    StoreError::Unreachable(why) | StoreError::Lost(why) | StoreError::Refused(why) => {
                        StoreError::Pooler(why)
                    }
                    other => other,
                })?
            }
        };
        Ok(Self { options, direct, reads, pooled: pooler.is_some() })
    }

    /// A connection outside of the pools, for the writer's lanes and the listener.
    pub(crate) async fn dedicated(&self, role: Role) -> Result<PgConnection, StoreError> {
        let mut connection = PgConnection::connect_with(&self.options).await?;
        take_role(&mut connection, role).await?;
        Ok(connection)
    }

    /// Moves a clock onto the database's. An answer that took long says little, and is asked for
    /// again.
    pub(crate) async fn set_clock(&self, clock: &Clock) -> Result<(), StoreError> {
        for asked in 1..=CLOCK_READS {
            let before = clock.monotonic();
            let now: DateTime<Utc> = sqlx::query_scalar("select clock_timestamp()").fetch_one(&self.direct).await?;
            let took = clock.monotonic() - before;
            if took <= CLOCK_EXACT || asked == CLOCK_READS {
                clock.follow(now, took);
                break;
            }
        }
        Ok(())
    }

    /// Refuses settings that lose acknowledged work (design, section 4).
    pub(crate) async fn check_durability(&self) -> Result<(), StoreError> {
        for setting in ["fsync", "full_page_writes", "synchronous_commit"] {
            let value: String =
                sqlx::query_scalar("select current_setting($1)").bind(setting).fetch_one(&self.direct).await?;
            if value == "off" {
                return Err(StoreError::Unsafe { setting, value, wanted: "on" });
            }
        }
        Ok(())
    }

    /// Whether Postgres answers.
    pub(crate) async fn ping(&self) -> Result<(), StoreError> {
        self.direct.execute("select 1").await?;
        Ok(())
    }

    /// What a benchmark reads of the server.
    pub(crate) async fn server_stats(&self) -> Result<ServerStats, StoreError> {
        let row = sqlx::query(
            "select (pg_current_wal_insert_lsn() - '0/0'::pg_lsn)::int8 as wal_bytes, version() as version,
                    pg_postmaster_start_time() as started_at,
                    (select coalesce(array_agg(pid), '{}') from pg_stat_activity
                      where datname = current_database()) as backends",
        )
        .fetch_one(&self.direct)
        .await?;
        Ok(ServerStats {
            wal_bytes: row.try_get("wal_bytes")?,
            backend_pids: row.try_get("backends")?,
            version: row.try_get("version")?,
            started_at: row.try_get("started_at")?,
        })
    }

    /// Ends all pooled connections.
    pub(crate) async fn close(&self) {
        self.direct.close().await;
        self.reads.close().await;
    }
}

async fn pool(options: &PgConnectOptions, role: Option<Role>, max: u32) -> Result<PgPool, StoreError> {
    let pool = PgPoolOptions::new()
        .max_connections(max)
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .after_connect(move |connection, _| {
            Box::pin(async move {
                let Some(role) = role else { return Ok(()) };
                take_role(connection, role).await.map_err(|error| match error {
                    StoreError::Unreachable(error) | StoreError::Lost(error) | StoreError::Refused(error) => error,
                    other => sqlx::Error::Configuration(Box::new(other)),
                })
            })
        })
        .connect_with(options.clone())
        .await?;
    Ok(pool)
}

async fn take_role(connection: &mut PgConnection, role: Role) -> Result<(), StoreError> {
    let statements = match role {
        // JIT compiles each batch when a sequential scan is priced out (writer.md, pitfall 2).
        Role::Writer => "set role fermata_writer; set jit = off; set enable_seqscan = off",
        Role::Reader => "set role fermata_reader",
        Role::Owner => "set jit = off",
    };
    connection.execute(statements).await?;
    Ok(())
}
