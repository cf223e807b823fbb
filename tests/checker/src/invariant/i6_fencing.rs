//! I6: a write with an old lease epoch changes 0 rows; a holder whose lease is not provably valid
//! starts no effect.
//!
//! The epoch of a run at a position is the number of its claims before it (see
//! [`Dossier`](crate::dossier::Dossier)), so it does not depend on what a writer says of itself.
//!
//! Writes:
//! - `live.epoch` or `outcome.epoch` is the number of claims in the events.
//! - The steps of a run, by record (`seq`), have epochs that never decrease; those of one record
//!   (there may be several) have one epoch; no epoch is above the run's.
//! - Where a step has its event, its epoch is the run's at that position, and records and positions
//!   have the same order. Where it has none, it was not recorded after a later claim.
//! - `action.epoch` is the run's epoch at the event that planned it or, later, attempted it last.
//! - What only a holder writes (`step.*`, `action.*`, `artifact.captured`, and a change of status
//!   that leaves `RUNNING` or ends the run) comes while the run is held: after a claim and before
//!   the run was put away, taken away or ended.
//! - The `version` of the changes of status never goes back.
//!
//! Effects: a ledger line with the fence `run:epoch` has an attempt of that run, recorded in that
//! epoch before the line arrived (and tolerance), and arrived before the `call_deadline` of one of
//! them (and tolerance, and a second for the network). So a call of an epoch that was superseded is
//! stale unless it arrived within its own deadline, as section 5 has it. A line without a fence (a
//! form on a page has none) needs an attempt of any epoch of the runs that were meant to have it.

use std::collections::BTreeMap;

use crate::dossier::{Change, Dossier, Move, NETWORK_GRACE, text};
use crate::ledger::Line;
use crate::rows::{Event, Step};
use crate::verdict::Judge;

/// Judges the fence.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    for run in dossier.runs.keys() {
        epochs(dossier, run, judge);
        steps(dossier, run, judge);
        held(dossier, run, judge);
        versions(run, dossier.changes_of(run), judge);
    }
    for (id, action) in &dossier.actions {
        let moves = dossier.moves_of(id);
        let Some(last) = moves.iter().rfind(|moved| moved.is_attempt() || moved.state == "queued") else { continue };
        judge.require(last.epoch == action.epoch, || {
            let says = format!("action {id} says epoch {} and its run was in epoch {}", action.epoch, last.epoch);
            ((*id).to_owned(), says, vec![last.name()])
        });
    }
    for line in &dossier.trial.ledger {
        effect(dossier, line, judge);
    }
}

fn epochs(dossier: &Dossier<'_>, run: &str, judge: &mut Judge<'_>) {
    let claims = dossier.claims(run).count();
    let live = dossier.live.get(run).map(|live| live.epoch);
    let Some(epoch) = live.or(dossier.outcome.get(run).map(|outcome| outcome.epoch)) else { return };
    judge.require(i32::try_from(claims) == Ok(epoch), || {
        (run.to_owned(), format!("run {run} is in epoch {epoch} and was claimed {claims} times"), Vec::new())
    });
}

fn steps(dossier: &Dossier<'_>, run: &str, judge: &mut Judge<'_>) {
    let told = positions(dossier, run);
    let claims: Vec<&Change<'_>> = dossier.claims(run).collect();
    let tolerance = dossier.trial.facts.tolerance();
    let mut before: Option<(&Step, Option<i64>)> = None;
    for step in dossier.steps_of(run) {
        judge.look();
        let at = told.get(&(step.key.as_str(), i64::from(step.attempt))).copied().flatten();
        let name = format!("step {} attempt {} (record {}, epoch {})", step.key, step.attempt, step.seq, step.epoch);
        if let Some((last, last_at)) = before {
            if step.epoch < last.epoch || (step.seq == last.seq && step.epoch != last.epoch) {
                let says = format!("run {run}: {name} comes after record {} of epoch {}", last.seq, last.epoch);
                judge.object(run, says, Vec::new());
            }
            if at.zip(last_at).is_some_and(|(at, last_at)| at < last_at && step.seq > last.seq) {
                let says =
                    format!("run {run}: {name} is behind record {} and its event {at:?} before {last_at:?}", last.seq);
                judge.object(run, says, Vec::new());
            }
        }
        let claimed = usize::try_from(step.epoch).unwrap_or_default();
        let epoch = at.map_or(step.epoch, |at| dossier.epoch_at(run, at));
        if epoch != step.epoch || claimed == 0 || claimed > claims.len() {
            let says = format!("run {run}: {name} was recorded when the run was in epoch {epoch} of {}", claims.len());
            judge.object(run, says, at.map(|at| format!("event {at}")).into_iter().collect());
        }
        if let Some(next) = claims.get(claimed).filter(|next| at.is_none() && step.ended_at > next.at + tolerance) {
            let says = format!("run {run}: {name} was recorded at {}, after the claim at {}", step.ended_at, next.at);
            judge.object(run, says, vec![format!("event {}", next.position)]);
        }
        before = Some((step, at.or(before.and_then(|(_, at)| at))));
    }
}

