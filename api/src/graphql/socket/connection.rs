//! The life of one connection: one task that listens, executes and answers in turns. Whoever does
//! not read is not written to for long, and followers that fall behind say so themselves.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Request, Response, Value as GraphValue};
use axum::extract::ws::{Message, WebSocket};
use bytes::Bytes;
use fermata_engine::Engine;
use fermata_engine::access::{AuthError, Principal};
use fermata_engine::trace::TraceContext;
use fermata_graphql::Asked;
use futures::StreamExt as _;
use futures::stream::{AbortHandle, BoxStream, SelectAll, abortable, once};
use serde_json::{Value, json};
use tokio::time::error::Elapsed;

use super::protocol::{self, Closing, Said};
use crate::app::AppState;
use crate::error::{Kind, Problem};
use crate::graphql::Surface;
use crate::graphql::refusal::Words;
use crate::graphql::request::Sent;

/// How long a client may take to say who it is.
const INIT_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a client may take to read.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// The most operations that one connection has under way.
const MAX_OPERATIONS: usize = 32;

/// An answer to an operation; `None`: there is none any more. A client may use a name again, so the
/// serial number says which operation of that name.
type Answer = (Arc<str>, u64, Option<Response>);

/// An operation under way.
struct Operation {
    serial: u64,
    answered: bool,
    abort: AbortHandle,
}

/// One connection.
pub(super) struct Connection {
    app: AppState,
    surface: Surface,
    words: Words,
    caller: Option<TraceContext>,
    /// Who the header of the handshake said it is.
    invited: Option<Principal>,
    /// Who it is, once it has said so.
    by: Option<Principal>,
    operations: HashMap<Arc<str>, Operation>,
    answers: SelectAll<BoxStream<'static, Answer>>,
    serial: u64,
    heard: bool,
}

/// A wait for a client, no longer than [`WRITE_TIMEOUT`].
pub(super) async fn within_patience<T>(wait: impl Future<Output = T>) -> Result<T, Elapsed> {
    tokio::time::timeout(WRITE_TIMEOUT, wait).await
}

impl Connection {
    /// A connection that has not been spoken on.
    pub(super) fn new(
        app: AppState,
        surface: Surface,
        (words, caller): (Words, Option<TraceContext>),
        invited: Option<Principal>,
    ) -> Self {
        Self {
            app,
            surface,
            words,
            caller,
            invited,
            by: None,
            operations: HashMap::new(),
            answers: SelectAll::new(),
            serial: 0,
            heard: true,
        }
    }

    /// Serves until somebody ends it; how, when it is us.
    pub(super) async fn serve(mut self, socket: &mut WebSocket) -> Option<Closing> {
        let clock = self.app.engine.clock().clone();
        let stopping = self.app.streams.stopping.clone();
        let mut too_late = Box::pin(clock.wait(INIT_TIMEOUT));
        let mut tick = Box::pin(clock.wait(self.app.streams.heartbeat));
        loop {
            let turn = tokio::select! {
                message = socket.recv() => match message {
                    Some(Ok(message)) => self.hear(socket, message).await,
                    Some(Err(_)) | None => return None,
                },
                Some(answer) = self.answers.next(), if !self.answers.is_empty() => self.answer(socket, answer).await,
                () = stopping.cancelled() => Err(Some(Closing::going_away())),
                () = &mut too_late, if self.by.is_none() => Err(Some(Closing::init_timeout())),
                () = &mut tick => {
                    tick = Box::pin(clock.wait(self.app.streams.heartbeat));
                    self.look_after(socket).await
                }
            };
            if let Err(closing) = turn {
                return closing;
            }
        }
    }

