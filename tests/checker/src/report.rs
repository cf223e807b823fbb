//! A verdict as a person reads it.

use std::fmt;

use crate::trial::Facts;
use crate::verdict::{Invariant, Verdict};

/// The most pieces of evidence that are shown of one violation.
const MAX_EVIDENCE: usize = 8;

/// A verdict on a trial, for people.
pub struct Report<'a> {
    /// Where the trial is.
    pub folder: &'a str,
    /// Which one it was.
    pub facts: &'a Facts,
    /// What it shows.
    pub verdict: &'a Verdict,
}

impl fmt::Display for Report<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Facts { seed, trial, fault, .. } = self.facts;
        writeln!(f, "{}: trial {trial}, seed {seed}, fault {fault}", self.folder)?;
        for invariant in Invariant::ALL {
            let count =
                |counts: &std::collections::BTreeMap<_, u64>| counts.get(&invariant).copied().unwrap_or_default();
            let (checked, found) = (count(&self.verdict.checked), count(&self.verdict.found));
            let says = match (checked, found) {
                (0, 0) => "nothing to look at".to_owned(),
                (_, 0) => "ok".to_owned(),
                (_, 1) => "BROKEN, 1 violation".to_owned(),
                (_, many) => format!("BROKEN, {many} violations"),
            };
            let name = invariant.to_string();
            writeln!(f, "  {name:<4}{:<30}{checked:>8} facts  {says}", invariant.promise())?;
            self.violations(f, invariant)?;
        }
        Ok(())
    }
}

impl Report<'_> {
    fn violations(&self, f: &mut fmt::Formatter<'_>, invariant: Invariant) -> fmt::Result {
        for violation in self.verdict.violations.iter().filter(|violation| violation.invariant == invariant) {
            writeln!(f, "      [{}] {}", violation.subject, violation.says)?;
            for evidence in violation.evidence.iter().take(MAX_EVIDENCE) {
                writeln!(f, "          {evidence}")?;
            }
            if violation.evidence.len() > MAX_EVIDENCE {
                writeln!(f, "          and {} more", violation.evidence.len() - MAX_EVIDENCE)?;
            }
        }
        Ok(())
    }
}
