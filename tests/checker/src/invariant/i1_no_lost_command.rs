//! I1, the commands: every 202 names a command that is in the database after any later crash.
//!
//! - A submit answered `ok` has its run: same client, type and payload. A key of a client names one
//!   run, in all answers, in `run` and in `idempotency`; two submits without a key name two runs.
//! - Each run is in exactly one of `live` and `outcome`, and there once.
//! - A submit answered `fail` left no run under its key unless another submit with that key was
//!   answered otherwise. One that was not answered left one run or none.
//! - No run of the trial's clients is there that no submit explains, but for children.
//! - A run of steps that has SUCCEEDED has exactly its steps, each once. The step that waits for
//!   a signal is not counted.

use std::collections::{BTreeMap, BTreeSet};

use crate::dossier::{Dossier, Submitted};
use crate::history::{About, Answered};
use crate::rows::Step;
use crate::verdict::Judge;

/// Judges the commands.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    for one in &dossier.submits {
        match one.request.result {
            Answered::Ok => accepted(dossier, one, judge),
            Answered::Fail => refused(dossier, one, judge),
            Answered::Unknown => judge.look(),
        }
    }
    names(dossier, judge);
    keys(dossier, judge);
    places(dossier, judge);
    for run in dossier.runs.keys() {
        steps(dossier, run, judge);
    }
}

fn accepted(dossier: &Dossier<'_>, one: &Submitted<'_>, judge: &mut Judge<'_>) {
    judge.look();
    let evidence = vec![one.request.name()];
    let Some(command) = one.command.as_deref() else {
        judge.object(one.request.n, "a submit was answered ok without a command_id", evidence);
        return;
    };
    match dossier.runs.get(command) {
        None => judge.object(command, format!("run {command} was acknowledged and is in no table"), evidence),
        Some(run) if !one.submit.made(run) => {
            let says = format!(
                "run {command} is of client {}, type {} and input {}, not as submitted: {}, {}, {}",
                run.client_id, run.kind, run.input, one.submit.client_id, one.submit.r#type, one.submit.payload
            );
            judge.object(command, says, evidence);
        }
        Some(_) => {}
    }
}

fn refused(dossier: &Dossier<'_>, one: &Submitted<'_>, judge: &mut Judge<'_>) {
    judge.look();
    let Some(key) = &one.submit.idempotency_key else { return };
    let same = |other: &&Submitted<'_>| {
        other.submit.client_id == one.submit.client_id
            && other.submit.idempotency_key.as_ref() == Some(key)
            && other.request.result != Answered::Fail
    };
    if dossier.submits.iter().any(|other| same(&other)) {
        return;
    }
    let left = dossier
        .runs
        .values()
        .find(|run| run.client_id == one.submit.client_id && run.idempotency_key.as_ref() == Some(key));
    if let Some(run) = left {
        let says = format!("the submit with key {key} was refused, and left run {} all the same", run.id);
        judge.object(&run.id, says, vec![one.request.name()]);
    }
}

/// Without a key, each acknowledgement is a command of its own.
fn names(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let mut seen: BTreeMap<&str, &Submitted<'_>> = BTreeMap::new();
    for one in &dossier.submits {
        let Some(command) = one.command.as_deref() else { continue };
        let Some(other) = seen.insert(command, one) else { continue };
        let (key, before) = (&one.submit.idempotency_key, &other.submit.idempotency_key);
        judge.require(key.is_some() && key == before, || {
            let says = format!("two submits that are not the same were both told run {command}");
            (command.to_owned(), says, vec![other.request.name(), one.request.name()])
        });
    }
}

/// A key of a client names one run, in every answer and in the table.
fn keys(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let mut named: BTreeMap<(&str, &str), BTreeSet<&str>> = BTreeMap::new();
    for one in &dossier.submits {
        if let (Some(key), Some(command)) = (&one.submit.idempotency_key, &one.command) {
            named.entry((&one.submit.client_id, key)).or_default().insert(command);
        }
    }
    for run in dossier.runs.values() {
        if let Some(key) = &run.idempotency_key {
            named.entry((&run.client_id, key)).or_default().insert(&run.id);
        }
    }
    let table: BTreeSet<_> = dossier.trial.dump.idempotency.iter().filter(|row| row.family == "commands").collect();
    for row in &table {
        if dossier.trial.facts.is_ours(&row.client_id) {
            named.entry((&row.client_id, &row.key)).or_default().insert(&row.run_id);
        }
    }
    for ((client, key), runs) in named {
        judge.require(runs.len() == 1, || {
            let says = format!("key {key} of client {client} names {} runs", runs.len());
            (key.to_owned(), says, runs.iter().map(|run| format!("run {run}")).collect())
        });
        let kept = table.iter().any(|row| row.client_id == client && row.key == key);
        judge.require(kept, || {
            let says = format!("key {key} of client {client} was used and is not in `idempotency`");
            (key.to_owned(), says, runs.iter().map(|run| format!("run {run}")).collect())
        });
    }
}

/// Where each run is, and why.
fn places(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let dump = &dossier.trial.dump;
    let mut count: BTreeMap<&str, [usize; 3]> = BTreeMap::new();
    let ids = [
        dump.run.iter().map(|row| row.id.as_str()).collect::<Vec<_>>(),
        dump.live.iter().map(|row| row.id.as_str()).collect(),
        dump.outcome.iter().map(|row| row.id.as_str()).collect(),
    ];
    for (place, ids) in ids.iter().enumerate() {
        for id in ids {
            if let Some(n) = count.entry(id).or_default().get_mut(place) {
                *n += 1;
            }
        }
    }
    for (id, [run, live, outcome]) in count {
        judge.require(run == 1 && live + outcome == 1, || {
            let says =
                format!("run {id} is {run} times in `run`, {live} times in `live`, {outcome} times in `outcome`");
            (id.to_owned(), says, Vec::new())
        });
    }
    for (id, run) in &dossier.runs {
        judge.require(run.parent_id.is_some() || dossier.explained.contains_key(id), || {
            let says = format!(
                "run {id} of client {} was accepted at {} and nobody asked for it",
                run.client_id, run.created_at
            );
            ((*id).to_owned(), says, vec![format!("key {:?}, input {}", run.idempotency_key, run.input)])
        });
    }
}

fn steps(dossier: &Dossier<'_>, run: &str, judge: &mut Judge<'_>) {
    let Some(About::Steps { steps, .. }) = dossier.explained.get(run).and_then(|_| dossier.about(run)) else { return };
    if dossier.outcome.get(run).is_none_or(|outcome| outcome.status != "SUCCEEDED") {
        return;
    }
    let done: Vec<&&Step> =
        dossier.steps_of(run).iter().filter(|step| step.succeeded() && step.kind != Step::SIGNAL).collect();
    let keys: BTreeSet<&str> = done.iter().map(|step| step.key.as_str()).collect();
    judge.require(done.len() == *steps && keys.len() == *steps, || {
        let says =
            format!("run {run} succeeded with {} checkpoints of {} steps; it has {steps}", done.len(), keys.len());
        (run.to_owned(), says, done.iter().map(|step| format!("{} attempt {}", step.key, step.attempt)).collect())
    });
}
