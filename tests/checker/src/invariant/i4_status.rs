//! I4, the command's machine: each `status.changed` begins where the one before it ended.
//!
//! The first is from nothing to `QUEUED`. What the engine's own writers make of the chain, worked
//! out from `migrations` and `engine/src/run`, leaves these exceptions:
//!
//! - `POLLING` and `WAITING` are one: a suspension says `WAITING`, what leaves it may say `POLLING`.
//! - A command with `not_before` is `QUEUED` in its first event and leaves `WAITING`.
//! - Once a cancellation was asked for (`CANCELLING` was told), a run that its holder or the reaper
//!   puts away leaves `RUNNING` although the last word was `CANCELLING`, and whoever takes or ends
//!   it next says that it leaves `CANCELLING`.
//!
//! The last status is what `live` or `outcome` says; a run that is being cancelled may have any
//! status that does not end it. A status that ends a run is the last one.

use crate::dossier::{Change, Dossier};
use crate::rows::Live;
use crate::verdict::Judge;

/// The statuses that a command may have after each one.
const MACHINE: [(&str, &[&str]); 6] = [
    ("QUEUED", &["RUNNING", "HUMAN_REQUIRED", "CANCELLING", "CANCELLED"]),
    ("RUNNING", &["QUEUED", "WAITING", "POLLING", "HUMAN_REQUIRED", "CANCELLING", "SUCCEEDED", "FAILED"]),
    ("WAITING", &["RUNNING", "HUMAN_REQUIRED", "CANCELLING", "CANCELLED"]),
    ("POLLING", &["RUNNING", "HUMAN_REQUIRED", "CANCELLING", "CANCELLED"]),
    ("HUMAN_REQUIRED", &["RUNNING", "HUMAN_REQUIRED", "CANCELLING"]),
    ("CANCELLING", &["CANCELLING", "HUMAN_REQUIRED", "CANCELLED", "SUCCEEDED", "FAILED"]),
];

/// Judges the machine of commands.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    for run in dossier.runs.keys() {
        let changes = dossier.changes_of(run);
        chain(run, changes, judge);
        judge.look();
        let Some(last) = changes.last() else {
            judge.object(run, format!("run {run} is there and no event tells of it"), Vec::new());
            continue;
        };
        let is = match (dossier.outcome.get(run), dossier.live.get(run)) {
            (Some(outcome), _) => (outcome.status == last.to).then_some(()).ok_or(outcome.status.clone()),
            (None, Some(live)) => stands(live, last),
            (None, None) => continue,
        };
        if let Err(is) = is {
            let says = format!("run {run} is {is} and its last event says {}", last.to);
            judge.object(run, says, vec![name(last)]);
        }
    }
}

fn chain(run: &str, changes: &[Change<'_>], judge: &mut Judge<'_>) {
    let mut before: Option<&Change<'_>> = None;
    let mut cancelling = false;
    for change in changes {
        let fine = match (before, change.from) {
            (None, from) => from.is_none() && change.to == "QUEUED",
            (Some(_), None) => false,
            (Some(last), Some(from)) => {
                let first = last.from.is_none();
                follows(last.to, from, first, cancelling) && may_become(from, change.to)
            }
        };
        judge.require(fine, || {
            let says = format!(
                "run {run} went from {} to {} when it was {}",
                change.from.unwrap_or("nothing"),
                change.to,
                before.map_or("nothing", |last| last.to)
            );
            (run.to_owned(), says, before.into_iter().chain([change]).map(name).collect())
        });
        cancelling |= change.to == "CANCELLING";
        before = Some(change);
    }
}

/// Whether a change may leave `from` when the last one ended in `was`.
fn follows(was: &str, from: &str, first: bool, cancelling: bool) -> bool {
    let ended = matches!(was, "SUCCEEDED" | "FAILED" | "CANCELLED");
    was == from
        || (first && from == "WAITING")
        || matches!((was, from), ("WAITING", "POLLING") | ("POLLING", "WAITING"))
        || (cancelling && !ended && (from == "CANCELLING" || (was == "CANCELLING" && from == "RUNNING")))
}

fn may_become(from: &str, to: &str) -> bool {
    MACHINE.iter().any(|(status, next)| *status == from && next.contains(&to))
}

/// Whether a run that has not ended stands where its last event says; else where it stands.
fn stands(live: &Live, last: &Change<'_>) -> Result<(), String> {
    if live.cancel {
        let open = !matches!(last.to, "SUCCEEDED" | "FAILED" | "CANCELLED");
        return if open { Ok(()) } else { Err("CANCELLING".to_owned()) };
    }
    let is = match (live.state, live.wait_reason.as_deref()) {
        (1, _) => "RUNNING",
        (3, _) | (_, Some("approval" | "takeover")) => "HUMAN_REQUIRED",
        (_, None) => "QUEUED",
        (_, Some("timer")) if last.from.is_none() => "QUEUED",
        (_, Some("external_poll")) if last.to == "POLLING" => "POLLING",
        (_, Some(_)) => "WAITING",
    };
    if is == last.to { Ok(()) } else { Err(is.to_owned()) }
}

fn name(change: &Change<'_>) -> String {
    format!("event {} at {}: {} to {}", change.position, change.at, change.from.unwrap_or("nothing"), change.to)
}
