//! I7: approvals and kill switches.

use chrono::TimeDelta;
use fermata_checker::Invariant::I7;
use fermata_checker::Trial;
use fermata_checker::history::{Answered, Op};
use fermata_checker::rows::Gate;
use serde_json::json;

use crate::after;
use crate::good::GATED;

fn approval(trial: &mut Trial) -> &mut Gate {
    trial.dump.gate.iter_mut().find(|gate| gate.run_id == GATED).unwrap()
}

fn scoped(trial: &mut Trial, scope: &str) {
    for turn in trial.history.iter_mut().filter(|one| matches!(one.op, Op::Trip | Op::Lift)) {
        turn.ask["scope"] = json!(scope);
    }
}

fn unlisted(trial: &mut Trial) {
    let trip = trial.history.iter_mut().find(|one| one.op == Op::Trip).unwrap();
    trip.answer = Some(json!({"under_way": []}));
}

#[test]
fn no_gated_effect_without_an_approval() {
    for state in ["open", "rejected", "expired"] {
        let closed = |trial: &mut Trial| {
            state.clone_into(&mut approval(trial).state);
            trial.history.retain(|one| one.op != Op::Decide);
        };
        assert_eq!(after(closed), [I7], "{state}");
    }
    let none = |trial: &mut Trial| {
        trial.dump.gate.retain(|gate| gate.run_id != GATED);
        trial.history.retain(|one| one.op != Op::Decide);
    };
    assert_eq!(after(none), [I7]);
}

#[test]
fn no_gated_effect_before_its_approval() {
    let late = |trial: &mut Trial| {
        approval(trial).decided_at = approval(trial).decided_at.map(|at| at + TimeDelta::minutes(1));
    };
    assert_eq!(after(late), [I7]);
}

#[test]
fn an_approval_of_something_else_is_none() {
    assert_eq!(after(|trial| approval(trial).key = "publish@unknown".into()), [I7]);
}

#[test]
fn a_kill_switch_lets_through_only_what_it_listed() {
    assert_eq!(after(unlisted), [I7]);
}

#[test]
fn a_kill_switch_stops_its_scope_alone() {
    for (scope, stops) in [
        ("global", true),
        ("client:t17", true),
        ("account:t17/ada", true),
        ("client:t18", false),
        ("account:t17/bob", false),
        ("account:t18/ada", false),
    ] {
        let change = |trial: &mut Trial| {
            unlisted(trial);
            scoped(trial, scope);
        };
        let expected = if stops { vec![I7] } else { vec![] };
        assert_eq!(after(change), expected, "{scope}");
    }
}

#[test]
fn a_kill_switch_stops_until_its_lift_is_sent() {
    let at_once = |trial: &mut Trial| {
        unlisted(trial);
        let answered = trial.history.iter().find(|one| one.op == Op::Trip).unwrap().answered_at.unwrap();
        let lift = trial.history.iter_mut().find(|one| one.op == Op::Lift).unwrap();
        (lift.sent_at, lift.result) = (answered, Answered::Unknown);
    };
    assert_eq!(after(at_once), []);
}

#[test]
fn nothing_is_attempted_under_a_kill_switch() {
    let long = |trial: &mut Trial| {
        let began = trial.dump.event[0].at;
        let trip = trial.history.iter_mut().find(|one| one.op == Op::Trip).unwrap();
        let under_way: Vec<_> = trial.dump.action.iter().map(|action| json!({"action_id": action.id})).collect();
        trip.answer = Some(json!({"under_way": under_way}));
        (trip.sent_at, trip.answered_at) = (began, Some(began));
    };
    assert_eq!(after(long), [I7]);
}

#[test]
fn an_unanswered_trip_promises_nothing() {
    let unanswered = |trial: &mut Trial| {
        unlisted(trial);
        trial.history.iter_mut().find(|one| one.op == Op::Trip).unwrap().result = Answered::Unknown;
    };
    assert_eq!(after(unanswered), []);
}
