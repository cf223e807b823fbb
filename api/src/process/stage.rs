//! Everything that `dev` has started, so that it can be ended in order at any moment.

use std::path::PathBuf;
use std::time::Duration;

use fermata_engine::clock::Clock;
use tokio::sync::mpsc;

use super::keeper::{Keeper, News};
use super::{Ready, ReadyNode, Trouble, say};
use crate::postgres::{PostgresOptions, PrivatePostgres};

/// How long browsers and the demo site may take once no run needs them.
const REST_PATIENCE: Duration = Duration::from_secs(4);

/// What runs, and where it is said to be.
pub(super) struct Stage {
    /// Time.
    pub(super) clock: Clock,
    /// The database, when it is ours.
    pub(super) postgres: Option<PrivatePostgres>,
    /// The API and the workers: they end first.
    pub(super) work: Keeper,
    /// What they need: browsers, the demo site.
    pub(super) rest: Keeper,
    /// What the keepers tell.
    pub(super) news: mpsc::Receiver<News>,
    /// What the ready files say.
    pub(super) ready: Ready,
    /// Where they are.
    pub(super) ready_files: Vec<PathBuf>,
    /// Where the database's files are.
    pub(super) data_dir: PathBuf,
}

impl Stage {
    /// An empty stage; the API and the workers will get `patience` to drain.
    pub(super) fn new(clock: Clock, patience: Duration, data_dir: PathBuf) -> Self {
        let (work, news) = Keeper::new(clock.clone(), patience);
        let rest = work.beside(REST_PATIENCE);
        let ready = Ready { pid: std::process::id(), ..Ready::default() };
        Self { clock, postgres: None, work, rest, news, ready, ready_files: Vec::new(), data_dir }
    }

    /// Writes the ready files, whole or not at all.
    pub(super) fn announce(&self) -> Result<(), Trouble> {
        for path in &self.ready_files {
            self.ready.write(path).map_err(|error| Trouble::file("cannot write", path, &error))?;
        }
        Ok(())
    }

    /// Tells people and the ready files what became of a child.
    pub(super) fn hear(&mut self, news: News) -> Result<(), Trouble> {
        match news {
            News::Down { name, how } => say(format_args!("{name} ended ({how}); starting it again")),
            News::Up { name, pid, ready } => {
                say(format_args!("{name} is back, pid {pid}"));
                if let Some(node) = self.ready.nodes.iter_mut().find(|node| node.name == name) {
                    ready["nodes"][0]["node"].as_str().unwrap_or(&name).clone_into(&mut node.node);
                    node.pid = pid;
                    node.probes = ready["nodes"][0]["probes"].as_str().map(str::to_owned);
                }
                self.announce()?;
            }
        }
        Ok(())
    }

    /// Adds what a child says of itself.
    pub(super) fn add(&mut self, said: Ready) -> ReadyNode {
        let node = said.nodes.into_iter().next().unwrap_or(ReadyNode {
            node: String::new(),
            name: String::new(),
            role: String::new(),
            pid: said.pid,
            probes: None,
        });
        self.ready.nodes.push(node.clone());
        node
    }

    /// Starts the database again when it died.
    pub(super) async fn mend_postgres(&mut self) {
        let Some(port) = self.postgres.as_ref().filter(|server| !server.is_running()).map(PrivatePostgres::port) else {
            return;
        };
        say("the database ended; starting it again");
        self.postgres = None;
        match PrivatePostgres::start(PostgresOptions::new(&self.data_dir).port(port)).await {
            Ok(server) => self.postgres = Some(server),
            Err(error) => say(format_args!("the database did not come back: {error}")),
        }
    }

    /// Ends everything in order; nothing runs when this returns.
    pub(super) async fn stop(self) -> Result<(), Trouble> {
        for path in &self.ready_files {
            // Nobody should be sent to what is going away.
            drop(std::fs::remove_file(path));
        }
        // Nobody reads news any more; a keeper must not wait for that.
        drop(self.news);
        self.work.stop().await;
        self.rest.stop().await;
        match self.postgres {
            Some(server) => Ok(server.stop().await?),
            None => Ok(()),
        }
    }

    /// Seconds since `began`, for people.
    pub(super) fn seconds(&self, began: std::time::Instant) -> f64 {
        self.clock.monotonic().duration_since(began).as_secs_f64()
    }
}
