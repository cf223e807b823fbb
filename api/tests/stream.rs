//! Laws of the stream's protocol, over a real WebSocket.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use fermata_api::app::{AppOptions, AppState, app};
use fermata_api::stream::asyncapi;
use fermata_engine::Engine;
use fermata_engine::access::{NewToken, Principal, Scope};
use fermata_engine::event::Cursor;
use fermata_engine::id::TokenId;
use fermata_engine::workflow::Registry;
use fermata_tests::{PATIENCE, TestDb};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::http::{HeaderName, HeaderValue};
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};
use tokio_util::sync::CancellationToken;

/// How often these connections are told that they are alive.
const HEARTBEAT: Duration = Duration::from_millis(500);

struct House {
    db: TestDb,
    engine: Engine,
    address: String,
    stopping: CancellationToken,
    _server: JoinSet<()>,
}

/// One connection, which checks each frame against the published schema.
struct Line {
    socket: WebSocketStream<MaybeTlsStream<TcpStream>>,
    document: Value,
}

/// What comes next.
#[derive(Debug, PartialEq)]
enum Heard {
    Frame(Value),
    Closed(u16),
}

impl House {
    async fn new() -> Self {
        let db = TestDb::new().await;
        let engine = db.engine(Registry::new()).await;
        let mut state = AppState::new(engine.clone(), AppOptions::default());
        state.streams.heartbeat = HEARTBEAT;
        state.streams.origins = vec!["https://board.example".to_owned()].into();
        let stopping = state.streams.stopping.clone();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut server = JoinSet::new();
        server.spawn(async move { axum::serve(listener, app(state)).await.unwrap() });
        Self { db, engine, address, stopping, _server: server }
    }

    async fn token(&self, client: &str, scopes: &[Scope]) -> (TokenId, String) {
        let new = NewToken {
            client_id: client.into(),
            name: "test".into(),
            scopes: scopes.to_vec(),
            command_types: None,
            ttl: None,
        };
        let created = self.engine.create_token(&Principal::operator(), new).await.unwrap();
        (created.id, created.token)
    }

    /// Opens a connection with these headers; the status of the refusal when it is refused.
    async fn open(&self, query: &str, headers: &[(&str, &str)]) -> Result<Line, u16> {
        let mut request = format!("ws://{}/v1/stream{query}", self.address).into_client_request().unwrap();
        for (name, value) in headers {
            let name = HeaderName::from_bytes(name.as_bytes()).unwrap();
            request.headers_mut().insert(name, HeaderValue::from_str(value).unwrap());
        }
        match connect_async(request).await {
            Ok((socket, _)) => Ok(Line { socket, document: asyncapi::document() }),
            Err(Error::Http(answer)) => Err(answer.status().as_u16()),
            Err(error) => panic!("{error}"),
        }
    }

    /// An open line of a token that may follow, after its `hello`.
    async fn line(&self, client: &str) -> Line {
        let (_, token) = self.token(client, &[Scope::EventsRead]).await;
        let mut line = self.open("", &[("authorization", &format!("Bearer {token}"))]).await.unwrap();
        assert_eq!(line.frame().await["op"], "hello");
        line
    }

    async fn append(&self, client: &str, severity: i16, count: i32) {
        sqlx::query(
            "select fermata.append(now(), array_fill($1::text, array[$2]), array_fill(null::uuid, array[$2]),
                array_fill('kill_switch.changed'::text, array[$2]), array_fill($3::int2, array[$2]),
                array_fill('{}'::jsonb, array[$2]), null)",
        )
        .bind(client)
        .bind(count)
        .bind(severity)
        .execute(&self.db.pool)
        .await
        .unwrap();
        sqlx::query("select pg_notify('fermata', replace(gen_random_uuid()::text, '-', '') || ' events')")
            .execute(&self.db.pool)
            .await
            .unwrap();
    }
}

impl Line {
    async fn say(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
    }

