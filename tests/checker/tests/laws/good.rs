//! A good trial: everything that the rig knows to do, and every promise kept.

use chrono::TimeDelta;
use fermata_checker::{Invariant, Trial, check};
use serde_json::{Value, json};

use crate::world::World;

/// Two steps and a signal; killed once; asked for twice with one key.
pub(crate) const STEPS: &str = "r-steps";
/// A gated effect with a step after it.
pub(crate) const GATED: &str = "r-gated";
/// An effect that nobody can tell of: it waits for a person.
pub(crate) const DOUBT: &str = "r-doubt";
/// An effect on a platform that honours keys; its call was sent twice.
pub(crate) const RESENT: &str = "r-resent";
/// An effect that a person allowed to be repeated.
pub(crate) const REPEATED: &str = "r-repeated";
/// An effect whose absence was proven before it was tried again.
pub(crate) const ABSENT: &str = "r-absent";
/// A run that was cancelled before it began.
pub(crate) const CANCELLED: &str = "r-cancelled";
/// A run whose submit was never answered.
pub(crate) const UNTOLD: &str = "r-untold";
/// A run that a kill switch found under way.
pub(crate) const UNDER_WAY: &str = "r-under-way";

/// An effect's description.
pub(crate) fn publish(reference: &str) -> Value {
    json!({"kind": "publish", "reference": reference, "honours_keys": false, "absence": "inconclusive",
        "gated": false, "after": false})
}

fn but(mut about: Value, field: &str, value: Value) -> Value {
    about[field] = value;
    about
}

/// The good trial, to be broken in one place.
pub(crate) fn trial() -> Trial {
    world().trial()
}

pub(crate) fn world() -> World {
    let mut world = World::new();
    steps(&mut world);
    gated(&mut world);
    doubt(&mut world);
    resent(&mut world);
    repeated(&mut world);
    absent(&mut world);
    cancelled(&mut world);
    untold(&mut world);
    stopped(&mut world);
    let tamper = |breaks: Value| json!({"statement": "delete from fermata.audit", "breaks": breaks});
    world.ask("tamper", "fail", tamper(Value::Null), Value::Null);
    world.ask("tamper", "fail", tamper(json!("I4")), Value::Null);
    world.end();
    world
}

fn steps(world: &mut World) {
    let about = json!({"kind": "steps", "steps": 2, "signal": true});
    world.submit(STEPS, "unknown", Some("k1"), &about);
    world.accept(STEPS, Some("k1"), &about);
    world.submit(STEPS, "ok", Some("k1"), &about);
    world.claim(STEPS);
    world.step(STEPS, "one", 0);
    world.reap(STEPS);
    world.claim(STEPS);
    world.ask("read", "ok", json!({"command_id": STEPS}), json!({"status": "RUNNING"}));
    world.wait(STEPS, "WAITING");
    world.row("signal", json!({"id": "s-1", "run_id": STEPS, "client_id": "t17", "name": "go"}));
    world.ask("signal", "ok", json!({"command_id": STEPS, "name": "go", "signal_id": "s-1"}), Value::Null);
    world.claim(STEPS);
    world.step(STEPS, "go", 3);
    world.step(STEPS, "two", 0);
    world.finish(STEPS, "SUCCEEDED");
    world.ask("read", "ok", json!({"command_id": STEPS}), json!({"status": "SUCCEEDED"}));
    world.ask("read", "fail", json!({"command_id": "nobody"}), Value::Null);
    world.submit("none", "fail", Some("k-bad"), &about);
}

fn gated(world: &mut World) {
    world.begin(GATED, &but(but(publish("p-gated"), "gated", json!(true)), "after", json!(true)));
    world.gate(GATED, "approval", "approved");
    let gate = format!("g-{GATED}-approval");
    let ask = json!({"gate_id": gate, "command_id": GATED, "approve": true, "repeat": false});
    world.ask("decide", "ok", ask, json!({"state": "approved"}));
    world.plan(GATED, "a-gated");
    world.attempt(GATED, "a-gated");
    world.apply(GATED, "p-gated");
    world.confirm(GATED, "a-gated");
    world.step(GATED, "after", 0);
    world.finish(GATED, "SUCCEEDED");
}

fn doubt(world: &mut World) {
    world.begin(DOUBT, &publish("p-doubt"));
    world.plan(DOUBT, "a-doubt");
    world.attempt(DOUBT, "a-doubt");
    world.apply(DOUBT, "p-doubt");
    world.pass(200);
    world.outcome(DOUBT, "a-doubt", &["unknown"], &json!({"error": {"code": "outcome_unknown"}}));
    world.gate(DOUBT, "publish@unknown", "open");
    world.wait(DOUBT, "HUMAN_REQUIRED");
    world.live(DOUBT, 2, Some("takeover"));
}

