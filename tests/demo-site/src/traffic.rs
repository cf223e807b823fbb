//! How much is asked of the site: a platform that is spammed notices.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::Response;

use crate::app::App;

/// The requests since the site started or was started over, but for those to the side door.
#[derive(Debug, Default)]
pub(crate) struct Traffic(AtomicU64);

impl Traffic {
    /// How many there were.
    pub(crate) fn requests(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    /// Counts from nothing again.
    pub(crate) fn start_over(&self) {
        self.0.store(0, Ordering::SeqCst);
    }
}

/// Counts a request before anything is done with it.
pub(crate) async fn count(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if !request.uri().path().starts_with("/_") {
        app.traffic.0.fetch_add(1, Ordering::SeqCst);
    }
    next.run(request).await
}
