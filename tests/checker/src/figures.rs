//! What a trial comes to in numbers. It decides nothing: what must not be is found by the invariants.

use std::collections::BTreeSet;
use std::ops::AddAssign;

use serde::Serialize;

use crate::trial::Trial;

/// What was done, counted by the witnesses.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Figures {
    /// Actions of the trial's clients (rows of `action`).
    pub actions: usize,
    /// Effects that the platform applied.
    pub effects: usize,
    /// Effects beyond the first of their reference: duplicates, whoever allowed them (G-126).
    pub duplicates: usize,
    /// Requests for an effect that reached the platform (B-057).
    pub calls: usize,
}

impl AddAssign for Figures {
    fn add_assign(&mut self, Self { actions, effects, duplicates, calls }: Self) {
        self.actions += actions;
        self.effects += effects;
        self.duplicates += duplicates;
        self.calls += calls;
    }
}

impl Figures {
    /// Counts a trial.
    pub fn of(trial: &Trial) -> Self {
        let named = trial.ledger.iter().filter_map(|line| line.reference.as_deref().map(|name| (&line.account, name)));
        let (named, distinct) = (named.clone().count(), named.collect::<BTreeSet<_>>().len());
        Self {
            actions: trial.dump.action.len(),
            effects: trial.ledger.len(),
            duplicates: named - distinct,
            calls: trial.calls.len(),
        }
    }
}
