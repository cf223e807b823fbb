//! Where records wait for a lane, and which of them a lane may take.

use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use super::{AtomicBool, AtomicUsize, HashSet, Item, LEAST_SHARE, MAX_BATCH, MAX_BATCH_BYTES, MAX_QUEUED, Ordering};
use super::{SPLIT_FROM, StoreError, VecDeque, Wish};
use crate::id::RunId;

/// The queue in front of the lanes. Bounded by [`MAX_QUEUED`].
pub(super) struct Queue {
    inner: Mutex<Inner>,
    notify: Notify,
    stopping: AtomicBool,
    /// Lanes that wait for work.
    idle: AtomicUsize,
    lanes: usize,
}

struct Inner {
    items: VecDeque<Item>,
    /// Runs with a record in flight on some lane: their next records wait, so that one run's
    /// records are committed in order whatever lane takes them.
    in_flight: HashSet<RunId>,
    /// At most one of each claimer.
    wishes: VecDeque<Posted>,
}

/// A wish that waits for a batch.
struct Posted {
    claimer: usize,
    wish: Wish,
    /// It goes without waiting for a batch that makes runs ready.
    at_once: bool,
}

impl Inner {
    /// The wish that goes with a batch: one that does not wait, or any when the batch makes runs ready.
    fn wish(&mut self, makes_ready: bool) -> Option<Wish> {
        let at_once = self.wishes.iter().position(|posted| posted.at_once);
        let goes = at_once.or_else(|| makes_ready.then_some(0))?;
        self.wishes.remove(goes).map(|posted| posted.wish)
    }
}

/// What a lane commits next: never nothing.
pub(super) struct Load {
    pub(super) items: Vec<Item>,
    pub(super) wish: Option<Wish>,
}

impl Queue {
    pub(super) fn new(lanes: usize) -> Self {
        Self {
            inner: Mutex::new(Inner { items: VecDeque::new(), in_flight: HashSet::new(), wishes: VecDeque::new() }),
            notify: Notify::new(),
            stopping: AtomicBool::new(false),
            idle: AtomicUsize::new(0),
            lanes,
        }
    }

    pub(super) fn lanes(&self) -> usize {
        self.lanes
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // No code panics while it holds the lock, so a poisoned queue is still whole.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, item: Item) -> Result<(), StoreError> {
        if self.stopped() {
            return Err(StoreError::Stopped);
        }
        {
            let mut inner = self.inner();
            if inner.items.len() >= MAX_QUEUED {
                return Err(StoreError::Busy);
            }
            inner.items.push_back(item);
        }
        self.notify.notify_one();
        Ok(())
    }

    /// Waits for work; `false` once there is none and none will come.
    pub(super) async fn wait(&self) -> bool {
        loop {
            let notified = self.notify.notified();
            if self.has_work() {
                return true;
            }
            if self.stopped() {
                return false;
            }
            self.idle.fetch_add(1, Ordering::Relaxed);
            notified.await;
            self.idle.fetch_sub(1, Ordering::Relaxed);
        }
    }

    fn has_work(&self) -> bool {
        let inner = self.inner();
        if inner.wishes.iter().any(|posted| posted.at_once) {
            return true;
        }
        inner.items.iter().take(MAX_BATCH).any(|item| item.run().is_none_or(|run| !inner.in_flight.contains(&run)))
    }

    pub(super) fn wish(&self, claimer: usize, wish: Wish, at_once: bool) {
        {
            let mut inner = self.inner();
            inner.wishes.retain(|posted| posted.claimer != claimer);
            inner.wishes.push_back(Posted { claimer, wish, at_once });
        }
        if at_once {
            self.notify.notify_one();
        }
    }

    pub(super) fn withdraw(&self, claimer: usize) -> bool {
        let mut inner = self.inner();
        let posted = inner.wishes.len();
        inner.wishes.retain(|posted| posted.claimer != claimer);
        inner.wishes.len() < posted
    }

