//! A follower: one reader of the stream, from any place in it into the present.
//!
//! It replays from the database until it reaches the ring of the [tail](super::tail), and goes on
//! from there; to its reader that is one sequence without gap or repeat. It ends when it may not
//! or cannot go on, and says from where another one can.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::tail::{Reach, Standing, Taken};
use super::{Cursor, CursorError};
use crate::access::{AuthError, Principal, Scope};
use crate::engine::Engine;
use crate::read::{EventFilter, EventView, ReadError, SharedEvent};
use crate::telemetry;

/// The most events looked at in the ring at once.
const SLICE: usize = 256;
/// Events replayed from the database by one statement.
const REPLAY_PAGE: u32 = 500;
/// Positions that one replaying statement looks at.
const REPLAY_WINDOW: i64 = 100_000;
/// How often it is asked whether the principal still stands (5 s from revocation to the end).
const STANDING_EVERY: Duration = Duration::from_secs(2);

/// Where a follower begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With what happens from now on.
    Latest,
    /// With the oldest event that is kept.
    Earliest,
    /// Behind this place.
    After(Cursor),
}

/// What a follower gets.
#[derive(Debug, Clone)]
pub enum Followed {
    /// The next event.
    Event(Arc<SharedEvent>),
    /// Everything up to here, which was the head when the follower began, has been given. Said once.
    CaughtUp(Cursor),
}

