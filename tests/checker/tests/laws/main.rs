//! The laws of the checker: a good trial passes, and one that is broken in one place is caught by
//! the invariant that forbids it.

mod good;
mod world;
