//! I1 and I11: acknowledged commands, what clients were told, and that all ends.

use fermata_checker::Invariant::{I1, I11};
use fermata_checker::history::{Answered, Op, Request};
use fermata_checker::rows::Live;
use fermata_checker::{Trial, check};
use serde_json::json;

use crate::good::{ABSENT, CANCELLED, DOUBT, STEPS, UNTOLD, publish};
use crate::world::World;
use crate::{after, broken};

fn request(trial: &mut Trial, op: Op, result: Answered) -> &mut Request {
    trial.history.iter_mut().find(|one| one.op == op && one.result == result).unwrap()
}

fn last_read(trial: &Trial) -> Request {
    trial.history.iter().rfind(|one| one.op == Op::Read && one.result == Answered::Ok).unwrap().clone()
}

/// A world in which one run of that description has been accepted but not acknowledged.
fn with(about: &serde_json::Value) -> World {
    let mut world = World::new();
    world.accept("r", None, about);
    world
}

#[test]
fn an_acknowledged_command_is_in_the_database() {
    let mut world = World::new();
    world.submit("r", "ok", None, &publish("p"));
    world.end();
    let verdict = check(&world.trial());
    assert_eq!(broken(&world.trial()), [I1]);
    assert_eq!(verdict.violations[0].subject, "r");
    assert!(verdict.violations[0].says.contains("in no table"), "{verdict:?}");
}

#[test]
fn an_acknowledgement_names_a_command() {
    assert_eq!(after(|trial| request(trial, Op::Submit, Answered::Ok).answer = None), [I1]);
}

#[test]
fn a_run_has_the_client_the_type_and_the_payload_that_were_submitted() {
    let change = |to: fn(&mut Trial)| after(to);
    assert_eq!(change(|trial| trial.dump.run[0].kind = "other".into()), [I1]);
    assert_eq!(change(|trial| trial.dump.run[0].input = json!({"of": 1})), [I1]);
    assert_eq!(change(|trial| trial.dump.run[0].input["more"] = json!(1)), []);
}

#[test]
fn a_run_is_in_one_of_live_and_outcome() {
    let live = |id: &str| Live { id: id.into(), state: 2, epoch: 2, seq: 2, cancel: false, wait_reason: None };
    assert_eq!(after(|trial| trial.dump.live.push(live(STEPS))), [I1, fermata_checker::Invariant::I6]);
    assert_eq!(after(|trial| trial.dump.live.retain(|row| row.id != UNTOLD)), [I1]);
    assert_eq!(after(|trial| trial.dump.live.push(live("ghost"))), [I1]);
}

#[test]
fn a_refused_submit_leaves_no_run() {
    let refuse = |trial: &mut Trial| {
        for one in trial.history.iter_mut().filter(|one| one.ask["idempotency_key"] == "k1") {
            one.result = Answered::Fail;
        }
    };
    assert_eq!(after(refuse), [I1]);
}

#[test]
fn an_unanswered_submit_leaves_one_run_or_none() {
    assert_eq!(after(|trial| request(trial, Op::Submit, Answered::Unknown).ask["idempotency_key"] = json!("k9")), []);
}

#[test]
fn a_key_names_one_run() {
    assert_eq!(after(|trial| trial.dump.idempotency[0].run_id = ABSENT.into()), [I1]);
    assert_eq!(after(|trial| trial.dump.idempotency.clear()), [I1]);
}

#[test]
fn two_commands_are_two_runs() {
    let same = |trial: &mut Trial| {
        let mut again = trial.history.iter().find(|one| one.told_command() == Some(CANCELLED)).unwrap().clone();
        again.n = 999;
        trial.history.push(again);
    };
    assert_eq!(after(same), [I1]);
}

#[test]
fn nobody_asked_for_a_run_is_said() {
    let about = json!({"kind": "steps", "steps": 1, "signal": true});
    let mut world = with(&about);
    world.claim("r");
    world.finish("r", "FAILED");
    world.end();
    assert_eq!(broken(&world.trial()), [I1]);
}

#[test]
fn a_child_needs_no_submit() {
    let mut world = with(&json!({"kind": "steps", "steps": 1}));
    world.claim("r");
    world.finish("r", "FAILED");
    world.end();
    let mut trial = world.trial();
    trial.dump.run[0].parent_id = Some("its parent".into());
    assert_eq!(broken(&trial), []);
}

