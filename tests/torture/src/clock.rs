//! The rig's one clock.

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};

/// The time, as it is written into the history.
#[expect(clippy::disallowed_methods, reason = "this is the rig's one clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// A time to measure lengths from.
#[expect(clippy::disallowed_methods, reason = "this is the rig's one clock")]
pub(crate) fn monotonic() -> Instant {
    Instant::now()
}

/// Waits: a plan says when things happen.
#[expect(clippy::disallowed_methods, reason = "this is the rig's one clock")]
pub(crate) async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}

/// Asks again and again, for at most so long.
pub(crate) async fn until<F, Fut>(patience: Duration, mut holds: F) -> bool
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let began = monotonic();
    loop {
        if holds().await {
            return true;
        }
        if began.elapsed() > patience {
            return false;
        }
        pause(Duration::from_millis(20)).await;
    }
}