    /// The next frame but heartbeats, checked against its published schema, or how it ended.
    async fn hear(&mut self) -> Heard {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.unwrap();
            match message {
                Some(Ok(Message::Text(text))) => {
                    let frame: Value = serde_json::from_str(&text).unwrap();
                    self.check(&frame);
                    if frame["op"] != "heartbeat" {
                        return Heard::Frame(frame);
                    }
                }
                Some(Ok(Message::Close(Some(close)))) => return Heard::Closed(close.code.into()),
                Some(Ok(Message::Close(None)) | Err(_)) | None => return Heard::Closed(1006),
                Some(Ok(_)) => {}
            }
        }
    }

    async fn frame(&mut self) -> Value {
        match self.hear().await {
            Heard::Frame(frame) => frame,
            Heard::Closed(code) => panic!("closed with {code}"),
        }
    }

    async fn closed(&mut self) -> u16 {
        loop {
            if let Heard::Closed(code) = self.hear().await {
                return code;
            }
        }
    }

    /// The published document describes what the server really says.
    fn check(&self, frame: &Value) {
        let name = format!("server.{}", frame["op"].as_str().unwrap());
        let mut schema = self.document["components"]["messages"][&name]["payload"].clone();
        assert!(schema.is_object(), "{name} is not in the document");
        schema["components"] = json!({ "schemas": self.document["components"]["schemas"] });
        let validator = jsonschema::validator_for(&schema).unwrap();
        let errors: Vec<String> = validator.iter_errors(frame).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{frame}: {errors:?}");
    }

    /// Frames up to and with `caught_up`; the cursors of its events.
    async fn caught_up(&mut self) -> Vec<String> {
        let mut cursors = Vec::new();
        loop {
            let frame = self.frame().await;
            match frame["op"].as_str().unwrap() {
                "event" => {
                    assert_eq!(frame["cursor"], frame["event"]["cursor"]);
                    cursors.push(frame["cursor"].as_str().unwrap().to_owned());
                }
                "subscribed" => {}
                "caught_up" => return cursors,
                other => panic!("{other}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_replays_catches_up_and_goes_on_live_and_is_resumed_from_any_of_its_cursors() {
    let house = House::new().await;
    house.append("acme", 1, 3).await;
    house.append("other", 1, 2).await;
    let mut line = house.line("acme").await;
    line.say(json!({"op": "subscribe", "id": "s", "cursor": "earliest"})).await;
    let replayed = line.caught_up().await;
    assert_eq!(replayed.len(), 3);
    house.append("other", 1, 1).await;
    house.append("acme", 2, 1).await;
    let news = line.frame().await;
    assert_eq!((news["op"].as_str(), news["id"].as_str()), (Some("event"), Some("s")));
    assert_eq!(news["event"]["severity"], "warn");

    let mut again = house.line("acme").await;
    again.say(json!({"op": "subscribe", "cursor": replayed[1]})).await;
    assert_eq!(again.caught_up().await, [replayed[2].clone(), news["cursor"].as_str().unwrap().to_owned()]);
    again.say(json!({"op": "subscribe", "id": "loud", "filter": {"min_severity": "warn"}, "cursor": "earliest"})).await;
    assert_eq!(again.caught_up().await.len(), 1);
    again.say(json!({"op": "ack", "cursor": replayed[0]})).await;
    again.say(json!({"op": "ping", "nonce": "n"})).await;
    assert_eq!(again.frame().await, json!({"op": "pong", "nonce": "n"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_token_comes_by_header_subprotocol_ticket_or_first_frame_and_only_once() {
    let house = House::new().await;
    let (_, token) = house.token("acme", &[Scope::EventsRead]).await;
    let bearer = format!("Bearer {token}");
    let offered = format!("fermata.stream.v1, bearer.{token}");
    for headers in [vec![("authorization", bearer.as_str())], vec![("sec-websocket-protocol", offered.as_str())]] {
        let mut line = house.open("", &headers).await.unwrap();
        assert_eq!(line.frame().await["op"], "hello");
    }
    let mut line = house.open("", &[]).await.unwrap();
    line.say(json!({"op": "auth", "token": token})).await;
    assert_eq!(line.frame().await["op"], "hello");

    drop(rustls::crypto::ring::default_provider().install_default());
    let tickets = format!("http://{}/v1/ws-tickets", house.address);
    let sold = reqwest::Client::new().post(tickets).bearer_auth(&token).send().await.unwrap();
    let sold: Value = sold.json().await.unwrap();
    let query = format!("?ticket={}", sold["ticket"].as_str().unwrap());
    let mut line = house.open(&query, &[]).await.unwrap();
    assert_eq!(line.frame().await["op"], "hello");
    assert_eq!(house.open(&query, &[]).await.err(), Some(401), "a ticket is good once");
    let both = [("authorization", bearer.as_str()), ("sec-websocket-protocol", offered.as_str())];
    assert_eq!(house.open("", &both).await.err(), Some(400));
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_not_follow_is_told_so_and_shut_out() {
    let house = House::new().await;
    let wrong = format!("Bearer fermata_{}", "0".repeat(80));
    assert_eq!(house.open("", &[("authorization", &wrong)]).await.err(), Some(401));
    let (_, blind) = house.token("acme", &[Scope::CommandsRead]).await;
    assert_eq!(house.open("", &[("authorization", &format!("Bearer {blind}"))]).await.err(), Some(403));
    let mut line = house.open("", &[]).await.unwrap();
    line.say(json!({"op": "auth", "token": blind})).await;
    assert_eq!(line.frame().await["problem"]["code"], "scope_missing");
    assert_eq!(line.closed().await, 4403);
    let mut line = house.open("", &[]).await.unwrap();
    line.say(json!({"op": "subscribe"})).await;
    assert_eq!(line.frame().await["problem"]["code"], "token_missing");
    assert_eq!(line.closed().await, 4401);
}

#[tokio::test(flavor = "multi_thread")]
async fn pages_of_other_sites_cannot_connect() {
    let house = House::new().await;
    let (_, token) = house.token("acme", &[Scope::EventsRead]).await;
    let bearer = format!("Bearer {token}");
    let from = async |origin: &str| house.open("", &[("authorization", &bearer), ("origin", origin)]).await.map(drop);
    assert_eq!(from("https://evil.example").await, Err(403));
    assert_eq!(from("null").await, Err(403));
    assert_eq!(from("https://board.example").await, Ok(()));
    assert_eq!(from(&format!("http://{}", house.address)).await, Ok(()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frame_that_cannot_be_read_ends_the_connection_with_4400() {
    let house = House::new().await;
    for bad in
        ["{", "null", "[]", r#"{"op":"publish"}"#, r#"{"op":"subscribe","id":7}"#, r#"{"op":"auth","token":"x"}"#]
    {
        let mut line = house.line("acme").await;
        line.socket.send(Message::text(bad)).await.unwrap();
        assert_eq!(line.frame().await["problem"]["code"], "validation", "{bad}");
        assert_eq!(line.closed().await, 4400, "{bad}");
    }
    let mut line = house.line("acme").await;
    line.socket.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(line.closed().await, 4400);
    let mut line = house.line("acme").await;
    line.socket.send(Message::text("x".repeat(70_000))).await.unwrap();
    let closed = line.closed().await;
    assert!([4400, 1006].contains(&closed), "{closed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_a_subscription_is_refused_and_the_connection_stays() {
    let house = House::new().await;
    let mut line = house.line("acme").await;
    let newer = "AgAAAAEAAAAAAAAABQ";
    for (frame, code) in [
        (json!({"op": "subscribe", "cursor": "forged"}), "cursor_invalid"),
        (json!({"op": "subscribe", "cursor": newer}), "cursor_invalid"),
        (json!({"op": "subscribe", "id": ""}), "validation"),
        (json!({"op": "subscribe", "id": "x".repeat(129)}), "validation"),
        (json!({"op": "subscribe", "filter": {"command_id": "01900000-0000-7000-8000-000000000000"}}), "not_found"),
        (json!({"op": "unsubscribe", "id": "nobody"}), "not_found"),
        (json!({"op": "ack", "cursor": "forged"}), "cursor_invalid"),
    ] {
        line.say(frame.clone()).await;
        let mut heard = line.frame().await;
        while heard["op"] != "error" {
            heard = line.frame().await;
        }
        assert_eq!(heard["problem"]["code"], code, "{frame}");
    }
    for n in 0..16 {
        line.say(json!({"op": "subscribe", "id": n.to_string()})).await;
        assert_eq!(line.caught_up().await, Vec::<String>::new());
    }
    line.say(json!({"op": "subscribe", "id": "3"})).await;
    assert_eq!(line.frame().await["problem"]["code"], "subscription_exists");
    line.say(json!({"op": "subscribe", "id": "one-more"})).await;
    assert_eq!(line.frame().await["problem"]["code"], "too_many_subscriptions");
    for n in 1..16 {
        line.say(json!({"op": "unsubscribe", "id": n.to_string()})).await;
        assert_eq!(line.frame().await, json!({"op": "unsubscribed", "id": n.to_string()}));
    }
    house.append("acme", 1, 1).await;
    assert_eq!(line.frame().await["id"], "0", "only who is still subscribed hears of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cursor_that_cannot_be_resumed_ends_the_connection_with_4410() {
    let house = House::new().await;
    house.append("acme", 1, 5).await;
    sqlx::query("delete from fermata.event where position <= 3").execute(&house.db.pool).await.unwrap();
    for (cursor, code) in [(Cursor::at(1), "cursor_expired"), (Cursor { epoch: 9, position: 4 }, "cursor_foreign")] {
        let mut line = house.line("acme").await;
        line.say(json!({"op": "subscribe", "cursor": cursor})).await;
        assert_eq!(line.frame().await["problem"]["code"], code);
        assert_eq!(line.closed().await, 4410);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_connections_with_4401_subscribed_or_not() {
    let house = House::new().await;
    let (id, token) = house.token("acme", &[Scope::EventsRead]).await;
    let bearer = format!("Bearer {token}");
    let mut idle = house.open("", &[("authorization", &bearer)]).await.unwrap();
    let mut busy = house.open("", &[("authorization", &bearer)]).await.unwrap();
    busy.frame().await;
    busy.say(json!({"op": "subscribe"})).await;
    busy.caught_up().await;
    house.engine.revoke_token(&Principal::operator(), id).await.unwrap();
    assert_eq!((idle.closed().await, busy.closed().await), (4401, 4401));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_drains_says_so() {
    let house = House::new().await;
    let mut line = house.line("acme").await;
    line.say(json!({"op": "subscribe"})).await;
    line.caught_up().await;
    house.stopping.cancel();
    assert_eq!(line.closed().await, 1001);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_random_frame_brings_the_server_down() {
    let house = House::new().await;
    let mut line = house.line("acme").await;
    let words = [
        "{",
        "}",
        "\"op\"",
        ":",
        "\"subscribe\"",
        "\"filter\"",
        ",",
        "[",
        "]",
        "null",
        "1e999",
        "\"\\u0000\"",
        "\"ack\"",
        "\"cursor\"",
    ];
    let mut chance: u64 = 7;
    for _ in 0..2_000 {
        let mut text = String::new();
        for _ in 0..6 {
            chance = chance.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            text.push_str(words[usize::try_from(chance >> 33).unwrap() % words.len()]);
        }
        if line.socket.send(Message::text(text)).await.is_err() {
            line = house.line("acme").await;
        }
    }
    let mut line = house.line("acme").await;
    line.say(json!({"op": "ping"})).await;
    assert_eq!(line.frame().await, json!({"op": "pong"}));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_address_asks_for_is_subscribed_without_a_frame() {
    let house = House::new().await;
    house.append("c", 1, 2).await;
    house.append("c", 2, 1).await;
    let (_, token) = house.token("c", &[Scope::EventsRead]).await;
    let bearer = format!("Bearer {token}");
    let headers = [("authorization", bearer.as_str())];

    let mut line = house.open("?cursor=earliest&min_severity=warn", &headers).await.unwrap();
    assert_eq!(line.frame().await["op"], "hello");
    let subscribed = line.frame().await;
    assert_eq!((&subscribed["op"], &subscribed["id"]), (&json!("subscribed"), &json!("default")));
    let event = line.frame().await;
    assert_eq!((&event["op"], &event["event"]["severity"]), (&json!("event"), &json!("warn")));
    assert_eq!(line.frame().await["op"], "caught_up");

    let mut forged = house.open("?cursor=forged", &headers).await.unwrap();
    assert_eq!(forged.frame().await["op"], "hello");
    assert_eq!(forged.frame().await["problem"]["code"], "cursor_invalid");
    for unfit in ["?colour=red", "?command_id=nobody", "?min_severity=loud"] {
        assert_eq!(house.open(unfit, &headers).await.err(), Some(400), "{unfit}");
    }
}
