//! How Fermata runs: one process with its roles ([`serve()`]), or several on one machine ([`dev()`]).
//!
//! Owns starting, readiness, draining, and keeping children alive. Knows nothing of what a role does
//! with a request or a run, and reads no command line. Read [`serve()`] and [`dev()`] first; a new
//! role is one branch in `serve.rs` and one plan in `plans.rs`.
//!
//! What holds at any moment: no child outlives its parent, not even one that is killed; a ready file
//! is whole or absent; no secret is on a command line.

mod child;
mod dev;
mod exit;
mod keeper;
mod listeners;
mod plans;
mod ready;
mod schema;
mod serve;
mod signals;
mod stage;
mod token;
mod trouble;

pub(crate) use child::{Child, Plan as ChildPlan};
pub(crate) use dev::READY_FILE;
pub use dev::{DevOptions, dev};
pub use exit::Exit;
pub use ready::{Ready, ReadyNode};
pub(crate) use schema::{Backup, raise_schema};
pub use serve::{ServeOptions, serve};
pub(crate) use token::small_engine;
pub use trouble::Trouble;

use std::io::Write as _;

/// Prints a line for people or programs. Whoever closed the pipe does not want to know.
pub fn say(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stdout().lock(), "{line}");
}

/// Prints a line that is not the answer: progress, remarks.
pub fn remark(line: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
