//! Rules that a rigged process breaks on purpose: mutants, to show that the checker can fail.

use std::sync::LazyLock;

/// Every rule that can be broken.
pub const ALL: &[&str] = &[
    "no-fencing",
    "effect-before-commit",
    "retry-after-timeout",
    "absence-at-once",
    "sequence-as-cursor",
    "ack-before-commit",
    "lost-record",
    "no-rollback",
    "no-rations",
];

static BROKEN: LazyLock<Option<String>> = LazyLock::new(|| std::env::var("RIGGED_MUTANT").ok());

/// Whether this process breaks the rule.
///
/// # Panics
/// When the name is not in [`ALL`]: the rig would never ask for it.
pub fn broken(name: &'static str) -> bool {
    assert!(ALL.contains(&name), "the rule {name} is not listed");
    BROKEN.as_deref() == Some(name)
}
