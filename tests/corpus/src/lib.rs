//! Inputs for whoever reads what a stranger wrote: committed examples, and endless variations of them.
//!
//! Owns the corpora (`data/<target>/`, one file an entry), how an entry is varied ([`Mutation`]) and how a law is held
//! against many inputs ([`Target::holds`]). Knows no parser: a harness stands beside the parser that it judges, in the
//! parser's own crate. To add a target, add a folder with a few small entries, good and bad; to add a finding, add the
//! input that showed it as a file.
//!
//! The toolchain is pinned to stable, where no compiler counts the branches that an input reaches. So this is not
//! fuzzing by coverage: what is varied is close to what means something, because it began as such.

mod mutation;
mod target;

pub use mutation::{Mutation, mutations};
pub use target::{Entry, Target};
