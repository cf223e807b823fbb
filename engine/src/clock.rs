//! Time as a parameter (style, habit 4): the only place that asks the operating system for it.
//!
//! Owns wall-clock time (always moved onto the database's clock, Q-50), monotonic time for leases
//! and call deadlines, and waiting. Everything else takes a [`Clock`].

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::task::Poll;
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

    /// Does `work` for as long as `until` lies ahead; `None` once it does not.
    ///
    /// The time is asked for before each step of the work and not after it: a process that was stopped
    /// (SIGSTOP) and is woken behind `until` takes no further step of it, whatever woke it first.
    pub async fn before<T>(&self, until: Instant, work: impl Future<Output = T>) -> Option<T> {
        let mut work = pin!(work);
        let mut over = pin!(self.wait(until.saturating_duration_since(self.monotonic())));
        poll_fn(|cx| {
            if self.monotonic() >= until {
                return Poll::Ready(None);
            }
            match work.as_mut().poll(cx) {
                Poll::Ready(done) => Poll::Ready(Some(done)),
                Poll::Pending => over.as_mut().poll(cx).map(|()| None),
            }
        })
        .await
    }

    /// Moves this clock onto `database_now`, which the database said within the `took` that has just
    /// passed: half of that is the best guess, and the most that it can be off.
    pub fn follow(&self, database_now: DateTime<Utc>, took: Duration) {
        let since = TimeDelta::from_std(took / 2).unwrap_or_default();
        let drift = database_now + since - (self.now() - TimeDelta::microseconds(self.offset()));
        self.offset_micros.store(drift.num_microseconds().unwrap_or(0), Ordering::Relaxed);
    }

    fn offset(&self) -> i64 {
        self.offset_micros.load(Ordering::Relaxed)
    }
}

/// How often something may be done: at most once in `every` on average, and `at_once` times without a rest after a pause.
///
/// The generic cell rate algorithm (ITU-T I.371): one moment is all that it keeps.
#[derive(Debug, Clone)]
pub(crate) struct Pace {
    every: Duration,
    at_once: u32,
    /// When it would be due again, had it been done evenly.
    due: Option<Instant>,
}

impl Pace {
    pub(crate) fn new(every: Duration, at_once: u32) -> Self {
        Self { every, at_once, due: None }
    }

    /// It is done now.
    pub(crate) fn done(&mut self, now: Instant) {
        self.due = Some(self.due.unwrap_or(now).max(now) + self.every);
    }

    /// How long to rest before it is done again.
    fn left(&self, now: Instant) -> Duration {
        let due = self.due.unwrap_or(now);
        due.saturating_duration_since(now).saturating_sub(self.every * self.at_once.saturating_sub(1))
    }

    /// Waits until it may be done again.
    pub(crate) async fn rest(&self, clock: &Clock) {
        let left = self.left(clock.monotonic());
        if !left.is_zero() {
            clock.wait(left).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;

    use super::*;

    #[tokio::test]
    async fn no_step_of_the_work_is_taken_once_the_time_is_over() {
        let clock = Clock::system();
        let steps = AtomicU32::new(0);
        let work = poll_fn(|cx| {
            // As a process that is stopped here and woken behind the deadline.
            if steps.fetch_add(1, Ordering::SeqCst) == 0 {
                std::thread::sleep(Duration::from_millis(30));
            }
            cx.waker().wake_by_ref();
            Poll::<()>::Pending
        });
        assert_eq!(clock.before(clock.monotonic() + Duration::from_millis(10), work).await, None);
        assert_eq!(steps.load(Ordering::SeqCst), 1);
        assert_eq!(clock.before(clock.monotonic() + Duration::from_mins(1), async { 7 }).await, Some(7));
    }

    #[test]
    fn a_pace_allows_a_burst_after_a_pause_and_then_one_in_each_interval() {
        let (every, start) = (Duration::from_millis(10), Clock::system().monotonic());
        let mut pace = Pace::new(every, 3);
        let mut now = start;
        let mut rest = || {
            pace.done(now);
            let left = pace.left(now);
            now += left;
            left
        };
        assert_eq!([rest(), rest(), rest(), rest()], [Duration::ZERO, Duration::ZERO, every, every]);
        let later = start + Duration::from_mins(1);
        pace.done(later);
        assert_eq!(pace.left(later), Duration::ZERO);
    }

    #[test]
    fn the_database_is_taken_to_have_answered_half_of_the_way_back() {
        let clock = Clock::system();
        let (before, far) = (clock.now(), TimeDelta::hours(1));
        clock.follow(before + far, Duration::from_secs(2));
        let ahead = clock.now() - before - far;
        assert!(ahead >= TimeDelta::milliseconds(999) && ahead < TimeDelta::seconds(30), "{ahead}");
    }
}
