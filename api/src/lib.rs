//! The process: REST, configuration, authentication headers, the private Postgres, the command line.
//!
//! Owns how the outside speaks to the engine. Knows no SQL beyond starting a server, and no queue.

pub mod app;
mod audit;
pub mod auth;
pub mod cli;
pub mod config;
pub mod error;
pub mod graphql;
pub mod openapi;
pub mod postgres;
pub mod process;
pub mod rest;
mod service;
pub mod stream;
pub mod supervisor;
pub mod telemetry;
