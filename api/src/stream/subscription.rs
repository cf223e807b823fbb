//! One subscription of a connection: a follower whose news go to the connection's buffer.

use fermata_engine::access::Principal;
use fermata_engine::engine::Engine;
use fermata_engine::event::{CursorError, FollowEnd, Followed, Follower, Start};
use fermata_engine::read::{EventFilter, ReadError};
use tokio::sync::mpsc::Sender;

use super::frame::{Close, ServerFrame};
use crate::error::Problem;

/// What a subscription tells its connection.
#[derive(Debug)]
pub(super) struct Told {
    /// Which subscription: a name may be used again after it was free.
    pub(super) of: Subscription,
    /// What.
    pub(super) what: What,
}

/// A subscription by name and number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Subscription {
    /// The client's name for it.
    pub(super) id: String,
    /// Counts the subscriptions of a connection.
    pub(super) number: u64,
}

/// What there is to tell.
#[derive(Debug)]
pub(super) enum What {
    /// To be sent on.
    Frame(ServerFrame),
    /// The subscription has ended, and perhaps the connection with it.
    Ended(Problem, Option<Close>),
}

/// Where a subscription begins, as the client says it.
pub(super) fn start(cursor: Option<&str>) -> Result<Start, CursorError> {
    match cursor {
        None | Some("latest") => Ok(Start::Latest),
        Some("earliest") => Ok(Start::Earliest),
        Some(text) => text.parse().map(Start::After),
    }
}

/// Follows for as long as it may, or the connection lasts.
pub(super) async fn carry(
    engine: Engine,
    by: Principal,
    of: Subscription,
    want: (EventFilter, Start),
    tell: Sender<Told>,
) {
    let (filter, start) = want;
    let end = match engine.follow(&by, filter, start).await {
        Ok(follower) => pass_on(follower, &of, &tell).await,
        Err(end) => Some(end),
    };
    if let Some(end) = end {
        let close = close(&end);
        // A connection that is gone needs no reason.
        drop(tell.send(Told { of, what: What::Ended(end.into(), close) }).await);
    }
}

/// Passes events on; `None` when the connection is gone.
async fn pass_on(mut follower: Follower, of: &Subscription, tell: &Sender<Told>) -> Option<FollowEnd> {
    let id = || of.id.clone();
    let mut frame = ServerFrame::Subscribed { id: id(), cursor: follower.cursor() };
    loop {
        tell.send(Told { of: of.clone(), what: What::Frame(frame) }).await.ok()?;
        frame = match follower.next().await {
            Ok(Followed::Event(event)) => ServerFrame::Event { id: id(), cursor: event.cursor, event },
            Ok(Followed::CaughtUp(cursor)) => ServerFrame::CaughtUp { id: id(), cursor },
            Err(end) => return Some(end),
        };
    }
}

/// What ends the connection too: another subscription on it would fare no better.
fn close(end: &FollowEnd) -> Option<Close> {
    match end {
        FollowEnd::Slow { .. } => Some(Close::Slow),
        FollowEnd::Cursor(CursorError::Expired { .. } | CursorError::Foreign) => Some(Close::Cursor),
        FollowEnd::Revoked(_) => Some(Close::Auth),
        FollowEnd::Stopped { .. } => Some(Close::GoingAway),
        FollowEnd::Read(ReadError::Denied(_)) => Some(Close::Scope),
        FollowEnd::Cursor(_) | FollowEnd::Read(_) => None,
    }
}
