//! I4: an action's states are a path of the declared machine; each transition has exactly one
//! event and one audit row, in one transaction; Postgres refuses anything else.
//!
//! - The `action.*` events of an action, by position, walk the machine below. Sending the same
//!   call again is `attempted` after `attempted` and says `resend`; there are `action.resends` of
//!   them.
//! - The last state is the row's. A row without events and events without a row are losses.
//! - Per run, the audit rows whose phase is a state tell of the same actions and states in the same
//!   order as the events, one to one.
//! - Each `step.succeeded` and `step.failed` has its row in `step`. (Not the other way round:
//!   recorded times, random numbers and sleeps are rows without an event.)
//! - No illegal transition that was tried on the database was let through.

use std::collections::BTreeMap;

use super::i8_audit;
use crate::dossier::{Dossier, Move, text};
use crate::verdict::Judge;

/// The declared machine: what each state may become.
const MACHINE: [(&str, &[&str]); 10] = [
    ("queued", &["preflight_passed", "blocked", "cancelled"]),
    ("preflight_passed", &["identity_verified", "blocked", "cancelled"]),
    ("identity_verified", &["attempted", "blocked", "cancelled"]),
    ("attempted", &["confirmed_success", "confirmed_failed", "unknown"]),
    ("unknown", &["confirmed_success", "confirmed_failed", "postcheck_complete"]),
    ("confirmed_success", &["postcheck_complete"]),
    ("confirmed_failed", &["postcheck_complete"]),
    ("postcheck_complete", &[]),
    ("blocked", &[]),
    ("cancelled", &[]),
];

/// Judges the machine of actions.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    for (action, moves) in &dossier.moves {
        path(action, moves, judge);
        let says = match dossier.actions.get(action) {
            None => format!("{} events tell of action {action}, which is in no table", moves.len()),
            Some(row) => {
                let last = moves.last().map_or("nothing", |moved| moved.state);
                let resends = moves.iter().filter(|moved| moved.is_resend()).count();
                if last != row.state {
                    format!("action {action} is {} and its last event says {last}", row.state)
                } else if i32::try_from(resends) != Ok(row.resends) {
                    format!("action {action} was sent again {} times and {resends} events say so", row.resends)
                } else {
                    continue;
                }
            }
        };
        judge.object(action, says, moves.iter().map(Move::name).collect());
    }
    for (id, action) in &dossier.actions {
        judge.require(dossier.moves.contains_key(id) || !dossier.runs.contains_key(action.run_id.as_str()), || {
            ((*id).to_owned(), format!("action {id} is {} and no event tells of it", action.state), Vec::new())
        });
    }
    twins(dossier, judge);
    steps(dossier, judge);
    i8_audit::tampering(dossier, Some("I4"), judge);
}

/// Whether the machine has that move.
pub(crate) fn may_become(from: &str, to: &str) -> bool {
    MACHINE.iter().any(|(state, next)| *state == from && next.contains(&to))
}

fn path(action: &str, moves: &[Move<'_>], judge: &mut Judge<'_>) {
    let mut state: Option<&Move<'_>> = None;
    for moved in moves {
        let fine = match state {
            None => moved.state == "queued",
            Some(before) if moved.is_resend() => before.is_attempt() && moved.is_attempt(),
            Some(before) => may_become(before.state, moved.state),
        };
        judge.require(fine, || {
            let was = state.map_or("nothing", |before| before.state);
            let says = format!("action {action} went from {was} to {}, which the machine does not have", moved.state);
            (action.to_owned(), says, state.iter().map(|before| before.name()).chain([moved.name()]).collect())
        });
        state = Some(moved);
    }
}

/// The events and the audit rows of a run tell the same story.
fn twins(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    let mut events: BTreeMap<&str, Vec<&Move<'_>>> = BTreeMap::new();
    for moved in dossier.moves.values().flatten() {
        events.entry(moved.run).or_default().push(moved);
    }
    let mut audits: BTreeMap<&str, Vec<(i64, &str, &str)>> = BTreeMap::new();
    for row in &dossier.trial.dump.audit {
        let is_state = MACHINE.iter().any(|(state, _)| *state == row.phase);
        if let (true, Some(run), Some(action)) = (is_state, row.run_id.as_deref(), row.action_id.as_deref()) {
            audits.entry(run).or_default().push((row.position, action, &row.phase));
        }
    }
    for run in dossier.runs.keys() {
        let mut told = events.remove(run).unwrap_or_default();
        let mut kept = audits.remove(run).unwrap_or_default();
        told.sort_by_key(|moved| moved.position);
        kept.sort_unstable();
        let longest = told.len().max(kept.len());
        for n in 0..longest {
            judge.look();
            let one = told.get(n).map(|moved| (moved.action, moved.state));
            let other = kept.get(n).map(|(_, action, phase)| (*action, *phase));
            if one != other {
                let says = format!(
                    "move {} of run {run}: the events ({} of them) say {one:?}, the audit ({} rows) says {other:?}",
                    n + 1,
                    told.len(),
                    kept.len()
                );
                let at = told.get(n).map(|moved| moved.name());
                let row = kept.get(n).map(|(position, ..)| format!("audit row {position}"));
                judge.object(run, says, at.into_iter().chain(row).collect());
                break;
            }
        }
    }
}

fn steps(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    for (run, events) in &dossier.events {
        for event in events.iter().filter(|event| event.r#type.starts_with("step.")) {
            let (key, attempt) = (text(&event.data, "key").unwrap_or_default(), event.data.get("attempt"));
            let attempt = attempt.and_then(serde_json::Value::as_i64).unwrap_or_default();
            let done = event.r#type == "step.succeeded";
            let mut rows = dossier.steps_of(run).iter();
            let found = rows.any(|row| row.key == key && i64::from(row.attempt) == attempt && row.succeeded() == done);
            judge.require(found, || {
                let says = format!(
                    "event {} says {} of step {key}, attempt {attempt}, which is in no row",
                    event.position, event.r#type
                );
                ((*run).to_owned(), says, Vec::new())
            });
        }
    }
}
