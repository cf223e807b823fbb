//! The faults that a trial can have, and the blows that a seed makes of one.

use rand::RngExt as _;
use rand::rngs::StdRng;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::stage::CALL_SKEW_SECS;

/// A kind of trial.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Fault {
    /// SIGKILL of workers and the API at random moments.
    RandomKill,
    /// A rigged program falls at a named point.
    CrashPoint,
    /// The answer to a COMMIT never arrives.
    CutCommit,
    /// A worker is stopped for longer than its lease, then woken.
    Stop,
    /// Postgres and all of its processes are killed.
    PostgresKill,
    /// Delays, resets, half-open and slow connections, on every link.
    Network,
}

impl Fault {
    /// Its name.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::RandomKill => "random-kill",
            Self::CrashPoint => "crash-point",
            Self::CutCommit => "cut-commit",
            Self::Stop => "stop",
            Self::PostgresKill => "postgres-kill",
            Self::Network => "network",
        }
    }
}

/// Whom a blow hits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    Api,
    /// One of the workers, from 0.
    Worker(usize),
}

/// The workers of a stage.
pub(crate) const WORKERS: usize = 2;

/// One thing that goes wrong.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "blow", rename_all = "snake_case")]
pub(crate) enum Blow {
    /// SIGKILL, and a new process after a while.
    Kill { target: Target, at_ms: u64, again_ms: u64 },
    /// SIGSTOP, and SIGCONT after a while.
    Stop { target: Target, at_ms: u64, for_ms: u64 },
    /// A process that falls at a point, in its own way; started for the trial.
    Point { target: Target, point: String, how: String, nth: u32 },
    /// A fault on a link of the proxy, as the proxy takes it, for a while.
    Link { link: String, at_ms: u64, for_ms: u64, fault: Value },
    /// Postgres dies as a whole, and comes back after a while.
    Postgres { at_ms: u64, again_ms: u64 },
}

impl Blow {
    /// Whether it strikes only where calls are lost before they are applied.
    pub(crate) fn needs_lost_calls(&self) -> bool {
        matches!(self, Self::Point { point, .. } if SELDOM.contains(&point.as_str()))
    }
}

/// The longest that the cable to the platform is pulled: a call that it holds arrives when it is back, which is within the
/// margin that the programs of the stage are told.
const CABLE_TO_SITE_MS: u64 = CALL_SKEW_SECS * 1_000 - 100;

/// Longer than the lease of the rig's workers.
const PAST_THE_LEASE_MS: std::ops::Range<u64> = 3_600..5_500;

pub(crate) fn blows(fault: Fault, chance: &mut StdRng, point: Option<&str>) -> Vec<Blow> {
    match fault {
        Fault::RandomKill => (0..chance.random_range(1..4)).map(|_| kill(chance)).collect(),
        Fault::CrashPoint => point.map(|point| at_point(point, chance)).unwrap_or_default(),
        Fault::CutCommit => (0..chance.random_range(1..5)).map(|_| cut(chance)).collect(),
        Fault::Stop => vec![Blow::Stop {
            target: Target::Worker(chance.random_range(0..WORKERS)),
            at_ms: chance.random_range(20..900),
            for_ms: chance.random_range(PAST_THE_LEASE_MS),
        }],
        Fault::PostgresKill => {
            vec![Blow::Postgres { at_ms: chance.random_range(20..1_200), again_ms: chance.random_range(0..800) }]
        }
        Fault::Network => (0..chance.random_range(2..6)).map(|_| network(chance)).collect(),
    }
}

fn kill(chance: &mut StdRng) -> Blow {
    let target = if chance.random_bool(0.35) { Target::Api } else { Target::Worker(chance.random_range(0..WORKERS)) };
    Blow::Kill { target, at_ms: chance.random_range(5..1_500), again_ms: chance.random_range(0..300) }
}

