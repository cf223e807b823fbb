//! I7: what a policy rations.

use fermata_checker::Invariant::{self, I7};
use fermata_checker::Rations;
use serde_json::json;

use crate::broken;
use crate::world::World;

const AMPLE: Rations = Rations { concurrency: 9, max: 9, window_s: 3_600, min_s: None };

/// Three posts, the second begun while the first is under way, the third when both have ended.
fn three(rations: Rations, first_ends: &[&str], effect: bool) -> Vec<Invariant> {
    let mut world = World::new();
    for run in ["r1", "r2", "r3"] {
        world.begin(run, &json!({"kind": "publish", "reference": run, "honours_keys": true, "absence": "conclusive"}));
        world.plan(run, &format!("a-{run}"));
    }
    world.attempt("r1", "a-r1");
    world.attempt("r2", "a-r2");
    for run in ["r1", "r2"] {
        if effect {
            world.apply(run, run);
        }
    }
    world.outcome(
        "r1",
        "a-r1",
        first_ends,
        &json!({"effect": effect, "receipt": effect.then(|| json!({"id": "r1"})), "level": 2, "looks": 1}),
    );
    world.outcome(
        "r2",
        "a-r2",
        first_ends,
        &json!({"effect": effect, "receipt": effect.then(|| json!({"id": "r2"})), "level": 2, "looks": 1}),
    );
    world.attempt("r3", "a-r3");
    world.end();
    let mut trial = world.trial();
    trial.facts.rations = Some(rations);
    let mut found = broken(&trial);
    // What else is wrong with so short a story is not judged here.
    found.retain(|invariant| *invariant == I7);
    found
}

const DONE: [&str; 2] = ["confirmed_success", "postcheck_complete"];
const UNDONE: [&str; 2] = ["confirmed_failed", "postcheck_complete"];

#[test]
fn no_more_calls_are_under_way_at_once_than_a_policy_allows() {
    assert_eq!(three(Rations { concurrency: 2, ..AMPLE }, &DONE, true), []);
    assert_eq!(three(Rations { concurrency: 1, ..AMPLE }, &DONE, true), [I7]);
}

#[test]
fn a_window_has_no_more_effects_than_its_budget_and_what_was_for_nothing_is_given_back() {
    assert_eq!(three(Rations { max: 3, ..AMPLE }, &DONE, true), []);
    assert_eq!(three(Rations { max: 2, ..AMPLE }, &DONE, true), [I7]);
    assert_eq!(three(Rations { max: 2, ..AMPLE }, &UNDONE, false), []);
    assert_eq!(three(Rations { max: 1, ..AMPLE }, &UNDONE, false), [I7]);
}

#[test]
fn two_attempts_are_as_far_apart_as_their_policy_says() {
    assert_eq!(three(Rations { min_s: Some(0), ..AMPLE }, &DONE, true), []);
    assert_eq!(three(Rations { min_s: Some(1), ..AMPLE }, &DONE, true), [I7]);
}
