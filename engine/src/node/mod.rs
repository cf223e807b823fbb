//! A node: a process that holds a lease and carries runs (design, section 4, "Death of a node").
//!
//! Owns registration, renewal, hints between nodes, timers, and taking over from the dead. All of
//! it is reconcilers: woken by a signal and by the clock, the same after a crash. Read [`Host`],
//! what every run on this node shares, and [`start`].

mod keep;
mod reconcile;
mod strays;
mod wakes;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, mpsc, watch};
use tokio::task::JoinSet;
use tracing::info;

pub(crate) use strays::Doubt;
pub(crate) use wakes::{FOLLOWED, Wakes};

use crate::artifact::Artifacts;
use crate::clock::Clock;
use crate::id::RunId;
use crate::neighbour::{self, Street};
use crate::queue;
use crate::store::writer::{Coming, MAX_CLAIM, Writer};
use crate::store::{Store, StoreError};
use crate::telemetry;
use crate::trace::Traces;
use crate::workflow::Registry;
use crate::workflow::session::Session;

/// Claimed runs that may wait for the worker: those of one claim, so that their first records go together.
const DELIVERIES: usize = MAX_CLAIM;

/// What all runs of one node share.
pub(crate) struct Host {
    pub(crate) clock: Clock,
    pub(crate) store: Store,
    pub(crate) writer: Writer,
    pub(crate) registry: Registry,
    pub(crate) artifacts: Artifacts,
    pub(crate) wakes: Arc<Wakes>,
    /// How far clocks and carriers may be off when a call's absence is judged.
    pub(crate) call_skew: Duration,
    pub(crate) traces: Traces,
    pub(crate) sealing: crate::audit::Sealing,
    /// The deliveries in memory.
    pub(crate) running: Mutex<HashMap<RunId, Arc<Session>>>,
    pub(crate) coming: Coming,
    /// Who waits in this process for a run to end.
    pub(crate) endings: crate::run::Endings,
    /// Whether the database may believe that this node holds more than it knows of.
    pub(crate) doubt: Mutex<Doubt>,
    /// Where its door is, for commands of other processes of this machine.
    pub(crate) street: Option<Street>,
}

/// How a node works.
#[derive(Debug, Clone)]
pub struct NodeOptions {
    /// The most runs in memory at once.
    pub slots: usize,
    /// How long the node's word is good without renewal.
    pub lease: Duration,
    /// The node's role, for people.
    pub role: String,
}

impl Default for NodeOptions {
    fn default() -> Self {
        Self { slots: 1_024, lease: Duration::from_secs(10), role: "worker".into() }
    }
}

impl Host {
    /// The kill switch that stops this account, if one is on.
    pub(crate) async fn kill_switch(&self, client: &str, account: &str) -> Result<Option<String>, StoreError> {
        self.store.kill_switch(client, account).await
    }

    /// A delivery begins.
    pub(crate) fn enter(&self, session: &Arc<Session>) {
        let mut running = self.running();
        running.insert(session.claim.run, Arc::clone(session));
        self.coming().remove(&session.claim.run);
        telemetry::running(running.len());
    }

    /// A delivery ends. A newer one of the same run stays.
    pub(crate) fn exit(&self, session: &Arc<Session>) {
        let mut running = self.running();
        if running.get(&session.claim.run).is_some_and(|current| Arc::ptr_eq(current, session)) {
            running.remove(&session.claim.run);
        }
        telemetry::running(running.len());
    }

    /// Whose run it is, if this process has it in its hands.
    pub(crate) fn client_in_hand(&self, run: RunId) -> Option<Arc<str>> {
        // In the order in which a run goes from one to the other, so that it is not missed between them.
        let coming = self.coming().get(&run).cloned();
        coming.or_else(|| self.running().get(&run).map(|session| Arc::clone(&session.claim.client)))
    }

    fn sessions(&self) -> Vec<Arc<Session>> {
        self.running().values().cloned().collect()
    }

    fn session(&self, run: RunId) -> Option<Arc<Session>> {
        self.running().get(&run).cloned()
    }

    fn coming(&self) -> MutexGuard<'_, HashMap<RunId, Arc<str>>> {
        self.coming.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn running(&self) -> MutexGuard<'_, HashMap<RunId, Arc<Session>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A working node; ends when told to drain.
pub(crate) struct Node {
    host: Arc<Host>,
    tasks: JoinSet<()>,
    worker: tokio::task::JoinHandle<()>,
    lease: watch::Receiver<Option<crate::run::Lease>>,
}

/// Starts claiming and carrying runs. Returns once the node is registered.
pub(crate) async fn start(host: Arc<Host>, options: NodeOptions) -> Result<Node, StoreError> {
    let slots = Arc::new(Semaphore::new(options.slots));
    let (send, deliveries) = mpsc::channel(DELIVERIES);
    let first = keep::register(&host, &options).await?;
    // Whoever asks for the node's id from here on gets one.
    let (tell, lease) = watch::channel(Some(first.lease()));
    let mut tasks = JoinSet::new();
    tasks.spawn(keep::keep(Arc::clone(&host), options.clone(), first, tell));
    tasks.spawn(reconcile::timers(Arc::clone(&host)));
    tasks.spawn(reconcile::reap(Arc::clone(&host), options.lease));
    tasks.spawn(reconcile::upkeep(Arc::clone(&host)));
    tasks.spawn(reconcile::sweep(Arc::clone(&host)));
    tasks.spawn(crate::audit::seal(Arc::clone(&host)));
    if let Some(street) = host.street.clone() {
        tasks.spawn(neighbour::listen(Arc::clone(&host), street));
    }
    // One for each batch that may be under way: a claim need not wait for the one before it.
    for claimer in 0..host.writer.lanes() {
        let claims = queue::claim_forever(Arc::clone(&host), claimer, Arc::clone(&slots), lease.clone(), send.clone());
        tasks.spawn(claims);
    }
    drop(send);
    let worker = tokio::spawn(queue::work(Arc::clone(&host), deliveries));
    Ok(Node { host, tasks, worker, lease })
}

impl Node {
    /// The id of the registration in force.
    pub(crate) fn id(&self) -> Option<crate::id::NodeId> {
        self.lease.borrow().as_ref().map(crate::run::Lease::node)
    }

    /// Hands the node's runs back and ends within `patience`; what is not done by then is taken
    /// over by others when the lease ends.
    pub(crate) async fn drain(mut self, patience: Duration) {
        self.host.wakes.drain();
        for session in self.host.sessions() {
            session.hand_back();
        }
        let drained = tokio::time::timeout(patience, &mut self.worker).await;
        if drained.is_err() {
            info!("not all runs could be handed back in time; others take them over");
            self.worker.abort();
        }
        self.tasks.shutdown().await;
        let node = self.id();
        if let (Ok(_), Some(node)) = (drained, node)
            && let Err(error) = self.host.store.leave(node).await
        {
            info!(error = %error, "the node could not sign off");
        }
    }
}
