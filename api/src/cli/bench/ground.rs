//! Where a measurement takes place: a database and an engine with its own worker.

use std::path::PathBuf;
use std::time::Duration;

use fermata_engine::artifact::Artifacts;
use fermata_engine::workflow::Registry;
use fermata_engine::{Engine, EngineOptions, NodeOptions};
use fermata_workflows::bench::BenchSteps;
use fermata_workflows::vocabulary;
use serde_json::{Value, json};

use crate::config::{Config, Role, Sources};
use crate::postgres::{PostgresOptions, PrivatePostgres};
use crate::process::{Trouble, remark};

/// How long the engine may take to end.
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// A database and an engine, for one measurement.
pub(super) struct Ground {
    /// The engine that is measured.
    pub(super) engine: Engine,
    /// Its database.
    pub(super) database_url: String,
    private: Option<(PrivatePostgres, PathBuf)>,
    writer_connections: usize,
    node: NodeOptions,
}

impl Ground {
    /// Opens an engine on the database of `DATABASE_URL`, or on a private one. It carries no runs yet.
    pub(super) async fn prepare(slots: usize) -> Result<Self, Trouble> {
        let config = Config::load(&[Role::Tool], &Sources::of_process([]))?;
        let (url, private) = if let Some(url) = &config.database_url {
            (url.expose().to_owned(), None)
        } else {
            let folder = std::env::temp_dir().join(format!("fermata-bench-{}", std::process::id()));
            remark(format_args!("bench: DATABASE_URL is not set; a private Postgres in {}", folder.display()));
            let server = PrivatePostgres::start(PostgresOptions::new(&folder)).await?;
            (server.database_url(), Some((server, folder)))
        };
        fermata_engine::store::migrate(&url).await?;
        let registry = Registry::new().knowing(vocabulary(&[])).with(BenchSteps);
        let mut options = EngineOptions::new(url.clone(), Artifacts::new(std::env::temp_dir()), registry);
        options.max_connections = config.db_max_connections;
        options.writer_connections = usize::try_from(config.writer_connections).unwrap_or(1);
        options.allow_unsafe_durability = config.allow_unsafe_durability;
        let writer_connections = options.writer_connections;
        let engine = Engine::open(options).await?;
        let node = NodeOptions { slots, lease: config.lease, role: "bench".to_owned() };
        Ok(Self { engine, database_url: url, private, writer_connections, node })
    }

    /// Begins to carry runs.
    pub(super) async fn work(&self) -> Result<(), Trouble> {
        Ok(self.engine.work(self.node.clone()).await?)
    }

    /// Whether the database goes when the measurement is over.
    pub(super) fn is_private(&self) -> bool {
        self.private.is_some()
    }

    /// What one must know to compare.
    pub(super) fn setup(&self, postgres: &str, warm_up: usize) -> Value {
        json!({
            "fermata": env!("CARGO_PKG_VERSION"),
            "postgres": postgres,
            "private_postgres": self.private.is_some(),
            "cpus": std::thread::available_parallelism().map_or(1, usize::from),
            "writer_connections": self.writer_connections,
            "warm_up_runs": warm_up,
        })
    }

    /// Ends the engine, and removes what was made for the measurement alone.
    pub(super) async fn clear(self) {
        self.engine.close(CLOSE_LIMIT).await;
        let Some((server, folder)) = self.private else { return };
        let cluster = server.cluster_dir().to_owned();
        match server.stop().await {
            Ok(()) => {
                for path in [cluster.clone(), folder] {
                    drop(std::fs::remove_dir_all(path));
                }
                drop(std::fs::remove_file(cluster.with_extension("lock")));
            }
            Err(error) => remark(format_args!("bench: the private Postgres did not stop: {error}")),
        }
    }
}
