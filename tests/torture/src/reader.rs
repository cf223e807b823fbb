//! Readers of the stream on its three surfaces; each is cut again and again and goes on from its cursor.
//! What they were given is in `streams/*.jsonl`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use crate::clock;
use crate::plan::{ReaderPlan, Surface};
use crate::stage::Stage;
use crate::trouble::Trouble;

/// Without a sign of life for so long the reader connects again.
const SILENCE: Duration = Duration::from_millis(1_500);
/// Before it connects again, or asks for the next page.
const PAUSE: Duration = Duration::from_millis(60);
/// How long it may take to read to the end once everything is calm.
const LAST_READ: Duration = Duration::from_secs(30);

const SUBSCRIPTION: &str = "subscription($after: String, $filter: EventFilter) { events(after: $after, filter: $filter) \
    { id type time cursor subject clientId data } }";

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// One reader, until it is told that the trial is over; then it reads to the end.
pub(crate) struct Reader {
    plan: ReaderPlan,
    control: String,
    telemetry: String,
    token: String,
    http: reqwest::Client,
    client_id: Option<String>,
    after: String,
    file: BufWriter<File>,
    over: Arc<AtomicBool>,
}

/// How one connection ended.
enum Went {
    /// By our own cut, or because the server went away.
    Cut,
    /// Everything that there is was given.
    CaughtUp,
}

impl Reader {
    pub(crate) fn new(
        stage: &Stage,
        plan: &ReaderPlan,
        (client_id, after): (&str, &str),
        (folder, over): (&Path, Arc<AtomicBool>),
    ) -> Result<Self, Trouble> {
        let folder = folder.join("streams");
        std::fs::create_dir_all(&folder)?;
        let name = via(plan.surface);
        Ok(Self {
            plan: plan.clone(),
            control: stage.control.clone(),
            telemetry: stage.telemetry.clone(),
            token: stage.token.clone(),
            http: stage.http.clone(),
            client_id: plan.of_the_client.then(|| client_id.to_owned()),
            after: after.to_owned(),
            file: BufWriter::new(File::create(folder.join(format!("{name}.jsonl")))?),
            over,
        })
    }

    /// Reads until the trial is over, and then up to `reached`, which is asked for only then.
    pub(crate) async fn read(mut self, reached: tokio::sync::watch::Receiver<Option<i64>>) -> Result<(), Trouble> {
        while !self.over.load(Ordering::SeqCst) {
            let most = self.plan.cut_after;
            self.connection(Some(most)).await?;
            clock::pause(PAUSE).await;
        }
        let mut reached = reached;
        let known = reached.wait_for(Option::is_some).await.map(|position| *position);
        let Ok(Some(position)) = known else { return Ok(()) };
        let began = clock::monotonic();
        while began.elapsed() < LAST_READ {
            if matches!(self.connection(None).await?, Went::CaughtUp) {
                self.line(&json!({"kind": "reached", "position": position}))?;
                break;
            }
            clock::pause(PAUSE).await;
        }
        Ok(self.file.flush()?)
    }

    fn line(&mut self, line: &Value) -> Result<(), Trouble> {
        Ok(writeln!(self.file, "{line}")?)
    }

    fn got(&mut self, event: &Value) -> Result<(), Trouble> {
        if let Some(cursor) = event["cursor"].as_str() {
            cursor.clone_into(&mut self.after);
        }
        self.line(&json!({"kind": "event", "at": clock::now(), "event": event}))
    }

    async fn connection(&mut self, most: Option<usize>) -> Result<Went, Trouble> {
        let opened = json!({
            "kind": "opened", "at": clock::now(), "via": via(self.plan.surface), "after": self.after,
            "client_id": self.client_id,
        });
        self.line(&opened)?;
        let went = match self.plan.surface {
            Surface::Stream => self.stream(most).await?,
            Surface::Graphql => self.graphql(most).await?,
            Surface::Rest => self.rest().await?,
        };
        self.line(&json!({"kind": "closed"}))?;
        Ok(went)
    }

    async fn connect(&self, url: String, protocol: Option<&str>) -> Option<Socket> {
        let mut request = url.into_client_request().ok()?;
        let headers = request.headers_mut();
        headers.insert("authorization", format!("Bearer {}", self.token).parse().ok()?);
        if let Some(protocol) = protocol {
            headers.insert("sec-websocket-protocol", protocol.parse().ok()?);
        }
        let (socket, _) = tokio::time::timeout(SILENCE, connect_async(request)).await.ok()?.ok()?;
        Some(socket)
    }

