//! Malformed frames and documents by the ten thousand: none is answered with 5xx, none panics, and memory stays
//! flat. Seeded: the same input in each run.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::sync::atomic::{AtomicUsize, Ordering};

use fermata_api::app::{AppOptions, AppState, app_with};
use fermata_api::graphql::{GraphqlOptions, mounts};
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::workflow::Registry;
use fermata_tests::{PATIENCE, TestDb};
use futures::{SinkExt as _, StreamExt as _};
use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::protocol::frame::Frame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::{Data, OpCode};

/// Frames on the stream, and as many on GraphQL's socket. Each has a connection of its own: the first frame that
/// does not fit ends it, so what came behind would go unheard.
const FRAMES: usize = 20_000;
/// Documents posted to GraphQL, and as many bodies to REST.
const BODIES: usize = 6_000;
/// Addresses of the house: one alone would run out of ports for so many connections.
const DOORS: usize = 8;
/// How much the process may have grown at the end: far less than what a leak of each input would take.
const MAX_GROWTH_BYTES: usize = 64 << 20;

static PANICS: AtomicUsize = AtomicUsize::new(0);

const STREAM: &[&str] = &[
    r#"{"op":"subscribe","id":"a","filter":{"types":["status.changed"],"min_severity":"warn"},"cursor":"earliest"}"#,
    r#"{"op":"subscribe","filter":{"command_id":"01900000-0000-7000-8000-000000000000","account_id":"x"}}"#,
    r#"{"op":"unsubscribe","id":"a"}"#,
    r#"{"op":"ack","id":"a","cursor":"AQAAAAEAAAAAAAAAAQ"}"#,
    r#"{"op":"subscribe","cursor":"AQAAAAEAAAAAAAAAAQ"}"#,
    r#"{"op":"ping"}"#,
    r#"{"op":"auth","token":"fermata_x"}"#,
];
const SOCKET: &[&str] = &[
    r#"{"type":"connection_init","payload":{"authorization":"Bearer x"}}"#,
    r#"{"type":"subscribe","id":"1","payload":{"query":"subscription { events { id cursor type } }"}}"#,
    r#"{"type":"subscribe","id":"2","payload":{"query":"{ commands(first: 2) { edges { node { id } } } }","variables":{}}}"#,
    r#"{"type":"complete","id":"1"}"#,
    r#"{"type":"ping","payload":{"n":1}}"#,
];
const DOCUMENTS: &[&str] = &[
    r#"{"query":"query($id: UUID!) { command(id: $id) { id status steps { edges { node { key } } } } }","variables":{"id":"01900000-0000-7000-8000-000000000000"}}"#,
    r#"{"query":"{ a: commands(first: 1) { edges { node { ...C } } } } fragment C on Command { id events { edges { cursor } } }"}"#,
    r#"{"query":"mutation($i: SubmitCommandInput!) { submitCommand(input: $i) { commandId } }","variables":{"i":{"type":"x","payload":{"a":[1,2.5,null]}}}}"#,
    r#"{"query":"{ __schema { types { name } } }","operationName":null,"extensions":{}}"#,
];
const BODY: &[&str] = &[
    r#"{"type":"flow.run","idempotency_key":"k","payload":{"workflow_name":"x","inputs":{"a":1}},"priority":5}"#,
    r#"{"type":"test","client_id":"c","not_before":"2026-01-01T00:00:00Z","deadline":"2026-01-01T00:00:00Z","payload":{}}"#,
];
const WORDS: &[&str] = &[
    "null",
    "true",
    "-1",
    "1e999",
    "\"",
    "\\",
    "\\u0000",
    "\\ud800",
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "[[[[[[[[",
    "{\"a\":",
    "9999999999999999999999",
    "\"\"",
    "...",
    "@include(if: true)",
    "fragment F on Query { ...F }",
    "$x",
    "\u{0}",
    "\u{feff}",
    "🫠",
    "on",
    "subscription",
    "earliest",
    "id",
];

/// One input made wrong in one to four places. It may still be right: that is no harm.
fn broken(seeds: &[&str], chance: &mut StdRng) -> Vec<u8> {
    let mut bytes = seeds.choose(chance).unwrap().as_bytes().to_vec();
    for _ in 0..chance.random_range(1..5) {
        let at = chance.random_range(0..=bytes.len());
        let end = (at + chance.random_range(0..24)).min(bytes.len());
        match chance.random_range(0..8) {
            0 => drop(bytes.drain(at..end)),
            1 => bytes.truncate(at),
            2 => drop(bytes.splice(at..at, WORDS.choose(chance).unwrap().bytes())),
            3 => drop(bytes.splice(at..end, WORDS.choose(chance).unwrap().bytes())),
            4 => {
                let piece = bytes[at..end].repeat(chance.random_range(1..200));
                drop(bytes.splice(at..at, piece));
            }
            5 => bytes.iter_mut().skip(at).take(1).for_each(|byte| *byte = chance.random()),
            6 => shorten(&mut bytes, chance),
            _ => {
                let other = seeds.choose(chance).unwrap().as_bytes();
                let from = chance.random_range(0..other.len());
                drop(bytes.splice(at..end, other[from..].iter().copied()));
            }
        }
    }
    bytes
}

