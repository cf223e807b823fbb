//! The harness: a real Postgres, a database per test, a real engine, and waits on observed facts.
//!
//! Tests read as laws (style, habit 14): no sleeps as synchronisation; whoever waits, waits for a
//! fact with a deadline through [`eventually`].

mod database;
mod dev;
mod fault_proxy;
mod lot;
mod outside;
mod pooler;
mod wait;
mod workflows;

pub use database::{TestDb, cluster_url, contents, submission};
pub use dev::{Dev, NodeEntry, Ready};
pub use fault_proxy::FaultProxy;
pub use lot::Lot;
pub use outside::{Ledger, Post, Promises};
pub use pooler::Pooler;
pub use wait::{PATIENCE, eventually};
pub use workflows::{Idle, StepCount, Steps};
