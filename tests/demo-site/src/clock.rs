//! The one place that reads the time and waits for it.

use std::time::Duration;

use chrono::{DateTime, Utc};

/// The time that is written into the ledger and that hidden posts are measured against.
#[expect(clippy::disallowed_methods, reason = "this is the site's one clock")]
pub(crate) fn now() -> DateTime<Utc> {
    Utc::now()
}

/// Waits for as long as a conduct asks, a webhook's or a request's.
#[expect(clippy::disallowed_methods, reason = "this is the site's one clock")]
pub(crate) async fn pause(length: Duration) {
    if !length.is_zero() {
        tokio::time::sleep(length).await;
    }
}
