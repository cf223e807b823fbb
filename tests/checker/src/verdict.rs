//! What the checker says: what it looked at, and what does not hold.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

/// The most violations of one invariant that a verdict lists; the count goes on.
pub const MAX_LISTED: usize = 50;

/// A promise of the founding design, section 1, that a trial can show to be broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Invariant {
    /// No lost command.
    I1,
    /// At most one effect per idempotency key.
    I2,
    /// Unknown is said.
    I3,
    /// No bypass.
    I4,
    /// Replay is exact.
    I5,
    /// Fencing.
    I6,
    /// Gates hold.
    I7,
    /// The audit is append-only.
    I8,
    /// Liveness.
    I11,
}

/// One fact that breaks a promise.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// Which promise.
    pub invariant: Invariant,
    /// What it is about: a run, an action, a reference, a position.
    pub subject: String,
    /// What is wrong, in a sentence with its numbers.
    pub says: String,
    /// Where to see it.
    pub evidence: Vec<String>,
}

/// What a trial shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Verdict {
    /// How many facts each invariant looked at: nothing looked at is nothing proven.
    pub checked: BTreeMap<Invariant, u64>,
    /// What does not hold, at most [`MAX_LISTED`] an invariant.
    pub violations: Vec<Violation>,
    /// How many violations of each invariant there are, listed or not.
    pub found: BTreeMap<Invariant, u64>,
}

impl Invariant {
    /// All that a trial can break.
    pub const ALL: [Self; 9] =
        [Self::I1, Self::I2, Self::I3, Self::I4, Self::I5, Self::I6, Self::I7, Self::I8, Self::I11];

    /// What it promises, in a few words.
    pub fn promise(self) -> &'static str {
        match self {
            Self::I1 => "no lost command",
            Self::I2 => "at most one effect per key",
            Self::I3 => "unknown is said",
            Self::I4 => "no bypass",
            Self::I5 => "replay is exact",
            Self::I6 => "fencing",
            Self::I7 => "gates hold",
            Self::I8 => "the audit is append-only",
            Self::I11 => "liveness",
        }
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Verdict {
    /// A verdict that nothing was looked at for yet.
    pub(crate) fn new() -> Self {
        let none = || Invariant::ALL.into_iter().map(|invariant| (invariant, 0)).collect();
        Self { checked: none(), violations: Vec::new(), found: none() }
    }

    /// Whether everything holds.
    pub fn holds(&self) -> bool {
        self.found.values().all(|count| *count == 0)
    }

    /// The bench of one invariant.
    pub(crate) fn judge(&mut self, invariant: Invariant) -> Judge<'_> {
        Judge { invariant, verdict: self }
    }
}

/// Where one invariant says what it looked at and what it found.
pub(crate) struct Judge<'a> {
    invariant: Invariant,
    verdict: &'a mut Verdict,
}

impl Judge<'_> {
    /// A fact was looked at.
    pub(crate) fn look(&mut self) {
        *self.verdict.checked.entry(self.invariant).or_default() += 1;
    }

    /// A fact breaks the promise.
    pub(crate) fn object(&mut self, subject: impl fmt::Display, says: impl Into<String>, evidence: Vec<String>) {
        let found = self.verdict.found.entry(self.invariant).or_default();
        *found += 1;
        if usize::try_from(*found).is_ok_and(|found| found <= MAX_LISTED) {
            let (subject, says) = (subject.to_string(), says.into());
            self.verdict.violations.push(Violation { invariant: self.invariant, subject, says, evidence });
        }
    }

    /// A fact was looked at, and breaks the promise unless it holds.
    pub(crate) fn require(&mut self, holds: bool, otherwise: impl FnOnce() -> (String, String, Vec<String>)) {
        self.look();
        if !holds {
            let (subject, says, evidence) = otherwise();
            self.object(subject, says, evidence);
        }
    }
}
