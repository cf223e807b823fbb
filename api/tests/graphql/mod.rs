//! Laws of the GraphQL surface: real HTTP, real WebSockets, a real engine that carries runs, on a
//! database of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod accounts;
mod counter;
mod documents;
mod harness;
mod limits;
mod mutations;
mod reads;
mod socket;
mod statements;
mod transport;