    fn is_enough(&self, got: usize, most: Option<usize>) -> bool {
        most.is_some_and(|most| got >= most || self.over.load(Ordering::SeqCst))
    }

    async fn stream(&mut self, most: Option<usize>) -> Result<Went, Trouble> {
        let Some(mut socket) = self.connect(format!("{}/v1/stream", self.telemetry), None).await else {
            return Ok(Went::Cut);
        };
        let filter = self.client_id.as_ref().map_or_else(|| json!({}), |client| json!({"client_id": client}));
        let frame = json!({"op": "subscribe", "cursor": self.after, "filter": filter});
        if socket.send(Message::text(frame.to_string())).await.is_err() {
            return Ok(Went::Cut);
        }
        let mut got = 0;
        while !self.is_enough(got, most) {
            let Some(frame) = next(&mut socket).await else { return Ok(Went::Cut) };
            match frame["op"].as_str() {
                Some("event") => {
                    self.got(&frame["event"])?;
                    got += 1;
                }
                Some("caught_up") if most.is_none() => return Ok(Went::CaughtUp),
                _ => {}
            }
        }
        Ok(Went::Cut)
    }

    async fn graphql(&mut self, most: Option<usize>) -> Result<Went, Trouble> {
        if most.is_none() {
            // A subscription does not say when it has caught up; the list of the same events does.
            return self.rest().await;
        }
        let url = format!("{}/graphql/ws", self.control.replacen("http", "ws", 1));
        let Some(mut socket) = self.connect(url, Some("graphql-transport-ws")).await else { return Ok(Went::Cut) };
        let filter = self.client_id.as_ref().map_or_else(|| json!({}), |client| json!({"clientId": client}));
        let variables = json!({"after": self.after, "filter": filter});
        let subscribe =
            json!({"type": "subscribe", "id": "1", "payload": {"query": SUBSCRIPTION, "variables": variables}});
        for message in [json!({"type": "connection_init"}), subscribe] {
            if socket.send(Message::text(message.to_string())).await.is_err() {
                return Ok(Went::Cut);
            }
            while message["type"] == "connection_init" {
                match next(&mut socket).await {
                    Some(answer) if answer["type"] == "connection_ack" => break,
                    Some(_) => {}
                    None => return Ok(Went::Cut),
                }
            }
        }
        let mut got = 0;
        while !self.is_enough(got, most) {
            let Some(message) = next(&mut socket).await else { return Ok(Went::Cut) };
            if message["type"] == "next" {
                let event = &message["payload"]["data"]["events"];
                // In the names that every other surface has.
                let event = json!({
                    "id": event["id"], "type": event["type"], "time": event["time"], "cursor": event["cursor"],
                    "subject": event["subject"], "clientid": event["clientId"], "data": event["data"],
                });
                self.got(&event)?;
                got += 1;
            }
        }
        Ok(Went::Cut)
    }

    /// One page, or all of what there is.
    async fn rest(&mut self) -> Result<Went, Trouble> {
        let of = self.client_id.as_ref().map(|client| format!("&client_id={client}")).unwrap_or_default();
        let url = format!("{}/v1/events?limit=100&after={}{of}", self.control, self.after);
        let Ok(answer) = self.http.get(url).bearer_auth(&self.token).send().await else { return Ok(Went::Cut) };
        let Ok(page) = answer.error_for_status() else { return Ok(Went::Cut) };
        let Ok(page) = page.json::<Value>().await else { return Ok(Went::Cut) };
        let events = page["items"].as_array().map_or(&[][..], Vec::as_slice);
        for event in events {
            self.got(event)?;
        }
        Ok(if events.is_empty() { Went::CaughtUp } else { Went::Cut })
    }
}

fn via(surface: Surface) -> &'static str {
    match surface {
        Surface::Stream => "stream",
        Surface::Graphql => "graphql",
        Surface::Rest => "rest",
    }
}

/// The next message; `None` when there is none for too long, or never will be.
async fn next(socket: &mut Socket) -> Option<Value> {
    loop {
        match tokio::time::timeout(SILENCE, socket.next()).await.ok()?? {
            Ok(Message::Text(text)) => return serde_json::from_str(&text).ok(),
            Ok(Message::Close(_)) | Err(_) => return None,
            Ok(_) => {}
        }
    }
}
