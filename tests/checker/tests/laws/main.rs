//! The laws of the checker: a good trial passes, and one that is broken in one place is caught by
//! the invariant that forbids it.

#[cfg(test)]
use fermata_checker::{Invariant, Trial, check};

#[cfg(test)]
mod audit;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod effects;
#[cfg(test)]
mod fence;
#[cfg(test)]
mod folder;
#[cfg(test)]
mod gates;
#[cfg(test)]
mod good;
#[cfg(test)]
mod machines;
#[cfg(test)]
mod mutants;
#[cfg(test)]
mod rations;
#[cfg(test)]
mod streams;
#[cfg(test)]
mod unknown;
#[cfg(test)]
mod world;

/// The invariants that a trial breaks.
#[cfg(test)]
fn broken(trial: &Trial) -> Vec<Invariant> {
    let found = check(trial).found;
    found.into_iter().filter(|(_, count)| *count > 0).map(|(invariant, _)| invariant).collect()
}

/// The invariants that the good trial breaks once it was changed.
#[cfg(test)]
fn after(change: impl FnOnce(&mut Trial)) -> Vec<Invariant> {
    let mut trial = good::trial();
    change(&mut trial);
    broken(&trial)
}
