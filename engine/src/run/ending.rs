//! Waiting for the end of a run without asking for it again and again.
//!
//! A run that ends in this process tells its callers at once; of one that is elsewhere they hear from the stream, which
//! is followed for as long as somebody waits for such a run.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde_json::Value;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tracing::debug;

use crate::access::{Principal, Scope};
use crate::engine::Engine;
use crate::event::{FollowEnd, Followed, Start, name};
use crate::id::{RunId, uuid_at};
use crate::read::{EventFilter, ReadError};

/// How long the stream is followed once nobody waits any more.
const LINGER: Duration = Duration::from_secs(30);

/// How long a run that is in this process's hands is not asked for: it tells by itself, unless it was taken away.
const IN_HAND: Duration = Duration::from_secs(1);

/// How old a run is before it is asked for: until then its end is rather waited for, and a question would only take
/// time from it.
const YOUNG: Duration = Duration::from_millis(20);

/// The pause before callers look again because the stream could not be followed.
const AFTER_ERROR: Duration = Duration::from_millis(250);

/// How a run ended.
#[derive(Debug, Clone, PartialEq)]
pub struct Ending {
    /// `SUCCEEDED`, `FAILED` or `CANCELLED`.
    pub status: String,
    /// What it came to, if it succeeded.
    pub result: Option<Value>,
    /// Why not, if it did not.
    pub error: Option<Value>,
}

impl Ending {
    /// How a run ends whose last record has this status and this document.
    pub(crate) fn new(status: &str, body: &Value) -> Self {
        let succeeded = status == "SUCCEEDED";
        Self {
            status: status.to_owned(),
            result: succeeded.then(|| body.clone()),
            error: (!succeeded).then(|| body.clone()),
        }
    }
}

fn is_final(status: &str) -> bool {
    matches!(status, "SUCCEEDED" | "FAILED" | "CANCELLED")
}

/// What a caller is told: how it ended, or that it should look.
type Told = Option<Arc<Ending>>;

/// Who waits for the end of which run, in this process.
#[derive(Debug, Default)]
pub(crate) struct Endings {
    callers: Mutex<HashMap<RunId, Vec<oneshot::Sender<Told>>>>,
    listener: Mutex<Option<JoinHandle<()>>>,
}

impl Endings {
    fn callers(&self) -> MutexGuard<'_, HashMap<RunId, Vec<oneshot::Sender<Told>>>> {
        self.callers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wait(&self, run: RunId) -> oneshot::Receiver<Told> {
        let (tell, told) = oneshot::channel();
        let mut callers = self.callers();
        let of_the_run = callers.entry(run).or_default();
        of_the_run.retain(|caller| !caller.is_closed());
        of_the_run.push(tell);
        told
    }

    /// A run has ended in this process.
    pub(crate) fn tell(&self, run: RunId, status: &str, body: &Value) {
        let callers = self.callers().remove(&run).unwrap_or_default();
        if callers.is_empty() {
            return;
        }
        let ending = Arc::new(Ending::new(status, body));
        for caller in callers {
            // A caller that went away needs no answer; so below.
            drop(caller.send(Some(Arc::clone(&ending))));
        }
    }

    /// A run has ended elsewhere.
    fn look(&self, run: RunId) {
        for caller in self.callers().remove(&run).into_iter().flatten() {
            drop(caller.send(None));
        }
    }

    /// Nobody knows what was missed.
    fn look_all(&self) {
        for caller in std::mem::take(&mut *self.callers()).into_values().flatten() {
            drop(caller.send(None));
        }
    }

    fn is_idle(&self) -> bool {
        let mut callers = self.callers();
        callers.retain(|_, of_the_run| of_the_run.iter().any(|caller| !caller.is_closed()));
        callers.is_empty()
    }
}

impl Engine {
    /// Waits until the command has ended; `None` when it has not within `patience`.
    ///
    /// # Errors
    /// When the principal does not see such a command, or the database does not answer.
    pub async fn ended(&self, by: &Principal, run: RunId, patience: Duration) -> Result<Option<Ending>, ReadError> {
        by.require(Scope::CommandsRead)?;
        let until = self.clock().monotonic() + patience;
        loop {
            // Asked for before looking: an end between the two is not missed.
            let mut told = self.endings().wait(run);
            if self.client_in_hand(run).is_some_and(|client| by.may_act_for(&client)) {
                let rather = until.min(self.clock().monotonic() + IN_HAND);
                if let Some(Ok(Some(ending))) = self.clock().before(rather, &mut told).await {
                    return Ok(Some((*ending).clone()));
                }
                told = self.endings().wait(run);
            }
            self.listen();
            if self.is_young(run) {
                let rather = until.min(self.clock().monotonic() + YOUNG);
                // Anybody who waits is told: what there is for this one to see, the database says.
                if self.clock().before(rather, &mut told).await.is_some() {
                    told = self.endings().wait(run);
                }
            }
            let ending = self.store().ending(&by.client_id, run).await?.ok_or(ReadError::NotFound("command"))?;
            if is_final(&ending.status) {
                return Ok(Some(ending));
            }
            match self.clock().before(until, told).await {
                None => return Ok(None),
                Some(Ok(Some(ending))) => return Ok(Some((*ending).clone())),
                Some(Ok(None) | Err(_)) => {}
            }
        }
    }

    /// Whether the run was accepted so lately that it is rarely over.
    fn is_young(&self, run: RunId) -> bool {
        run.0 > uuid_at(self.clock().now() - YOUNG)
    }

    /// Follows the stream for those who wait.
    fn listen(&self) {
        let mut listener = self.endings().listener.lock().unwrap_or_else(PoisonError::into_inner);
        if listener.as_ref().is_none_or(JoinHandle::is_finished) {
            *listener = Some(tokio::spawn(listen(self.clone())));
        }
    }
}

async fn listen(engine: Engine) {
    let filter = EventFilter { types: vec![name::STATUS_CHANGED.to_owned()], ..EventFilter::default() };
    let mut follower = match engine.follow(&Principal::operator(), filter, Start::Latest).await {
        Ok(follower) => follower,
        Err(error) => return give_up(&engine, &error).await,
    };
    // Whoever began to wait before this may have missed the end.
    engine.endings().look_all();
    loop {
        let until = engine.clock().monotonic() + LINGER;
        match engine.clock().before(until, follower.next()).await {
            None if engine.endings().is_idle() => return,
            None | Some(Ok(Followed::CaughtUp(_))) => {}
            Some(Ok(Followed::Event(event))) => {
                let to = event.data.get("to").and_then(Value::as_str).unwrap_or_default();
                if let Some(run) = event.subject.filter(|_| is_final(to)) {
                    engine.endings().look(run);
                }
            }
            Some(Err(error)) => return give_up(&engine, &error).await,
        }
    }
}

async fn give_up(engine: &Engine, error: &FollowEnd) {
    debug!(error = %error, "the stream cannot be followed for those who wait, they look for themselves");
    engine.clock().wait(AFTER_ERROR).await;
    engine.endings().look_all();
}
