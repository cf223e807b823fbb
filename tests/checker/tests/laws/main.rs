//! The laws of the checker: a good trial passes, and one that is broken in one place is caught by
//! the invariant that forbids it.

use fermata_checker::{Invariant, Trial, check};

mod audit;
mod commands;
mod effects;
mod fence;
mod folder;
mod gates;
mod good;
mod machines;
mod mutants;
mod streams;
mod unknown;
mod world;

/// The invariants that a trial breaks.
fn broken(trial: &Trial) -> Vec<Invariant> {
    let found = check(trial).found;
    found.into_iter().filter(|(_, count)| *count > 0).map(|(invariant, _)| invariant).collect()
}

/// The invariants that the good trial breaks once it was changed.
fn after(change: impl FnOnce(&mut Trial)) -> Vec<Invariant> {
    let mut trial = good::trial();
    change(&mut trial);
    broken(&trial)
}
