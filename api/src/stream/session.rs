//! One connection: what is heard, what is said, and when it ends.
//!
//! Everything that is said goes through one bounded buffer; a client that does not read fills it,
//! then its followers fall back, and then the connection ends with the place to resume from.

use std::collections::HashMap;
use std::future::Future;

use axum::extract::ws::{CloseFrame, Message, WebSocket};
use fermata_engine::access::{AuthError, Principal, Scope};
use fermata_engine::event::{Cursor, Start};
use fermata_engine::read::EventFilter;
use futures::stream::{SplitSink, SplitStream};
use futures::{SinkExt as _, StreamExt as _};
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::mpsc::{self, Sender};
use tokio::task::{AbortHandle, JoinSet};

use super::frame::{ClientFrame, Close, MAX_NAME_BYTES, ServerFrame, Wanted};
use super::subscription::{Subscription, Told, What, carry, start};
use super::{AUTH_LIMIT, MAX_SUBSCRIPTIONS, PROTOCOL, SEND_LIMIT, SILENT_HEARTBEATS, STREAM_BUFFER};
use crate::app::AppState;
use crate::error::{Kind, Problem};

/// Frames that are written before the socket is flushed.
const WRITES: usize = 64;
/// The path that problems of a stream name.
const PATH: &str = "/v1/stream";

/// A message that ends the connection: what is said of it, and with which code.
type Refusal = (Option<Problem>, Option<Close>);

/// What the connection does next.
enum Step {
    Heard(Option<Result<Message, axum::Error>>),
    Told,
    Beat,
}

/// Both halves of the WebSocket.
struct Socket {
    sink: SplitSink<WebSocket, Message>,
    source: SplitStream<WebSocket>,
}

/// One connection.
pub(super) struct Session {
    app: AppState,
    /// Number and task of each subscription, by name.
    subscriptions: HashMap<String, (u64, AbortHandle)>,
    /// Subscriptions so far.
    numbers: u64,
    tasks: JoinSet<()>,
    /// Given back when the connection ends.
    _place: OwnedSemaphorePermit,
}

impl Session {
    pub(super) fn new(app: AppState, place: OwnedSemaphorePermit) -> Self {
        Self { app, subscriptions: HashMap::new(), numbers: 0, tasks: JoinSet::new(), _place: place }
    }

    /// Serves the connection to its end.
    ///
    /// `wanted` is what the address asked for: it stands as soon as the connection does.
    pub(super) async fn run(mut self, socket: WebSocket, caller: Option<Principal>, wanted: Option<Wanted>) {
        metrics::gauge!("stream_connections").increment(1.0);
        let (sink, source) = socket.split();
        let mut socket = Socket { sink, source };
        let close = match self.greet(&mut socket, caller).await {
            Ok(by) => self.serve(&mut socket, &by, wanted).await,
            Err(close) => close,
        };
        if let Some(close) = close {
            metrics::counter!("stream_closed_total", "code" => close.code().to_string()).increment(1);
            let frame = CloseFrame { code: close.code(), reason: close.reason().into() };
            // Who does not read does not hear this either.
            drop(tokio::time::timeout(SEND_LIMIT, socket.sink.send(Message::Close(Some(frame)))).await);
        }
        metrics::gauge!("stream_connections").decrement(1.0);
    }

    /// Learns who it is, and says hello.
    async fn greet(&self, socket: &mut Socket, caller: Option<Principal>) -> Result<Principal, Option<Close>> {
        let engine = &self.app.engine;
        let (by, refused) = match caller {
            Some(by) => (Some(by), None),
            None => match tokio::time::timeout(AUTH_LIMIT, first_token(&mut socket.source)).await {
                Ok(Some(token)) => match engine.authenticate(&token).await {
                    Ok(by) => (Some(by), None),
                    Err(error) => (None, Some(error)),
                },
                Ok(None) | Err(_) => (None, None),
            },
        };
        let Some(by) = by else {
            let problem = refused.map_or_else(unnamed, Problem::from);
            socket.say(&self.error(None, &problem)).await?;
            return Err(Some(Close::Auth));
        };
        let (oldest_cursor, head_cursor) = match engine.stream_bounds(&by).await {
            Ok(bounds) => bounds,
            Err(error) => {
                let close = if by.has(Scope::EventsRead) { Close::Internal } else { Close::Scope };
                socket.say(&self.error(None, &error.into())).await?;
                return Err(Some(close));
            }
        };
        let hello = ServerFrame::Hello {
            protocol: PROTOCOL.to_owned(),
            oldest_cursor,
            head_cursor,
            heartbeat_s: self.app.streams.heartbeat.as_secs().max(1),
            max_subscriptions: MAX_SUBSCRIPTIONS,
        };
        socket.say(&hello).await?;
        Ok(by)
    }

