//! I3: if success or failure cannot be proven after `attempted` was recorded, the state is
//! `unknown`; dependents do not start; only a read-only look or a person leaves it.
//!
//! What the engine says of an effect is compared with what the platform applied:
//!
//! - An action that is fulfilled (effect, or a receipt) has its reference in the ledger, unless it
//!   rests on a person's word.
//! - The ledger has no more lines of a reference than actions *own up to*: those with an effect,
//!   those that are or were `unknown`, and those still `attempted`. So a run whose actions all
//!   say `effect: false` left no line.
//! - A run that SUCCEEDED with an effect has a line, unless a person said so.
//! - No line is the doing of actions alone that ended with `effect: false` and were never
//!   `unknown`. A line is the doing of each action whose attempt was recorded (in the epoch of the
//!   line's fence) before the line arrived, and whose call might still have arrived then.
//! - Absence decides nothing before it can: `effect_absent` comes after the call's deadline and the
//!   time within which an effect becomes visible, and never where absence is inconclusive or the
//!   platform honours keys. A timeout (`call_timeout`) proves nothing.
//! - `unknown` is left for `confirmed_success` or `confirmed_failed` by a look, for
//!   `postcheck_complete` by the decision of a person at a gate `…@unknown`.
//! - A step `after` has a record later than that of `publish`, starts no earlier than it was
//!   confirmed, and the newest action of `publish` is not `attempted` or `unknown`.

use chrono::TimeDelta;

use super::i2_at_most_once::repeats;
use crate::dossier::{Dossier, Move};
use crate::history::Absence;
use crate::ledger::Line;
use crate::rows::{Action, Step};
use crate::verdict::Judge;

/// Judges what is said of effects.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    for action in dossier.actions.values().filter(|action| dossier.runs.contains_key(action.run_id.as_str())) {
        fulfilled(dossier, action, judge);
        absent(dossier, action, judge);
        left(dossier, action, judge);
    }
    for (reference, lines) in dossier.lines() {
        owned(dossier, reference, &lines, judge);
        for line in lines {
            denied(dossier, line, judge);
        }
    }
    for run in dossier.runs.keys() {
        succeeded(dossier, run, judge);
        dependents(dossier, run, judge);
    }
}

/// Whether the outcome of an action is what a person said.
fn on_a_word(dossier: &Dossier<'_>, action: &Action) -> bool {
    let moves = dossier.moves_of(&action.id);
    moves
        .windows(2)
        .any(|pair| matches!(pair, [from, to] if from.state == "unknown" && to.state == "postcheck_complete"))
}

fn lines_of<'a>(dossier: &Dossier<'a>, reference: &str) -> Vec<&'a Line> {
    dossier.trial.ledger.iter().filter(|line| line.reference.as_deref() == Some(reference)).collect()
}

fn fulfilled(dossier: &Dossier<'_>, action: &Action, judge: &mut Judge<'_>) {
    let Some(publish) = dossier.publish(&action.run_id) else { return };
    if !action.fulfilled() || on_a_word(dossier, action) {
        return;
    }
    let reference = &publish.reference;
    judge.require(!lines_of(dossier, reference).is_empty(), || {
        let says = format!(
            "action {} is {} with effect {:?}, and the platform never applied {reference}",
            action.id, action.state, action.effect
        );
        (action.id.clone(), says, dossier.moves_of(&action.id).iter().map(Move::name).collect())
    });
}

fn owned(dossier: &Dossier<'_>, reference: &str, lines: &[&Line], judge: &mut Judge<'_>) {
    let actions = dossier.actions_of(reference);
    let owns =
        |action: &&&Action| action.effect == Some(true) || action.state == "attempted" || dossier.was_unknown(action);
    let owners = actions.iter().filter(owns).count();
    judge.require(lines.len() <= owners, || {
        let says = format!(
            "the platform applied {reference} {} times and {owners} of {} actions own up to it",
            lines.len(),
            actions.len()
        );
        let said = actions.iter().map(|action| {
            format!("action {} of run {} is {} with effect {:?}", action.id, action.run_id, action.state, action.effect)
        });
        (reference.to_owned(), says, lines.iter().map(|line| line.name()).chain(said).collect())
    });
}

fn denied(dossier: &Dossier<'_>, line: &Line, judge: &mut Judge<'_>) {
    judge.look();
    let causes = dossier.causes(line);
    let denies = |cause: &&Move<'_>| {
        let action = dossier.actions.get(cause.action);
        action.is_some_and(|action| action.effect == Some(false) && !dossier.was_unknown(action))
    };
    if let Some(cause) = causes.first().filter(|_| causes.iter().all(denies)) {
        let says =
            format!("action {} says that it had no effect, and ledger line {} is its doing", cause.action, line.seq);
        judge.object(cause.action, says, causes.iter().map(|cause| cause.name()).chain([line.name()]).collect());
    }
}

