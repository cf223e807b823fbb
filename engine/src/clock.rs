//! Time as a parameter (style, habit 4): the only place that asks the operating system for it.
//!
//! Owns wall-clock time (always moved onto the database's clock, Q-50), monotonic time for leases
//! and call deadlines, and waiting. Everything else takes a [`Clock`].

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};

/// Wall-clock, monotonic time and waiting, shared by everything in one process.
///
/// The wall clock is the database's: [`Clock::follow`] stores how far the local one is off, so
/// that ids and deadlines made on several nodes compare.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    offset_micros: Arc<AtomicI64>,
}

impl Clock {
    /// A clock that follows the local one until [`Clock::follow`] is called.
    pub fn system() -> Self {
        Self::default()
    }

    /// The time of the database, as well as this process knows it.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn now(&self) -> DateTime<Utc> {
        Utc::now() + TimeDelta::microseconds(self.offset_micros.load(Ordering::Relaxed))
    }

    /// Monotonic time: immune to a changed wall clock, and it goes on while the process is
    /// stopped (SIGSTOP), which is what makes a lease deadline safe.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub fn monotonic(&self) -> Instant {
        Instant::now()
    }

    /// Waits. Durable waiting is `Context::sleep`; this one is for background work.
    #[expect(clippy::disallowed_methods, reason = "this is the clock")]
    pub async fn wait(&self, time: Duration) {
        tokio::time::sleep(time).await;
    }

    /// Waits until the wall clock shows `at`; returns at once when it already does.
    pub async fn wait_until(&self, at: DateTime<Utc>) {
        if let Ok(time) = (at - self.now()).to_std() {
            self.wait(time).await;
        }
    }

    /// Moves this clock onto `database_now`, read just now from the database.
    pub fn follow(&self, database_now: DateTime<Utc>) {
        let drift = database_now - (self.now() - TimeDelta::microseconds(self.offset()));
        self.offset_micros.store(drift.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }

    fn offset(&self) -> i64 {
        self.offset_micros.load(Ordering::Relaxed)
    }
}
