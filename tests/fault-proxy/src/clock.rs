//! The one place that reads the time and waits for it.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Milliseconds since 1970, for lines of the log.
#[expect(clippy::disallowed_methods, reason = "this is the proxy's one clock")]
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// Waits for as long as a fault asks.
#[expect(clippy::disallowed_methods, reason = "this is the proxy's one clock")]
pub(crate) async fn pause(length: Duration) {
    tokio::time::sleep(length).await;
}
