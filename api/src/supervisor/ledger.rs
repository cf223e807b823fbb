//! Who may drive what: sessions, and the newest epoch seen of each run. Pure; time is a parameter.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Mutex;

/// How many runs' newest epochs are remembered. Beyond it, the run that was silent longest and has
/// no session is forgotten: its late workers have no session to use, and the engine refuses them too.
const FENCES_MAX: usize = 10_000;

/// The longest name of a run.
const RUN_MAX_CHARS: usize = 128;

/// Who sends a command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) run: String,
    pub(super) epoch: i32,
}

impl Fence {
    /// Reads `<run>:<epoch>`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let (run, epoch) = text.rsplit_once(':')?;
        let named = !run.is_empty() && run.len() <= RUN_MAX_CHARS && run.chars().all(|c| c.is_ascii_graphic());
        let epoch = epoch.parse().ok()?;
        named.then(|| Self { run: run.to_owned(), epoch })
    }
}

/// One browser.
#[derive(Debug, Clone)]
pub(super) struct Session {
    pub(super) id: String,
    pub(super) fence: Fence,
    pub(super) last_use: Instant,
    /// Chromium's main process, for when the driver no longer reacts.
    pub(super) browser_pid: Option<i32>,
    /// Held while a command is under way, so that a command's deadline is looked at when its turn
    /// comes and not while it queues.
    pub(super) turn: Arc<Mutex<()>>,
}

/// Why a command is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A newer epoch of the run has been seen.
    Fenced { newest: i32 },
    /// The session belongs to another run or epoch.
    NotOwner,
    /// There is no such session.
    UnknownSession,
    /// All sessions are taken.
    Full,
}

/// All sessions and fences.
#[derive(Debug)]
pub(super) struct Ledger {
    sessions: HashMap<String, Session>,
    fences: HashMap<String, Newest>,
    /// Sessions being opened; they count.
    opening: usize,
    max_sessions: usize,
}

#[derive(Debug, Clone)]
struct Newest {
    epoch: i32,
    seen: Instant,
    gate: Arc<Mutex<()>>,
}

impl Ledger {
    pub(super) fn new(max_sessions: usize) -> Self {
        Self { sessions: HashMap::new(), fences: HashMap::new(), opening: 0, max_sessions }
    }

    /// The gate of a run, held from [`Ledger::admit`] until what it returned is closed: no command
    /// of the newer epoch overtakes the end of the older one's browser.
    pub(super) fn gate(&mut self, fence: &Fence, now: Instant) -> Arc<Mutex<()>> {
        let first = || Newest { epoch: fence.epoch, seen: now, gate: Arc::default() };
        let gate = Arc::clone(&self.fences.entry(fence.run.clone()).or_insert_with(first).gate);
        self.forget_silent_runs();
        gate
    }

    /// A command came with this fence. Refuses an old epoch; a new one takes the run's older
    /// sessions out of the ledger: the caller closes them before the command goes on.
    pub(super) fn admit(&mut self, fence: &Fence, now: Instant) -> Result<Vec<Session>, Refusal> {
        if let Some(newest) = self.newer_than(fence) {
            return Err(Refusal::Fenced { newest });
        }
        let gate = self.gate(fence, now);
        let seen = Newest { epoch: fence.epoch, seen: now, gate };
        self.fences.insert(fence.run.clone(), seen);
        Ok(self.take(|session| session.fence.run == fence.run && session.fence.epoch < fence.epoch))
    }

    /// Keeps a place for a session that is being opened.
    pub(super) fn reserve(&mut self) -> Result<(), Refusal> {
        if self.sessions.len() + self.opening >= self.max_sessions {
            return Err(Refusal::Full);
        }
        self.opening += 1;
        Ok(())
    }

    /// The opening failed.
    pub(super) fn release(&mut self) {
        self.opening = self.opening.saturating_sub(1);
    }

    /// The opening succeeded. If a newer epoch came meanwhile, the session is refused and the caller closes it.
    pub(super) fn opened(&mut self, session: Session) -> Result<(), Refusal> {
        self.release();
        if let Some(newest) = self.newer_than(&session.fence) {
            return Err(Refusal::Fenced { newest });
        }
        self.sessions.insert(session.id.clone(), session);
        Ok(())
    }

    /// The session, if this fence owns it; marks it used.
    pub(super) fn use_session(&mut self, id: &str, fence: &Fence, now: Instant) -> Result<Session, Refusal> {
        if let Some(newest) = self.newer_than(fence) {
            return Err(Refusal::Fenced { newest });
        }
        let session = self.sessions.get_mut(id).ok_or(Refusal::UnknownSession)?;
        if session.fence != *fence {
            return Err(Refusal::NotOwner);
        }
        session.last_use = now;
        Ok(session.clone())
    }

    /// Takes one session out.
    pub(super) fn remove(&mut self, id: &str) -> Option<Session> {
        self.sessions.remove(id)
    }

    /// Takes out what nobody has used for so long and nobody is using now.
    pub(super) fn take_idle(&mut self, now: Instant, idle: Duration) -> Vec<Session> {
        self.take(|session| now.saturating_duration_since(session.last_use) >= idle && session.turn.try_lock().is_ok())
    }

    /// The driver died, and all browsers with it.
    pub(super) fn clear(&mut self) -> usize {
        let lost = self.sessions.len();
        self.sessions.clear();
        lost
    }

    pub(super) fn sessions(&self) -> impl Iterator<Item = &Session> {
        self.sessions.values()
    }

    fn newer_than(&self, fence: &Fence) -> Option<i32> {
        let newest = self.fences.get(&fence.run)?.epoch;
        (newest > fence.epoch).then_some(newest)
    }

    fn take(&mut self, unwanted: impl Fn(&Session) -> bool) -> Vec<Session> {
        let taken: Vec<Session> = self.sessions.values().filter(|session| unwanted(session)).cloned().collect();
        for session in &taken {
            self.sessions.remove(&session.id);
        }
        taken
    }

    /// Drops a quarter at once, so that the search for the oldest is rare.
    fn forget_silent_runs(&mut self) {
        if self.fences.len() <= FENCES_MAX {
            return;
        }
        let driven: Vec<&str> = self.sessions.values().map(|session| session.fence.run.as_str()).collect();
        let mut silent: Vec<(Instant, String)> = self
            .fences
            .iter()
            .filter(|(run, _)| !driven.contains(&run.as_str()))
            .map(|(run, newest)| (newest.seen, run.clone()))
            .collect();
        silent.sort_unstable();
        for (_, run) in silent.into_iter().take(FENCES_MAX / 4) {
            self.fences.remove(&run);
        }
    }
}

#[cfg(test)]
#[path = "ledger_tests.rs"]
mod tests;
