//! The control plane as one router: state in, `Router` out.
//!
//! Owns how routes, authentication and layers are put together. Another surface (GraphQL, the
//! stream, the operator app) is mounted through [`Mounts`] and gets the same layers.

use std::fmt;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::get;
use fermata_engine::engine::Engine;
use fermata_engine::read::Dependency;
use fermata_workflows::Catalog;
use futures::future::BoxFuture;
use serde_json::Value;
use tokio::sync::Semaphore;

use crate::auth::{InternalKey, authenticate};
use crate::error::{Kind, Problem};
use crate::rest::rate_limit::{RateLimit, RateLimiter, limit};
use crate::rest::{self, doubt, layer, room};
use crate::stream::{self, Streams};

/// Streams of one process unless the configuration says otherwise.
const MAX_STREAMS: usize = 10_000;

/// Renders the metrics page.
pub type RenderMetrics = Arc<dyn Fn() -> BoxFuture<'static, String> + Send + Sync>;
/// Asks what else this process needs besides its database.
pub type AskDependencies = Arc<dyn Fn() -> BoxFuture<'static, Vec<Dependency>> + Send + Sync>;

/// What the handlers share. Each request clones it for each layer that it goes through, which is why it is one pointer;
/// who changes it gets a state of its own.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

/// The parts of an [`AppState`].
#[derive(Clone)]
pub struct Shared {
    /// The engine.
    pub engine: Engine,
    /// Bounds and switches.
    pub options: AppOptions,
    /// What `/config/validate` says: a [`ConfigReport`](crate::config::ConfigReport).
    pub config_report: Arc<Value>,
    /// The schema of flow documents.
    pub flow_schema: Arc<Value>,
    /// The workflows of this installation.
    pub catalog: Arc<Catalog>,
    /// Renders `/metrics`.
    pub metrics: RenderMetrics,
    /// Further dependencies for `/ready`.
    pub dependencies: AskDependencies,
    /// The streams of this process.
    pub streams: Streams,
    /// How much each principal has asked lately. One for all listeners of the process.
    pub rate_limiter: Arc<RateLimiter>,
    /// One permit for each request that may be under way. One for all listeners of the process.
    pub room: Arc<Semaphore>,
}

impl Deref for AppState {
    type Target = Shared;

    fn deref(&self) -> &Shared {
        &self.0
    }
}

impl DerefMut for AppState {
    fn deref_mut(&mut self) -> &mut Shared {
        Arc::make_mut(&mut self.0)
    }
}

impl fmt::Debug for AppState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AppState").field("options", &self.options).finish_non_exhaustive()
    }
}

impl AppState {
    /// A state without flows, with an empty configuration report, metrics page and list of further
    /// dependencies.
    pub fn new(engine: Engine, options: AppOptions) -> Self {
        Self(Arc::new(Shared {
            catalog: Arc::new(Catalog::default().with_code(engine.registry())),
            rate_limiter: Arc::new(RateLimiter::new(options.rate_limit, engine.clock().clone())),
            room: Arc::new(Semaphore::new(options.max_in_flight)),
            engine,
            options,
            config_report: Arc::new(Value::Null),
            flow_schema: Arc::new(Value::Bool(true)),
            metrics: Arc::new(|| Box::pin(async { String::new() })),
            dependencies: Arc::new(|| Box::pin(async { Vec::new() })),
            streams: Streams::new(MAX_STREAMS),
        }))
    }
}

/// Bounds and switches of the control plane.
#[derive(Debug, Clone)]
pub struct AppOptions {
    /// The largest body that is read (`MAX_BODY_BYTES`).
    pub max_body_bytes: usize,
    /// How long a request may take (`REQUEST_TIMEOUT_SECS`).
    pub request_timeout: Duration,
    /// How many requests may be under way at once (`MAX_IN_FLIGHT`).
    pub max_in_flight: usize,
    /// What one token may ask (`RATE_LIMIT_PER_MINUTE`, `RATE_LIMIT_BURST`); `None` is everything.
    pub rate_limit: Option<RateLimit>,
    /// Whether the probes need a token too (`PROBES_REQUIRE_AUTH`, C-05).
    pub probes_require_auth: bool,
    /// What services of this installation show each other (`INTERNAL_KEY`); `None` knows none.
    pub internal_key: Option<InternalKey>,
    /// How the outside reaches us (`PUBLIC_BASE_URL`), without a slash at the end; empty gives
    /// references relative to wherever the caller reached us.
    pub public_base_url: String,
}

