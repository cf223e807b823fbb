//! One command's way: fence, turn, deadline, driver.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{Method, StatusCode};
use chrono::{DateTime, Utc};
use fermata_engine::clock::Clock;
use serde_json::{Value, json};
use tokio::sync::{oneshot, watch};

use super::SupervisorOptions;
use super::capability;
use super::chromedriver::Driver;
use super::courier::{Lost, says_gone, send};
use super::error::SupervisorError;
use super::ledger::{Fence, Ledger, Refusal, Session};
use super::process::{Place, kill_browser, kill_group};
use super::proxy::Answer;
use super::sandbox::Browser;

/// How long one command may take without a deadline of its own. Page loads have shorter ones.
const COMMAND_LIMIT: Duration = Duration::from_mins(5);
/// How long a browser may take to start.
const OPEN_LIMIT: Duration = Duration::from_mins(1);
/// How long a browser may take to close before its process is killed.
const CLOSE_LIMIT: Duration = Duration::from_secs(2);
/// How often idle sessions are looked for, at the most and at the least.
const SWEEP_MIN: Duration = Duration::from_millis(50);
const SWEEP_MAX: Duration = Duration::from_secs(10);

/// Where commands are decided and carried out.
#[derive(Debug)]
pub(super) struct Desk {
    books: Mutex<Books>,
    driver: watch::Receiver<Option<Driver>>,
    client: reqwest::Client,
    browser: Browser,
    /// Where our browsers' profiles are; proves that a process is one of them.
    profiles: PathBuf,
    max_sessions: usize,
    idle: Duration,
    clock: Clock,
}

#[derive(Debug)]
struct Books {
    ledger: Ledger,
    /// The driver that the sessions in the ledger belong to.
    generation: u64,
}

/// A command on a session.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) fence: Fence,
    pub(super) deadline: Option<DateTime<Utc>>,
    pub(super) session: String,
    pub(super) method: Method,
    /// The whole path, `/session/<id>/…`.
    pub(super) path: String,
    pub(super) body: Bytes,
}

impl Desk {
    pub(super) fn new(
        options: &SupervisorOptions,
        place: &Place,
        browser: Browser,
        driver: watch::Receiver<Option<Driver>>,
    ) -> Result<Self, SupervisorError> {
        ensure_tls_provider();
        let client = reqwest::Client::builder().no_proxy().build().map_err(SupervisorError::Client)?;
        let books = Books { ledger: Ledger::new(options.max_sessions), generation: 0 };
        Ok(Self {
            books: Mutex::new(books),
            driver,
            client,
            browser,
            profiles: place.profiles().to_owned(),
            max_sessions: options.max_sessions,
            idle: options.idle,
            clock: options.clock.clone(),
        })
    }

    /// Opens a session. Goes on when the worker hangs up, so that no browser is lost from sight; one
    /// that nobody waits for any more is closed at once.
    pub(super) async fn open(self: Arc<Self>, fence: Fence, deadline: Option<DateTime<Utc>>, body: Bytes) -> Answer {
        let (answered, answer) = oneshot::channel();
        tokio::spawn(async move {
            let (reply, opened) = match self.open_session(&fence, deadline, &body).await {
                Ok((reply, session)) => (reply, Some(session)),
                Err(refusal) => (refusal, None),
            };
            let unwanted = answered.send(reply).is_err();
            if let (true, Some(session)) = (unwanted, opened) {
                self.ledger(|ledger| ledger.remove(&session.id));
                self.close(&session).await;
            }
        });
        answer.await.unwrap_or_else(|_| broken())
    }

    /// Carries out one command. Goes on when the worker hangs up: the session's next command must
    /// not overtake it.
    pub(super) async fn command(self: Arc<Self>, command: Command) -> Answer {
        let carried = tokio::spawn(async move { self.carry(command).await.unwrap_or_else(|refusal| refusal) });
        carried.await.unwrap_or_else(|_| broken())
    }

    /// What `GET /status` tells.
    pub(super) fn status(&self) -> Value {
        let ready = self.driver.borrow().is_some();
        let open = self.ledger(|ledger| ledger.sessions().count());
        json!({
            "ready": ready && open < self.max_sessions,
            "message": if ready { "chromedriver listens" } else { "chromedriver is being started" },
            "sessions": open,
            "max_sessions": self.max_sessions,
            "sandbox": self.browser.sandboxed,
        })
    }

