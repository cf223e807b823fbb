//! I1, the answers: what a client was told stays true.
//!
//! - A read that is sent after a submit's `ok` was answered never says 404.
//! - A final status that was read once is in `outcome`, and no later read says another.
//! - An acknowledged signal is in `signal`.
//! - An acknowledged decision is in `gate` with the state that was told.
//! - An acknowledged cancellation has its `status.changed` to `CANCELLING` or `CANCELLED`, unless
//!   the run had ended before it was asked for. The run then ends `CANCELLED`. It may end otherwise
//!   when an action of it was attempted (an action in flight is settled first), or when nothing but
//!   its end was recorded after the cancellation.

use std::collections::BTreeMap;

use crate::dossier::{Dossier, Move};
use crate::history::{Answered, Cancel, Decide, Op, Read, Request, SendSignal, Standing};
use crate::rows::Signal;
use crate::verdict::Judge;

/// The statuses that a command never leaves.
const FINAL: [&str; 3] = ["SUCCEEDED", "FAILED", "CANCELLED"];

/// Judges the answers.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    reads(dossier, judge);
    signals(dossier, judge);
    for request in dossier.requests(Op::Decide).filter(|request| request.result == Answered::Ok) {
        decided(dossier, request, judge);
    }
    for request in dossier.requests(Op::Cancel).filter(|request| request.result == Answered::Ok) {
        cancelled(dossier, request, judge);
    }
}

fn reads(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let mut by_command: BTreeMap<String, Vec<&Request>> = BTreeMap::new();
    for request in dossier.requests(Op::Read) {
        if let Some(read) = request.asked::<Read>() {
            by_command.entry(read.command_id).or_default().push(request);
        }
    }
    for (command, mut reads) in by_command {
        reads.sort_by_key(|read| read.sent_at);
        for read in &reads {
            judge.look();
            if let Some(one) = forgotten(dossier, &command, read) {
                let says = format!("run {command} was acknowledged and a later read says that there is none");
                judge.object(&command, says, vec![one.name(), read.name()]);
            }
        }
        stays(dossier, &command, &reads, judge);
    }
}

/// The submit that was acknowledged before a read that knows nothing of it was sent.
fn forgotten<'a>(dossier: &Dossier<'a>, command: &str, read: &Request) -> Option<&'a Request> {
    if read.result != Answered::Fail || read.status.is_some_and(|status| status != 404) {
        return None;
    }
    let acknowledged = dossier.submits.iter().filter(|one| one.command.as_deref() == Some(command));
    acknowledged.map(|one| one.request).find(|one| one.answered_at.is_some_and(|at| at < read.sent_at))
}

/// What was final stays so.
fn stays(dossier: &Dossier<'_>, command: &str, reads: &[&Request], judge: &mut Judge<'_>) {
    let mut ended: Option<(&Request, String)> = None;
    for read in reads.iter().filter(|read| read.result == Answered::Ok) {
        let Some(status) = read.told::<Standing>().and_then(|standing| standing.status) else { continue };
        judge.look();
        if let Some((first, was)) = &ended {
            let later = first.answered_at.is_some_and(|at| at < read.sent_at);
            if (later || FINAL.contains(&status.as_str())) && *was != status {
                let says = format!("run {command} was read as {was} and later as {status}");
                judge.object(command, says, vec![first.name(), read.name()]);
            }
        } else if FINAL.contains(&status.as_str()) {
            ended = Some((read, status));
        }
    }
    let Some((first, was)) = ended else { return };
    let is = dossier.outcome.get(command).map(|outcome| outcome.status.as_str());
    if is != Some(&was) {
        let is = is.unwrap_or("not there");
        judge.object(command, format!("run {command} was read as {was}; its outcome is {is}"), vec![first.name()]);
    }
}

fn signals(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let kept = &dossier.trial.dump.signal;
    let mut nameless: BTreeMap<(String, String), usize> = BTreeMap::new();
    for request in dossier.requests(Op::Signal).filter(|request| request.result == Answered::Ok) {
        let Some(signal) = request.asked::<SendSignal>() else { continue };
        judge.look();
        let name = &signal.name;
        let mine = |row: &&Signal| row.run_id == signal.command_id && row.name == *name;
        let there = if let Some(id) = &signal.signal_id {
            kept.iter().filter(mine).any(|row| row.id == *id)
        } else {
            let told = nameless.entry((signal.command_id.clone(), name.clone())).or_default();
            *told += 1;
            kept.iter().filter(mine).count() >= *told
        };
        if !there {
            let says = format!("signal {name} to run {} was acknowledged and is not in `signal`", signal.command_id);
            judge.object(&signal.command_id, says, vec![request.name()]);
        }
    }
}

fn decided(dossier: &Dossier<'_>, request: &Request, judge: &mut Judge<'_>) {
    let Some(decide) = request.asked::<Decide>() else { return };
    judge.look();
    let gate = dossier.trial.dump.gate.iter().find(|gate| gate.id == decide.gate_id);
    let told = request.told::<Standing>().and_then(|standing| standing.state);
    let told = told.unwrap_or_else(|| if decide.approve { "approved" } else { "rejected" }.to_owned());
    let is = gate.map_or("not there", |gate| gate.state.as_str());
    if !told.eq_ignore_ascii_case(is) {
        let says = format!("the decision {told} of gate {} was acknowledged; the gate is {is}", decide.gate_id);
        judge.object(&decide.gate_id, says, vec![request.name()]);
    }
}

fn cancelled(dossier: &Dossier<'_>, request: &Request, judge: &mut Judge<'_>) {
    let Some(Cancel { command_id: run }) = request.asked::<Cancel>() else { return };
    judge.look();
    let ended = dossier.outcome.get(run.as_str());
    let had_ended = ended.is_some_and(|outcome| outcome.ended_at <= request.sent_at + dossier.trial.facts.tolerance());
    let told = dossier.changes_of(&run).iter().find(|change| matches!(change.to, "CANCELLING" | "CANCELLED"));
    let Some(told) = told else {
        if !had_ended {
            let says = format!("run {run} was to be cancelled, and no event tells of it");
            judge.object(&run, says, vec![request.name()]);
        }
        return;
    };
    let Some(outcome) = ended.filter(|outcome| outcome.status != "CANCELLED") else { return };
    let acted = dossier
        .actions
        .values()
        .any(|action| action.run_id == run && dossier.moves_of(&action.id).iter().any(Move::is_attempt));
    let later = |kind: &str| {
        let events = dossier.events.get(run.as_str()).into_iter().flatten();
        events.filter(|event| event.position > told.position && event.r#type == kind).count()
    };
    let steps = later("step.succeeded");
    if !acted && steps > 0 {
        let says = format!("run {run} was cancelled, went on for {steps} steps and ended {}", outcome.status);
        judge.object(&run, says, vec![request.name(), format!("event {} told of it", told.position)]);
    }
}