    /// Takes a lane's share: everything, or half of a long queue when another lane is idle; and a wish when one is
    /// to go.
    pub(super) fn take(&self) -> Option<Load> {
        let mut inner = self.inner();
        let queued = inner.items.len();
        let shared = queued >= SPLIT_FROM && self.lanes > 1 && self.idle.load(Ordering::Relaxed) > 0;
        let share = if shared { (queued / 2).max(LEAST_SHARE) } else { queued }.min(MAX_BATCH);
        let mut taken = Vec::with_capacity(share);
        let mut bytes = 0;
        let mut passed = VecDeque::new();
        let mut mine = HashSet::new();
        while taken.len() < share && (bytes < MAX_BATCH_BYTES || taken.is_empty()) {
            let Some(item) = inner.items.pop_front() else { break };
            bytes += item.bytes();
            match item.run() {
                Some(run) if !mine.contains(&run) && inner.in_flight.contains(&run) => passed.push_back(item),
                Some(run) => {
                    mine.insert(run);
                    taken.push(item);
                }
                None => taken.push(item),
            }
        }
        while let Some(item) = passed.pop_back() {
            inner.items.push_front(item);
        }
        inner.in_flight.extend(mine);
        let mut wish = inner.wish(taken.iter().any(Item::makes_ready));
        let more = !inner.items.is_empty() || inner.wishes.iter().any(|posted| posted.at_once);
        drop(inner);
        if more {
            self.notify.notify_one();
        }
        if let Some(wish) = &mut wish {
            wish.fill();
        }
        (wish.is_some() || !taken.is_empty()).then_some(Load { items: taken, wish })
    }

    /// The runs' records are settled: their next ones may go.
    pub(super) fn release(&self, runs: &[RunId]) {
        let waiting = {
            let mut inner = self.inner();
            for run in runs {
                inner.in_flight.remove(run);
            }
            !inner.items.is_empty()
        };
        if waiting {
            self.notify.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
        self.notify.notify_waiters();
        self.notify.notify_one();
    }

    pub(super) fn stopped(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tokio::sync::{Semaphore, oneshot};
    use uuid::Uuid;

    use super::*;
    use crate::document;
    use crate::id::{NodeId, SignalId};
    use crate::store::queue::Want;
    use crate::store::record::Sending;

    fn wish(slots: &Arc<Semaphore>) -> Wish {
        let want = Want { node: NodeId(Uuid::nil()), hosted: [].into(), after: String::new(), max_deliveries: 5 };
        let seat = Arc::clone(slots).try_acquire_owned().unwrap();
        Wish::new(want, Arc::clone(slots), seat, Arc::default()).0
    }

    fn signal() -> Item {
        let sending = Sending {
            id: SignalId(Uuid::nil()),
            run: RunId(Uuid::nil()),
            client: "c".into(),
            actor: "me".into(),
            name: "go".into(),
            payload: document::raw(&()),
        };
        Item::Signal(Box::new(sending), oneshot::channel().0)
    }

    #[test]
    fn a_wish_waits_for_a_batch_that_makes_runs_ready_unless_it_goes_at_once() {
        let (queue, slots) = (Queue::new(2), Arc::new(Semaphore::new(8)));
        queue.wish(0, wish(&slots), false);
        assert!(!queue.has_work() && queue.take().is_none());
        queue.push(signal()).unwrap();
        let load = queue.take().unwrap();
        assert_eq!((load.items.len(), load.wish.map(|wish| wish.seats())), (1, Some(8)));
        queue.wish(0, wish(&slots), true);
        assert!(queue.has_work() && queue.take().unwrap().wish.is_some());
        assert!(!queue.has_work());
    }

    #[test]
    fn each_claimer_has_one_wish_and_each_batch_takes_one() {
        let (queue, slots) = (Queue::new(2), Arc::new(Semaphore::new(8)));
        for claimer in [0, 0, 1] {
            queue.wish(claimer, wish(&slots), claimer == 1);
        }
        // The first one's earlier wish has given its seat back; the wish that goes takes all that are free.
        let load = queue.take().unwrap();
        assert_eq!(load.wish.map(|wish| wish.seats()), Some(7));
        assert!(queue.take().is_none());
        assert!(queue.withdraw(0) && !queue.withdraw(0) && !queue.withdraw(1));
        assert_eq!(slots.available_permits(), 8);
    }
}
