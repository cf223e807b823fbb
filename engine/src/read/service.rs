//! What is true of the whole service now: the numbers behind the metrics page.

use super::ReadError;
use crate::engine::Engine;

/// Runs of one workflow and client.
#[derive(Debug, Clone, PartialEq)]
pub struct QueueState {
    /// `name@version`, or `other` for what is not told apart.
    pub workflow: String,
    /// The client, or `other`.
    pub client: String,
    /// Waiting for a free slot.
    pub ready: i64,
    /// Held by a node.
    pub running: i64,
    /// Waiting for a time, a signal, a person, a child.
    pub waiting: i64,
    /// Set aside after too many deliveries without progress.
    pub parked: i64,
    /// How long the first of the ready ones has been so; 0 when there is none.
    pub oldest_ready_s: f64,
    /// Waiting ones whose time has come.
    pub timers_due: i64,
    /// How late the first of these is; 0 when there is none.
    pub oldest_due_s: f64,
}

/// Open gates of one kind.
#[derive(Debug, Clone, PartialEq)]
pub struct GatesOpen {
    /// `approval` or `takeover`.
    pub kind: String,
    /// How many.
    pub open: i64,
    /// How long the first of them has been open; 0 when there is none.
    pub oldest_s: f64,
}

/// One look at the database, over every client.
#[derive(Debug, Clone, PartialEq)]
pub struct ServiceState {
    /// The longest queues, and the rest as `other`.
    pub queues: Vec<QueueState>,
    /// Gates, by kind.
    pub gates: Vec<GatesOpen>,
    /// Actions that nobody can prove or disprove.
    pub actions_unknown: i64,
    /// How long the first of them has been so; 0 when there is none.
    pub oldest_unknown_s: f64,
    /// How long the first audit row that is not sealed has been so; 0 when all are.
    pub seal_lag_s: f64,
    /// The newest position of the stream.
    pub stream_head: i64,
    /// The position before the oldest event kept.
    pub stream_oldest: i64,
    /// Nodes whose lease holds.
    pub nodes_alive: i64,
    /// Nodes whose lease has run out and whose runs are not freed yet.
    pub nodes_lapsed: i64,
    /// Kill switches that are on.
    pub kill_switches: i64,
}

/// Connections of one pool of this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConnectionsInUse {
    /// The pool's name.
    pub pool: &'static str,
    /// Open and free.
    pub idle: usize,
    /// Open and at work.
    pub busy: usize,
}

impl Engine {
    /// Counts what the metrics page shows. Numbers of every client: for the page alone, which has
    /// its own guard.
    pub async fn service_state(&self) -> Result<ServiceState, ReadError> {
        Ok(self.store().service_state().await?)
    }

    /// How full this process' pools of connections are.
    pub fn connections(&self) -> [ConnectionsInUse; 2] {
        self.store().connections()
    }
}
