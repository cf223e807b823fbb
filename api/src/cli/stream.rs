//! The event stream as the command line reads it: one subscription that survives its connection.

use std::time::Duration;

use fermata_engine::clock::Clock;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::HeaderValue;
use tokio_tungstenite::tungstenite::http::header::AUTHORIZATION;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::api::Api;
use crate::process::{Exit, Trouble};

/// The first pause before a lost connection is opened again.
const FIRST_PAUSE: Duration = Duration::from_millis(200);
/// The longest.
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// After so many tries in a row without a frame the server is given up.
const MAX_TRIES: u32 = 20;

/// A subscription that is resumed from its last cursor whenever its connection is lost.
pub(super) struct Stream {
    clock: Clock,
    url: String,
    token: String,
    filter: Value,
    /// Where the next connection goes on.
    cursor: String,
    socket: Option<WebSocketStream<MaybeTlsStream<TcpStream>>>,
    tries: u32,
    /// Connections so far.
    pub(super) connections: u32,
}

impl Stream {
    /// Subscribes to what the filter wants, from `latest`, `earliest` or a cursor on.
    pub(super) async fn open(api: &Api, filter: Value, cursor: &str) -> Result<Self, Trouble> {
        let mut stream = Self {
            clock: Clock::system(),
            url: format!("{}/v1/stream", api.base().replacen("http", "ws", 1)),
            token: api.token().to_owned(),
            filter,
            cursor: cursor.to_owned(),
            socket: None,
            tries: 0,
            connections: 0,
        };
        stream.connect().await?;
        Ok(stream)
    }

    /// The next event (`event`), or that everything up to now was given (`caught_up`), as a frame.
    pub(super) async fn next(&mut self) -> Result<Value, Trouble> {
        loop {
            if self.socket.is_none() {
                self.clock.wait((FIRST_PAUSE * self.tries).min(LONGEST_PAUSE)).await;
                if let Err(trouble) = self.connect().await {
                    self.tries += 1;
                    if trouble.exit() != Exit::Unreachable || self.tries > MAX_TRIES {
                        return Err(trouble);
                    }
                    continue;
                }
            }
            let Some(frame) = self.frame().await? else { continue };
            match frame["op"].as_str() {
                Some("event" | "caught_up") => {
                    self.tries = 0;
                    if let Some(cursor) = frame["cursor"].as_str() {
                        cursor.clone_into(&mut self.cursor);
                    }
                    return Ok(frame);
                }
                // `latest` is where this subscription began: a new connection must not skip what came since.
                Some("subscribed") if self.cursor == "latest" => {
                    frame["cursor"].as_str().unwrap_or_default().clone_into(&mut self.cursor);
                }
                Some("error") => self.refused(&frame["problem"])?,
                _ => {}
            }
        }
    }

    /// Cuts the connection; the next frame comes over another one.
    pub(super) fn cut(&mut self) {
        self.socket = None;
    }

    async fn connect(&mut self) -> Result<(), Trouble> {
        let unfit = |error: &dyn std::error::Error| {
            Trouble::new(Exit::Usage, format!("`{}` is no address of a stream", self.url)).why(error.to_string())
        };
        let mut request = self.url.as_str().into_client_request().map_err(|error| unfit(&error))?;
        let bearer = HeaderValue::from_str(&format!("Bearer {}", self.token)).map_err(|error| unfit(&error))?;
        request.headers_mut().insert(AUTHORIZATION, bearer);
        let (mut socket, _) = connect_async(request).await.map_err(|error| self.unreachable(&error))?;
        let subscribe = json!({ "op": "subscribe", "id": "cli", "filter": self.filter, "cursor": self.cursor });
        let said = socket.send(Message::text(subscribe.to_string())).await;
        said.map_err(|error| self.unreachable(&error))?;
        self.socket = Some(socket);
        self.connections += 1;
        Ok(())
    }

    /// The next frame; `None` when the connection is lost and may be opened again.
    async fn frame(&mut self) -> Result<Option<Value>, Trouble> {
        let Some(socket) = &mut self.socket else { return Ok(None) };
        match socket.next().await {
            Some(Ok(Message::Text(text))) => serde_json::from_str(&text).map(Some).map_err(|error| {
                Trouble::failed(format!("{} does not answer as a stream of Fermata does", self.url))
                    .why(error.to_string())
            }),
            Some(Ok(Message::Close(frame))) => {
                self.cut();
                self.tries += 1;
                match frame.map(|frame| (u16::from(frame.code), frame.reason.to_string())) {
                    Some((4401 | 4403, why)) => Err(Trouble::new(Exit::Auth, "the stream was closed").why(why)),
                    Some((4410, why)) => Err(Trouble::new(Exit::Conflict, "the stream cannot be resumed").why(why)),
                    Some((4400, why)) => Err(Trouble::failed("the stream was closed").why(why)),
                    _ => Ok(None),
                }
            }
            Some(Ok(_)) => Ok(Some(Value::Null)),
            Some(Err(_)) | None => {
                self.cut();
                self.tries += 1;
                Ok(None)
            }
        }
    }

    /// What a refusal means: to go on from where it says, or to end.
    fn refused(&mut self, problem: &Value) -> Result<(), Trouble> {
        let detail = problem["detail"].as_str().unwrap_or_default();
        if matches!(problem["code"].as_str(), Some("slow_consumer" | "stopping")) {
            self.cut();
            return Ok(());
        }
        let exit = match problem["status"].as_u64() {
            Some(400) => Exit::Usage,
            Some(401 | 403) => Exit::Auth,
            Some(404) => Exit::NotFound,
            Some(409 | 410) => Exit::Conflict,
            _ => Exit::Failed,
        };
        let trouble = Trouble::new(exit, "the stream refuses").why(detail);
        Err(match problem["oldest_cursor"].as_str() {
            Some(oldest) => trouble.remedy(format!("read the state again, then go on from {oldest}")),
            None => trouble,
        })
    }

    fn unreachable(&self, error: &Error) -> Trouble {
        match error {
            Error::Http(answer) => {
                let body = answer.body().as_deref().and_then(|body| serde_json::from_slice::<Value>(body).ok());
                let detail = body.and_then(|body| body["detail"].as_str().map(str::to_owned));
                let exit = match answer.status().as_u16() {
                    401 | 403 => Exit::Auth,
                    503 | 429 => Exit::Unreachable,
                    _ => Exit::Failed,
                };
                Trouble::new(exit, format!("{} answers {}", self.url, answer.status()))
                    .why(detail.unwrap_or_else(|| "no reason was given".to_owned()))
            }
            error => Trouble::new(Exit::Unreachable, format!("{} does not answer", self.url))
                .why(error.to_string())
                .remedy("check that it runs, and the address"),
        }
    }
}
