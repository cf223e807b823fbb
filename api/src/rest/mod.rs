//! REST: one file per resource, each a translator (style, habit 7).
//!
//! Owns routes and wire shapes. Knows no SQL and decides nothing: a handler reads the request,
//! calls one engine function and shapes its answer. Read `commands.rs` first; to add a resource,
//! write its file and add its routes here, then run the tests with `FERMATA_UPDATE=1`.

mod accounts;
mod actions;
mod artifacts;
mod asked;
mod audit;
pub(crate) mod body;
pub(crate) mod commands;
mod control;
pub(crate) mod docs;
pub(crate) mod doubt;
mod events;
mod gates;
mod kill_switches;
pub(crate) mod layer;
mod policies;
mod probes;
mod problems;
pub(crate) mod query;
mod range;
pub(crate) mod rate_limit;
pub(crate) mod room;
mod schemas;
mod steps;
mod tickets;
mod tokens;
pub(crate) mod wire;
mod workflows;

use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::AppState;

pub use layer::RequestContext;
pub use rate_limit::{RateLimit, RateLimiter};

/// What tells of the process itself.
pub(crate) fn probes() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(probes::health)).routes(routes!(probes::ready)).routes(routes!(probes::metrics))
}

/// What the process was told.
pub(crate) fn config() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(probes::config))
}

/// Pages about what the API answers, open to everybody.
pub(crate) fn pages() -> OpenApiRouter<AppState> {
    OpenApiRouter::new().routes(routes!(problems::list)).routes(routes!(problems::read))
}

/// Everything that needs a token.
pub(crate) fn protected() -> OpenApiRouter<AppState> {
    OpenApiRouter::new()
        .routes(routes!(commands::submit, commands::list))
        .routes(routes!(commands::read))
        .routes(routes!(control::cancel))
        .routes(routes!(control::resume))
        .routes(routes!(control::signal))
        .routes(routes!(steps::list))
        .routes(routes!(actions::of_command))
        .routes(routes!(actions::list))
        .routes(routes!(actions::read))
        .routes(routes!(audit::list))
        .routes(routes!(audit::verify))
        .routes(routes!(audit::proof))
        .routes(routes!(events::of_command))
        .routes(routes!(events::list))
        .routes(routes!(gates::of_command))
        .routes(routes!(gates::list))
        .routes(routes!(gates::read))
        .routes(routes!(gates::decide))
        .routes(routes!(kill_switches::list))
        .routes(routes!(kill_switches::global))
        .routes(routes!(kill_switches::client))
        .routes(routes!(kill_switches::account))
        .routes(routes!(accounts::list))
        .routes(routes!(accounts::read, accounts::connect))
        .routes(routes!(accounts::configure))
        .routes(routes!(accounts::turn))
        .routes(routes!(policies::list))
        .routes(routes!(policies::evaluate))
        .routes(routes!(policies::read, policies::put))
        .routes(routes!(artifacts::of_command))
        .routes(routes!(artifacts::read))
        .routes(routes!(artifacts::content))
        .routes(routes!(schemas::list))
        .routes(routes!(schemas::flow))
        .routes(routes!(schemas::command_envelope))
        .routes(routes!(schemas::command))
        .routes(routes!(schemas::event_envelope))
        .routes(routes!(schemas::event))
        .routes(routes!(schemas::audit_event))
        .routes(routes!(workflows::list))
        .routes(routes!(workflows::read))
        .routes(routes!(workflows::inputs))
        .routes(routes!(tokens::create, tokens::list))
        .routes(routes!(tokens::revoke))
        .routes(routes!(tokens::rotate))
        .routes(routes!(tickets::create))
        .merge(config())
}
