//! One process with its roles: `fermata serve`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::artifact::Artifacts;
use fermata_engine::clock::Clock;
use fermata_engine::trace::Traces;
use fermata_engine::{Engine, EngineOptions, NodeOptions};
use fermata_workflows::browser::{BrowserLane, BrowserOptions};
use fermata_workflows::{Catalog, Installation, registry};
use nix::unistd::geteuid;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::listeners::Bound;
use super::signals::Signals;
use super::{Exit, Ready, ReadyNode, Trouble};
use crate::app::{AppOptions, AppState, app_with};
use crate::audit::sealing;
use crate::auth::InternalKey;
use crate::config::{Config, Role, Site};
use crate::graphql::GraphqlOptions;
use crate::rest::RateLimit;
use crate::service;
use crate::stream::Streams;
use crate::supervisor::{Supervisor, SupervisorOptions};
use crate::telemetry::{
    Exporter, LogOrigin, PrometheusHandle, Scrape, TraceOptions, init_logs, install_metrics, otlp_headers,
};

/// Where folders of root lie that browsers can reach (see `postgres/folder.rs`).
const ROOT_FOLDERS: &str = "/var/lib/fermata";
/// How long answers under way may take when the process ends.
const ANSWERS_LIMIT: Duration = Duration::from_secs(5);

/// What is not configuration: where this process stands among others.
#[derive(Debug, Clone)]
pub struct ServeOptions {
    /// Its name among its siblings.
    pub node: Option<String>,
    /// Sites that stand in place of those of the configuration with the same name.
    pub sites: Vec<Site>,
    /// Written once everything answers.
    pub ready_file: Option<PathBuf>,
    /// Where the browser role listens.
    pub webdriver_listen: SocketAddr,
    /// Where a process without the API answers `/health`, `/ready` and `/metrics`.
    pub probes: Option<SocketAddr>,
    /// Ctrl-C is for the parent.
    pub ignore_interrupt: bool,
}

/// What runs in this process.
struct Running {
    engine: Engine,
    supervisor: Option<Supervisor>,
    exporter: Option<Exporter>,
    work_dir: PathBuf,
    stopping: CancellationToken,
    tasks: JoinSet<()>,
    ready: Ready,
}

/// Runs the roles of the configuration until a signal, then drains.
pub async fn serve(config: Config, options: ServeOptions) -> Result<Exit, Trouble> {
    let mut signals = Signals::take(options.ignore_interrupt)?;
    let role = role_names(&config);
    let origin = LogOrigin { service: "fermata".to_owned(), role: role.clone() };
    init_logs(config.log_format, &config.log_filter, origin).map_err(|error| Trouble::failed(error.to_string()))?;
    let running = tokio::select! {
        started = Box::pin(start(&config, &options)) => started?,
        () = signals.next() => return Ok(Exit::Done),
    };
    if let Some(path) = &options.ready_file {
        running.ready.write(path).map_err(|error| Trouble::file("cannot write", path, &error))?;
    }
    tracing::info!(node.role = role, "serving as {role}");
    signals.next().await;
    tracing::info!("draining for at most {} s", config.drain.as_secs());
    tokio::select! {
        () = Box::pin(drain(running, config.drain)) => Ok(Exit::Done),
        () = signals.next() => {
            tracing::warn!("a second signal: ending at once");
            Ok(Exit::Interrupted)
        }
    }
}

fn role_names(config: &Config) -> String {
    config.roles.iter().map(|role| role.name()).collect::<Vec<_>>().join(",")
}

