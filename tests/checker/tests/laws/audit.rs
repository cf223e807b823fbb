//! I8: the audit is append-only.

use fermata_checker::Invariant::{I4, I8};
use fermata_checker::Trial;
use fermata_checker::history::{Answered, Op};
use serde_json::json;

use crate::after;

#[test]
fn audit_positions_are_dense() {
    assert_eq!(after(|trial| trial.facts.audit_window.upto += 1), [I8]);
    assert_eq!(after(|trial| drop(trial.dump.audit.pop())), [I4, I8]);
    let twice = |trial: &mut Trial| {
        let mut again = trial.dump.audit[9].clone();
        again.phase = "gate_approved".into();
        trial.dump.audit.push(again);
    };
    assert_eq!(after(twice), [I8]);
}

#[test]
fn a_row_of_the_audit_is_never_changed() {
    assert_eq!(after(|trial| trial.dump.audit[2].body = json!({"other": 1})), [I8]);
    assert_eq!(after(|trial| trial.dump.audit[2].actor = "somebody".into()), [I8]);
    assert_eq!(after(|trial| trial.earlier.clear()), []);
}

#[test]
fn a_row_of_the_audit_is_never_lost() {
    let cut = |trial: &mut Trial| {
        let row = trial.earlier.pop().unwrap();
        trial.dump.audit.retain(|other| other.position != row.position);
    };
    // What is gone from both dumps is still a gap, and an event without its row.
    assert_eq!(after(cut), [I4, I8]);
}

#[test]
fn the_programs_own_role_cannot_change_the_audit() {
    for result in [Answered::Ok, Answered::Unknown] {
        let through = |trial: &mut Trial| {
            let tried = trial.history.iter_mut().find(|one| one.op == Op::Tamper && one.ask["breaks"].is_null());
            tried.unwrap().result = result;
        };
        assert_eq!(after(through), [I8]);
    }
}
