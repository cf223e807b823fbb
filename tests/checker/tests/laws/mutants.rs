//! The mutants of the engine that the checker was made to catch, as they would look in a trial.

use fermata_checker::Invariant;
use fermata_checker::Invariant::{I1, I2, I3, I4, I5, I6, I11};
use fermata_checker::stream::Seen;
use serde_json::json;

use crate::good::publish;
use crate::world::World;
use crate::{after, broken};

fn ended(mut world: World) -> Vec<Invariant> {
    world.finish("r", "SUCCEEDED");
    world.end();
    broken(&world.trial())
}

fn planned() -> World {
    let mut about = publish("p");
    about["absence"] = json!("conclusive");
    let mut world = World::new();
    world.begin("r", &about);
    world.plan("r", "a");
    world
}

#[test]
fn without_fencing_a_frozen_holder_goes_on_and_acts() {
    let mut world = planned();
    world.reap("r");
    world.claim("r");
    world.attempt("r", "a");
    world.apply("r", "p");
    world.apply("r", "p");
    world.confirm("r", "a");
    world.finish("r", "SUCCEEDED");
    world.end();
    let mut trial = world.trial();
    trial.ledger[0].fence = Some("r:1".into());
    assert_eq!(broken(&trial), [I2, I3, I6]);
}

#[test]
fn without_fencing_a_frozen_holders_record_says_its_old_epoch() {
    let mut world = planned();
    world.reap("r");
    world.claim("r");
    world.attempt("r", "a");
    world.apply("r", "p");
    world.confirm("r", "a");
    world.finish("r", "SUCCEEDED");
    world.end();
    let mut trial = world.trial();
    trial.dump.action[0].epoch = 1;
    assert_eq!(broken(&trial), [I6]);
}

#[test]
fn an_effect_before_the_commit_of_its_attempt_is_repeated_after_a_crash() {
    let mut world = planned();
    world.apply("r", "p");
    world.reap("r");
    world.claim("r");
    world.attempt("r", "a");
    world.apply("r", "p");
    world.confirm("r", "a");
    assert_eq!(ended(world), [I2, I3, I6]);
}

#[test]
fn a_retry_after_a_timeout_applies_twice() {
    let mut world = planned();
    world.attempt("r", "a");
    world.apply("r", "p");
    world.pass(200);
    let timeout = json!({"effect": false, "error": {"code": "call_timeout"}});
    world.outcome("r", "a", &["confirmed_failed", "postcheck_complete"], &timeout);
    world.plan("r", "b");
    world.attempt("r", "b");
    world.apply("r", "p");
    world.confirm("r", "b");
    assert_eq!(ended(world), [I2, I3]);
}

#[test]
fn absence_taken_as_proof_at_once_applies_twice() {
    let mut world = planned();
    world.attempt("r", "a");
    let absent = json!({"effect": false, "error": {"code": "effect_absent"}});
    world.outcome("r", "a", &["confirmed_failed", "postcheck_complete"], &absent);
    world.apply("r", "p");
    world.plan("r", "b");
    world.attempt("r", "b");
    world.apply("r", "p");
    world.confirm("r", "b");
    assert_eq!(ended(world), [I2, I3]);
}

#[test]
fn a_sequence_as_cursor_shows_events_out_of_order_or_never() {
    let skip = |trial: &mut fermata_checker::Trial| {
        let seen = &mut trial.readers[1].seen;
        let events: Vec<usize> = (0..seen.len()).filter(|n| matches!(seen[*n], Seen::Event { .. })).collect();
        seen.remove(events[events.len() / 2]);
    };
    assert_eq!(after(skip), [I5]);
}

#[test]
fn an_acknowledgement_before_the_commit_loses_the_command() {
    let mut world = World::new();
    let about = publish("p");
    world.submit("r", "ok", Some("k"), &about);
    world.submit("s", "ok", Some("k"), &about);
    world.accept("s", Some("k"), &about);
    world.claim("s");
    world.finish("s", "FAILED");
    world.end();
    assert_eq!(broken(&world.trial()), [I1]);
}

#[test]
fn a_record_lost_in_a_batch_is_a_call_without_an_attempt_and_a_run_that_stands_still() {
    let mut world = planned();
    world.apply("r", "p");
    world.live("r", 1, None);
    world.end();
    assert_eq!(broken(&world.trial()), [I3, I6, I11]);
}

#[test]
fn a_checkpoint_lost_in_a_batch_is_an_event_without_a_row() {
    let lose = |trial: &mut fermata_checker::Trial| trial.dump.step.retain(|step| step.key != "two");
    assert_eq!(after(lose), [I1, I4]);
}

#[test]
fn writes_that_vanish_from_a_connection_inside_a_transaction_are_lost_commands_and_signals() {
    let mut world = World::new();
    let about = json!({"kind": "steps", "steps": 0, "signal": true});
    world.begin("r", &about);
    for lost in ["x", "y"] {
        world.submit(lost, "ok", None, &about);
    }
    world.ask("signal", "ok", json!({"command_id": "r", "name": "go"}), json!(null));
    world.wait("r", "WAITING");
    world.live("r", 2, Some("signal"));
    world.end();
    let trial = world.trial();
    assert_eq!(broken(&trial), [I1, I11]);
    assert_eq!(fermata_checker::check(&trial).found[&I1], 3);
}

#[test]
fn a_transition_without_its_event_is_a_bypass() {
    let silent = |trial: &mut fermata_checker::Trial| {
        let unknown = |data: &serde_json::Value| data["status"] == "unknown" && data["action_id"] == "a-doubt";
        let event = trial.dump.event.iter_mut().find(|event| unknown(&event.data)).unwrap();
        event.r#type = "artifact.captured".into();
    };
    assert_eq!(after(silent), [I4, I5]);
}
