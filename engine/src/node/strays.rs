//! Strays: runs that this node holds by the database's word and that nobody here carries.
//!
//! A claim whose answer was lost makes some, and a run that could not be given back is one. The node
//! lives and renews its lease, so nobody else would ever take them: it has to look for them itself.

use std::collections::HashSet;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use tracing::warn;

use super::Host;
use crate::id::{NodeId, RunId};
use crate::store::StoreError;

/// How long a statement whose answer was lost may still be carried out, by a server that nobody hears.
const DOUBT: Duration = Duration::from_secs(30);
/// How often strays are looked for while there is doubt.
const DOUBT_EVERY: Duration = Duration::from_secs(1);

/// The least pause between two looks: another claimer may be about to look.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// Whether there may be strays.
#[derive(Debug, Default)]
pub(crate) struct Doubt {
    ends: Option<Instant>,
    next: Option<Instant>,
    /// What looked stray the last time, with its epoch.
    suspects: HashSet<(RunId, i32)>,
}

impl Doubt {
    fn begin(&mut self, now: Instant) {
        self.ends = Some(now + DOUBT);
        self.next = Some(now);
    }

    /// Which runs were suspects before too. A run that is just being claimed is carried by the next time: as
    /// long as there is a suspect, there is a next time.
    fn convict(&mut self, suspects: HashSet<(RunId, i32)>, now: Instant) -> Vec<(RunId, i32)> {
        let convicted: Vec<_> = suspects.intersection(&self.suspects).copied().collect();
        if self.next.is_none() && !suspects.is_empty() {
            self.next = Some(now + DOUBT_EVERY);
        }
        self.suspects = suspects;
        convicted
    }

    /// Whether strays are to be looked for now.
    fn is_due(&mut self, now: Instant) -> bool {
        let due = self.next.is_some_and(|next| now >= next);
        if due {
            self.next = self.ends.filter(|ends| now < *ends).map(|_| now + DOUBT_EVERY);
        }
        due
    }
}

impl Host {
    /// The answer to a claim was lost, or a run could not be given back.
    pub(crate) fn doubt(&self) {
        let now = self.clock.monotonic();
        self.doubt.lock().unwrap_or_else(PoisonError::into_inner).begin(now);
    }

    /// How soon strays are to be looked for again; `None` without doubt.
    pub(crate) fn doubt_pause(&self) -> Option<Duration> {
        let doubt = self.doubt.lock().unwrap_or_else(PoisonError::into_inner);
        doubt.next.map(|next| next.saturating_duration_since(self.clock.monotonic()).max(LEAST_PAUSE))
    }

    /// Gives strays back, while there is doubt.
    pub(crate) async fn give_back_strays(&self, node: NodeId) -> Result<(), StoreError> {
        let now = self.clock.monotonic();
        if !self.doubt.lock().unwrap_or_else(PoisonError::into_inner).is_due(now) {
            return Ok(());
        }
        let held = self.store.held(node).await?;
        let suspects = held.into_iter().filter(|(run, _)| self.client_in_hand(*run).is_none()).collect();
        let convicted = self.doubt.lock().unwrap_or_else(PoisonError::into_inner).convict(suspects, now);
        for (run, epoch) in convicted {
            // One that has ended since it was listed is not given back: its epoch or state is another.
            if self.client_in_hand(run).is_none() && self.store.release(run, epoch).await? {
                warn!(run.id = %run, "run {run} is held by this node and carried by nobody, it is given back");
                self.wakes.ready();
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn doubt_is_looked_into_at_once_and_again_until_it_ends() {
        let now = Clock::system().monotonic();
        let mut doubt = Doubt::default();
        assert!(!doubt.is_due(now));
        doubt.begin(now);
        assert!(doubt.is_due(now));
        assert!(!doubt.is_due(now + DOUBT_EVERY / 2));
        assert!(doubt.is_due(now + DOUBT_EVERY));
        assert!(doubt.is_due(now + DOUBT));
        assert!(!doubt.is_due(now + DOUBT + DOUBT_EVERY));
    }

    #[test]
    fn a_run_is_given_back_when_it_looked_stray_twice() {
        let clock = Clock::system();
        let now = clock.monotonic();
        let [one, other] = [RunId::new(&clock), RunId::new(&clock)];
        let mut doubt = Doubt::default();
        assert!(doubt.convict(HashSet::from([(one, 1)]), now).is_empty());
        assert_eq!(doubt.convict(HashSet::from([(one, 1), (other, 1)]), now), [(one, 1)]);
        assert!(doubt.convict(HashSet::from([(other, 2)]), now).is_empty());
    }

    #[test]
    fn a_suspect_of_the_last_look_is_looked_for_once_more() {
        let clock = Clock::system();
        let now = clock.monotonic();
        let one = RunId::new(&clock);
        let mut doubt = Doubt::default();
        doubt.begin(now);
        let last = now + DOUBT;
        assert!(doubt.is_due(last));
        assert!(doubt.convict(HashSet::from([(one, 1)]), last).is_empty());
        assert!(doubt.is_due(last + DOUBT_EVERY));
        assert_eq!(doubt.convict(HashSet::from([(one, 1)]), last + DOUBT_EVERY), [(one, 1)]);
        assert!(doubt.is_due(last + DOUBT_EVERY * 2));
        assert!(doubt.convict(HashSet::new(), last + DOUBT_EVERY * 2).is_empty());
        assert!(!doubt.is_due(last + DOUBT_EVERY * 9));
    }
}
