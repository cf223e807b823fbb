//! Log lines of all services (logging-svc).

use axum::Router;

use crate::app::{AppState, service};

/// The whole service.
pub(super) fn logging(state: AppState) -> Router {
    service(Router::new(), state)
}
