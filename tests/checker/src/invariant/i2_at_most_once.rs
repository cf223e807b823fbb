//! I2: at most one effect per idempotency key, counted at the platform, unless an operator
//! explicitly allows a repeat, which is audited.
//!
//! Per account and reference the ledger has at most one line and one more for each audit row
//! `repeat_allowed` of an action that was meant to have that effect.

use std::collections::BTreeMap;

use crate::dossier::Dossier;
use crate::ledger::Line;
use crate::verdict::Judge;

/// Judges the count of effects.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let mut counted: BTreeMap<(&str, &str), Vec<&Line>> = BTreeMap::new();
    for (reference, lines) in dossier.lines() {
        for line in lines {
            counted.entry((&line.account, reference)).or_default().push(line);
        }
    }
    for ((account, reference), lines) in counted {
        let allowed = 1 + repeats(dossier, reference);
        judge.require(lines.len() <= allowed, || {
            let says = format!(
                "the platform applied {reference} of account {account} {} times; {allowed} allowed, {} by an operator",
                lines.len(),
                allowed - 1
            );
            (reference.to_owned(), says, lines.iter().map(|line| line.name()).collect())
        });
    }
}

/// How often an operator allowed the effect once more.
pub(super) fn repeats(dossier: &Dossier<'_>, reference: &str) -> usize {
    let actions = dossier.actions_of(reference);
    let of_these = |id: &Option<String>| actions.iter().any(|action| Some(&action.id) == id.as_ref());
    let allowed = dossier.trial.dump.audit.iter().filter(|row| row.phase == "repeat_allowed");
    allowed.filter(|row| of_these(&row.action_id)).count()
}
