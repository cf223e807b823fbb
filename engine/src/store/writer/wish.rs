//! A claimer's wish for runs: it waits beside the records, and rides with a batch.
//!
//! So a command is accepted, claimed and told of in one commit when its node has a free slot (design, section 4),
//! and no claim waits for the commit of another batch.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::id::RunId;
use crate::store::queue::{Claim, Want};

/// The most runs claimed with one batch.
pub(crate) const MAX_CLAIM: usize = 256;

/// Claimed runs on their way to their delivery, with their clients: this process knows of them, though nobody carries them yet.
pub(crate) type Coming = Arc<Mutex<HashMap<RunId, Arc<str>>>>;

/// A wish for as many runs as there are free slots when a batch takes it along.
pub(crate) struct Wish {
    want: Want,
    slots: Arc<Semaphore>,
    seats: OwnedSemaphorePermit,
    coming: Coming,
    tell: oneshot::Sender<Granted>,
}

/// What became of a wish.
pub(crate) struct Granted {
    /// The slots that were asked for.
    pub(crate) seats: OwnedSemaphorePermit,
    /// The claimed runs, at most one per slot; `None` when nobody knows: the answer was lost.
    pub(crate) claims: Option<Vec<Claim>>,
    /// How long the batch took.
    pub(crate) took: Duration,
}

impl Wish {
    /// A wish with one seat taken; the others are taken when it goes.
    pub(crate) fn new(
        want: Want,
        slots: Arc<Semaphore>,
        seat: OwnedSemaphorePermit,
        coming: Coming,
    ) -> (Self, oneshot::Receiver<Granted>) {
        let (tell, told) = oneshot::channel();
        (Self { want, slots, seats: seat, coming, tell }, told)
    }

    pub(super) fn want(&self) -> &Want {
        &self.want
    }

    pub(super) fn seats(&self) -> usize {
        self.seats.num_permits()
    }

    /// Takes all the seats that are free now.
    pub(super) fn fill(&mut self) {
        let more = self.slots.available_permits().min(MAX_CLAIM - 1);
        if let Ok(seats) = Arc::clone(&self.slots).try_acquire_many_owned(u32::try_from(more).unwrap_or(0)) {
            self.seats.merge(seats);
        }
    }

    /// Tells the node; one that has stopped leaves the runs to its lease's end.
    pub(super) fn tell(self, claims: Option<Vec<Claim>>, took: Duration) {
        if let Some(claims) = &claims {
            let mut coming = self.coming.lock().unwrap_or_else(PoisonError::into_inner);
            coming.extend(claims.iter().map(|claim| (claim.run, Arc::clone(&claim.client))));
        }
        drop(self.tell.send(Granted { seats: self.seats, claims, took }));
    }
}
