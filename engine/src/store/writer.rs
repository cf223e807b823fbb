//! The group writer: the only way that runs, steps and actions are written (design, section 4).
//!
//! Callers hand in a record, a command, a signal or a wish for runs, and await its outcome. Each lane owns one
//! connection, drains what has gathered while the last commit was in flight, and commits it in one
//! round trip.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use parking::{Load, Queue};
use sqlx::postgres::PgConnection;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tracing::{error, warn};

use super::record::{Acceptance, Accepted, Kind, Outcome, Record, Sending, Sent};
use super::{Role, Store, StoreError};
use crate::clock::Clock;
use crate::rigged::mutant;
use crate::telemetry;

mod commit;
mod parking;
mod send;
mod wish;

pub(crate) use wish::{Coming, Granted, MAX_CLAIM, Wish};

/// The most records in one batch (writer.md: more is slower).
pub(crate) const MAX_BATCH: usize = 256;
/// The most bytes of documents in one batch; a single larger record goes alone.
pub(crate) const MAX_BATCH_BYTES: usize = 8 << 20;
/// The most records that may wait in the writer before callers are told that the node is busy.
pub(crate) const MAX_QUEUED: usize = 65_536;
/// From how many queued records on two lanes share them; below, one batch is faster.
const SPLIT_FROM: usize = 64;
/// The smallest share that a lane takes of a shared queue.
const LEAST_SHARE: usize = 16;
/// How long a lane waits before it connects again.
const RECONNECT: Duration = Duration::from_millis(200);

/// A record or command with the one who waits for it.
pub(crate) enum Item {
    /// A change of a run by its holder.
    Write(Box<Record>, oneshot::Sender<Result<Outcome, StoreError>>),
    /// A new command.
    Accept(Box<Acceptance>, oneshot::Sender<Result<Accepted, StoreError>>),
    /// A signal.
    Signal(Box<Sending>, oneshot::Sender<Result<Sent, StoreError>>),
}

/// Told after each commit, with what the commit may have made ready.
pub(crate) type Committed = Arc<dyn Fn(Commit) + Send + Sync>;

/// What a commit did, for those who wait on this or another node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Commit {
    /// Runs may have become ready.
    pub(crate) ready: bool,
    /// The newest event position, if events were written.
    pub(crate) head: Option<i64>,
}

/// The writer of one node. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Writer {
    queue: Arc<Queue>,
}

impl Writer {
    /// Starts `lanes` lanes in `tasks`.
    pub(crate) fn start(
        store: &Store,
        clock: &Clock,
        lanes: usize,
        committed: &Committed,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let queue = Arc::new(Queue::new(lanes));
        for _ in 0..lanes {
            let lane = Lane {
                queue: Arc::clone(&queue),
                store: store.clone(),
                clock: clock.clone(),
                committed: Arc::clone(committed),
                connection: None,
            };
            tasks.spawn(lane.run());
        }
        Self { queue }
    }

    /// Writes a record; returns when its outcome is known.
    ///
    /// A caller that stops waiting knows nothing: the record has probably been committed.
    pub(crate) async fn write(&self, record: Record) -> Result<Outcome, StoreError> {
        let (tell, told) = oneshot::channel();
        self.queue.push(Item::Write(Box::new(record), tell))?;
        told.await.map_err(|_| StoreError::Stopped)?
    }

    /// Accepts a command; returns when it is durable.
    pub(crate) async fn accept(&self, acceptance: Acceptance) -> Result<Accepted, StoreError> {
        let (tell, told) = oneshot::channel();
        let at_once = mutant!("ack-before-commit") && acceptance.key.is_none();
        self.queue.push(Item::Accept(Box::new(acceptance), tell))?;
        if at_once {
            return Ok(Accepted::New);
        }
        told.await.map_err(|_| StoreError::Stopped)?
    }

    /// Leaves a signal; returns when it is durable.
    pub(crate) async fn signal(&self, sending: Sending) -> Result<Sent, StoreError> {
        let (tell, told) = oneshot::channel();
        self.queue.push(Item::Signal(Box::new(sending), tell))?;
        told.await.map_err(|_| StoreError::Stopped)?
    }

    /// How many batches may be under way at once.
    pub(crate) fn lanes(&self) -> usize {
        self.queue.lanes()
    }

    /// Lets a wish ride with the next batch that makes runs ready, or, `at_once`, with the next that goes.
    ///
    /// A claimer has one wish at a time; an earlier one is dropped.
    pub(crate) fn wish(&self, claimer: usize, wish: Wish, at_once: bool) {
        self.queue.wish(claimer, wish, at_once);
    }

    /// Takes a claimer's wish back; whether it was still there.
    pub(crate) fn withdraw(&self, claimer: usize) -> bool {
        self.queue.withdraw(claimer)
    }

    /// Lets the lanes end once the queue is empty.
    pub(crate) fn stop(&self) {
        self.queue.stop();
    }
}

/// One connection and the loop that feeds it.
struct Lane {
    queue: Arc<Queue>,
    store: Store,
    clock: Clock,
    committed: Committed,
    connection: Option<PgConnection>,
}

impl Lane {
    async fn run(mut self) {
        while self.queue.wait().await {
            // Those who were woken by the same commit get to add theirs (writer.md: +30 %).
            tokio::task::yield_now().await;
            let Some(load) = self.queue.take() else { continue };
            let runs: Vec<_> = load.items.iter().filter_map(Item::run).collect();
            self.send(load).await;
            self.queue.release(&runs);
        }
    }

    /// A connection that answers, however long it takes; `None` once the node is stopping.
    async fn connected(&mut self) -> Option<&mut PgConnection> {
        while self.connection.is_none() {
            match self.store.dedicated(Role::Writer).await {
                Ok(connection) => self.connection = Some(connection),
                Err(error) if self.queue.stopped() => {
                    error!(error = %error, "the writer stops without a database");
                    return None;
                }
                Err(error) => {
                    warn!(error = %error, "the writer cannot connect, will try again");
                    self.clock.wait(RECONNECT).await;
                }
            }
        }
        self.connection.as_mut()
    }

    fn tell(&self, commit: Commit, batch: usize, began: std::time::Instant) {
        telemetry::batch(batch, self.clock.monotonic() - began);
        (self.committed)(commit);
    }
}

impl Item {
    fn run(&self) -> Option<crate::id::RunId> {
        match self {
            Self::Write(record, _) => Some(record.run),
            Self::Accept(..) | Self::Signal(..) => None,
        }
    }

    /// Whether some run may be ready once it is written.
    fn makes_ready(&self) -> bool {
        match self {
            Self::Write(record, _) => record.kind == Kind::HandBack,
            Self::Accept(..) | Self::Signal(..) => true,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            Self::Write(record, _) => record.bytes(),
            Self::Accept(acceptance, _) => acceptance.bytes,
            Self::Signal(sending, _) => sending.payload.get().len(),
        }
    }
}
