//! The invariants, one a file, each a pure function over a [`Dossier`](crate::dossier::Dossier).
//!
//! To add one: a file here, a line in [`judge`], a word in [`Invariant`](crate::Invariant).

mod i11_liveness;
mod i1_answers;
mod i1_no_lost_command;
mod i2_at_most_once;
mod i3_unknown_is_said;
mod i4_calls;
mod i4_no_bypass;
mod i4_status;
mod i5_replay;
mod i6_fencing;
mod i7_gates;
mod i7_rations;
mod i8_audit;

use crate::dossier::Dossier;
use crate::trial::Trial;
use crate::verdict::{Invariant, Verdict};

/// Judges a trial by all of them.
pub fn judge(trial: &Trial) -> Verdict {
    let dossier = Dossier::of(trial);
    let mut verdict = Verdict::new();
    i1_no_lost_command::judge(&dossier, &mut verdict.judge(Invariant::I1));
    i1_answers::judge(&dossier, &mut verdict.judge(Invariant::I1));
    i2_at_most_once::judge(&dossier, &mut verdict.judge(Invariant::I2));
    i3_unknown_is_said::judge(&dossier, &mut verdict.judge(Invariant::I3));
    i4_no_bypass::judge(&dossier, &mut verdict.judge(Invariant::I4));
    i4_calls::judge(&dossier, &mut verdict.judge(Invariant::I4));
    i4_status::judge(&dossier, &mut verdict.judge(Invariant::I4));
    i5_replay::judge(&dossier, &mut verdict.judge(Invariant::I5));
    i6_fencing::judge(&dossier, &mut verdict.judge(Invariant::I6));
    i7_gates::judge(&dossier, &mut verdict.judge(Invariant::I7));
    i7_rations::judge(&dossier, &mut verdict.judge(Invariant::I7));
    i8_audit::judge(&dossier, &mut verdict.judge(Invariant::I8));
    i11_liveness::judge(&dossier, &mut verdict.judge(Invariant::I11));
    verdict
}
