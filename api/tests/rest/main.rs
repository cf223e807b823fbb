//! Laws of the REST surface, over the whole router and a real engine on a database of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod artifacts;
mod harness;
mod pages;
mod reads;
mod refusals;
mod submit;
