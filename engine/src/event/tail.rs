//! The tail: the newest events of the stream, held once per process for all who follow it.
//!
//! One task reads what is new, woken by commits of this process and hints of others; it reads
//! while somebody follows, and rests when nobody does. Followers take events from the ring, each at
//! its own pace; the database is asked again only by who comes from further back. It holds the
//! events of every client: who may see which is decided by `access`.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tracing::{debug, warn};

use super::Cursor;
use crate::clock::{Clock, Pace};
use crate::node::{FOLLOWED, Wakes};
use crate::read::{EventView, SharedEvent};
use crate::rigged::crash_point;
use crate::store::stream::{Hint, Hints, News};
use crate::store::{Store, StoreError};
use crate::telemetry;

/// The newest events that are held for followers.
pub const RING_EVENTS: usize = 16_384;
/// The most events that one look reads.
const PAGE: i64 = 2_000;
/// The time between two looks: under load, many commits are read at once.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// How many looks go without that time between them: what one run writes is seen at once.
const LOOKS_AT_ONCE: u32 = 16;
/// How often to look when hints are heard: one may have been lost with its sender.
const SAFETY_LOOK: Duration = Duration::from_secs(5);
/// How often to look when no hints are heard, as behind a pooler that does not pass them on.
const POLL: Duration = Duration::from_millis(250);
/// How long our own hint may take to come back before we take ourselves for deaf.
const ECHO: Duration = Duration::from_secs(2);
/// The pause after the database could not be read.
const AFTER_ERROR: Duration = Duration::from_millis(250);

/// How far the tail reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Reach {
    /// The newest event that it holds.
    pub(crate) head: Cursor,
    /// Grows when it begins anew: who was in the ring then is not to blame for having fallen out.
    pub(crate) generation: u64,
}

/// Where the tail stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not looked yet.
    Starting,
    /// It reaches this far.
    At(Reach),
    /// The process ends.
    Stopped,
}

/// Events in a row; the one at index 0 follows `oldest`.
#[derive(Debug, Default)]
struct Ring {
    oldest: i64,
    events: VecDeque<Arc<SharedEvent>>,
}

/// What the ring says to a follower.
pub(crate) enum Taken {
    /// What follows, filtered, and the position up to which that is all.
    Events(Vec<Arc<SharedEvent>>, i64),
    /// The ring does not reach back that far.
    TooOld,
}

/// The tail of one process. Its reading task starts with the first follower.
pub(crate) struct Tail {
    ring: RwLock<Ring>,
    standing: watch::Sender<Standing>,
    followed: Notify,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl Tail {
    pub(crate) fn new() -> Self {
        Self {
            ring: RwLock::default(),
            standing: watch::Sender::new(Standing::Starting),
            followed: Notify::new(),
            task: Mutex::new(None),
        }
    }

    /// Where the tail stands, now and later.
    pub(crate) fn follow(self: &Arc<Self>, reader: &Arc<Reader>) -> watch::Receiver<Standing> {
        let standing = self.standing.subscribe();
        let mut task = self.task.lock().unwrap_or_else(PoisonError::into_inner);
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(tokio::spawn(run(Arc::clone(self), Arc::clone(reader))));
        }
        self.followed.notify_one();
        standing
    }

    /// Ends the reading; followers are told.
    pub(crate) fn stop(&self) {
        if let Some(task) = self.task.lock().unwrap_or_else(PoisonError::into_inner).take() {
            task.abort();
        }
        self.standing.send_replace(Standing::Stopped);
    }

    /// At most `most` looked-at events behind a position.
    pub(crate) fn take(&self, after: i64, most: usize, wanted: impl Fn(&EventView) -> bool) -> Taken {
        let ring = self.ring.read().unwrap_or_else(PoisonError::into_inner);
        let Some(skip) = after.checked_sub(ring.oldest).and_then(|skip| usize::try_from(skip).ok()) else {
            return Taken::TooOld;
        };
        let looked = ring.events.len().saturating_sub(skip).min(most);
        let events = ring.events.range(skip.min(ring.events.len())..).take(looked);
        let events = events.filter(|event| wanted(event)).cloned().collect();
        Taken::Events(events, after.saturating_add(i64::try_from(looked).unwrap_or(i64::MAX)))
    }

    /// Begins anew at `head`: what was held is of no use.
    fn reset(&self, head: Cursor) {
        *self.ring.write().unwrap_or_else(PoisonError::into_inner) =
            Ring { oldest: head.position, events: VecDeque::new() };
        let generation = self.reach().map_or(0, |reach| reach.generation + 1);
        self.standing.send_replace(Standing::At(Reach { head, generation }));
    }

    /// Appends what follows; the oldest go.
    fn append(&self, events: Vec<EventView>) {
        let mut ring = self.ring.write().unwrap_or_else(PoisonError::into_inner);
        ring.events.extend(events.into_iter().map(|event| Arc::new(event.into())));
        let surplus = ring.events.len().saturating_sub(RING_EVENTS);
        ring.events.drain(..surplus);
        ring.oldest = ring.oldest.saturating_add(i64::try_from(surplus).unwrap_or(0));
        let (first, last) = (ring.events.front(), ring.events.back());
        debug_assert_eq!(first.map(|event| event.cursor.position), Some(ring.oldest + 1), "positions are dense");
        if let Some(head) = last.map(|event| event.cursor) {
            drop(ring);
            let generation = self.reach().map_or(0, |reach| reach.generation);
            self.standing.send_replace(Standing::At(Reach { head, generation }));
        }
    }

