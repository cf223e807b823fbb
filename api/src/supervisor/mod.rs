//! The browser role: owns chromedriver and its Chromiums, and leases sessions to runs.
//!
//! An HTTP proxy in front of chromedriver that knows who drives: each command names a run and the
//! epoch of its lease. The newest epoch seen owns the run's browser; whoever comes with an older one
//! (a worker that was stopped and wakes up) is refused, and its sessions are closed *before* the
//! newer epoch gets its answer. It also enforces call deadlines, so that a click cannot happen after
//! the moment from which its absence may be judged. Knows no flow, no page and no database.
//!
//! Read first: [`Supervisor`], then `ledger` (the decisions, pure) and `command` (one command's way).
//! `chromedriver` keeps the process alive; a small shell beside it holds a pipe from this process and
//! kills the whole group when that breaks, so that nothing outlives even a SIGKILL of the supervisor.

mod capability;
mod chromedriver;
mod command;
mod courier;
mod error;
mod ledger;
mod process;
mod proxy;
mod sandbox;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use fermata_engine::clock::Clock;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

pub use self::error::SupervisorError;

use self::chromedriver::Keeper;
use self::command::Desk;
use self::process::Place;

/// How long answers under way may take when the supervisor stops.
const STOP_LIMIT: Duration = Duration::from_secs(5);

/// How the supervisor runs.
#[derive(Debug, Clone)]
pub struct SupervisorOptions {
    /// Where it listens; port 0 takes a free one.
    pub listen: SocketAddr,
    /// How many browsers there may be at once; each takes about 0.2 GB.
    pub max_sessions: usize,
    /// A session without a command for this long is closed.
    pub idle: Duration,
    /// Its own folder, for profiles and uploads. Emptied at start; nobody else may use it.
    pub work_dir: PathBuf,
    /// The user that browsers run as when this process is root.
    pub run_as: String,
    /// Deadlines are compared with this clock, which follows the database's.
    pub clock: Clock,
}

impl SupervisorOptions {
    /// The defaults: a free loopback port, 4 browsers, 120 s, `nobody`.
    pub fn new(work_dir: PathBuf) -> Self {
        Self {
            listen: SocketAddr::from(([127, 0, 0, 1], 0)),
            max_sessions: 4,
            idle: Duration::from_mins(2),
            work_dir,
            run_as: "nobody".to_owned(),
            clock: Clock::system(),
        }
    }
}

/// A running supervisor. Dropping it kills its browsers too; [`Supervisor::stop`] waits for that.
#[derive(Debug)]
pub struct Supervisor {
    address: SocketAddr,
    stopping: CancellationToken,
    keeper: Keeper,
    server: JoinHandle<()>,
    sweeper: JoinHandle<()>,
}

impl Supervisor {
    /// Clears what an earlier supervisor left in the folder, starts chromedriver, and listens.
    pub async fn start(options: SupervisorOptions) -> Result<Self, SupervisorError> {
        let place = Place::claim(&options.work_dir, &options.run_as)?;
        let browser = sandbox::inspect(&place).await?;
        let listener = TcpListener::bind(options.listen)
            .await
            .map_err(|source| SupervisorError::Listen { address: options.listen, source })?;
        let address =
            listener.local_addr().map_err(|source| SupervisorError::Listen { address: options.listen, source })?;
        let stopping = CancellationToken::new();
        let (driver, driver_now) = watch::channel(None);
        let desk = Arc::new(Desk::new(&options, &place, browser, driver_now)?);
        let keeper = Keeper::start(place, driver, stopping.child_token(), options.clock.clone()).await?;
        let sweeper = tokio::spawn(command::close_idle_sessions(Arc::clone(&desk)));
        let server = tokio::spawn(serve(listener, desk, stopping.child_token()));
        tracing::info!(supervisor.address = %address, "browser supervisor listens on {address}");
        Ok(Self { address, stopping, keeper, server, sweeper })
    }

    /// The WebDriver endpoint, such as `http://127.0.0.1:41234`.
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Ends all browsers and stops listening. Nothing of them runs when this returns.
    pub async fn stop(mut self) {
        self.stopping.cancel();
        self.keeper.ended().await;
        self.sweeper.abort();
        if tokio::time::timeout(STOP_LIMIT, &mut self.server).await.is_err() {
            self.server.abort();
        }
    }
}

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.stopping.cancel();
        self.sweeper.abort();
    }
}

async fn serve(listener: TcpListener, desk: Arc<Desk>, stopping: CancellationToken) {
    let app = proxy::router(desk);
    let served = axum::serve(listener, app).with_graceful_shutdown(stopping.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "the browser supervisor stopped listening: {error}");
    }
}
