//! The node's lease as this process may rely on it: by its own monotonic clock.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use crate::id::NodeId;
use crate::rigged::mutant;

/// A node stops trusting its lease after this part of it without a renewal (design, section 4).
const TRUSTED: (u32, u32) = (2, 3);

/// One registration of a node: its id, and until when it may believe that it is alive.
///
/// Cheap to clone; all clones are the same lease.
#[derive(Debug, Clone)]
pub(crate) struct Lease {
    node: NodeId,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    ends: Mutex<Instant>,
    lost: AtomicBool,
}

impl Lease {
    /// A lease that was taken at `asked` (before the statement was sent) for `length`.
    pub(crate) fn new(node: NodeId, asked: Instant, length: Duration) -> Self {
        let ends = asked + length * TRUSTED.0 / TRUSTED.1;
        Self { node, inner: Arc::new(Inner { ends: Mutex::new(ends), lost: AtomicBool::new(false) }) }
    }

    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Extends the lease: the renewal was asked for at `asked`.
    pub(crate) fn renewed(&self, asked: Instant, length: Duration) {
        *self.inner.ends.lock().unwrap_or_else(PoisonError::into_inner) = asked + length * TRUSTED.0 / TRUSTED.1;
    }

    /// The node was taken for dead, or must take itself for it.
    pub(crate) fn lose(&self) {
        self.inner.lost.store(true, Ordering::SeqCst);
    }

    /// Whether it was lost for good.
    pub(crate) fn is_lost(&self) -> bool {
        self.inner.lost.load(Ordering::SeqCst)
    }

    /// Until when effects may start; in the past once the lease is lost.
    pub(crate) fn ends(&self, now: Instant) -> Instant {
        if self.is_lost() { now } else { *self.inner.ends.lock().unwrap_or_else(PoisonError::into_inner) }
    }

    /// Whether the lease provably holds at `now`.
    pub(crate) fn holds(&self, now: Instant) -> bool {
        now < self.ends(now) || mutant!("no-fencing")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;

    #[test]
    fn a_lease_is_trusted_for_two_thirds_of_its_length_and_never_once_lost() {
        let clock = Clock::system();
        let asked = clock.monotonic();
        let lease = Lease::new(NodeId::new(&clock), asked, Duration::from_secs(9));
        assert!(lease.holds(asked + Duration::from_millis(5_999)));
        assert!(!lease.holds(asked + Duration::from_secs(6)));
        lease.renewed(asked + Duration::from_secs(5), Duration::from_secs(9));
        assert!(lease.holds(asked + Duration::from_secs(10)));
        lease.lose();
        assert!(!lease.holds(asked));
    }
}