async fn start(config: &Config, options: &ServeOptions) -> Result<Running, Trouble> {
    let has = |role| config.roles.contains(&role);
    let clock = Clock::system();
    let recorder = install_metrics().map_err(|error| Trouble::failed("no metrics").why(error.to_string()))?;
    // Addresses first: what is taken should be said before anything is started.
    let control = bind(has(Role::Api), config.listen_control, "LISTEN_CONTROL").await?;
    let telemetry = bind(has(Role::Api), config.listen_telemetry, "LISTEN_TELEMETRY").await?;
    let services = service_sockets(config).await?;
    let probes = match options.probes {
        Some(address) => Some(Bound::to(address, "--probes").await?),
        None => None,
    };
    let work_dir = browser_dir(&config.data_dir);
    let configured = config.webdriver_url.as_ref().map(|url| url.expose().to_owned());
    let supervisor = if has(Role::Browser) && configured.is_none() {
        Some(supervise(config, options, &clock, &work_dir).await?)
    } else {
        None
    };
    let endpoint = configured.or_else(|| supervisor.as_ref().map(Supervisor::endpoint));
    let (exporter, traces) = traces(config, &clock)?.unzip();
    let (engine, catalog) = open(config, options, &clock, (endpoint, traces.unwrap_or_default())).await?;
    if has(Role::Worker) {
        let role = role_names(config);
        engine.work(NodeOptions { slots: config.worker_slots, lease: config.lease, role }).await?;
    }
    let role = role_names(config);
    let name = options.node.clone().unwrap_or_else(|| role.clone());
    let ready = Ready {
        control: control.as_ref().map(|bound| bound.url("http")),
        telemetry: telemetry.as_ref().map(|bound| bound.url("ws")),
        webdriver: supervisor.as_ref().map(Supervisor::endpoint),
        services: services.iter().map(|(role, bound)| (role.name().to_owned(), bound.url("http"))).collect(),
        pid: std::process::id(),
        nodes: vec![ReadyNode {
            node: engine.node().map_or_else(|| name.clone(), |id| id.to_string()),
            name,
            role,
            pid: std::process::id(),
            probes: probes.as_ref().map(|bound| bound.url("http")),
        }],
        ..Ready::default()
    };
    let (stopping, mut tasks) = (CancellationToken::new(), JoinSet::new());
    let mut state = state(config, &engine, catalog, recorder);
    state.streams.stopping = stopping.child_token();
    let graphql = GraphqlOptions { persisted_only: config.graphql_persisted_only, graphiql: config.graphiql };
    let mounts = crate::graphql::mounts(graphql);
    if let Some(bound) = telemetry {
        bound.serve(crate::app::telemetry(state.clone(), mounts.telemetry.clone()), &stopping, &mut tasks);
    }
    if let Some(bound) = control {
        bound.serve(app_with(state.clone(), mounts), &stopping, &mut tasks);
    }
    for (role, bound) in services {
        if let Some(routes) = service::routes(role, config, state.clone())? {
            bound.serve(routes, &stopping, &mut tasks);
        }
    }
    if let Some(bound) = probes {
        bound.serve(crate::app::probes(state), &stopping, &mut tasks);
    }
    Ok(Running { engine, supervisor, exporter, work_dir, stopping, tasks, ready })
}

/// The sockets of the services among the roles.
async fn service_sockets(config: &Config) -> Result<Vec<(Role, Bound)>, Trouble> {
    let mut sockets = Vec::new();
    for &role in &config.roles {
        if let Some((address, key)) = service::address(role, config) {
            sockets.push((role, Bound::to(address, key).await?));
        }
    }
    Ok(sockets)
}

async fn bind(wanted: bool, address: SocketAddr, key: &str) -> Result<Option<Bound>, Trouble> {
    if wanted { Bound::to(address, key).await.map(Some) } else { Ok(None) }
}

async fn supervise(
    config: &Config,
    options: &ServeOptions,
    clock: &Clock,
    work_dir: &Path,
) -> Result<Supervisor, Trouble> {
    let mut wanted = SupervisorOptions::new(work_dir.to_owned());
    wanted.listen = options.webdriver_listen;
    wanted.max_sessions = config.max_sessions;
    wanted.clock = clock.clone();
    Ok(Supervisor::start(wanted).await?)
}

/// The folder for profiles. Root's browsers run as another user, who must be able to get there.
fn browser_dir(data_dir: &Path) -> PathBuf {
    if !geteuid().is_root() {
        return data_dir.join("browser");
    }
    let whole = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
    let hash = hex::encode(Sha256::digest(whole.as_os_str().as_encoded_bytes()));
    Path::new(ROOT_FOLDERS).join(format!("browser-{}", &hash[..16]))
}

/// The sending of spans, when there is somebody to send them to.
fn traces(config: &Config, clock: &Clock) -> Result<Option<(Exporter, Traces)>, Trouble> {
    let Some(endpoint) = config.otlp_endpoint.clone() else { return Ok(None) };
    // The text was read when the configuration was checked.
    let headers = config.otlp_headers.as_ref().and_then(|headers| otlp_headers(headers.expose())).unwrap_or_default();
    let options = TraceOptions { endpoint, headers, service: config.service_name.clone(), role: role_names(config) };
    let started = Exporter::start(options, clock);
    started.map(Some).map_err(|error| Trouble::failed("spans cannot be sent").why(error.to_string()))
}

