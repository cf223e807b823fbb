//! Named places where a rigged process falls.

use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::sync::{LazyLock, Mutex, PoisonError};

use nix::sys::signal::{Signal, raise};

/// Every point, in the order in which a run with an effect meets them.
pub const ALL: &[&str] = &[
    "submit-before-commit",
    "submit-after-commit",
    "claim-after-commit",
    "step-before-body",
    "step-after-body",
    "step-after-checkpoint",
    "batch-before-commit",
    "batch-after-commit",
    "suspend-before-commit",
    "suspend-after-commit",
    "signal-after-commit",
    "gate-before-open",
    "gate-after-decision",
    "cancel-after-commit",
    "effect-before-plan",
    "effect-after-plan",
    "effect-before-attempted",
    "effect-after-attempted",
    "effect-before-call",
    "effect-after-call",
    "effect-before-outcome",
    "effect-after-outcome",
    "settle-before-look",
    "settle-after-look",
    "resend-after-recorded",
    "unknown-after-recorded",
    "finish-before-commit",
    "finish-after-commit",
    "wake-after-commit",
    "reap-after-commit",
    "lease-before-renewal",
    "tail-after-read",
];

/// What happens at the point that the rig has named.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum How {
    Abort,
    Hang,
    Stop,
}

struct Plan {
    point: String,
    how: How,
    /// At which time of reaching it.
    nth: u32,
}

static PLAN: LazyLock<Option<Plan>> = LazyLock::new(|| plan(&std::env::var("RIGGED_POINT").ok()?));
static LOG: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("RIGGED_LOG").ok());
static REACHED: LazyLock<Mutex<HashMap<&'static str, u32>>> = LazyLock::new(Mutex::default);

/// This process is at a point.
///
/// # Panics
/// When the name is not in [`ALL`]: the rig would never aim at it.
pub fn reach(name: &'static str) {
    assert!(ALL.contains(&name), "the point {name} is not listed");
    let times = {
        let mut reached = REACHED.lock().unwrap_or_else(PoisonError::into_inner);
        let times = reached.entry(name).or_default();
        *times += 1;
        *times
    };
    if times == 1 {
        note(&format!("reached {name}"));
    }
    let Some(plan) = PLAN.as_ref().filter(|plan| plan.point == name && plan.nth == times) else { return };
    note(&format!("fired {name}"));
    match plan.how {
        How::Abort => drop(raise(Signal::SIGKILL)),
        How::Stop => drop(raise(Signal::SIGSTOP)),
        How::Hang => loop {
            std::thread::park();
        },
    }
}

fn plan(text: &str) -> Option<Plan> {
    let mut words = text.split(':');
    let point = words.next()?.to_owned();
    let how = match words.next()? {
        "abort" => How::Abort,
        "hang" => How::Hang,
        "stop" => How::Stop,
        _ => return None,
    };
    let nth = words.next()?.parse().ok()?;
    Some(Plan { point, how, nth })
}

/// One line, whole, whatever happens next.
fn note(line: &str) {
    let Some(path) = LOG.as_ref() else { return };
    if let Ok(mut file) = OpenOptions::new().create(true).append(true).open(path) {
        // Without the log the rig sees no hit, and says so.
        drop(file.write_all(format!("{line}\n").as_bytes()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_names_a_point_a_way_and_a_time() {
        let found = plan("batch-after-commit:stop:3").unwrap();
        assert_eq!((found.point.as_str(), found.how, found.nth), ("batch-after-commit", How::Stop, 3));
        assert!(plan("batch-after-commit:nap:3").is_none());
        assert!(plan("batch-after-commit").is_none());
    }

    #[test]
    fn each_point_is_listed_once() {
        let mut names = ALL.to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), ALL.len());
    }
}
