//! I6: epochs, leases, and calls of those who had lost theirs.

use fermata_checker::Invariant::{I4, I5, I6};
use fermata_checker::{Invariant, Trial};
use serde_json::json;

use crate::good::{GATED, RESENT, STEPS, publish};
use crate::world::{CALL_MS, World};
use crate::{after, broken};

fn step<'a>(trial: &'a mut Trial, key: &str) -> &'a mut fermata_checker::rows::Step {
    trial.dump.step.iter_mut().find(|step| step.run_id == STEPS && step.key == key).unwrap()
}

fn line<'a>(trial: &'a mut Trial, reference: &str) -> &'a mut fermata_checker::ledger::Line {
    trial.ledger.iter_mut().find(|line| line.reference.as_deref() == Some(reference)).unwrap()
}

fn ended(mut world: World) -> Vec<Invariant> {
    world.finish("r", "SUCCEEDED");
    world.end();
    broken(&world.trial())
}

/// A world with an effect that is planned in epoch 1.
fn planned() -> World {
    let mut world = World::new();
    world.begin("r", &publish("p"));
    world.plan("r", "a");
    world
}

#[test]
fn the_epoch_is_the_number_of_claims() {
    assert_eq!(after(|trial| trial.dump.outcome[0].epoch += 1), [I6]);
    assert_eq!(after(|trial| trial.dump.live[0].epoch -= 1), [I6]);
}

#[test]
fn epochs_of_steps_never_decrease() {
    assert_eq!(after(|trial| step(trial, "two").epoch = 1), [I6]);
    assert_eq!(after(|trial| step(trial, "one").epoch = 2), [I6]);
    assert_eq!(after(|trial| step(trial, "two").epoch = 9), [I6]);
}

#[test]
fn records_and_positions_have_one_order() {
    let swap = |trial: &mut Trial| {
        let (one, other) = (step(trial, "go").seq, step(trial, "two").seq);
        step(trial, "go").seq = other;
        step(trial, "two").seq = one;
    };
    assert_eq!(after(swap), [I6]);
}

#[test]
fn a_silent_step_is_not_recorded_after_a_later_claim() {
    let mut silent = crate::good::trial().dump.step[0].clone();
    (silent.key, silent.kind) = ("@now".to_owned(), 3);
    assert_eq!(after(|trial| trial.dump.step.push(silent.clone())), []);
    silent.ended_at += chrono::TimeDelta::minutes(1);
    assert_eq!(after(|trial| trial.dump.step.push(silent)), [I6]);
}

#[test]
fn an_action_was_attempted_in_the_epoch_that_it_names() {
    let action =
        |trial: &mut Trial| trial.dump.action.iter_mut().find(|action| action.run_id == RESENT).unwrap().epoch = 1;
    assert_eq!(after(action), [I6]);
}

#[test]
fn nobody_writes_without_a_lease() {
    let mut world = World::new();
    world.begin("r", &json!({"kind": "steps", "steps": 1}));
    world.reap("r");
    world.step("r", "one", 0);
    world.claim("r");
    assert_eq!(ended(world), [I6]);
}

#[test]
fn nobody_writes_to_a_run_that_has_ended() {
    let mut world = World::new();
    world.begin("r", &json!({"kind": "steps", "steps": 1}));
    world.finish("r", "FAILED");
    world.step("r", "one", 0);
    world.end();
    assert_eq!(broken(&world.trial()), [I6]);
}

#[test]
fn versions_never_go_back() {
    let mut world = World::new();
    world.begin("r", &json!({"kind": "steps", "steps": 0}));
    world.wait("r", "WAITING");
    world.rewind("r");
    world.rewind("r");
    world.claim("r");
    assert_eq!(ended(world), [I6]);
}

#[test]
fn an_effect_needs_an_attempt_recorded_before_it() {
    let mut world = planned();
    world.apply("r", "p");
    world.pass(100);
    world.attempt("r", "a");
    world.confirm("r", "a");
    assert_eq!(ended(world), [I6]);
}

#[test]
fn an_effect_needs_an_attempt_in_its_epoch() {
    let mut world = planned();
    world.reap("r");
    world.claim("r");
    world.attempt("r", "a");
    world.apply("r", "p");
    world.confirm("r", "a");
    world.finish("r", "SUCCEEDED");
    world.end();
    let mut trial = world.trial();
    assert_eq!(broken(&trial), []);
    trial.ledger[0].fence = Some("r:1".into());
    assert_eq!(broken(&trial), [I6]);
}

#[test]
fn a_stale_call_arrives_within_its_own_deadline_or_not_at_all() {
    for (passed, holds) in [(CALL_MS - 50, true), (CALL_MS + 2_000, false)] {
        let mut world = planned();
        world.attempt("r", "a");
        world.pass(passed);
        world.apply("r", "p");
        world.reap("r");
        world.claim("r");
        world.outcome("r", "a", &["confirmed_success", "postcheck_complete"], &json!({"effect": true, "looks": 1}));
        world.step("r", "publish", 5);
        let expected = if holds { vec![] } else { vec![I6] };
        assert_eq!(ended(world), expected, "{passed} ms after the attempt");
    }
}

#[test]
fn a_platform_may_apply_late_by_itself() {
    let late = |trial: &mut Trial| line(trial, "p-resent").time += chrono::TimeDelta::minutes(5);
    assert_eq!(after(late), []);
    let unsaid = |trial: &mut Trial| {
        late(trial);
        line(trial, "p-resent").received = None;
    };
    assert_eq!(after(unsaid), [I6]);
}

#[test]
fn a_fence_names_a_run_that_was_to_have_the_effect() {
    assert_eq!(after(|trial| line(trial, "p-resent").fence = Some(format!("{GATED}:1"))), [I6]);
    assert_eq!(after(|trial| line(trial, "p-resent").fence = Some("nonsense".into())), [I6]);
}

#[test]
fn a_call_without_a_fence_is_judged_by_its_attempts_alone() {
    assert_eq!(after(|trial| line(trial, "p-resent").fence = None), []);
}

#[test]
fn a_claim_that_was_not_told_of_is_missed() {
    let silent = |trial: &mut Trial| {
        let events = &mut trial.dump.event;
        events.retain(|event| event.run_id.as_deref() != Some(STEPS) || event.data["from"] != "QUEUED");
    };
    assert_eq!(after(silent), [I4, I5, I6]);
}
