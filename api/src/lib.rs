//! The process: REST, configuration, authentication headers, the private Postgres, the command line.
//!
//! Owns how the outside speaks to the engine. Knows no SQL beyond starting a server, and no queue.

pub mod config;
pub mod postgres;
pub mod supervisor;
pub mod telemetry;
