//! Wake-ups: what a commit may have made ready, told in this process at once and to the others in
//! coalesced NOTIFYs, one per [`COALESCE`] under load, on a connection outside of any business
//! transaction.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use uuid::Uuid;

use crate::clock::{Clock, Pace};
use crate::store::Store;
use crate::store::stream::{Hint, News, Teller};

/// The time between two hints to other nodes.
const COALESCE: Duration = Duration::from_millis(5);
/// How many hints go without that time between them: another process hears at once what a few commits did.
const HINTS_AT_ONCE: u32 = 8;
/// How long a hint may take: on a connection that has gone dead without a word it never ends.
const HINT_LIMIT: Duration = Duration::from_millis(500);

/// How long a node's word counts that it follows events; it repeats it by thirds.
pub(crate) const FOLLOWED: Duration = Duration::from_secs(30);

/// The wake-ups of one process.
#[derive(Debug)]
pub(crate) struct Wakes {
    /// Tells our own hints from those of others.
    pub(crate) origin: Uuid,
    claim: Notify,
    outgoing: Notify,
    mail: Notify,
    timer: Notify,
    moved: Notify,
    /// Something was written since this was last asked.
    busy: AtomicBool,
    /// The same, for the sealer.
    written: AtomicBool,
    /// When another node last said that it follows events.
    followed: Mutex<Option<Instant>>,
    /// The next hint to others says that there is work, and not only that there are events.
    work: AtomicBool,
    next_timer: Mutex<Option<DateTime<Utc>>>,
    draining: AtomicBool,
    drained: Notify,
}

impl Wakes {
    pub(crate) fn new(origin: Uuid) -> Self {
        Self {
            origin,
            claim: Notify::new(),
            outgoing: Notify::new(),
            mail: Notify::new(),
            timer: Notify::new(),
            moved: Notify::new(),
            busy: AtomicBool::new(false),
            written: AtomicBool::new(false),
            followed: Mutex::new(None),
            work: AtomicBool::new(false),
            next_timer: Mutex::new(None),
            draining: AtomicBool::new(false),
            drained: Notify::new(),
        }
    }

    /// Runs may be ready: here, and on other nodes.
    pub(crate) fn ready(&self) {
        self.claim.notify_one();
        self.work.store(true, Ordering::SeqCst);
        self.moved();
    }

    /// More runs are ready than one claim took, which another claimer of this node may take.
    pub(crate) fn more(&self) {
        self.claim.notify_one();
    }

    /// Events were committed: on other nodes, and here, somebody may follow them.
    ///
    /// The others are told first, because a run may wait for that, and here there is only something to look at.
    pub(crate) fn moved(&self) {
        self.busy.store(true, Ordering::Relaxed);
        self.written.store(true, Ordering::Relaxed);
        self.outgoing.notify_one();
    }

    /// Whether something was written since the last time that this was asked.
    pub(crate) fn was_busy(&self) -> bool {
        self.busy.swap(false, Ordering::Relaxed)
    }

    /// Whether something was written, here or as far as we were told elsewhere, since the last time that this was asked.
    pub(crate) fn was_written(&self) -> bool {
        self.written.swap(false, Ordering::Relaxed)
    }

    /// Something was delivered to runs that may be in memory somewhere.
    pub(crate) fn delivered(&self) {
        self.mail.notify_one();
        self.ready();
    }

    /// Another node tells us something. Our own hints come back too, and say nothing new.
    pub(crate) fn heard(&self, hint: Hint, clock: &Clock) {
        if hint.origin == self.origin {
            return;
        }
        match hint.news {
            News::Work => {
                self.claim.notify_one();
                self.mail.notify_one();
            }
            News::Follow => *lock(&self.followed) = Some(clock.monotonic()),
            // Whoever follows answers a newcomer; that there are events is said below.
            News::Hello | News::Events => {}
        }
        self.written.store(true, Ordering::Relaxed);
        self.moved.notify_one();
    }

    /// Whether another node follows events, as far as we were told lately.
    fn is_followed(&self, clock: &Clock) -> bool {
        lock(&self.followed).is_some_and(|told| clock.monotonic().duration_since(told) < FOLLOWED)
    }

    /// The next time that there may be new events.
    pub(crate) fn events(&self) -> Notified<'_> {
        self.moved.notified()
    }

    /// The next hint for the claimer.
    pub(crate) fn hinted(&self) -> Notified<'_> {
        self.claim.notified()
    }

    /// The next hint that mail may have come.
    pub(crate) fn mail(&self) -> Notified<'_> {
        self.mail.notified()
    }

    /// A run was put away until `due`.
    pub(crate) fn timer(&self, due: DateTime<Utc>) {
        let mut next = lock(&self.next_timer);
        if next.is_none_or(|next| due < next) {
            *next = Some(due);
            drop(next);
            self.timer.notify_one();
        }
    }

    /// The database's next due time.
    pub(crate) fn set_timer(&self, due: Option<DateTime<Utc>>) {
        *lock(&self.next_timer) = due;
    }

    /// Waits until the next known timer is due, at most `longest`.
    pub(crate) async fn timer_due(&self, clock: &Clock, longest: Duration) {
        loop {
            let changed = self.timer.notified();
            let next = *lock(&self.next_timer);
            let left = next.map_or(longest, |next| (next - clock.now()).to_std().unwrap_or_default().min(longest));
            tokio::select! {
                () = changed => {}
                () = clock.wait(left) => return,
            }
        }
    }

    /// Rescans the timers now: somebody who watched some is gone.
    pub(crate) fn rescan_timers(&self) {
        self.set_timer(Some(DateTime::UNIX_EPOCH));
        self.timer.notify_one();
    }

    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::SeqCst);
        self.drained.notify_waiters();
    }

    pub(crate) fn draining(&self) -> bool {
        self.draining.load(Ordering::SeqCst)
    }

    /// Returns once the node drains.
    pub(crate) async fn drained(&self) {
        loop {
            let told = self.drained.notified();
            if self.draining() {
                return;
            }
            told.await;
        }
    }

    /// Sends hints to the other nodes for as long as the process lives, and then tells who follows events here.
    pub(crate) async fn tell_others(&self, store: &Store, clock: &Clock) {
        let mut pace = Pace::new(COALESCE, HINTS_AT_ONCE);
        let mut teller = Teller::new(store.clone());
        loop {
            self.outgoing.notified().await;
            let news = if self.work.swap(false, Ordering::SeqCst) { News::Work } else { News::Events };
            // Events alone are worth a hint only while somebody follows them.
            if news == News::Events && !self.is_followed(clock) {
                self.moved.notify_one();
                continue;
            }
            pace.done(clock.monotonic());
            let until = clock.monotonic() + HINT_LIMIT;
            // The others look by themselves now and then; without a hint nothing is lost but time.
            match clock.before(until, teller.tell(Hint { origin: self.origin, news })).await {
                Some(Ok(())) => {}
                Some(Err(error)) => tracing::debug!(error = %error, "a hint could not be sent"),
                None => tracing::debug!("a hint could not be sent in time"),
            }
            self.moved.notify_one();
            pace.rest(clock).await;
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
