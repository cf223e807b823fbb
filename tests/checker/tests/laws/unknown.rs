//! I3: what is said of an effect, and what the platform knows.

use fermata_checker::Invariant::{I3, I4};
use serde_json::{Value, json};

use crate::good::{RESENT, publish};
use crate::world::World;
use crate::{after, broken};

/// A world with one attempted action `a` of the run `r`.
fn attempted(absence: &str) -> World {
    let mut about = publish("p");
    about["absence"] = json!(absence);
    let mut world = World::new();
    world.begin("r", &about);
    world.plan("r", "a");
    world.attempt("r", "a");
    world
}

fn denied(code: &str) -> Value {
    json!({"effect": false, "error": {"code": code}})
}

const CLOSED: [&str; 2] = ["confirmed_failed", "postcheck_complete"];

fn ended(mut world: World, status: &str) -> Vec<fermata_checker::Invariant> {
    world.finish("r", status);
    world.end();
    broken(&world.trial())
}

#[test]
fn what_was_confirmed_is_at_the_platform() {
    assert_eq!(after(|trial| trial.ledger.retain(|line| line.reference.as_deref() != Some("p-resent"))), [I3]);
}

#[test]
fn what_is_at_the_platform_has_an_action_that_owns_up_to_it() {
    let mut world = attempted("inconclusive");
    world.apply("r", "p");
    world.outcome("r", "a", &CLOSED, &denied("refused"));
    assert_eq!(ended(world, "FAILED"), [I3]);
}

#[test]
fn a_run_whose_actions_had_no_effect_may_fail() {
    let mut world = attempted("inconclusive");
    world.outcome("r", "a", &CLOSED, &denied("refused"));
    assert_eq!(ended(world, "FAILED"), []);
}

#[test]
fn a_run_that_succeeded_had_its_effect() {
    let mut world = World::new();
    world.begin("r", &publish("p"));
    assert_eq!(ended(world, "SUCCEEDED"), [I3]);
}

#[test]
fn a_persons_word_stands_for_a_line() {
    let mut world = attempted("inconclusive");
    world.outcome("r", "a", &["unknown"], &json!({}));
    world.gate("r", "publish@unknown", "approved");
    world.outcome("r", "a", &["postcheck_complete"], &json!({"effect": true, "receipt": {"confirmed_by": "mia"}}));
    assert_eq!(ended(world, "SUCCEEDED"), []);
}

#[test]
fn a_line_belongs_to_the_action_that_called_and_not_to_its_successor() {
    let mut world = attempted("inconclusive");
    world.apply("r", "p");
    world.outcome("r", "a", &CLOSED, &denied("refused"));
    world.pass(1_500);
    world.plan("r", "b");
    world.attempt("r", "b");
    world.confirm("r", "b");
    assert_eq!(ended(world, "SUCCEEDED"), [I3]);
}

#[test]
fn absence_proves_nothing_before_the_deadline_and_the_visibility() {
    for (passed, holds) in [(50, false), (105, false), (130, true)] {
        let mut world = attempted("conclusive");
        world.pass(passed - 10);
        world.outcome("r", "a", &CLOSED, &denied("effect_absent"));
        let expected = if holds { vec![] } else { vec![I3] };
        assert_eq!(ended(world, "FAILED"), expected, "{passed} ms after the attempt");
    }
}

#[test]
fn an_inconclusive_absence_proves_nothing_ever() {
    let mut world = attempted("inconclusive");
    world.pass(9_000);
    world.outcome("r", "a", &CLOSED, &denied("effect_absent"));
    assert_eq!(ended(world, "FAILED"), [I3]);
}

#[test]
fn a_timeout_proves_nothing() {
    let mut world = attempted("conclusive");
    world.pass(9_000);
    world.outcome("r", "a", &CLOSED, &denied("call_timeout"));
    assert_eq!(ended(world, "FAILED"), [I3]);
}

#[test]
fn unknown_is_left_by_a_look() {
    for (looks, holds) in [(0, false), (1, true)] {
        let mut world = attempted("inconclusive");
        world.apply("r", "p");
        world.outcome("r", "a", &["unknown"], &json!({}));
        let found = json!({"effect": true, "receipt": {}, "looks": looks});
        world.outcome("r", "a", &["confirmed_success", "postcheck_complete"], &found);
        world.step("r", "publish", 5);
        let expected = if holds { vec![] } else { vec![I3] };
        assert_eq!(ended(world, "SUCCEEDED"), expected, "{looks} looks");
    }
}

#[test]
fn unknown_is_left_by_a_person() {
    let found = after(|trial| {
        let gate = trial.dump.gate.iter_mut().find(|gate| gate.state == "rejected").unwrap();
        gate.actor = Some("fermata".into());
    });
    assert_eq!(found, [I3]);
}

#[test]
fn unknown_is_never_left_for_another_attempt() {
    let mut world = attempted("inconclusive");
    world.apply("r", "p");
    world.outcome("r", "a", &["unknown"], &json!({}));
    world.outcome("r", "a", &["attempted"], &json!({}));
    world.confirm("r", "a");
    assert_eq!(ended(world, "SUCCEEDED"), [I3, I4]);
}

#[test]
fn a_dependent_starts_after_the_confirmation() {
    let early = |trial: &mut fermata_checker::Trial| {
        let step = trial.dump.step.iter_mut().find(|step| step.key == "after").unwrap();
        step.started_at -= chrono::TimeDelta::milliseconds(50);
    };
    assert_eq!(after(early), [I3]);
    let never = |trial: &mut fermata_checker::Trial| {
        let step = trial.dump.step.iter_mut().find(|step| step.run_id == RESENT && step.key == "publish").unwrap();
        step.key = "after".into();
    };
    assert_eq!(after(never), [I3, I4]);
}

#[test]
fn a_dependent_does_not_start_while_the_action_is_unknown() {
    let mut world = attempted("inconclusive");
    world.outcome("r", "a", &["unknown"], &json!({}));
    world.step("r", "publish", 5);
    world.step("r", "after", 0);
    world.gate("r", "publish@unknown", "open");
    world.wait("r", "HUMAN_REQUIRED");
    world.live("r", 2, Some("takeover"));
    world.end();
    assert_eq!(broken(&world.trial()), [I3]);
}

#[test]
fn an_action_that_is_unknown_need_not_be_at_the_platform() {
    assert_eq!(after(|trial| trial.ledger.retain(|line| line.reference.as_deref() != Some("p-doubt"))), []);
}
