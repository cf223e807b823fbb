//! What happens in one trial, decided by its seed alone: the runs, what their clients do, and the blows.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::{Deserialize, Serialize};

use crate::fault::{Blow, Fault, blows};

/// A trial has this many runs.
const RUNS: std::ops::RangeInclusive<usize> = 4..=9;
/// Runs are submitted within so long.
const SUBMITTED_WITHIN_MS: u64 = 500;
/// The longest delay of the platform: shorter than what a conclusive absence promises.
pub(crate) const LONGEST_DELAY_MS: u64 = 300;

/// One trial.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) fault: Fault,
    /// The rule that the engine breaks, if it is a mutant.
    pub(crate) mutant: Option<String>,
    pub(crate) runs: Vec<RunPlan>,
    pub(crate) blows: Vec<Blow>,
    /// Calls take long: whoever is stopped holds something, and so does who took it over.
    pub(crate) slow: bool,
    /// When the client's kill switch is tripped, and for how long.
    pub(crate) switch: Option<SwitchPlan>,
    /// Requests that their client gives up half-way, milliseconds after the beginning.
    pub(crate) abandoned_at_ms: Vec<u64>,
    pub(crate) readers: Vec<ReaderPlan>,
    /// What the client's policy rations.
    #[serde(default)]
    pub(crate) rations: Option<Rations>,
}

/// How many posts there may be: at once, in a window, and how far apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Rations {
    pub(crate) concurrency: u32,
    pub(crate) max: u32,
    pub(crate) window_s: u32,
    pub(crate) min_s: Option<u32>,
}

/// One command, and what its client does with it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct RunPlan {
    pub(crate) at_ms: u64,
    pub(crate) key: Key,
    pub(crate) by_graphql: bool,
    pub(crate) cancel_at_ms: Option<u64>,
    pub(crate) work: Work,
}

/// Whether a submission has an idempotency key; only then is it sent again when nobody knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Key {
    None,
    Once,
    /// The same twice at the same moment: one command.
    Twice,
    /// Somebody submits another command with the same key at the same moment: one of the two is refused.
    Clashes,
}

/// What a run does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum Work {
    /// Steps that do nothing, perhaps behind a signal.
    Steps { steps: u16, signal: bool },
    /// A post on the demo site.
    Publish { promise: Promise, gated: bool, approve: bool, after: bool },
}

/// What the platform promises about posts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Promise {
    /// It honours idempotency keys.
    Keys,
    /// It does not, and a post that cannot be found was not made.
    Conclusive,
    /// It does not, and a post that cannot be found may be there.
    Inconclusive,
}

impl Promise {
    pub(crate) const ALL: [Self; 3] = [Self::Keys, Self::Conclusive, Self::Inconclusive];
}

/// A kill switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct SwitchPlan {
    pub(crate) at_ms: u64,
    pub(crate) for_ms: u64,
}

/// A reader of the stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ReaderPlan {
    pub(crate) surface: Surface,
    pub(crate) of_the_client: bool,
    /// It is cut after so many events, again and again.
    pub(crate) cut_after: usize,
}

/// How the stream is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Surface {
    Stream,
    Graphql,
    Rest,
}