async fn open(
    config: &Config,
    options: &ServeOptions,
    clock: &Clock,
    (endpoint, traces): (Option<String>, Traces),
) -> Result<(Engine, Catalog), Trouble> {
    let unfit = |error: &dyn std::error::Error| Trouble::failed("the workflows do not fit").why(error.to_string());
    let mut installation = Installation::with_packs(clock.clone()).map_err(|error| unfit(&error))?;
    // Of two with one name the later wins.
    let sites = config.sites.iter().chain(&options.sites);
    installation.sites = sites.map(|site| (site.name.clone(), site.address.clone())).collect();
    installation.allow_hosts.clone_from(&config.allow_private_hosts);
    let classifiers = config.classifiers.iter();
    installation.classifiers = classifiers.map(|site| (site.name.clone(), site.address.clone())).collect();
    installation.browser = endpoint.map(|endpoint| BrowserLane::new(endpoint, BrowserOptions::default()));
    let flows = Catalog::of_flows(&installation.flows);
    let registry = registry(installation).map_err(|error| unfit(&error))?;
    let catalog = flows.with_code(&registry);
    let url = config.database_url.as_ref().map(|url| url.expose().to_owned()).unwrap_or_default();
    let mut wanted = EngineOptions::new(url, Artifacts::new(&config.artifacts_dir), registry);
    wanted.pooler_url = config.database_pooler_url.as_ref().map(|url| url.expose().to_owned());
    // A process that has neither runs nor their readers needs the database for little.
    let busy = config.roles.iter().any(|role| matches!(role, Role::Api | Role::Worker | Role::Logging));
    wanted.max_connections = if busy { config.db_max_connections } else { 1 };
    wanted.writer_connections = if busy { usize::try_from(config.writer_connections).unwrap_or(1) } else { 1 };
    wanted.default_client.clone_from(&config.default_client);
    wanted.allow_unsafe_durability = config.allow_unsafe_durability;
    wanted.call_skew = config.call_skew;
    wanted.neighbours = config.neighbours.then(EngineOptions::doors).and_then(Result::ok);
    wanted.clock = clock.clone();
    wanted.traces = traces;
    if config.roles.contains(&Role::Worker) {
        wanted.sealing = sealing(config)?;
    }
    Ok((Engine::open(wanted).await?, catalog))
}

fn state(config: &Config, engine: &Engine, catalog: Catalog, recorder: PrometheusHandle) -> AppState {
    let options = AppOptions {
        max_body_bytes: config.max_body_bytes,
        request_timeout: config.request_timeout,
        max_in_flight: config.max_in_flight,
        rate_limit: RateLimit::new(config.rate_limit_per_minute, config.rate_limit_burst),
        probes_require_auth: config.probes_require_auth,
        internal_key: config.internal_key.as_ref().map(|key| InternalKey::new(key.expose())),
        public_base_url: config.public_base_url.as_ref().map(ToString::to_string).unwrap_or_default(),
    };
    let mut state = AppState::new(engine.clone(), options);
    state.config_report = Arc::new(serde_json::to_value(&config.report).unwrap_or_default());
    state.flow_schema = Arc::new(fermata_workflows::flow::schema());
    state.catalog = Arc::new(catalog);
    state.streams = Streams::new(config.max_streams);
    state.streams.heartbeat = config.stream_heartbeat;
    state.streams.origins = Arc::new(config.allowed_origins.clone());
    let scrape = Arc::new(Scrape::new(recorder, engine.clone()));
    state.metrics = Arc::new(move || {
        let scrape = Arc::clone(&scrape);
        Box::pin(async move { scrape.page().await })
    });
    state
}

/// Takes no more requests, hands the runs back, and only then ends the browsers that they use.
async fn drain(running: Running, patience: Duration) {
    let Running { engine, supervisor, exporter, work_dir, stopping, mut tasks, .. } = running;
    stopping.cancel();
    let answered = async { while tasks.join_next().await.is_some() {} };
    if tokio::time::timeout(patience.min(ANSWERS_LIMIT), answered).await.is_err() {
        tasks.shutdown().await;
    }
    engine.close(patience).await;
    if let Some(exporter) = exporter {
        exporter.stop().await;
    }
    if let Some(supervisor) = supervisor {
        supervisor.stop().await;
        if work_dir.starts_with(ROOT_FOLDERS) {
            // Nothing in it is worth keeping, and nobody would look for it there.
            drop(std::fs::remove_dir_all(&work_dir));
        }
    }
    tracing::info!("drained");
}
