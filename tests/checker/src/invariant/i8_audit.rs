//! I8: the audit is append-only.
//!
//! - The audit rows of the window have every position of it, once.
//! - Rows that were dumped in the middle of the trial (`earlier/audit.jsonl`) are in the last dump,
//!   unchanged.
//! - Each `tamper` was refused (`fail`), but for those with `ask.breaks: "I4"`, which are I4's.

use std::collections::BTreeMap;

use super::i5_replay::dense;
use crate::dossier::Dossier;
use crate::history::{Answered, Op, Tamper};
use crate::verdict::Judge;

/// Judges the audit.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let (window, rows) = (dossier.trial.facts.audit_window, &dossier.trial.dump.audit);
    dense(rows.iter().map(|row| row.position), (window.after, window.upto), "audit", judge);
    let rows: BTreeMap<_, _> = rows.iter().map(|row| (row.position, row)).collect();
    for earlier in dossier.trial.earlier.iter().filter(|row| window.holds(row.position)) {
        let is = rows.get(&earlier.position);
        judge.require(is == Some(&earlier), || {
            let says = format!("audit row {} is not what it was in the middle of the trial", earlier.position);
            (earlier.position.to_string(), says, vec![format!("was {earlier:?}"), format!("is {is:?}")])
        });
    }
    tampering(dossier, None, judge);
}

/// What was tried on the database, and breaks the invariant that `breaks` names when it was done.
pub(super) fn tampering(dossier: &Dossier<'_>, breaks: Option<&str>, judge: &mut Judge<'_>) {
    for request in dossier.requests(Op::Tamper) {
        let Some(tamper) = request.asked::<Tamper>() else { continue };
        if (tamper.breaks.as_deref() == Some("I4")) == (breaks == Some("I4")) {
            judge.require(request.result == Answered::Fail, || {
                let says = format!("`{}` was not refused", tamper.statement);
                (format!("history line {}", request.n), says, vec![request.name()])
            });
        }
    }
}