impl Default for AppOptions {
    fn default() -> Self {
        Self {
            max_body_bytes: 2 << 20,
            request_timeout: Duration::from_secs(30),
            max_in_flight: 1024,
            rate_limit: None,
            probes_require_auth: false,
            internal_key: None,
            public_base_url: String::new(),
        }
    }
}

/// Routes of other surfaces.
#[derive(Debug, Default)]
pub struct Mounts {
    /// Behind a token: their handlers find a [`Caller`](crate::auth::Caller).
    pub protected: Router<AppState>,
    /// Open to everybody; they look after themselves.
    pub open: Router<AppState>,
    /// On the telemetry port, open as well.
    pub telemetry: Router<AppState>,
}

/// The REST control plane.
pub fn app(state: AppState) -> Router {
    app_with(state, Mounts::default())
}

/// The REST control plane and other surfaces beside it.
pub fn app_with(state: AppState, mounts: Mounts) -> Router {
    let (protected, _) = rest::protected().split_for_parts();
    let (pages, _) = rest::pages().split_for_parts();
    let routes = probe_routes(&state)
        .merge(guarded(protected.merge(mounts.protected), &state))
        .merge(pages)
        .merge(rest::docs::pages())
        .merge(mounts.open)
        .route("/v1/stream", get(stream::open))
        .fallback(async || Problem::new(Kind::NotFound, "no such route; /openapi.json lists them"));
    wrapped(routes, state)
}

/// What the telemetry port serves: the stream, the probes, and what else follows events.
pub fn telemetry(state: AppState, more: Router<AppState>) -> Router {
    let routes = probe_routes(&state)
        .route("/v1/stream", get(stream::open))
        .merge(more)
        .fallback(async || Problem::new(Kind::NotFound, "no such route; the stream is /v1/stream"));
    wrapped(routes, state)
}

/// What a service beside the API serves: its own routes and its configuration to whoever is known,
/// and the probes.
pub fn service(routes: Router<AppState>, state: AppState) -> Router {
    let (config, _) = rest::config().split_for_parts();
    let routes = probe_routes(&state)
        .merge(guarded(config.merge(routes), &state))
        .fallback(async || Problem::new(Kind::NotFound, "no such route of this service; docs/services.md lists them"));
    wrapped(routes, state)
}

/// What a process serves that has no other surface: the probes alone.
pub fn probes(state: AppState) -> Router {
    let routes = probe_routes(&state)
        .fallback(async || Problem::new(Kind::NotFound, "no such route; here are /health, /ready and /metrics"));
    wrapped(routes, state)
}

/// The probes, behind a token where they are to be.
fn probe_routes(state: &AppState) -> Router<AppState> {
    let (probes, _) = rest::probes().split_for_parts();
    if state.options.probes_require_auth {
        probes.route_layer(from_fn_with_state(state.clone(), authenticate))
    } else {
        probes
    }
}

/// Routes that only those who are known get to.
fn guarded(routes: Router<AppState>, state: &AppState) -> Router<AppState> {
    routes
        .route_layer(from_fn(doubt::own))
        .route_layer(from_fn_with_state(state.clone(), limit))
        .route_layer(from_fn_with_state(state.clone(), authenticate))
}

fn wrapped(routes: Router<AppState>, mut state: AppState) -> Router {
    let trimmed = state.options.public_base_url.trim_end_matches('/').len();
    state.options.public_base_url.truncate(trimmed);
    routes
        .layer(from_fn_with_state(state.clone(), layer::bound))
        .layer(from_fn_with_state(state.clone(), room::enter))
        .layer(from_fn(layer::secure))
        .layer(from_fn_with_state(state.clone(), layer::observe))
        .with_state(state)
}
