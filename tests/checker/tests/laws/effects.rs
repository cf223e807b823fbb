//! I2: how often the platform applied an effect; and how often it was asked to (I4).

use fermata_checker::Invariant::{I2, I3, I4};
use fermata_checker::rows::Audit;
use fermata_checker::{Figures, Trial};
use serde_json::json;

use crate::good::{self, publish};
use crate::world::World;
use crate::{after, broken};

#[test]
fn the_platform_applies_an_effect_once() {
    let mut world = World::new();
    world.begin("r", &publish("p"));
    world.plan("r", "a");
    world.attempt("r", "a");
    world.apply("r", "p");
    world.apply("r", "p");
    world.confirm("r", "a");
    world.finish("r", "SUCCEEDED");
    world.end();
    assert_eq!(broken(&world.trial()), [I2, I3]);
}

fn permission(trial: &mut Trial) -> &mut Audit {
    trial.dump.audit.iter_mut().find(|row| row.phase == "repeat_allowed").unwrap()
}

#[test]
fn an_operator_may_allow_one_more() {
    assert_eq!(after(|trial| permission(trial).phase = "something".into()), [I2, I3]);
}

#[test]
fn another_runs_permission_does_not_count() {
    assert_eq!(after(|trial| permission(trial).action_id = Some("a-doubt".into())), [I2, I3]);
}

#[test]
fn an_effect_of_two_accounts_is_two() {
    let mut world = World::new();
    world.begin("r", &publish("p"));
    world.plan("r", "a");
    world.attempt("r", "a");
    world.apply("r", "p");
    world.outcome("r", "a", &["unknown"], &json!({}));
    world.gate("r", "publish@unknown", "open");
    world.wait("r", "HUMAN_REQUIRED");
    world.live("r", 2, Some("takeover"));
    world.apply("r", "p");
    world.end();
    let mut trial = world.trial();
    assert_eq!(broken(&trial), [I2, I3]);
    trial.ledger[1].account = "bob".into();
    assert_eq!(broken(&trial), [I3]);
}

#[test]
fn the_platform_is_asked_no_more_often_than_attempts_were_recorded() {
    assert_eq!(after(|trial| trial.calls.push(trial.calls[0].clone())), [I4]);
    assert_eq!(after(|trial| trial.calls[0].reference = "p-of-nobody".into()), [I4]);
}

#[test]
fn the_figures_are_counts_of_the_witnesses() {
    let figures = Figures::of(&good::trial());
    assert_eq!((figures.effects, figures.duplicates, figures.calls), (7, 1, 2), "an operator allowed one duplicate");
    assert_eq!(figures.actions, good::trial().dump.action.len());
}
