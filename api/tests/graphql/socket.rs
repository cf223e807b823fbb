//! The subscription over graphql-transport-ws.

use std::time::Duration;

use fermata_engine::access::{Principal, Scope};
use fermata_tests::PATIENCE;
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::tungstenite::{Error, Message};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

use super::harness::Graph;

struct Socket(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Socket {
    async fn open(graph: &Graph, protocol: Option<&str>, token: Option<&str>) -> Result<Self, Error> {
        let mut request = format!("ws://{}/graphql/ws", graph.address).into_client_request().unwrap();
        if let Some(protocol) = protocol {
            request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
        }
        if let Some(token) = token {
            request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        }
        connect_async(request).await.map(|(socket, _)| Self(socket))
    }

    /// A connection on which nothing was said.
    async fn silent(graph: &Graph) -> Self {
        Self::open(graph, Some("graphql-transport-ws"), None).await.unwrap()
    }

    /// A connection that knows who speaks.
    async fn known(graph: &Graph, token: &str) -> Self {
        let mut socket = Self::silent(graph).await;
        socket.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {token}")}})).await;
        assert_eq!(socket.hear().await, json!({"type": "connection_ack"}));
        socket
    }

    async fn say(&mut self, message: Value) {
        self.0.send(Message::text(message.to_string())).await.unwrap();
    }

    async fn subscribe(&mut self, id: &str, query: &str, variables: Value) {
        let payload = json!({"query": query, "variables": variables});
        self.say(json!({"type": "subscribe", "id": id, "payload": payload})).await;
    }

    async fn message(&mut self) -> Message {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.0.next()).await.unwrap().unwrap().unwrap();
            if !matches!(message, Message::Ping(_) | Message::Pong(_)) {
                return message;
            }
        }
    }

    async fn hear(&mut self) -> Value {
        let message = self.message().await;
        serde_json::from_str(message.to_text().unwrap()).unwrap_or_else(|_| panic!("JSON, not {message:?}"))
    }

    /// The next event of the subscription `id`.
    async fn event(&mut self, id: &str) -> Value {
        let message = self.hear().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("next"), &json!(id)), "{message}");
        message["payload"]["data"]["events"].clone()
    }

    async fn closed(&mut self) -> u16 {
        match self.message().await {
            Message::Close(Some(frame)) => frame.code.into(),
            other => panic!("a farewell, not {other:?}"),
        }
    }
}

const EVENTS: &str = "subscription($filter: EventFilter, $after: String) {
    events(filter: $filter, after: $after) { id cursor type subject command { id type } } }";