/// Why a follower ends.
#[derive(Debug, thiserror::Error)]
pub enum FollowEnd {
    /// It was too slow, and what comes next is no longer held for it.
    #[error("this reader was too slow for the stream; resume from the cursor, or narrow the filter")]
    Slow {
        /// The last place that it reached.
        resume: Cursor,
    },
    /// Its place cannot be resumed.
    #[error(transparent)]
    Cursor(#[from] CursorError),
    /// Its token was revoked, or has expired.
    #[error("the token no longer stands: {0}")]
    Revoked(#[source] AuthError),
    /// The process ends.
    #[error("this node is shutting down; connect again and resume from the cursor")]
    Stopped {
        /// The last place that it reached.
        resume: Cursor,
    },
    /// What it asks for cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// One reader of the stream. Counted while it lives.
pub struct Follower {
    engine: Engine,
    by: Principal,
    filter: EventFilter,
    standing: watch::Receiver<Standing>,
    /// Taken and not yet given.
    ready: VecDeque<Arc<SharedEvent>>,
    /// Everything up to here was looked at.
    looked: Cursor,
    /// Everything up to here was given, or is not wanted.
    given: Cursor,
    /// Where `CaughtUp` is to be said.
    target: Option<i64>,
    /// The generation of the ring in which it stood.
    generation: Option<u64>,
    checked: Instant,
}

impl std::fmt::Debug for Follower {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Follower").field("filter", &self.filter).field("given", &self.given).finish_non_exhaustive()
    }
}

impl Engine {
    /// How far back and ahead the stream reaches.
    pub async fn stream_bounds(&self, by: &Principal) -> Result<(Cursor, Cursor), ReadError> {
        by.require(Scope::EventsRead)?;
        Ok(self.store().stream_bounds().await?)
    }

    /// Follows the events that the principal may see and the filter wants.
    pub async fn follow(&self, by: &Principal, filter: EventFilter, from: Start) -> Result<Follower, FollowEnd> {
        by.require(Scope::EventsRead).map_err(ReadError::from)?;
        // First followed, then looked: what is committed between the two is in the ring.
        let standing = self.tail().follow(self.reader());
        let (oldest, head) = self.store().stream_bounds().await.map_err(ReadError::from)?;
        if let Some(run) = filter.run {
            let known = self.store().command_status(&by.client_id, run).await.map_err(ReadError::from)?;
            known.ok_or(ReadError::NotFound("command"))?;
        }
        let at = match from {
            Start::Latest => head,
            Start::Earliest => oldest,
            Start::After(cursor) => cursor.check(oldest, head)?,
        };
        telemetry::follower(1.0);
        Ok(Follower {
            engine: self.clone(),
            by: by.clone(),
            filter,
            standing,
            ready: VecDeque::new(),
            looked: at,
            given: at,
            target: Some(head.position),
            generation: None,
            checked: self.clock().monotonic(),
        })
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        telemetry::follower(-1.0);
    }
}

impl Follower {
    /// The next thing. Cancelling it loses nothing: what was not returned comes next time.
    pub async fn next(&mut self) -> Result<Followed, FollowEnd> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                self.given = event.cursor;
                return Ok(Followed::Event(event));
            }
            self.given = self.looked;
            self.check_token().await?;
            if self.target.is_some_and(|target| self.looked.position >= target) {
                self.target = None;
                return Ok(Followed::CaughtUp(self.looked));
            }
            let standing = *self.standing.borrow_and_update();
            match standing {
                Standing::Stopped => return Err(FollowEnd::Stopped { resume: self.given }),
                Standing::Starting => self.wait().await,
                Standing::At(reach) if reach.head.epoch != self.looked.epoch => return Err(CursorError::Foreign.into()),
                Standing::At(reach) if reach.head.position <= self.looked.position => self.wait().await,
                Standing::At(reach) => self.go_on(reach).await?,
            }
        }
    }

    /// The last place that was given: where another follower goes on.
    pub fn cursor(&self) -> Cursor {
        self.given
    }

    async fn wait(&mut self) {
        let clock = self.engine.clock().clone();
        tokio::select! {
            // The tail lives as long as the engine, which this follower holds.
            _ = self.standing.changed() => {}
            () = clock.wait(STANDING_EVERY) => {}
        }
    }

    async fn check_token(&mut self) -> Result<(), FollowEnd> {
        let now = self.engine.clock().monotonic();
        if now.saturating_duration_since(self.checked) < STANDING_EVERY {
            return Ok(());
        }
        match self.engine.stands(&self.by).await {
            // A database that is away for a moment revokes nobody; it is asked again next time.
            Ok(()) | Err(AuthError::Store(_)) => self.checked = now,
            Err(error) => return Err(FollowEnd::Revoked(error)),
        }
        Ok(())
    }

    async fn go_on(&mut self, reach: Reach) -> Result<(), FollowEnd> {
        let taken = {
            let (by, filter) = (&self.by, &self.filter);
            self.engine.tail().take(self.looked.position, SLICE, |event| by.sees(event) && filter.wants(event))
        };
        match taken {
            Taken::Events(events, until) => {
                self.generation = Some(reach.generation);
                self.ready.extend(events);
                self.looked.position = until;
                Ok(())
            }
            Taken::TooOld if self.target.is_none() && self.generation == Some(reach.generation) => {
                telemetry::slow_follower();
                Err(FollowEnd::Slow { resume: self.given })
            }
            Taken::TooOld => self.replay(reach.head).await,
        }
    }

    /// One page from the database, under the principal's own eyes.
    async fn replay(&mut self, head: Cursor) -> Result<(), FollowEnd> {
        let after = self.looked;
        let window = if self.filter.run.is_some() { i64::MAX } else { REPLAY_WINDOW };
        let until = after.position.saturating_add(window).min(head.position);
        let store = self.engine.store();
        let found = store.events(&self.by.client_id, &self.filter, (after, until), REPLAY_PAGE).await;
        let events = found.map_err(ReadError::from)?.ok_or(ReadError::NotFound("command"))?;
        if events.is_empty() {
            // Nothing may be there because it is no longer kept.
            let (oldest, head) = store.stream_bounds().await.map_err(ReadError::from)?;
            after.check(oldest, head)?;
        }
        let full = u32::try_from(events.len()).is_ok_and(|count| count >= REPLAY_PAGE);
        self.looked = match events.last() {
            Some(last) if full => last.cursor,
            _ => Cursor { position: until, ..after },
        };
        self.ready.extend(events.into_iter().map(|event| Arc::new(event.into())));
        Ok(())
    }
}

impl EventFilter {
    /// Whether an event is one of those that are asked for.
    pub(crate) fn wants(&self, event: &EventView) -> bool {
        let is = |wanted: &Option<String>, found: Option<&str>| wanted.is_none() || wanted.as_deref() == found;
        self.run.is_none_or(|run| event.subject == Some(run))
            && self.min_severity.is_none_or(|least| event.severity >= least)
            && (self.types.is_empty() || self.types.contains(&event.r#type))
            && is(&self.client_id, Some(&event.clientid))
            && is(&self.account_id, event.accountid.as_deref())
            && is(&self.session_id, event.sessionid.as_deref())
    }
}