    async fn serve(&mut self, socket: &mut Socket, by: &Principal, wanted: Option<Wanted>) -> Option<Close> {
        let (tell, mut told) = mpsc::channel(STREAM_BUFFER);
        if let Some(refused) = wanted.and_then(|wanted| self.subscribe(wanted, by, &tell))
            && let Err(close) = socket.say(&refused).await
        {
            return close;
        }
        let (clock, heartbeat) = (self.app.engine.clock().clone(), self.app.streams.heartbeat);
        let stopping = self.app.streams.stopping.clone();
        let (mut heard, mut beat) = (clock.monotonic(), clock.monotonic());
        let mut batch = Vec::with_capacity(WRITES);
        loop {
            let left = heartbeat.saturating_sub(clock.monotonic().saturating_duration_since(beat));
            // Only what may be cancelled is awaited here; the sending is done behind it.
            let step = tokio::select! {
                () = stopping.cancelled() => return Some(Close::GoingAway),
                message = socket.source.next() => Step::Heard(message),
                _ = told.recv_many(&mut batch, WRITES) => Step::Told,
                () = clock.wait(left) => Step::Beat,
            };
            let done = match step {
                Step::Heard(message) => {
                    heard = clock.monotonic();
                    self.answer(socket, message, by, &tell).await
                }
                Step::Told => self.pass_on(socket, &mut batch).await,
                Step::Beat => {
                    beat = clock.monotonic();
                    if beat.saturating_duration_since(heard) > heartbeat * SILENT_HEARTBEATS {
                        return Some(Close::Silent);
                    }
                    self.beat(socket, by).await
                }
            };
            if let Err(close) = done {
                return close;
            }
        }
    }

    /// Hears one message and says what is to be said to it.
    async fn answer(
        &mut self,
        socket: &mut Socket,
        message: Option<Result<Message, axum::Error>>,
        by: &Principal,
        tell: &Sender<Told>,
    ) -> Result<(), Option<Close>> {
        match self.hear(message, by, tell) {
            Ok(None) => Ok(()),
            Ok(Some(frame)) => socket.say(&frame).await,
            Err((Some(problem), close)) => {
                let frame = self.error(None, &problem);
                socket.say(&frame).await?;
                Err(close)
            }
            Err((None, close)) => Err(close),
        }
    }

    /// Says that the connection is alive, and asks the client's WebSocket for the same.
    async fn beat(&self, socket: &mut Socket, by: &Principal) -> Result<(), Option<Close>> {
        match self.app.engine.stands(by).await {
            Ok(()) | Err(AuthError::Store(_)) => {}
            Err(error) => {
                socket.say(&self.error(None, &error.into())).await?;
                return Err(Some(Close::Auth));
            }
        }
        timely(socket.sink.send(Message::Ping(bytes::Bytes::new()))).await?;
        socket.say(&ServerFrame::Heartbeat { time: self.app.engine.clock().now() }).await
    }

    /// Deals with one message; what is to be answered, or why the connection ends.
    fn hear(
        &mut self,
        message: Option<Result<Message, axum::Error>>,
        by: &Principal,
        tell: &Sender<Told>,
    ) -> Result<Option<ServerFrame>, Refusal> {
        let bad = |detail: String| (Some(Problem::new(Kind::Validation, detail)), Some(Close::BadFrame));
        let text = match message {
            Some(Ok(Message::Text(text))) => text,
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => return Ok(None),
            Some(Ok(Message::Binary(_))) => return Err(bad("frames are JSON texts, not binary".to_owned())),
            // Too large, or no WebSocket any more: either way nothing more can be read.
            Some(Err(error)) => return Err(bad(format!("the frame cannot be read: {error}"))),
            Some(Ok(Message::Close(_))) | None => return Err((None, None)),
        };
        let frame = serde_json::from_str(&text).map_err(|error| bad(format!("the frame does not fit: {error}")))?;
        match frame {
            ClientFrame::Ping { nonce } => Ok(Some(ServerFrame::Pong { nonce })),
            ClientFrame::Auth { .. } => Err(bad("`auth` is the first frame or none".to_owned())),
            ClientFrame::Ack { cursor } => Ok(acknowledged(&cursor).err().map(|problem| self.error(None, &problem))),
            ClientFrame::Unsubscribe { id } => Ok(Some(match self.subscriptions.remove(&id) {
                Some((_, task)) => {
                    task.abort();
                    ServerFrame::Unsubscribed { id }
                }
                None => self.error(Some(&id), &Problem::not_found("subscription of that id")),
            })),
            ClientFrame::Subscribe { id, filter, cursor } => {
                Ok(self.subscribe(Wanted { id, filter, cursor }, by, tell))
            }
        }
    }

