//! The engine as its surfaces and its host process see it: one handle.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinSet;
use tracing::warn;

use crate::artifact::Artifacts;
use crate::clock::Clock;
use crate::event::tail::{Reader, Tail};
use crate::id::uuid_at;
use crate::neighbour::{self, Neighbours, Street};
use crate::node::{self, Host, Node, NodeOptions, Wakes};
use crate::store::record::{Acceptance, Accepted};
use crate::store::stream::{Hint, News};
use crate::store::writer::{Commit, Committed, Writer};
use crate::store::{Store, StoreError};
use crate::trace::Traces;
use crate::workflow::Registry;

/// How an engine is opened.
#[derive(Debug)]
pub struct EngineOptions {
    /// The database, as a login that may take the roles of the schema.
    pub database_url: String,
    /// A pooler before the same database, in transaction mode, for reads that answer requests.
    pub pooler_url: Option<String>,
    /// The most connections in each pool.
    pub max_connections: u32,
    /// Connections of the group writer.
    pub writer_connections: usize,
    /// The client of a submission that names none, by a principal of every client.
    pub default_client: Option<String>,
    /// Accept a server that loses acknowledged work.
    pub allow_unsafe_durability: bool,
    /// How far clocks and carriers may be off when the absence of an effect is judged.
    pub call_skew: Duration,
    /// Where artifacts are.
    pub artifacts: Artifacts,
    /// The workflows of this installation.
    pub registry: Registry,
    /// Time.
    pub clock: Clock,
    /// Who is told of spans; nobody by default.
    pub traces: Traces,
    /// How the audit trail is sealed; unsigned by default.
    pub sealing: crate::audit::Sealing,
    /// Where workers of this machine have their doors ([`EngineOptions::doors`]); without it commands go through the database.
    pub neighbours: Option<PathBuf>,
}

impl EngineOptions {
    /// The usual options for a database, a folder and workflows.
    pub fn new(database_url: impl Into<String>, artifacts: Artifacts, registry: Registry) -> Self {
        Self {
            database_url: database_url.into(),
            pooler_url: None,
            max_connections: 10,
            writer_connections: 2,
            default_client: None,
            allow_unsafe_durability: false,
            call_skew: Duration::from_secs(5),
            artifacts,
            registry,
            clock: Clock::system(),
            traces: Traces::default(),
            sealing: crate::audit::Sealing::default(),
            neighbours: None,
        }
    }

    /// Where workers of this user have their doors on this machine: a folder that nobody else may enter.
    pub fn doors() -> std::io::Result<PathBuf> {
        neighbour::folder()
    }
}

/// An open engine. Cheap to clone; submits and answers, and, once [`Engine::work`] was called,
/// carries runs.
#[derive(Clone)]
pub struct Engine {
    inner: Arc<Inner>,
}

struct Inner {
    host: Arc<Host>,
    node: Mutex<Option<Node>>,
    tasks: Mutex<JoinSet<()>>,
    tokens: crate::access::TokenCache,
    tail: Arc<Tail>,
    reader: Arc<Reader>,
    default_client: Option<String>,
    neighbours: Option<Neighbours>,
}

/// Where the doors of the database are; none where there is no such folder, or the database does not say which it is.
async fn street(store: &Store, folder: Option<PathBuf>) -> Result<Option<Street>, StoreError> {
    let Some(folder) = folder else { return Ok(None) };
    let Some(known_as) = store.known_as().await? else { return Ok(None) };
    let street = Street::of(folder, &known_as);
    Ok(street
        .inspect_err(|error| warn!(error = %error, "commands go to workers of this machine through the database"))
        .ok())
}

