//! I4, at the platform: nothing is asked of it without an attempt that says so, so the audit has each of them (G-047), and
//! their number is bounded (B-057).
//!
//! Per reference there are at most as many calls as recorded attempts, each time that a call was sent again included.

use std::collections::BTreeMap;

use crate::dossier::Dossier;
use crate::ledger::Call;
use crate::verdict::Judge;

/// Judges the count of calls.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let mut calls: BTreeMap<&str, Vec<&Call>> = BTreeMap::new();
    for call in &dossier.trial.calls {
        calls.entry(&call.reference).or_default().push(call);
    }
    for (reference, calls) in calls {
        let actions = dossier.actions_of(reference);
        let moves = actions.iter().flat_map(|action| dossier.moves_of(&action.id));
        let attempts: Vec<_> = moves.filter(|moved| moved.is_attempt()).collect();
        judge.require(calls.len() <= attempts.len(), || {
            let says = format!(
                "the platform was asked for {reference} {} times; {} attempts were recorded",
                calls.len(),
                attempts.len()
            );
            let arrived = calls.iter().map(|call| format!("a call arrived {}", call.received));
            (reference.to_owned(), says, arrived.chain(attempts.iter().map(|moved| moved.name())).collect())
        });
    }
}