/// Makes one of the texts of a document shorter, and leaves the document whole: what reads the text is reached.
fn shorten(bytes: &mut Vec<u8>, chance: &mut StdRng) {
    let quotes: Vec<usize> = (0..bytes.len()).filter(|at| bytes[*at] == b'"').collect();
    if let Some([from, to]) = quotes.as_chunks().0.choose(chance) {
        let keep = chance.random_range(*from..*to) + 1;
        drop(bytes.drain(keep..*to));
    }
}

struct House {
    addresses: Vec<String>,
    token: String,
    _server: JoinSet<()>,
}

impl House {
    async fn new(db: &TestDb) -> Self {
        // Another test of this process may have installed it; either way there is one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let engine = db.engine(Registry::new()).await;
        let scopes = vec![Scope::EventsRead, Scope::CommandsRead, Scope::CommandsWrite, Scope::GraphqlIntrospect];
        let new = NewToken { client_id: "c".into(), name: "fuzz".into(), scopes, command_types: None, ttl: None };
        let token = engine.create_token(&Principal::operator(), new).await.unwrap().token;
        let graphql = mounts(GraphqlOptions { persisted_only: false, graphiql: false });
        let router = app_with(AppState::new(engine, AppOptions::default()), graphql);
        let (mut server, mut addresses) = (JoinSet::new(), Vec::new());
        for _ in 0..DOORS {
            let (listener, router) = (TcpListener::bind("127.0.0.1:0").await.unwrap(), router.clone());
            addresses.push(listener.local_addr().unwrap().to_string());
            server.spawn(async move { axum::serve(listener, router).await.unwrap() });
        }
        Self { addresses, token, _server: server }
    }

    /// Says a few things on a connection of its own and hears it out.
    async fn burst(&self, door: usize, path: &str, protocol: Option<&str>, frames: Vec<Vec<u8>>) {
        let mut request = format!("ws://{}{path}", self.addresses[door % DOORS]).into_client_request().unwrap();
        request.headers_mut().insert("authorization", format!("Bearer {}", self.token).parse().unwrap());
        if let Some(protocol) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        let (socket, _) = connect_async(request).await.unwrap();
        let (mut sink, mut stream) = socket.split();
        let speaking = async {
            for frame in frames {
                // As it is, which need not be UTF-8, as text is to be; now and then as what it is not.
                let kind = if frame.len() % 17 == 0 { Data::Binary } else { Data::Text };
                if sink.send(Message::Frame(Frame::message(frame, OpCode::Data(kind), true))).await.is_err() {
                    // It has hung up, as it may.
                    return;
                }
            }
            drop(sink.send(Message::Close(None)).await);
        };
        let hearing = async { while let Some(Ok(_)) = stream.next().await {} };
        let both = async { tokio::join!(speaking, hearing) };
        tokio::time::timeout(PATIENCE, both).await.unwrap();
    }

    async fn sockets(&self, path: &str, protocol: Option<&str>, seeds: &[&str], seed: u64) {
        let mut chance = StdRng::seed_from_u64(seed);
        for door in 0..FRAMES {
            // What comes before the introduction is refused as a whole; now and then it is left out.
            let first = match protocol {
                Some(_) if door % 10 != 0 => br#"{"type":"connection_init"}"#.to_vec(),
                Some(_) => broken(seeds, &mut chance),
                None => br#"{"op":"ping"}"#.to_vec(),
            };
            let frames = vec![first, broken(seeds, &mut chance)];
            self.burst(door, path, protocol, frames).await;
        }
    }

    async fn bodies(&self, path: &str, seeds: &[&str], seed: u64) {
        let mut chance = StdRng::seed_from_u64(seed);
        let client = reqwest::Client::new();
        for _ in 0..BODIES {
            let body = broken(seeds, &mut chance);
            let request = client.post(format!("http://{}{path}", self.addresses[0])).bearer_auth(&self.token);
            let answer = request.header("content-type", "application/json").body(body.clone()).send().await.unwrap();
            let status = answer.status();
            assert!(!status.is_server_error(), "{status} for {:?}", String::from_utf8_lossy(&body));
            let text = answer.text().await.unwrap();
            assert!(serde_json::from_str::<serde_json::Value>(&text).is_ok(), "{status}: {text}");
        }
    }

    async fn everything(&self, seed: u64) {
        tokio::join!(
            self.sockets("/v1/stream", None, STREAM, seed),
            self.sockets("/graphql/ws", Some("graphql-transport-ws"), SOCKET, seed + 1),
            self.bodies("/graphql", DOCUMENTS, seed + 2),
            self.bodies("/v1/commands", BODY, seed + 3),
        );
    }
}

/// Memory of this process that is really there.
fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    let pages: usize = statm.split(' ').nth(1).unwrap().parse().unwrap();
    pages * 4096
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_thousand_malformed_inputs_are_refused_without_a_panic_and_leave_nothing_behind() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(panic);
    }));
    let db = TestDb::new().await;
    let house = House::new(&db).await;
    house.bodies("/v1/commands", BODY, 99).await;
    let warm = resident_bytes();
    Box::pin(house.everything(1)).await;
    let grown = resident_bytes().saturating_sub(warm);
    println!("{} inputs, grown by {} KiB", 2 * FRAMES + 3 * BODIES, grown >> 10);
    assert_eq!(PANICS.load(Ordering::SeqCst), 0);
    assert!(grown < MAX_GROWTH_BYTES, "grown by {grown} bytes");
}
