//! Laws of the REST surface, over the whole router and a real engine on a database of its own.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod access;
mod accounts;
mod artifacts;
mod audit;
mod doubt;
mod faults;
mod harness;
mod kill_switches;
mod limits;
mod outage;
mod pages;
mod policies;
mod problems;
mod reads;
mod refusals;
mod submit;
