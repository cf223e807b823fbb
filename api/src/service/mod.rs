//! The services beside the API: roles that have a port of their own, and are deployed alone (O-010).
//!
//! Owns their routes. Every service has the probes and `/config/validate`, and knows its callers as
//! the API does ([`app::service`](crate::app::service)). To add one, add its file here, a role, its
//! keys, and a line in each function below.

mod echo;
mod logging;
mod renderctl;

use std::net::SocketAddr;

use axum::Router;

use crate::app::AppState;
use crate::config::{Config, Role};
use crate::process::Trouble;

/// Where the service of a role listens, and the key that says so; `None` for a role that is none.
pub(crate) fn address(role: Role, config: &Config) -> Option<(SocketAddr, &'static str)> {
    match role {
        Role::Logging => Some((config.listen_logging, "LISTEN_LOGGING")),
        Role::Renderctl => Some((config.listen_renderctl, "LISTEN_RENDERCTL")),
        Role::Echo => Some((config.listen_echo, "LISTEN_ECHO")),
        Role::Api | Role::Worker | Role::Browser | Role::Dev | Role::Tool => None,
    }
}

/// What the service of a role serves; `None` for a role that is none.
pub(crate) fn routes(role: Role, config: &Config, state: AppState) -> Result<Option<Router>, Trouble> {
    Ok(match role {
        Role::Logging => Some(logging::logging(state)),
        Role::Renderctl => Some(renderctl::renderctl(state, config)?),
        Role::Echo => Some(echo::echo(state)),
        Role::Api | Role::Worker | Role::Browser | Role::Dev | Role::Tool => None,
    })
}