impl Plan {
    /// The trial of a seed.
    pub(crate) fn of(fault: Fault, seed: u64, mutant: Option<&str>, point: Option<&str>) -> Self {
        let mut chance = StdRng::seed_from_u64(seed);
        let count = chance.random_range(RUNS);
        let mut runs: Vec<_> = (0..count).map(|_| run(&mut chance)).collect();
        let switch = chance
            .random_bool(0.12)
            .then(|| SwitchPlan { at_ms: chance.random_range(50..900), for_ms: chance.random_range(100..900) });
        let abandoned_at_ms = (0..chance.random_range(0..5)).map(|_| chance.random_range(0..1_500)).collect();
        let readers = [Surface::Stream, Surface::Graphql, Surface::Rest].map(|surface| ReaderPlan {
            surface,
            of_the_client: chance.random_bool(0.5),
            cut_after: chance.random_range(3..40),
        });
        let blows = blows(fault, &mut chance, point);
        // Drawn last: what is drawn before stays what it was.
        for run in runs.iter_mut().filter(|run| run.key == Key::Once) {
            if chance.random_bool(0.2) {
                run.key = Key::Clashes;
            }
        }
        let rations = chance.random_bool(0.4).then(|| Rations {
            concurrency: chance.random_range(1..4),
            max: chance.random_range(2..5),
            window_s: chance.random_range(1..3),
            min_s: chance.random_bool(0.3).then_some(1),
        });
        if let Some(point) = point {
            suit(&mut runs, point);
        }
        Self {
            seed,
            fault,
            mutant: mutant.map(str::to_owned),
            runs,
            blows,
            slow: fault == Fault::Stop,
            switch: switch.filter(|_| point.is_none()),
            abandoned_at_ms,
            readers: readers.to_vec(),
            rations: rations.filter(|_| point.is_none()),
        }
    }

    /// The tenant whose everything in this trial is.
    pub(crate) fn client(&self) -> String {
        format!("t{}", self.seed)
    }
}

fn run(chance: &mut StdRng) -> RunPlan {
    let keyed = chance.random_bool(0.6);
    let work = match chance.random_range(0..100) {
        0..25 => Work::Steps { steps: chance.random_range(0..6), signal: false },
        25..40 => Work::Steps { steps: chance.random_range(1..4), signal: true },
        kind => {
            let promise = match kind {
                40..62 => Promise::Keys,
                62..85 => Promise::Conclusive,
                _ => Promise::Inconclusive,
            };
            Work::Publish {
                promise,
                gated: chance.random_bool(0.25),
                approve: chance.random_bool(0.8),
                after: chance.random_bool(0.5),
            }
        }
    };
    RunPlan {
        at_ms: chance.random_range(0..SUBMITTED_WITHIN_MS),
        key: match keyed {
            false => Key::None,
            true if chance.random_bool(0.3) => Key::Twice,
            true => Key::Once,
        },
        by_graphql: chance.random_bool(0.3),
        cancel_at_ms: chance.random_bool(0.08).then(|| chance.random_range(100..1_500)),
        work,
    }
}

/// A trial that aims at a crash point has runs that come by.
fn suit(runs: &mut Vec<RunPlan>, point: &str) {
    let plain = |work| RunPlan { at_ms: 10, key: Key::Once, by_graphql: false, cancel_at_ms: None, work };
    let publish = |promise, gated| Work::Publish { promise, gated, approve: true, after: true };
    for at in 0..3 {
        let mut more = plain(match point {
            "signal-after-commit" | "suspend-before-commit" | "suspend-after-commit" => {
                Work::Steps { steps: 2, signal: true }
            }
            "gate-before-open" | "gate-after-decision" => publish(Promise::Keys, true),
            "resend-after-recorded" => publish(Promise::Keys, false),
            "unknown-after-recorded" => publish(Promise::Inconclusive, false),
            _ if at == 0 => Work::Steps { steps: 3, signal: true },
            _ => publish(Promise::Conclusive, false),
        });
        more.at_ms = 10 + at * 30;
        more.cancel_at_ms = (point == "cancel-after-commit").then_some(60 + at * 60);
        runs.push(more);
    }
}

#[cfg(test)]
mod tests {
    use clap::ValueEnum as _;

    use super::*;

    #[test]
    fn a_seed_is_a_plan() {
        for fault in Fault::value_variants().iter().copied() {
            let plan = |seed| Plan::of(fault, seed, None, None);
            assert_eq!(plan(7), plan(7));
            assert_ne!(plan(7).runs, plan(8).runs);
        }
    }

    #[test]
    fn a_plan_is_read_back_as_it_was_written() {
        let plan = Plan::of(Fault::RandomKill, 7, Some("no-fencing"), None);
        let text = serde_json::to_string(&plan).unwrap();
        assert_eq!(serde_json::from_str::<Plan>(&text).unwrap(), plan);
    }
}