#[test]
fn a_run_that_succeeded_has_each_of_its_steps_once() {
    let lose = |trial: &mut Trial| trial.dump.step.retain(|step| step.key != "two");
    assert!(after(lose).contains(&I1));
    let twice = |trial: &mut Trial| {
        let mut again = trial.dump.step.iter().find(|step| step.key == "two").unwrap().clone();
        again.attempt = 2;
        trial.dump.step.push(again);
    };
    assert_eq!(after(twice), [I1]);
}

#[test]
fn an_acknowledged_command_is_found_by_every_later_read() {
    let forget = |trial: &mut Trial| {
        let read = trial.history.iter_mut().rfind(|one| one.op == Op::Read && one.result == Answered::Fail).unwrap();
        read.ask = json!({"command_id": STEPS});
    };
    assert_eq!(after(forget), [I1]);
}

#[test]
fn a_final_status_that_was_read_is_the_outcome() {
    let other = |trial: &mut Trial| {
        let read = trial.history.iter_mut().rfind(|one| one.op == Op::Read && one.result == Answered::Ok).unwrap();
        read.answer = Some(json!({"status": "FAILED"}));
    };
    assert_eq!(after(other), [I1]);
}

#[test]
fn no_two_final_statuses_are_read_of_one_command() {
    let both = |trial: &mut Trial| {
        let read = Request { answer: Some(json!({"status": "FAILED"})), ..last_read(trial) };
        trial.history.push(read);
    };
    assert_eq!(after(both), [I1]);
}

#[test]
fn a_final_status_is_never_taken_back() {
    let back = |trial: &mut Trial| {
        let mut read = last_read(trial);
        read.sent_at = read.answered_at.unwrap() + chrono::TimeDelta::milliseconds(1);
        read.answer = Some(json!({"status": "RUNNING"}));
        trial.history.push(read);
    };
    assert_eq!(after(back), [I1]);
}

#[test]
fn an_acknowledged_signal_is_kept() {
    assert_eq!(after(|trial| trial.dump.signal.clear()), [I1]);
    assert_eq!(after(|trial| request(trial, Op::Signal, Answered::Ok).ask["signal_id"] = json!(null)), []);
}

#[test]
fn an_acknowledged_decision_stands() {
    assert_eq!(
        after(|trial| request(trial, Op::Decide, Answered::Ok).answer = Some(json!({"state": "rejected"}))),
        [I1]
    );
}

#[test]
fn an_acknowledged_cancellation_is_told_of() {
    let lose = |trial: &mut Trial| {
        let ask = &mut request(trial, Op::Cancel, Answered::Ok).ask;
        *ask = json!({"command_id": DOUBT});
    };
    assert_eq!(after(lose), [I1]);
}

#[test]
fn a_cancelled_run_does_not_go_on() {
    let about = json!({"kind": "steps", "steps": 1});
    let mut world = World::new();
    world.begin("r", &about);
    world.ask("cancel", "ok", json!({"command_id": "r"}), json!(null));
    world.cancel("r", "CANCELLING");
    world.step("r", "one", 0);
    world.finish("r", "SUCCEEDED");
    world.end();
    assert_eq!(broken(&world.trial()), [I1]);
}

#[test]
fn every_run_ends_or_waits_for_somebody() {
    let about = json!({"kind": "steps", "steps": 1, "signal": false});
    for (state, status, reason) in [(1, "RUNNING", None), (2, "WAITING", Some("signal")), (0, "QUEUED", None)] {
        let mut world = World::new();
        world.begin("r", &about);
        match status {
            "RUNNING" => {}
            "QUEUED" => world.reap("r"),
            _ => world.wait("r", status),
        }
        world.live("r", state, reason);
        world.end();
        assert_eq!(broken(&world.trial()), [I11], "{status}");
    }
}

#[test]
fn a_run_waits_for_a_signal_only_until_it_is_acknowledged() {
    let signal = |trial: &mut Trial| {
        let mut sent = request(trial, Op::Signal, Answered::Ok).clone();
        sent.ask = json!({"command_id": UNTOLD, "name": "go"});
        trial.history.push(sent);
        let mut kept = trial.dump.signal[0].clone();
        kept.run_id = UNTOLD.into();
        trial.dump.signal.push(kept);
    };
    assert_eq!(after(signal), [I11]);
}

#[test]
fn an_action_in_doubt_has_a_person_to_ask() {
    assert_eq!(after(|trial| trial.dump.gate.retain(|gate| gate.run_id != DOUBT)), [I11]);
}

trait Told {
    fn told_command(&self) -> Option<&str>;
}

impl Told for Request {
    fn told_command(&self) -> Option<&str> {
        self.answer.as_ref()?.get("command_id")?.as_str()
    }
}