/// A link between one of our programs and Postgres.
fn database_link(chance: &mut StdRng) -> String {
    ["db-api", "db-worker-0", "db-worker-1"][chance.random_range(0..3)].to_owned()
}

fn cut(chance: &mut StdRng) -> Blow {
    let after = chance.random_range(0..12);
    let of = ["fermata.commit", "fermata.commit", "fermata.", ""][chance.random_range(0..4)];
    let kind = if chance.random_bool(0.8) { "cut_answer" } else { "half_answer" };
    Blow::Link {
        link: database_link(chance),
        at_ms: chance.random_range(0..300),
        for_ms: 4_000,
        fault: json!({"kind": kind, "match": of, "after": after, "times": 1}),
    }
}

fn network(chance: &mut StdRng) -> Blow {
    let link = if chance.random_bool(0.6) {
        database_link(chance)
    } else {
        ["api", "site"][chance.random_range(0..2)].to_owned()
    };
    let fault = match chance.random_range(0..8) {
        // For longer than a call may take: the commit before it ends behind the call's deadline.
        7 => json!({"kind": "delay", "ms": [800, 1_600], "times": 3}),
        0 => json!({"kind": "delay", "ms": [1, 120], "times": 40}),
        1 => json!({"kind": "half_open"}),
        2 => json!({"kind": "reset"}),
        3 => json!({"kind": "refuse"}),
        4 => json!({"kind": "throttle", "bytes_per_s": chance.random_range(4_000..60_000)}),
        5 => json!({"kind": "cut_request", "after": chance.random_range(0..8), "times": 2}),
        _ => json!({"kind": "cut_answer", "after": chance.random_range(0..8), "times": 2}),
    };
    let (at_ms, for_ms) = (chance.random_range(0..900), chance.random_range(100..2_500));
    let holds_calls = link == "site" && fault["kind"] == "half_open";
    Blow::Link { link, at_ms, for_ms: if holds_calls { for_ms.min(CABLE_TO_SITE_MS) } else { for_ms }, fault }
}

/// The points that an API process comes by.
const OF_THE_API: [&str; 6] = [
    "submit-before-commit",
    "submit-after-commit",
    "signal-after-commit",
    "gate-after-decision",
    "cancel-after-commit",
    "tail-after-read",
];

/// The points that a run comes by only when a call was lost before it was applied.
const SELDOM: [&str; 3] = ["unknown-after-recorded", "resend-after-recorded", "wake-after-commit"];

fn at_point(point: &str, chance: &mut StdRng) -> Vec<Blow> {
    let how = ["abort", "abort", "hang", "stop"][chance.random_range(0..4)].to_owned();
    let target = if OF_THE_API.contains(&point) { Target::Api } else { Target::Worker(0) };
    let seldom = SELDOM.contains(&point);
    let nth = if seldom || point == "reap-after-commit" { 1 } else { chance.random_range(1..3) };
    let mut blows = vec![Blow::Point { target, point: point.to_owned(), how, nth }];
    if point == "reap-after-commit" {
        // Somebody must die for somebody to be taken over from.
        blows.push(Blow::Kill { target: Target::Worker(1), at_ms: chance.random_range(100..700), again_ms: 900 });
    }
    blows
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng as _;

    use super::*;

    #[test]
    fn no_call_is_held_on_its_way_for_longer_than_the_programs_are_told_it_may_be() {
        let blows = (0..2_000).flat_map(|seed| blows(Fault::Network, &mut StdRng::seed_from_u64(seed), None));
        let held: Vec<u64> = blows
            .filter_map(|blow| match blow {
                Blow::Link { link, for_ms, fault, .. } if link == "site" && fault["kind"] == "half_open" => {
                    Some(for_ms)
                }
                _ => None,
            })
            .collect();
        assert!(held.len() > 50 && held.iter().all(|ms| *ms < CALL_SKEW_SECS * 1_000), "{held:?}");
    }
}