impl Engine {
    /// Connects, checks schema and settings, and starts the writer.
    pub async fn open(options: EngineOptions) -> Result<Self, StoreError> {
        let store =
            Store::connect(&options.database_url, options.pooler_url.as_deref(), options.max_connections).await?;
        store.check_schema().await?;
        if !options.allow_unsafe_durability {
            store.check_durability().await?;
        }
        let clock = options.clock;
        store.set_clock(&clock).await?;
        let wakes = Arc::new(Wakes::new(uuid_at(clock.now())));
        let committed: Committed = {
            let wakes = Arc::clone(&wakes);
            Arc::new(move |commit: Commit| {
                if commit.ready {
                    wakes.ready();
                } else if commit.head.is_some() {
                    wakes.moved();
                }
            })
        };
        let mut tasks = JoinSet::new();
        let writer = Writer::start(&store, &clock, options.writer_connections.max(1), &committed, &mut tasks);
        {
            let (wakes, store, clock) = (Arc::clone(&wakes), store.clone(), clock.clone());
            tasks.spawn(async move { wakes.tell_others(&store, &clock).await });
        }
        store.recognise().await?;
        let street = street(&store, options.neighbours).await?;
        let neighbours = street.clone().map(|street| Neighbours::new(street, clock.clone()));
        let reader = Reader { store: store.clone(), clock: clock.clone(), wakes: Arc::clone(&wakes) };
        let host = Host {
            clock,
            store,
            writer,
            registry: options.registry,
            artifacts: options.artifacts,
            wakes,
            call_skew: options.call_skew,
            traces: options.traces,
            sealing: options.sealing,
            running: Mutex::default(),
            coming: crate::store::writer::Coming::default(),
            endings: crate::run::Endings::default(),
            doubt: Mutex::default(),
            street,
        };
        let inner = Inner {
            host: Arc::new(host),
            node: Mutex::new(None),
            tasks: Mutex::new(tasks),
            tokens: crate::access::TokenCache::default(),
            tail: Arc::new(Tail::new()),
            reader: Arc::new(reader),
            default_client: options.default_client,
            neighbours,
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Registers as a node and carries runs until [`Engine::close`].
    pub async fn work(&self, options: NodeOptions) -> Result<(), StoreError> {
        let node = node::start(Arc::clone(&self.inner.host), options).await?;
        *self.inner.node.lock().unwrap_or_else(PoisonError::into_inner) = Some(node);
        Ok(())
    }

    /// Hands runs back, lets the writer finish, and closes all connections, within `patience`.
    pub async fn close(&self, patience: Duration) {
        self.inner.tail.stop();
        let node = self.inner.node.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(node) = node {
            node.drain(patience).await;
        }
        self.inner.host.writer.stop();
        let mut tasks = std::mem::take(&mut *self.inner.tasks.lock().unwrap_or_else(PoisonError::into_inner));
        // The lanes end by themselves once their queue is empty; the rest is only cut off.
        let lanes = async { while tasks.len() > 1 && tasks.join_next().await.is_some() {} };
        drop(tokio::time::timeout(patience, lanes).await);
        tasks.shutdown().await;
        self.inner.host.store.close().await;
    }

    /// Accepts a command: at a worker next door, if this process carries no runs and the command comes alone, or else here.
    pub(crate) async fn accept(&self, acceptance: Acceptance) -> Result<Accepted, StoreError> {
        let Some(neighbours) = self.inner.neighbours.as_ref().filter(|_| self.node().is_none()) else {
            return self.writer().accept(acceptance).await;
        };
        let under_way = neighbours.under_way();
        if under_way.is_alone()
            && let Some(accepted) = neighbours.accept(&acceptance).await
        {
            return Ok(accepted);
        }
        self.writer().accept(acceptance).await
    }

    /// Whether the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        self.store().ping().await
    }

    /// The id under which this process carries runs now; `None` when it does not. It changes when
    /// the node was taken for dead and came back.
    pub fn node(&self) -> Option<crate::id::NodeId> {
        let node = self.inner.node.lock().unwrap_or_else(PoisonError::into_inner);
        node.as_ref().and_then(Node::id)
    }

    /// What a benchmark reads of the server.
    pub async fn server_stats(&self) -> Result<crate::store::ServerStats, StoreError> {
        self.store().server_stats().await
    }

    /// The client of a submission that names none, by a principal of every client.
    pub fn default_client(&self) -> Option<&str> {
        self.inner.default_client.as_deref()
    }

    /// The workflows of this installation.
    pub fn registry(&self) -> &Registry {
        &self.inner.host.registry
    }

    /// The database's time, as this process knows it.
    pub fn clock(&self) -> &Clock {
        &self.inner.host.clock
    }

    /// The artifacts of this installation.
    pub fn artifacts(&self) -> &Artifacts {
        &self.inner.host.artifacts
    }

    pub(crate) fn store(&self) -> &Store {
        &self.inner.host.store
    }

    pub(crate) fn writer(&self) -> &Writer {
        &self.inner.host.writer
    }

    pub(crate) fn client_in_hand(&self, run: crate::id::RunId) -> Option<Arc<str>> {
        self.inner.host.client_in_hand(run)
    }

    pub(crate) fn endings(&self) -> &crate::run::Endings {
        &self.inner.host.endings
    }

    pub(crate) fn tokens(&self) -> &crate::access::TokenCache {
        &self.inner.tokens
    }

    pub(crate) fn tail(&self) -> &Arc<Tail> {
        &self.inner.tail
    }

    pub(crate) fn reader(&self) -> &Arc<Reader> {
        &self.inner.reader
    }

    /// Events were committed outside of the writer: who follows them here and elsewhere is told.
    pub(crate) async fn tell_events(&self) {
        let wakes = &self.inner.host.wakes;
        wakes.moved();
        // Told here and not by the task beside: this process may end right away.
        if let Err(error) = self.store().hint(Hint { origin: wakes.origin, news: News::Events }).await {
            tracing::debug!(error = %error, "a hint could not be sent");
        }
    }

    /// Something was delivered: whoever waits may go on.
    pub(crate) fn wake_up(&self) {
        self.inner.host.wakes.delivered();
    }
}