/// Where the events of a run's steps are; `None` where a key and attempt has several, as renewals
/// of a run make them.
fn positions<'a>(dossier: &Dossier<'a>, run: &str) -> BTreeMap<(&'a str, i64), Option<i64>> {
    let mut positions = BTreeMap::new();
    for event in dossier.events.get(run).into_iter().flatten() {
        if event.r#type.starts_with("step.") {
            let attempt = event.data.get("attempt").and_then(serde_json::Value::as_i64).unwrap_or_default();
            let key = (text(&event.data, "key").unwrap_or_default(), attempt);
            positions.entry(key).and_modify(|at| *at = None).or_insert(Some(event.position));
        }
    }
    positions
}

/// Whether holders alone wrote.
fn held(dossier: &Dossier<'_>, run: &str, judge: &mut Judge<'_>) {
    let mut is_held = false;
    for event in dossier.events.get(run).into_iter().flatten() {
        let change = dossier.changes_of(run).iter().find(|change| change.position == event.position);
        let by_holder = change.map_or_else(|| is_holders(event), leaves);
        if by_holder {
            judge.require(is_held, || {
                let says = format!(
                    "run {run} was held by nobody when event {} ({}) was written",
                    event.position, event.r#type
                );
                (run.to_owned(), says, vec![event.data.to_string()])
            });
        }
        if let Some(change) = change {
            let claimed = change.is_claim() && change.to != "HUMAN_REQUIRED";
            is_held = claimed || (is_held && !leaves(change));
        }
    }
}

fn is_holders(event: &Event) -> bool {
    event.r#type.starts_with("step.") || event.r#type.starts_with("action.") || event.r#type == "artifact.captured"
}

/// Whether a change takes a held run from its node, or ends it there.
fn leaves(change: &Change<'_>) -> bool {
    match (change.from, change.to) {
        (Some("RUNNING"), to) => to != "CANCELLING",
        (Some("CANCELLING"), to) => matches!(to, "SUCCEEDED" | "FAILED" | "CANCELLED"),
        _ => false,
    }
}

/// A claim is no record, so it tells of the version that was there.
fn versions(run: &str, changes: &[Change<'_>], judge: &mut Judge<'_>) {
    let told: Vec<_> = changes.iter().filter_map(|change| Some((change.position, change.version?))).collect();
    for pair in told.windows(2) {
        if let [(before, was), (position, is)] = pair {
            judge.require(was <= is, || {
                let says = format!("run {run} had version {was} at event {before} and {is} at event {position}");
                (run.to_owned(), says, Vec::new())
            });
        }
    }
}

fn effect(dossier: &Dossier<'_>, line: &Line, judge: &mut Judge<'_>) {
    judge.look();
    let subject = line.reference.as_deref().unwrap_or("no reference");
    let object = |judge: &mut Judge<'_>, says: String, attempts: &[&Move<'_>]| {
        let evidence = [line.name()].into_iter().chain(attempts.iter().map(|moved| moved.name())).collect();
        judge.object(subject, says, evidence);
    };
    if line.fence.is_some() && line.fence().is_none() {
        return object(judge, format!("ledger line {} has a fence that cannot be read", line.seq), &[]);
    }
    let all = dossier.attempts_for(line);
    let of_epoch = |moved: &&Move<'_>| line.fence().is_none_or(|fence| fence.epoch == moved.epoch);
    let (arrived, tolerance) = (line.arrived(), dossier.trial.facts.tolerance());
    let mut attempts: Vec<_> = all.iter().copied().filter(of_epoch).collect();
    attempts.retain(|moved| moved.at <= arrived + tolerance);
    let Some(latest) = attempts.iter().filter_map(|moved| moved.deadline()).max() else {
        if attempts.is_empty() {
            let says = format!(
                "the platform applied {subject} (line {}) and no attempt was recorded before, in its epoch",
                line.seq
            );
            object(judge, says, &all);
        }
        return;
    };
    if arrived > latest + tolerance + NETWORK_GRACE {
        let late = (arrived - latest).num_milliseconds();
        let newer = line.fence().and_then(|fence| {
            let epoch = usize::try_from(fence.epoch).ok()?;
            dossier.claims(fence.run).nth(epoch).filter(|claim| claim.at < arrived)
        });
        let why = newer.map_or(String::new(), |claim| format!("; the run was claimed anew at {}", claim.at));
        let says = format!("the call for {subject} (line {}) arrived {late} ms after its deadline{why}", line.seq);
        object(judge, says, &attempts);
    }
}