    /// What `GET /_sessions` tells. A whole session id would be a key to the session.
    pub(super) fn sessions(&self) -> Value {
        const SHOWN_CHARS: usize = 8;
        let now = self.clock.monotonic();
        let shown = |session: &Session| {
            json!({
                "session": session.id.chars().take(SHOWN_CHARS).collect::<String>(),
                "run": session.fence.run,
                "epoch": session.fence.epoch,
                "idle_secs": now.saturating_duration_since(session.last_use).as_secs(),
            })
        };
        self.ledger(|ledger| ledger.sessions().map(shown).collect())
    }

    async fn open_session(
        &self,
        fence: &Fence,
        deadline: Option<DateTime<Utc>>,
        body: &[u8],
    ) -> Result<(Answer, Session), Answer> {
        let wanted = capability::prepare(body, &self.browser)
            .map_err(|why| Answer::refused(StatusCode::BAD_REQUEST, "invalid argument", why))?;
        self.admit(fence).await?;
        let limit = self.time_left(deadline, OPEN_LIMIT)?;
        let driver = self.driver_now()?;
        self.ledger(Ledger::reserve).map_err(refused)?;
        let started = self.start_browser(&driver, &wanted, limit).await;
        let Ok((answer, id, browser_pid)) = started else {
            self.ledger(Ledger::release);
            return Err(started.err().unwrap_or_else(broken));
        };
        let session =
            Session { id, fence: fence.clone(), last_use: self.clock.monotonic(), browser_pid, turn: Arc::default() };
        if let Err(refusal) = self.ledger(|ledger| ledger.opened(session.clone())) {
            self.close(&session).await;
            return Err(refused(refusal));
        }
        tracing::info!(run.id = %fence.run, run.epoch = fence.epoch, "run {} opened a browser", fence.run);
        Ok((answer, session))
    }

    async fn start_browser(
        &self,
        driver: &Driver,
        wanted: &Value,
        limit: Duration,
    ) -> Result<(Answer, String, Option<i32>), Answer> {
        let request = self.client.post(format!("{}/session", driver.base)).json(wanted);
        let answer = send(request, limit).await.map_err(|lost| lost.answer())?;
        let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
        let id = told.pointer("/value/sessionId").and_then(Value::as_str).map(str::to_owned);
        let pid = told.pointer("/value/capabilities/goog:processID").and_then(Value::as_i64);
        match id {
            Some(id) if answer.status.is_success() => Ok((answer, id, pid.and_then(|pid| i32::try_from(pid).ok()))),
            _ => Err(answer),
        }
    }

    async fn carry(&self, command: Command) -> Result<Answer, Answer> {
        self.admit(&command.fence).await?;
        let driver = self.driver_now()?;
        let owned = |desk: &Self| {
            let now = desk.clock.monotonic();
            desk.ledger(|ledger| ledger.use_session(&command.session, &command.fence, now)).map_err(refused)
        };
        let turn = owned(self)?.turn;
        let _turn = turn.lock().await;
        // Much may have happened while others had their turn.
        let session = owned(self)?;
        let ending = command.method == Method::DELETE && command.path.matches('/').count() == 2;
        let deadline = if ending { None } else { command.deadline };
        let limit = self.time_left(deadline, COMMAND_LIMIT)?;
        let request =
            self.client.request(command.method, format!("{}{}", driver.base, command.path)).body(command.body);
        let answer = send(request, limit).await;
        let now = self.clock.monotonic();
        let gone = match &answer {
            Ok(answer) => (ending && answer.status.is_success()) || says_gone(answer),
            Err(_) => false,
        };
        if gone {
            self.ledger(|ledger| ledger.remove(&session.id));
        } else {
            // The time that the command took was no idle time.
            let _ = self.ledger(|ledger| ledger.use_session(&session.id, &command.fence, now));
        }
        match answer {
            Ok(answer) => Ok(answer),
            Err(Lost::NeverSent) => Err(Lost::NeverSent.answer()),
            Err(Lost::Unanswered(why)) => {
                // It must not happen later: after the deadline its absence may be judged.
                tracing::warn!(run.id = %session.fence.run, "closing the browser of run {}: {why}", session.fence.run);
                self.ledger(|ledger| ledger.remove(&session.id));
                self.close(&session).await;
                Err(Lost::Unanswered(why).answer())
            }
        }
    }

