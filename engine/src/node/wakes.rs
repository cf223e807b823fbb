//! Wake-ups: what a commit may have made ready, told in this process at once and to the others in
//! at most one coalesced NOTIFY per [`COALESCE`], on a connection outside of any business
//! transaction.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use uuid::Uuid;

use crate::clock::Clock;
use crate::store::Store;

/// The least time between two hints to other nodes.
const COALESCE: Duration = Duration::from_millis(5);

/// The wake-ups of one process.
#[derive(Debug)]
pub(crate) struct Wakes {
    /// Tells our own hints from those of others.
    pub(crate) origin: Uuid,
    claim: Notify,
    outgoing: Notify,
    mail: Notify,
    timer: Notify,
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
            next_timer: Mutex::new(None),
            draining: AtomicBool::new(false),
            drained: Notify::new(),
        }
    }

    /// Runs may be ready: here, and on other nodes.
    pub(crate) fn ready(&self) {
        self.claim.notify_one();
        self.outgoing.notify_one();
    }

    /// Something was delivered to runs that may be in memory somewhere.
    pub(crate) fn delivered(&self) {
        self.mail.notify_one();
        self.ready();
    }

    /// Another node says that runs may be ready or mail may have come.
    pub(crate) fn heard(&self) {
        self.claim.notify_one();
        self.mail.notify_one();
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
        let mut next = self.next_timer.lock().unwrap_or_else(PoisonError::into_inner);
        if next.is_none_or(|next| due < next) {
            *next = Some(due);
            drop(next);
            self.timer.notify_one();
        }
    }

    /// The database's next due time.
    pub(crate) fn set_timer(&self, due: Option<DateTime<Utc>>) {
        *self.next_timer.lock().unwrap_or_else(PoisonError::into_inner) = due;
    }

    /// Waits until the next known timer is due, at most `longest`.
    pub(crate) async fn timer_due(&self, clock: &Clock, longest: Duration) {
        loop {
            let changed = self.timer.notified();
            let next = *self.next_timer.lock().unwrap_or_else(PoisonError::into_inner);
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

    /// Sends hints to the other nodes for as long as the process lives.
    pub(crate) async fn tell_others(&self, store: &Store, clock: &Clock) {
        loop {
            self.outgoing.notified().await;
            if let Err(error) = store.hint(self.origin).await {
                // The others look by themselves now and then; nothing is lost but time.
                tracing::debug!(error = %error, "a hint could not be sent");
            }
            clock.wait(COALESCE).await;
        }
    }
}
