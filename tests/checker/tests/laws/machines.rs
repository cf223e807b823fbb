//! I4: the declared machines of actions and of commands.

use fermata_checker::Invariant::{I1, I3, I4};
use fermata_checker::history::{Answered, Op};
use fermata_checker::stream::{Seen, cursor_at};
use fermata_checker::{Invariant, Trial};
use serde_json::{Value, json};

use crate::good::{ABSENT, CANCELLED, GATED, publish};
use crate::world::World;
use crate::{after, broken};

/// Changes the data of an event wherever it is seen.
fn tell(trial: &mut Trial, which: impl Fn(&Value) -> bool, change: impl Fn(&mut Value)) {
    let event = trial.dump.event.iter_mut().find(|event| which(&event.data)).unwrap();
    change(&mut event.data);
    for seen in trial.readers.iter_mut().flat_map(|reader| &mut reader.seen) {
        if let Seen::Event { event: told, .. } = seen
            && told.cursor == cursor_at(event.position)
        {
            told.data = event.data.clone();
        }
    }
}

fn of(action: &'static str, state: &'static str) -> impl Fn(&Value) -> bool {
    move |data| data["action_id"] == action && data["status"] == state
}

fn changed(run: &str, change: impl Fn(&mut World)) -> Vec<Invariant> {
    let mut world = World::new();
    world.begin(run, &json!({"kind": "steps", "steps": 0, "signal": true}));
    change(&mut world);
    world.end();
    broken(&world.trial())
}

#[test]
fn an_action_walks_the_declared_machine() {
    let mut world = World::new();
    world.begin("r", &publish("p"));
    world.plan("r", "a");
    world.outcome("r", "a", &["attempted"], &json!({}));
    world.apply("r", "p");
    world.confirm("r", "a");
    world.finish("r", "SUCCEEDED");
    world.end();
    assert_eq!(broken(&world.trial()), [I4]);
}

#[test]
fn only_an_attempted_action_is_sent_again() {
    let silent = |data: &mut Value| data["detail"]["resend"] = json!(false);
    let resent = |data: &Value| data["detail"]["resend"] == true;
    assert_eq!(after(|trial| tell(trial, resent, silent)), [I4]);
    assert_eq!(after(|trial| trial.dump.action.iter_mut().for_each(|action| action.resends = 0)), [I4]);
}

#[test]
fn the_last_event_says_what_the_row_says() {
    let row = |trial: &mut Trial| {
        trial.dump.action.iter_mut().find(|row| row.id == "a-absent").unwrap().state = "confirmed_failed".into();
    };
    assert_eq!(after(row), [I4]);
}

#[test]
fn an_action_has_events_and_events_have_an_action() {
    let lost = |trial: &mut Trial| trial.dump.action.retain(|row| row.id != "a-absent");
    assert_eq!(after(lost), [I4]);
    let mut ghost = crate::good::trial().dump.action[0].clone();
    ghost.id = "ghost".into();
    ghost.effect = Some(false);
    ghost.receipt = None;
    assert_eq!(after(|trial| trial.dump.action.push(ghost)), [I4]);
}

#[test]
fn each_transition_has_one_audit_row() {
    let another = |trial: &mut Trial| trial.dump.audit[3].phase = "something".into();
    assert!(after(another).contains(&I4));
    let other = |trial: &mut Trial| {
        let row = trial.dump.audit.iter_mut().rfind(|row| row.phase == "confirmed_success").unwrap();
        row.phase = "confirmed_failed".into();
    };
    assert_eq!(after(other), [I4]);
}

#[test]
fn events_and_audit_have_one_order() {
    let swap = |trial: &mut Trial| {
        let n = trial.dump.audit.iter().rposition(|row| row.phase == "confirmed_success").unwrap();
        let (here, next) = (trial.dump.audit[n].position, trial.dump.audit[n + 1].position);
        trial.dump.audit[n].position = next;
        trial.dump.audit[n + 1].position = here;
    };
    assert_eq!(after(swap), [I4]);
}

#[test]
fn a_steps_event_has_its_row() {
    assert_eq!(after(|trial| trial.dump.step.retain(|step| step.run_id != GATED || step.key != "after")), [I4]);
    let rename = |data: &mut Value| data["key"] = json!("other");
    assert_eq!(after(|trial| tell(trial, |data| data["key"] == "two", rename)), [I4]);
    assert_eq!(after(|trial| trial.dump.step.retain(|step| step.key != "two")), [I1, I4]);
}

#[test]
fn each_status_begins_where_the_last_one_ended() {
    let leap = |data: &mut Value| data["from"] = json!("RUNNING");
    let claimed = |data: &Value| data["from"] == "WAITING" && data["to"] == "RUNNING";
    assert!(after(|trial| tell(trial, claimed, leap)).contains(&I4));
}

#[test]
fn a_status_moves_as_the_machine_declares() {
    let found = changed("r", |world| {
        world.reap("r");
        world.finish("r", "SUCCEEDED");
    });
    assert_eq!(found, [I4]);
}

#[test]
fn nothing_follows_the_end() {
    let found = changed("r", |world| {
        world.finish("r", "SUCCEEDED");
        world.cancel("r", "CANCELLING");
    });
    assert_eq!(found, [I4]);
}

#[test]
fn the_last_status_is_where_the_run_stands() {
    let other = |run: &'static str, status: &'static str| {
        move |trial: &mut Trial| trial.dump.outcome.iter_mut().find(|row| row.id == run).unwrap().status = status.into()
    };
    assert_eq!(after(other(ABSENT, "FAILED")), [I4]);
    assert_eq!(after(other(CANCELLED, "FAILED")), [I4]);
    assert_eq!(after(|trial| trial.dump.live[0].wait_reason = Some("retry".into())), [I4]);
}

#[test]
fn a_cancelled_run_may_be_put_away_and_taken_again() {
    let found = changed("r", |world| {
        world.cancel("r", "CANCELLING");
        world.status("r", "RUNNING");
        world.reap("r");
        world.status("r", "CANCELLING");
        world.claim_for("r", "CANCELLING");
        world.finish("r", "CANCELLED");
    });
    assert_eq!(found, []);
}

#[test]
fn a_command_that_is_not_due_leaves_waiting() {
    let mut world = World::new();
    let about = json!({"kind": "steps", "steps": 0, "signal": false});
    world.accept("r", None, &about);
    world.submit("r", "ok", None, &about);
    world.status("r", "WAITING");
    world.claim("r");
    world.finish("r", "SUCCEEDED");
    world.end();
    assert_eq!(broken(&world.trial()), []);
}

#[test]
fn an_illegal_transition_that_was_let_through_is_a_bypass() {
    let through = |trial: &mut Trial| {
        let tried = trial.history.iter_mut().find(|one| one.op == Op::Tamper && one.ask["breaks"] == "I4");
        tried.unwrap().result = Answered::Ok;
    };
    assert_eq!(after(through), [I4]);
}

#[test]
fn an_outcome_that_was_told_otherwise_is_a_bypass() {
    let failed = |data: &mut Value| data["status"] = json!("confirmed_failed");
    let found = after(|trial| tell(trial, of("a-resent", "confirmed_success"), failed));
    assert!(found.contains(&I4) && !found.contains(&I3), "{found:?}");
}