fn resent(world: &mut World) {
    world.begin(RESENT, &but(publish("p-resent"), "honours_keys", json!(true)));
    world.plan(RESENT, "a-resent");
    world.attempt(RESENT, "a-resent");
    world.call("p-resent");
    world.reap(RESENT);
    world.claim(RESENT);
    world.resend(RESENT, "a-resent");
    world.call("p-resent");
    world.apply(RESENT, "p-resent");
    world.confirm(RESENT, "a-resent");
    world.finish(RESENT, "SUCCEEDED");
}

fn repeated(world: &mut World) {
    world.begin(REPEATED, &publish("p-repeated"));
    world.plan(REPEATED, "a-first");
    world.attempt(REPEATED, "a-first");
    world.apply(REPEATED, "p-repeated");
    world.pass(200);
    world.outcome(REPEATED, "a-first", &["unknown"], &json!({"error": {"code": "outcome_unknown"}}));
    world.gate(REPEATED, "publish@unknown", "rejected");
    world.outcome(REPEATED, "a-first", &["postcheck_complete"], &json!({"effect": false}));
    world.audit(REPEATED, Some("a-first"), "repeat_allowed");
    world.plan(REPEATED, "a-second");
    world.attempt(REPEATED, "a-second");
    world.apply(REPEATED, "p-repeated");
    world.confirm(REPEATED, "a-second");
    world.finish(REPEATED, "SUCCEEDED");
}

fn absent(world: &mut World) {
    world.begin(ABSENT, &but(publish("p-absent"), "absence", json!("conclusive")));
    world.plan(ABSENT, "a-absent");
    world.attempt(ABSENT, "a-absent");
    world.pass(200);
    let detail = json!({"effect": false, "error": {"code": "effect_absent"}});
    world.outcome(ABSENT, "a-absent", &["confirmed_failed", "postcheck_complete"], &detail);
    world.plan(ABSENT, "a-present");
    world.attempt(ABSENT, "a-present");
    world.apply(ABSENT, "p-absent");
    world.confirm(ABSENT, "a-present");
    world.finish(ABSENT, "SUCCEEDED");
}

fn cancelled(world: &mut World) {
    let about = json!({"kind": "steps", "steps": 1});
    world.accept(CANCELLED, None, &about);
    world.submit(CANCELLED, "ok", None, &about);
    let at = world.pass(10) + TimeDelta::milliseconds(10);
    world.cancel(CANCELLED, "CANCELLED");
    world.row(
        "outcome",
        json!({"id": CANCELLED, "client_id": "t17", "status": "CANCELLED", "epoch": 0, "ended_at": at}),
    );
    world.ask("cancel", "ok", json!({"command_id": CANCELLED}), Value::Null);
}

fn untold(world: &mut World) {
    let about = json!({"kind": "steps", "steps": 1, "signal": true});
    world.submit(UNTOLD, "unknown", None, &about);
    world.submit(UNTOLD, "unknown", None, &publish("never"));
    world.accept(UNTOLD, None, &about);
    world.claim(UNTOLD);
    world.step(UNTOLD, "one", 0);
    world.wait(UNTOLD, "WAITING");
    world.live(UNTOLD, 2, Some("signal"));
}

fn stopped(world: &mut World) {
    world.begin(UNDER_WAY, &publish("p-under-way"));
    world.plan(UNDER_WAY, "a-under-way");
    world.attempt(UNDER_WAY, "a-under-way");
    let scope = json!({"scope": "account:t17/ada"});
    world.ask("trip", "ok", scope.clone(), json!({"under_way": [{"action_id": "a-under-way"}]}));
    world.apply(UNDER_WAY, "p-under-way");
    world.confirm(UNDER_WAY, "a-under-way");
    world.finish(UNDER_WAY, "SUCCEEDED");
    world.ask("lift", "ok", scope, Value::Null);
}

#[test]
fn a_good_trial_keeps_every_promise() {
    let verdict = check(&trial());
    assert!(verdict.holds(), "{verdict:#?}");
}

#[test]
fn every_promise_was_looked_at() {
    let verdict = check(&trial());
    for invariant in Invariant::ALL {
        assert!(verdict.checked[&invariant] > 0, "{invariant}");
    }
}
