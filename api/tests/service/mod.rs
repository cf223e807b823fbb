//! Laws of the services beside the API: the real program, one role at a time, over real HTTP.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking")]

mod alone;
mod echo;
mod fake_render;
mod harness;
mod logging;
mod neighbour;
mod render_faults;
mod renderctl;