    /// Begins a subscription; says so itself, or why there is none.
    fn subscribe(&mut self, wanted: Wanted, by: &Principal, tell: &Sender<Told>) -> Option<ServerFrame> {
        let Wanted { id, filter, cursor } = wanted;
        match self.admit(&id).and_then(|()| start(cursor.as_deref()).map_err(Problem::from)) {
            Err(problem) => Some(self.error(Some(&id), &problem)),
            Ok(start) => {
                self.begin(id, (filter.into(), start), by, tell);
                None
            }
        }
    }

    fn begin(&mut self, id: String, want: (EventFilter, Start), by: &Principal, tell: &Sender<Told>) {
        self.numbers += 1;
        let of = Subscription { id: id.clone(), number: self.numbers };
        let work = carry(self.app.engine.clone(), by.clone(), of, want, tell.clone());
        self.subscriptions.insert(id, (self.numbers, self.tasks.spawn(work)));
    }

    /// Whether there may be another subscription of that name.
    fn admit(&mut self, id: &str) -> Result<(), Problem> {
        while self.tasks.try_join_next().is_some() {}
        if id.is_empty() || id.len() > MAX_NAME_BYTES {
            return Err(Problem::invalid("/id", format!("must have 1 to {MAX_NAME_BYTES} bytes")));
        }
        if self.subscriptions.contains_key(id) {
            let detail = format!("there is a subscription {id:?} already; unsubscribe it first");
            return Err(Problem::new(Kind::Conflict, detail).with_code("subscription_exists"));
        }
        if self.subscriptions.len() >= MAX_SUBSCRIPTIONS {
            let detail = format!("a connection has at most {MAX_SUBSCRIPTIONS} subscriptions; open another one");
            return Err(Problem::new(Kind::Conflict, detail).with_code("too_many_subscriptions"));
        }
        Ok(())
    }

    /// Sends on what subscriptions tell, several frames to a flush.
    async fn pass_on(&mut self, socket: &mut Socket, batch: &mut Vec<Told>) -> Result<(), Option<Close>> {
        for Told { of, what } in batch.drain(..) {
            // What was on its way when the client unsubscribed is not sent any more.
            if self.subscriptions.get(&of.id).is_none_or(|(number, _)| *number != of.number) {
                continue;
            }
            match what {
                What::Frame(frame) => socket.feed(&frame).await?,
                What::Ended(problem, close) => {
                    self.subscriptions.remove(&of.id);
                    socket.feed(&self.error(Some(&of.id), &problem)).await?;
                    if close.is_some() {
                        return Err(close);
                    }
                }
            }
        }
        timely(socket.sink.flush()).await
    }

    fn error(&self, id: Option<&str>, problem: &Problem) -> ServerFrame {
        let request = fermata_engine::id::uuid_at(self.app.engine.clock().now()).to_string();
        let body = problem.body(&self.app.options.public_base_url, PATH, &request);
        ServerFrame::Error { id: id.map(str::to_owned), problem: body }
    }
}

impl Socket {
    /// Says one frame now.
    async fn say(&mut self, frame: &ServerFrame) -> Result<(), Option<Close>> {
        self.feed(frame).await?;
        timely(self.sink.flush()).await
    }

    /// Says one frame with the next flush.
    async fn feed(&mut self, frame: &ServerFrame) -> Result<(), Option<Close>> {
        let text = serde_json::to_string(frame).map_err(|_| Some(Close::Internal))?;
        timely(self.sink.feed(Message::Text(text.into()))).await
    }
}

/// A write that the client does not take in time ends the connection; one that fails has ended it.
async fn timely(write: impl Future<Output = Result<(), axum::Error>>) -> Result<(), Option<Close>> {
    match tokio::time::timeout(SEND_LIMIT, write).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) => Err(None),
        Err(_) => Err(Some(Close::Slow)),
    }
}

/// The token of the first frame, if that is an `auth`.
async fn first_token(source: &mut SplitStream<WebSocket>) -> Option<String> {
    loop {
        match source.next().await?.ok()? {
            Message::Text(text) => match serde_json::from_str(&text) {
                Ok(ClientFrame::Auth { token }) => return Some(token),
                _ => return None,
            },
            Message::Ping(_) | Message::Pong(_) => {}
            Message::Binary(_) | Message::Close(_) => return None,
        }
    }
}

fn unnamed() -> Problem {
    let detail =
        "say who you are: by header, subprotocol or ticket, or with {\"op\":\"auth\",\"token\":…} as the first frame";
    Problem::new(Kind::Unauthorized, detail).with_code("token_missing")
}

/// How far a client has come, for operators.
fn acknowledged(cursor: &str) -> Result<(), Problem> {
    cursor.parse::<Cursor>()?;
    metrics::counter!("stream_acks_total").increment(1);
    Ok(())
}