    fn reach(&self) -> Option<Reach> {
        match *self.standing.borrow() {
            Standing::At(reach) => Some(reach),
            Standing::Starting | Standing::Stopped => None,
        }
    }

    fn head(&self) -> Option<Cursor> {
        self.reach().map(|reach| reach.head)
    }

    fn is_followed(&self) -> bool {
        self.standing.receiver_count() > 0
    }
}

/// What the reading task needs of its process.
pub(crate) struct Reader {
    pub(crate) store: Store,
    pub(crate) clock: Clock,
    pub(crate) wakes: Arc<Wakes>,
}

/// How the task hears of commits elsewhere: on a connection of its own, which has proven that hints
/// arrive; without one it looks by the clock.
type Ear = Option<Hints>;

async fn run(tail: Arc<Tail>, reader: Arc<Reader>) {
    loop {
        let heard = listen(&reader).await;
        let ear = heard.unwrap_or_else(|error| {
            debug!(error = %error, "hints cannot be heard, the stream is looked at by the clock");
            None
        });
        if let Err(error) = read(&tail, &reader, ear).await {
            warn!(error = %error, "the stream cannot be read, will try again");
            reader.clock.wait(AFTER_ERROR).await;
        }
    }
}

/// Listens, and sends itself a hint: a pooler in transaction mode takes LISTEN and delivers nothing.
async fn listen(reader: &Reader) -> Result<Ear, StoreError> {
    let mut hints = reader.store.hints().await?;
    let hint = Hint { origin: reader.wakes.origin, news: News::Follow };
    reader.store.hint(hint).await?;
    let echo = async {
        while let Ok(Some(heard)) = hints.next().await {
            if heard == hint {
                return true;
            }
        }
        false
    };
    tokio::select! {
        came = echo => Ok(came.then_some(hints)),
        () = reader.clock.wait(ECHO) => {
            warn!("no hints arrive (a pooler in transaction mode?), the stream is looked at every {} ms", POLL.as_millis());
            Ok(None)
        }
    }
}

/// Reads what is new for as long as the database answers and hints are heard.
async fn read(tail: &Tail, reader: &Reader, mut ear: Ear) -> Result<(), StoreError> {
    let epoch = reader.store.recognise().await?;
    catch_up(tail, reader, Some(epoch)).await?;
    let mut told = reader.clock.monotonic();
    let mut pace = Pace::new(LOOK_EVERY, LOOKS_AT_ONCE);
    // What was committed while nobody followed is not late.
    let mut since = reader.clock.now();
    loop {
        if !tail.is_followed() {
            tail.followed.notified().await;
            since = reader.clock.now();
            catch_up(tail, reader, None).await?;
            told = reader.clock.monotonic();
            tell_others(reader).await;
        }
        // Asked for before looking: what is committed meanwhile is not missed.
        let moved = reader.wakes.events();
        let Some(after) = tail.head() else { return Ok(()) };
        pace.done(reader.clock.monotonic());
        let events = reader.store.behind(after, PAGE).await?;
        telemetry::tail_read(events.len());
        let full = i64::try_from(events.len()).is_ok_and(|count| count >= PAGE);
        if !events.is_empty() {
            crash_point!("tail-after-read");
            let now = reader.clock.now();
            for event in events.iter().filter(|event| event.time >= since) {
                telemetry::tail_lag((now - event.time).to_std().unwrap_or_default());
            }
            tail.append(events);
        }
        if full {
            continue;
        }
        if reader.clock.monotonic().duration_since(told) > FOLLOWED / 3 {
            told = reader.clock.monotonic();
            tell_others(reader).await;
        }
        let longest = if ear.is_some() { SAFETY_LOOK } else { POLL };
        tokio::select! {
            () = moved => {}
            heard = hear(&mut ear, reader) => if heard.is_none() { return Ok(()) },
            () = reader.clock.wait(longest) => {}
        }
        pace.rest(&reader.clock).await;
    }
}

/// Begins anew where what is held is of another history, or too far back to go on from.
async fn catch_up(tail: &Tail, reader: &Reader, epoch: Option<u32>) -> Result<(), StoreError> {
    let (_, head) = reader.store.stream_bounds().await?;
    let goes_on = tail.head().is_some_and(|known| {
        let behind = head.position.saturating_sub(known.position);
        known.epoch == epoch.unwrap_or(head.epoch) && usize::try_from(behind).is_ok_and(|behind| behind < RING_EVENTS)
    });
    if !goes_on {
        tail.reset(head);
    }
    Ok(())
}

/// Hears one hint that may mean new events; `None` when the connection is lost.
async fn hear(ear: &mut Ear, reader: &Reader) -> Option<()> {
    let Some(hints) = ear else { return std::future::pending().await };
    loop {
        let hint = hints.next().await.ok().flatten()?;
        match hint.news {
            _ if hint.origin == reader.wakes.origin => {}
            News::Hello => tell_others(reader).await,
            News::Follow => reader.wakes.heard(hint, &reader.clock),
            News::Events | News::Work => return Some(()),
        }
    }
}

async fn tell_others(reader: &Reader) {
    let hint = Hint { origin: reader.wakes.origin, news: News::Follow };
    if let Err(error) = reader.store.hint(hint).await {
        debug!(error = %error, "a hint could not be sent");
    }
}
