//! I11: after a fault ends every runnable run proceeds.
//!
//! When all is calm each run of the trial has ended, or waits for a reason: for a person, with an
//! action in `unknown` and an open gate of the run; at an open gate, when it was meant to be gated;
//! for a signal that no answer acknowledged. A run that holds a node, is ready, or is parked for
//! having been delivered too often, waits for none of these. One that waits because another run
//! holds its intent (`intent_held`) waits as long as that one does for a person, and one that waits
//! for a `child` as long as one of its children waits for a reason.

use crate::dossier::Dossier;
use crate::history::{About, Answered, Op, SendSignal};
use crate::rows::Live;
use crate::verdict::Judge;

/// Judges what has not ended.
pub(super) fn judge(dossier: &Dossier<'_>, judge: &mut Judge<'_>) {
    for run in dossier.runs.keys() {
        judge.look();
        if dossier.outcome.contains_key(run) {
            continue;
        }
        let Some(live) = dossier.live.get(run) else { continue };
        let waits = waits(dossier, run, live);
        if !waits {
            let says = format!(
                "run {run} has not ended: state {}, waits for {}, claimed {} times, {} records",
                live.state,
                live.wait_reason.as_deref().unwrap_or("nothing"),
                live.epoch,
                live.seq
            );
            let last = dossier.events.get(run).and_then(|events| events.last());
            let last =
                last.map(|event| format!("event {} at {}: {} {}", event.position, event.at, event.r#type, event.data));
            judge.object(run, says, last.into_iter().collect());
        }
    }
}

/// Whether a run waits for a reason.
fn waits(dossier: &Dossier<'_>, run: &str, live: &Live) -> bool {
    let for_child = || {
        let children = dossier.runs.values().filter(|child| child.parent_id.as_deref() == Some(run));
        children.filter_map(|child| dossier.live.get(child.id.as_str())).any(|child| waits(dossier, &child.id, child))
    };
    match live.wait_reason.as_deref() {
        Some("intent_held") => behind(dossier, run),
        Some("child") if live.state == 2 => for_child(),
        _ => live.state == 2 && (in_doubt(dossier, run) || at_a_gate(dossier, run) || unsignalled(dossier, run)),
    }
}

fn has_open_gate(dossier: &Dossier<'_>, run: &str) -> bool {
    let asks = |key: &str| key != "@parked";
    dossier.trial.dump.gate.iter().any(|gate| gate.run_id == run && gate.state == "open" && asks(&gate.key))
}

fn in_doubt(dossier: &Dossier<'_>, run: &str) -> bool {
    let unknown = |run: &str| dossier.actions.values().any(|action| action.run_id == run && action.state == "unknown");
    unknown(run) && has_open_gate(dossier, run)
}

fn at_a_gate(dossier: &Dossier<'_>, run: &str) -> bool {
    dossier.publish(run).is_some_and(|publish| publish.gated) && has_open_gate(dossier, run)
}

/// Whether another run of the same effect is in doubt.
fn behind(dossier: &Dossier<'_>, run: &str) -> bool {
    let runs = dossier.publish(run).map(|publish| dossier.runs_of(&publish.reference)).unwrap_or_default();
    runs.iter().any(|other| *other != run && in_doubt(dossier, other))
}

fn unsignalled(dossier: &Dossier<'_>, run: &str) -> bool {
    let Some(About::Steps { signal: true, .. }) = dossier.about(run) else { return false };
    let mut sent = dossier.requests(Op::Signal).filter(|request| request.result == Answered::Ok);
    !sent.any(|request| request.asked::<SendSignal>().is_some_and(|signal| signal.command_id == run))
}
