//! The durable core of Fermata: runs, steps, waits, effects, events, and the queue that carries
//! them.
//!
//! Owns all SQL ([`store`]), all of apalis (`queue`) and the only way to a permit ([`effect`]).
//! Deliberately knows no HTTP, no browser, and no platform's name. Read [`engine::Engine`] and
//! [`workflow::Context`] first; a new workflow lives in the `workflows` crate, not here.

pub mod access;
pub mod artifact;
pub mod audit;
pub mod clock;
pub mod document;
pub mod effect;
pub mod engine;
pub mod event;
pub mod id;
pub mod log;
mod neighbour;
mod node;
pub mod policy;
mod queue;
pub mod read;
pub mod rigged;
pub mod run;
pub mod step;
pub mod store;
pub mod telemetry;
pub mod trace;
pub mod wait;
pub mod workflow;

pub use engine::{Engine, EngineOptions};
pub use node::NodeOptions;