    async fn hear(&mut self, socket: &mut WebSocket, message: Message) -> Result<(), Option<Closing>> {
        self.heard = true;
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return Err(Some(Closing::bad("Invalid message: not text"))),
            Message::Ping(_) | Message::Pong(_) => return Ok(()),
            Message::Close(_) => return Err(None),
        };
        match Said::of(&text)? {
            Said::Init(_) if self.by.is_some() => Err(Some(Closing::twice())),
            Said::Init(payload) => {
                self.by = Some(admit(&self.app.engine, self.invited.as_ref(), &payload).await?);
                write(socket, protocol::ack()).await
            }
            Said::Subscribe { id, payload } => self.subscribe(socket, id, payload).await,
            Said::Complete(id) => {
                self.forget(&id);
                Ok(())
            }
            Said::Ping(payload) => write(socket, protocol::pong(&payload)).await,
            Said::Pong => Ok(()),
        }
    }

    async fn subscribe(&mut self, socket: &mut WebSocket, id: String, payload: Value) -> Result<(), Option<Closing>> {
        let Some(by) = self.by.clone() else { return Err(Some(Closing::unauthorized())) };
        if self.operations.contains_key(id.as_str()) {
            return Err(Some(Closing::taken(&id)));
        }
        let request = match self.request(&by, payload) {
            Ok(request) => request,
            Err(problem) => {
                let refused = Response::from_errors(vec![self.words.of(&problem).server_error()]);
                return write(socket, protocol::error(&id, &json!(refused.errors))).await;
            }
        };
        let (engine, caller) = (self.app.engine.clone(), self.caller);
        let explain = self.words.clone().explain(engine.clone());
        let asked = Asked { engine, by, queries_only: false, caller, explain };
        self.serial += 1;
        let (id, serial): (Arc<str>, _) = (id.into(), self.serial);
        let answers = fermata_graphql::execute_stream(&self.surface.schema, request, asked);
        let (answers, abort) = abortable(answers);
        let (name, end) = (id.clone(), id.clone());
        let answers = answers.map(move |answer| (name.clone(), serial, Some(answer)));
        self.answers.push(answers.chain(once(async move { (end, serial, None) })).boxed());
        self.operations.insert(id, Operation { serial, answered: false, abort });
        Ok(())
    }

    /// The request that a payload makes, if this one may be executed as well.
    fn request(&self, by: &Principal, payload: Value) -> Result<Request, Problem> {
        if self.operations.len() >= MAX_OPERATIONS {
            let detail = format!(
                "this connection has {MAX_OPERATIONS} operations under way, and no more are taken; complete one"
            );
            return Err(Problem::new(Kind::RateLimited, detail).with_code("graphql_too_many_operations"));
        }
        if let Some(problem) = self.app.rate_limiter.turns_away(by) {
            return Err(problem);
        }
        let request = Sent::of_json(payload).and_then(|sent| sent.request(&self.surface.library));
        request.map_err(|limit| Problem::new(Kind::Validation, limit.message).with_code(limit.code))
    }

    async fn answer(&mut self, socket: &mut WebSocket, (id, serial, answer): Answer) -> Result<(), Option<Closing>> {
        // What the client wants no more of is not said.
        let Some(operation) = self.operations.get_mut(&id).filter(|operation| operation.serial == serial) else {
            return Ok(());
        };
        let Some(answer) = answer else {
            self.forget(&id);
            return write(socket, protocol::complete(&id)).await;
        };
        let refused = !operation.answered && is_refusal(&answer);
        operation.answered = true;
        let ends = answer.errors.iter().find_map(ends_connection);
        if refused {
            self.forget(&id);
            write(socket, protocol::error(&id, &json!(answer.errors))).await?;
        } else {
            write(socket, protocol::next(&id, &json!(answer))).await?;
        }
        ends.map_or(Ok(()), |closing| Err(Some(closing)))
    }

    fn forget(&mut self, id: &str) {
        if let Some(operation) = self.operations.remove(id) {
            operation.abort.abort();
        }
    }

    /// Pings, and ends a connection that is silent or whose token no longer stands.
    async fn look_after(&mut self, socket: &mut WebSocket) -> Result<(), Option<Closing>> {
        if !std::mem::replace(&mut self.heard, false) {
            return Err(Some(Closing::silent()));
        }
        if let Some(by) = &self.by {
            match self.app.engine.stands(by).await {
                // A database that is away for a moment revokes nobody.
                Ok(()) | Err(AuthError::Store(_)) => {}
                Err(error) => return Err(Some(closing(&error))),
            }
        }
        send(socket, Message::Ping(Bytes::new())).await
    }
}

/// Who speaks: by the header, by the payload, or by both when they agree.
async fn admit(engine: &Engine, invited: Option<&Principal>, payload: &Value) -> Result<Principal, Closing> {
    let member = payload.get("authorization").or_else(|| payload.get("Authorization"));
    let token = match member.map(|member| member.as_str().and_then(bearer)) {
        None => {
            let nobody = || Closing::forbidden("Forbidden: send {\"authorization\": \"Bearer …\"} as the payload");
            return invited.cloned().ok_or_else(nobody);
        }
        Some(None) => return Err(Closing::forbidden("Forbidden: `authorization` must be `Bearer <token>`")),
        Some(Some(token)) => token,
    };
    let by = engine.authenticate(token).await.map_err(|error| closing(&error))?;
    match invited {
        Some(invited) if invited.id != by.id => Err(Closing::forbidden("Forbidden: two tokens; send one")),
        _ => Ok(by),
    }
}

/// The token of `Bearer <token>`.
fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn closing(error: &AuthError) -> Closing {
    match error {
        AuthError::Store(_) => Closing::internal(error.to_string()),
        _ => Closing::forbidden(format!("Forbidden: {error}")),
    }
}

/// Whether nothing of an operation was executed.
fn is_refusal(answer: &Response) -> bool {
    answer.data == GraphValue::Null && !answer.errors.is_empty()
}

/// Whether an error is about the whole connection: its token, or this process.
fn ends_connection(error: &async_graphql::ServerError) -> Option<Closing> {
    let code = error.extensions.as_ref()?.get("code")?;
    let GraphValue::String(code) = code else { return None };
    match code.as_str() {
        "token_unknown" | "token_expired" => Some(Closing::forbidden(format!("Forbidden: {}", error.message))),
        "stopping" => Some(Closing::going_away()),
        _ => None,
    }
}

async fn write(socket: &mut WebSocket, text: String) -> Result<(), Option<Closing>> {
    send(socket, Message::Text(text.into())).await
}

/// Sends, or gives the connection up.
async fn send(socket: &mut WebSocket, message: Message) -> Result<(), Option<Closing>> {
    match within_patience(socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(_)) | Err(_) => Err(None),
    }
}