    /// Lets a command in, after the browsers of the run's older epochs are closed.
    async fn admit(&self, fence: &Fence) -> Result<(), Answer> {
        let now = self.clock.monotonic();
        let gate = self.ledger(|ledger| ledger.gate(fence, now));
        let _gate = gate.lock().await;
        let older = self.ledger(|ledger| ledger.admit(fence, now)).map_err(refused)?;
        for session in older {
            tracing::info!(
                run.id = %fence.run, run.epoch = fence.epoch,
                "epoch {} of run {} closes the browser of epoch {}", fence.epoch, fence.run, session.fence.epoch
            );
            self.close(&session).await;
        }
        Ok(())
    }

    /// Ends a browser, whatever it is doing: by asking, else by its process, else by ending them all.
    /// When this returns, no command of its session can be carried out any more.
    async fn close(&self, session: &Session) {
        let Some(driver) = self.driver.borrow().clone() else {
            return; // The driver is dead, and its browsers with it.
        };
        let request = self.client.delete(format!("{}/session/{}", driver.base, session.id));
        match send(request, CLOSE_LIMIT).await {
            Ok(answer) if answer.status.is_success() || answer.status == StatusCode::NOT_FOUND => {
                return;
            }
            _ => {}
        }
        if session.browser_pid.is_some_and(|pid| kill_browser(&self.profiles, pid)) {
            tracing::warn!("a browser of run {} did not close and was killed", session.fence.run);
            return;
        }
        tracing::error!("a browser of run {} neither closes nor can be found: ending all browsers", session.fence.run);
        kill_group(driver.group);
    }

    fn time_left(&self, deadline: Option<DateTime<Utc>>, limit: Duration) -> Result<Duration, Answer> {
        let Some(deadline) = deadline else {
            return Ok(limit);
        };
        let left = (deadline - self.clock.now()).to_std().unwrap_or(Duration::ZERO);
        if left.is_zero() {
            return Err(Answer::refused(
                StatusCode::REQUEST_TIMEOUT,
                "deadline passed",
                "the call's deadline has passed; nothing was done",
            ));
        }
        Ok(left.min(limit))
    }

    /// The driver that listens; sessions of an earlier one leave the ledger.
    fn driver_now(&self) -> Result<Driver, Answer> {
        let driver = self.driver.borrow().clone().ok_or_else(|| Lost::NeverSent.answer())?;
        let mut books = self.books();
        if books.generation != driver.generation {
            books.generation = driver.generation;
            let lost = books.ledger.clear();
            if lost > 0 {
                tracing::warn!(browser.sessions = lost, "{lost} browser sessions died with their chromedriver");
            }
        }
        Ok(driver)
    }

    fn ledger<T>(&self, with: impl FnOnce(&mut Ledger) -> T) -> T {
        with(&mut self.books().ledger)
    }

    fn books(&self) -> MutexGuard<'_, Books> {
        self.books.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes what nobody uses, for as long as the supervisor runs.
pub(super) async fn close_idle_sessions(desk: Arc<Desk>) {
    let pause = (desk.idle / 4).clamp(SWEEP_MIN, SWEEP_MAX);
    loop {
        desk.clock.wait(pause).await;
        let now = desk.clock.monotonic();
        for session in desk.ledger(|ledger| ledger.take_idle(now, desk.idle)) {
            tracing::info!(run.id = %session.fence.run, "closing the idle browser of run {}", session.fence.run);
            desk.close(&session).await;
        }
    }
}

fn refused(refusal: Refusal) -> Answer {
    match refusal {
        Refusal::Fenced { newest } => Answer::refused(
            StatusCode::CONFLICT,
            "fenced",
            &format!("epoch {newest} of this run has the browser; nothing was done"),
        ),
        Refusal::NotOwner => Answer::refused(
            StatusCode::CONFLICT,
            "fenced",
            "this session belongs to another run or epoch; nothing was done",
        ),
        Refusal::UnknownSession => Answer::refused(
            StatusCode::NOT_FOUND,
            "invalid session id",
            "there is no such session; it may have been idle for too long",
        ),
        Refusal::Full => {
            Answer::refused(StatusCode::SERVICE_UNAVAILABLE, "session not created", "all browser sessions are taken")
        }
    }
}

/// The task that carried the command broke; what it did is not known.
fn broken() -> Answer {
    Answer::error(StatusCode::INTERNAL_SERVER_ERROR, "answer lost", "the supervisor failed", None)
}

/// reqwest panics where no TLS provider is installed; whoever installed one before us wins.
fn ensure_tls_provider() {
    if rustls::crypto::CryptoProvider::get_default().is_none() {
        // Losing the race against another installer is as good as winning it.
        drop(rustls::crypto::ring::default_provider().install_default());
    }
}