#[tokio::test(flavor = "multi_thread")]
async fn events_come_as_they_happen_and_are_resumed_without_loss_or_repetition() {
    let graph = Graph::new().await;
    let mut live = Socket::known(&graph, &graph.token).await;
    live.subscribe("a", EVENTS, json!({})).await;
    // What was submitted before this answer may not come, what follows it does.
    live.say(json!({"type": "ping", "payload": {"n": 1}})).await;
    assert_eq!(live.hear().await, json!({"type": "pong", "payload": {"n": 1}}));
    let mut first = Value::Null;
    let mut submitted = Vec::new();
    while first.is_null() {
        submitted.push(graph.submit(json!({"type": "test.echo", "payload": {}})).await);
        if let Ok(event) = tokio::time::timeout(Duration::from_secs(2), live.event("a")).await {
            first = event;
        }
    }
    assert_eq!(first["command"]["type"], "test.echo");
    let wanted = "query($after: String) { events(after: $after) { edges { node { id cursor type subject command { id type } } } } }";
    let id = graph.tour("a").await;
    let page = graph.data(wanted, json!({"after": first["cursor"]})).await;
    let stored: Vec<_> = page["events"]["edges"].as_array().unwrap().iter().map(|edge| edge["node"].clone()).collect();
    assert!(stored.iter().any(|event| event["subject"] == json!(id)));
    for (n, event) in stored.iter().enumerate() {
        assert_eq!(live.event("a").await, *event, "live event {n}");
    }
    let mut resumed = Socket::known(&graph, &graph.token).await;
    resumed.subscribe("b", EVENTS, json!({"after": stored[3]["cursor"]})).await;
    for event in &stored[4..] {
        assert_eq!(resumed.event("b").await, *event);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subscription_begins_at_the_head_that_was_asked_for_or_at_the_very_first_event() {
    let graph = Graph::new().await;
    let first = graph.tour("a").await;
    let head = graph.data("{ stream { oldest head } }", json!({})).await["stream"]["head"].clone();
    let second = graph.tour("b").await;
    for (after, wanted) in [(head, second), (json!("earliest"), first)] {
        let mut socket = Socket::known(&graph, &graph.token).await;
        socket.subscribe("s", EVENTS, json!({"after": after})).await;
        assert_eq!(socket.event("s").await["subject"], json!(wanted), "after {after}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_narrows_and_another_clients_events_never_come() {
    let graph = Graph::new().await;
    let stranger = graph.token("other", &[Scope::Admin]).await;
    let other = "mutation { submitCommand(input: {type: \"test.echo\", payload: {}}) { commandId } }";
    graph.ask_as(&stranger, other, json!({})).await;
    let ours = graph.tour("a").await;
    let oldest = graph.data("{ events(first: 1) { edges { cursor } } }", json!({})).await;
    let after = oldest["events"]["edges"][0]["cursor"].clone();
    let mut socket = Socket::known(&graph, &stranger).await;
    socket.subscribe("a", EVENTS, json!({"after": after})).await;
    let more = graph.ask_as(&stranger, other, json!({})).await;
    let theirs = more["data"]["submitCommand"]["commandId"].clone();
    loop {
        let event = socket.event("a").await;
        assert_ne!(event["subject"], json!(ours));
        if event["subject"] == theirs {
            break;
        }
    }
    let mut narrow = Socket::known(&graph, &graph.token).await;
    let filter = json!({"commandId": ours, "types": ["human.required"]});
    narrow.subscribe("n", EVENTS, json!({"filter": filter, "after": after})).await;
    let event = narrow.event("n").await;
    assert_eq!((&event["type"], &event["subject"]), (&json!("human.required"), &json!(ours)));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_protocol_is_held_to_with_its_own_codes() {
    let graph = Graph::new().await;
    let init = json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {}", graph.token)}});
    let subscribe = json!({"type": "subscribe", "id": "1", "payload": {"query": EVENTS}});
    for (said, code) in [
        (vec![json!({"type": "nonsense"})], 4400),
        (vec![json!([])], 4400),
        (vec![json!({"type": "subscribe", "id": "1"})], 4400),
        (vec![subscribe.clone()], 4401),
        (vec![json!({"type": "connection_init"})], 4403),
        (vec![json!({"type": "connection_init", "payload": {"authorization": "Bearer nope"}})], 4403),
        (vec![json!({"type": "connection_init", "payload": {"authorization": 1}})], 4403),
        (vec![init.clone(), init.clone()], 4429),
        (vec![init.clone(), subscribe.clone(), subscribe.clone()], 4409),
    ] {
        let mut socket = Socket::silent(&graph).await;
        let acked = said.len() > 1;
        for message in &said {
            socket.say(message.clone()).await;
        }
        if acked {
            assert_eq!(socket.hear().await["type"], "connection_ack");
        }
        assert_eq!(socket.closed().await, code, "{said:?}");
    }
    let mut binary = Socket::silent(&graph).await;
    binary.0.send(Message::binary(vec![1])).await.unwrap();
    assert_eq!(binary.closed().await, 4400);
    let mut late = Socket::silent(&graph).await;
    assert_eq!(late.closed().await, 4408);
    let mut legacy = Socket::open(&graph, None, None).await.unwrap();
    assert_eq!(legacy.closed().await, 4406);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_header_lets_in_too_and_a_bad_one_opens_nothing() {
    let graph = Graph::new().await;
    let mut socket = Socket::open(&graph, Some("graphql-transport-ws"), Some(&graph.token)).await.unwrap();
    socket.say(json!({"type": "connection_init"})).await;
    assert_eq!(socket.hear().await["type"], "connection_ack");
    socket.subscribe("q", "{ __typename }", json!({})).await;
    assert_eq!(socket.hear().await["payload"]["data"]["__typename"], "Query", "queries are answered, too");
    assert_eq!(socket.hear().await, json!({"type": "complete", "id": "q"}));
    let refused = Socket::open(&graph, Some("graphql-transport-ws"), Some("nope")).await;
    assert!(matches!(refused, Err(Error::Http(answer)) if answer.status() == 401));
    let other = graph.token("acme", &[Scope::Admin]).await;
    let mut two = Socket::open(&graph, Some("graphql-transport-ws"), Some(&graph.token)).await.unwrap();
    two.say(json!({"type": "connection_init", "payload": {"authorization": format!("Bearer {other}")}})).await;
    assert_eq!(two.closed().await, 4403);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_operation_is_an_error_and_the_connection_goes_on() {
    let graph = Graph::new().await;
    let reader = graph.token("acme", &[Scope::CommandsRead]).await;
    let mut socket = Socket::known(&graph, &reader).await;
    for (query, variables, code) in [
        (EVENTS, json!({}), "scope_missing"),
        ("subscription { nothing }", json!({}), "graphql_validation"),
        ("{", json!({}), "graphql_syntax"),
        ("{ __schema { queryType { name } } }", json!({}), "scope_missing"),
    ] {
        socket.subscribe("x", query, variables).await;
        let message = socket.hear().await;
        assert_eq!((&message["type"], &message["id"]), (&json!("error"), &json!("x")), "{message}");
        assert_eq!(message["payload"][0]["extensions"]["code"], code, "{message}");
    }
    let mut writer = Socket::known(&graph, &graph.token).await;
    writer.subscribe("c", EVENTS, json!({"after": "x"})).await;
    assert_eq!(writer.hear().await["payload"][0]["extensions"]["code"], "cursor_invalid");
    for n in 0..33 {
        writer.subscribe(&format!("s{n}"), EVENTS, json!({})).await;
    }
    let full = writer.hear().await;
    assert_eq!((&full["type"], &full["id"]), (&json!("error"), &json!("s32")));
    assert_eq!(full["payload"][0]["extensions"]["code"], "graphql_too_many_operations");
    writer.say(json!({"type": "complete", "id": "s0"})).await;
    writer.subscribe("s0", "{ __typename }", json!({})).await;
    assert_eq!(writer.hear().await["id"], "s0", "a name that is free is used again");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_token_ends_its_connection() {
    let graph = Graph::new().await;
    let token = graph.token("acme", &[Scope::EventsRead]).await;
    let mut socket = Socket::known(&graph, &token).await;
    socket.subscribe("a", EVENTS, json!({})).await;
    let operator = Principal::operator();
    let tokens = graph.engine.list_tokens(&operator).await.unwrap();
    let id = tokens.iter().find(|row| row.scopes == ["events:read"]).unwrap().token_id;
    graph.engine.revoke_token(&operator, id).await.unwrap();
    let last = socket.hear().await;
    assert_eq!((&last["type"], &last["id"]), (&json!("error"), &json!("a")), "{last}");
    assert_eq!(last["payload"][0]["extensions"]["code"], "token_unknown");
    assert_eq!(socket.closed().await, 4403);
}