fn succeeded(dossier: &Dossier<'_>, run: &str, judge: &mut Judge<'_>) {
    let Some(publish) = dossier.explained.get(run).and_then(|_| dossier.publish(run)) else { return };
    if dossier.outcome.get(run).is_none_or(|outcome| outcome.status != "SUCCEEDED") {
        return;
    }
    let reference = &publish.reference;
    let said = dossier.actions_of(reference).into_iter().any(|action| on_a_word(dossier, action));
    let lines = lines_of(dossier, reference);
    let most = 1 + repeats(dossier, reference);
    judge.require((said || !lines.is_empty()) && lines.len() <= most, || {
        let says = format!("run {run} succeeded and the platform applied {reference} {} times", lines.len());
        (run.to_owned(), says, lines.iter().map(|line| line.name()).collect())
    });
}

/// What not finding an effect was taken to prove.
fn absent(dossier: &Dossier<'_>, action: &Action, judge: &mut Judge<'_>) {
    let moves = dossier.moves_of(&action.id);
    let denial = moves.iter().find(|moved| moved.state == "confirmed_failed" && moved.effect() == Some(false));
    let Some(denial) = denial else { return };
    judge.look();
    let object = |judge: &mut Judge<'_>, says: String| {
        judge.object(&action.id, says, moves.iter().map(Move::name).collect());
    };
    if denial.code() == Some("call_timeout") {
        object(judge, format!("action {} took the timeout of its call for proof that it had no effect", action.id));
    }
    if denial.code() != Some("effect_absent") {
        return;
    }
    let publish = dossier.publish(&action.run_id);
    if publish.is_some_and(|publish| publish.honours_keys || publish.absence == Absence::Inconclusive) {
        object(judge, format!("action {} took absence for proof where absence proves nothing", action.id));
    }
    let intent = dossier.trial.dump.intent.iter().find(|intent| intent.id == action.intent_id);
    let visible = intent.and_then(|intent| intent.spec.get("visible_within_ms")?.as_i64()).unwrap_or_default();
    let called = moves.iter().filter(|moved| moved.is_attempt() && moved.position < denial.position);
    let Some(deadline) = called.filter_map(Move::deadline).max() else { return };
    let judged = deadline + TimeDelta::milliseconds(visible);
    if denial.at + dossier.trial.facts.tolerance() < judged {
        let early = (judged - denial.at).num_milliseconds();
        object(judge, format!("action {} took absence for proof {early} ms before it could be", action.id));
    }
}

/// Who leaves `unknown`.
fn left(dossier: &Dossier<'_>, action: &Action, judge: &mut Judge<'_>) {
    for pair in dossier.moves_of(&action.id).windows(2) {
        let [from, to] = pair else { continue };
        if from.state != "unknown" {
            continue;
        }
        let fine = match to.state {
            "confirmed_success" | "confirmed_failed" => to.looks() > 0,
            "postcheck_complete" => dossier.trial.dump.gate.iter().any(|gate| {
                gate.run_id == action.run_id
                    && gate.key.ends_with("@unknown")
                    && matches!(gate.state.as_str(), "approved" | "rejected" | "completed")
                    && gate.actor.as_deref().is_some_and(|actor| actor != "fermata")
            }),
            _ => false,
        };
        judge.require(fine, || {
            let says = format!("action {} left `unknown` for `{}` without a look or a person", action.id, to.state);
            (action.id.clone(), says, vec![from.name(), to.name()])
        });
    }
}

/// The step `after` waits for the confirmed effect.
fn dependents(dossier: &Dossier<'_>, run: &str, judge: &mut Judge<'_>) {
    if dossier.publish(run).is_none() {
        return;
    }
    let steps = dossier.steps_of(run);
    let tolerance = dossier.trial.facts.tolerance();
    for after in steps.iter().filter(|step| step.is_named("after")) {
        judge.look();
        let done = |step: &&&Step| step.is_named("publish") && step.succeeded() && step.generation == after.generation;
        let before = steps.iter().find(done);
        let says = match before {
            None => format!("run {run} started step {} and `publish` is not done", after.key),
            Some(publish) if publish.seq >= after.seq || after.started_at + tolerance < publish.ended_at => format!(
                "run {run} started step {} at {} (record {}), before `publish` was confirmed at {} (record {})",
                after.key, after.started_at, after.seq, publish.ended_at, publish.seq
            ),
            Some(publish) => {
                let mine =
                    dossier.actions.values().filter(|action| action.run_id == run && action.step_key == publish.key);
                let newest = mine.max_by_key(|action| first_position(dossier, action));
                match newest.filter(|action| matches!(action.state.as_str(), "attempted" | "unknown")) {
                    Some(action) => {
                        format!("run {run} started step {} while action {} is {}", after.key, action.id, action.state)
                    }
                    None => continue,
                }
            }
        };
        judge.object(run, says, Vec::new());
    }
}

fn first_position(dossier: &Dossier<'_>, action: &Action) -> i64 {
    dossier.moves_of(&action.id).first().map_or(0, |moved| moved.position)
}
