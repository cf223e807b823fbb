//! Render, spoken with for others (renderctl-svc).

use axum::Router;

use crate::app::{AppState, service};
use crate::config::Config;

/// The whole service.
pub(super) fn renderctl(state: AppState, _config: &Config) -> Router {
    service(Router::new(), state)
}
