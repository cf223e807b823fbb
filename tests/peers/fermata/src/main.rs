//! Fermata as a peer of the bench: `setup`, a `worker` and a `client`, each a process of its own.
//!
//! They talk JSON lines on standard input and output, as `../worker.mjs` has them, so that the same driver measures
//! every peer. The engine is used as a program of somebody's would use it: nothing here is out of its public reach.

mod client;
mod words;
mod work;
mod worker;

use clap::{Args, Parser, Subcommand};
use fermata_engine::artifact::Artifacts;
use fermata_engine::workflow::Registry;
use fermata_engine::{Engine, EngineOptions};

use self::work::Work;

/// As in the program itself.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Why a peer ends early; the driver shows the text.
type Trouble = Box<dyn std::error::Error + Send + Sync>;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(subcommand)]
    role: Role,
}

#[derive(Debug, Subcommand)]
enum Role {
    /// Makes the schema in a fresh database
    Setup(Database),
    /// Carries runs until its standard input ends
    Worker(worker::WorkerArgs),
    /// Submits what it is told to
    Client(Database),
}

/// Which database, and over how many connections it is written to.
#[derive(Debug, Args)]
struct Database {
    #[arg(long, env = "DATABASE_URL")]
    url: String,
    /// Connections of the group writer
    #[arg(long, env = "LANES", default_value_t = 2)]
    lanes: usize,
    /// Hand commands to a worker of this machine
    #[arg(long, env = "NEIGHBOURS", default_value_t = true, action = clap::ArgAction::Set)]
    neighbours: bool,
}

impl Database {
    async fn open(&self) -> Result<Engine, Trouble> {
        let registry = Registry::new().with(Work);
        let mut options = EngineOptions::new(&self.url, Artifacts::new(std::env::temp_dir()), registry);
        options.writer_connections = self.lanes;
        if self.neighbours {
            options.neighbours = Some(EngineOptions::doors()?);
        }
        Ok(Engine::open(options).await?)
    }
}

#[tokio::main]
async fn main() -> Result<(), Trouble> {
    match Arguments::parse().role {
        Role::Setup(database) => Ok(fermata_engine::store::migrate(&database.url).await.map(drop)?),
        Role::Worker(options) => worker::run(options).await,
        Role::Client(database) => client::run(&database).await,
    }
}
