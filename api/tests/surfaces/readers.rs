//! Readers of the three surfaces. Each is cut at random, goes to the next process, and resumes from the last
//! event that it was given.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use fermata_engine::clock::Clock;
use fermata_engine::event::Cursor;
use futures::{SinkExt as _, StreamExt as _};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::Reading;
use super::front::Address;

/// A connection is cut after so many events.
const BETWEEN_CUTS: std::ops::Range<usize> = 1..800;
/// Without a sign of life for so long, another process is asked.
const SILENCE: Duration = Duration::from_secs(2);
/// Before the next process is tried.
const PAUSE: Duration = Duration::from_millis(20);

const SUBSCRIPTION: &str = "subscription($after: String) { events(after: $after) { id cursor } }";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

#[derive(Debug, Clone, Copy)]
pub(crate) enum Surface {
    Stream,
    Graphql,
    Rest,
}

/// What a reader got.
#[derive(Default)]
pub(crate) struct Read {
    pub(crate) positions: Vec<i64>,
    pub(crate) ids: Vec<String>,
    pub(crate) cuts: usize,
}

pub(crate) struct Reader {
    surface: Surface,
    addresses: Vec<Address>,
    token: String,
    http: reqwest::Client,
    after: String,
    chance: StdRng,
    clock: Clock,
    read: Read,
}

impl Reader {
    pub(crate) fn new(surface: Surface, addresses: &[Address], token: &str, from: Cursor, seed: u64) -> Self {
        // Another test of this process may have installed it; either way there is one.
        drop(rustls::crypto::ring::default_provider().install_default());
        Self {
            surface,
            addresses: addresses.to_vec(),
            token: token.to_owned(),
            http: reqwest::Client::new(),
            after: from.to_string(),
            chance: StdRng::seed_from_u64(seed),
            clock: Clock::system(),
            read: Read::default(),
        }
    }

    pub(crate) async fn read(mut self, reading: Arc<Reading>) -> Read {
        while !self.is_done(&reading) {
            let address = self.addresses[self.read.cuts % self.addresses.len()].clone();
            let most = self.chance.random_range(BETWEEN_CUTS);
            let went = match self.surface {
                Surface::Stream => self.stream(&address, most, &reading).await,
                Surface::Graphql => self.graphql(&address, most, &reading).await,
                Surface::Rest => self.rest(&address, most, &reading).await,
            };
            self.read.cuts += 1;
            if went.is_none() {
                self.clock.wait(PAUSE).await;
            }
        }
        self.read
    }

    fn is_done(&self, reading: &Reading) -> bool {
        let head = reading.head.load(Ordering::SeqCst);
        head >= 0 && self.read.positions.last().is_some_and(|last| *last >= head)
    }

    fn got(&mut self, event: &Value, reading: &Reading) {
        event["cursor"].as_str().unwrap().clone_into(&mut self.after);
        self.read.positions.push(self.after.parse::<Cursor>().unwrap().position);
        self.read.ids.push(event["id"].as_str().unwrap().to_owned());
        reading.seen.fetch_add(1, Ordering::SeqCst);
    }

    async fn connect(&self, url: String, protocol: Option<&str>) -> Option<Socket> {
        let mut request = url.into_client_request().unwrap();
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        if let Some(protocol) = protocol {
            headers.insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        let (socket, _) = tokio::time::timeout(SILENCE, connect_async(request)).await.ok()?.ok()?;
        Some(socket)
    }

    /// `None` when the process went away.
    async fn stream(&mut self, address: &Address, most: usize, reading: &Reading) -> Option<()> {
        let mut socket = self.connect(format!("ws://{}/v1/stream", address.telemetry), None).await?;
        let frame = json!({"op": "subscribe", "cursor": self.after});
        socket.send(Message::text(frame.to_string())).await.ok()?;
        let mut got = 0;
        while got < most && !self.is_done(reading) {
            let frame = next(&mut socket, reading).await?;
            if frame["op"] == "event" {
                self.got(&frame["event"], reading);
                got += 1;
            }
        }
        Some(())
    }

    async fn graphql(&mut self, address: &Address, most: usize, reading: &Reading) -> Option<()> {
        let url = format!("ws://{}/graphql/ws", address.control);
        let mut socket = self.connect(url, Some("graphql-transport-ws")).await?;
        socket.send(Message::text(r#"{"type":"connection_init"}"#)).await.ok()?;
        let payload = json!({"query": SUBSCRIPTION, "variables": {"after": self.after}});
        while next(&mut socket, reading).await?["type"] != "connection_ack" {}
        let subscribe = json!({"type": "subscribe", "id": "1", "payload": payload});
        socket.send(Message::text(subscribe.to_string())).await.ok()?;
        let mut got = 0;
        while got < most && !self.is_done(reading) {
            let message = next(&mut socket, reading).await?;
            assert_ne!(message["type"], "error", "{message}");
            if message["type"] == "next" {
                let event = &message["payload"]["data"]["events"];
                assert!(event.is_object(), "{message}");
                self.got(event, reading);
                got += 1;
            }
        }
        Some(())
    }

    /// Pages, each of which may be given up before its answer has come.
    async fn rest(&mut self, address: &Address, most: usize, reading: &Reading) -> Option<()> {
        let url = format!("http://{}/v1/events?limit=200&after={}", address.control, self.after);
        let patience = Duration::from_millis(u64::try_from(most).unwrap());
        let asked = async {
            let answer = self.http.get(url).bearer_auth(&self.token).send().await.ok()?;
            answer.error_for_status().ok()?.json::<Value>().await.ok()
        };
        let page = tokio::time::timeout(patience, asked).await.ok()??;
        for event in page["items"].as_array().unwrap() {
            self.got(event, reading);
        }
        Some(())
    }
}

/// The next message; `None` when there is none for too long, or never will be.
async fn next(socket: &mut Socket, reading: &Reading) -> Option<Value> {
    loop {
        // At the end nothing more comes: whoever waits should look whether it is done.
        let patience = if reading.head.load(Ordering::SeqCst) < 0 { SILENCE } else { SILENCE / 10 };
        match tokio::time::timeout(patience, socket.next()).await.ok()?? {
            Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
