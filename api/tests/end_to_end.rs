//! One flow from submission to proof, on real processes (G-024): accepted, followed over the WebSocket,
//! verified.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::process::Command;

use fermata_tests::{Dev, PATIENCE};
use futures::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async};

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn connected(dev: &Dev) -> Socket {
    let address = dev.ready.control.replacen("http", "ws", 1) + "/v1/stream";
    let mut request = address.into_client_request().unwrap();
    let token = std::fs::read_to_string(&dev.ready.token_file).unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {}", token.trim()).parse().unwrap());
    connect_async(request).await.unwrap().0
}

/// The events of a command, in the order in which the socket tells them, until it has ended.
async fn told(socket: &mut Socket, command: &str) -> Vec<Value> {
    let mut events = Vec::new();
    loop {
        let message = tokio::time::timeout(PATIENCE, socket.next()).await.unwrap().unwrap().unwrap();
        let Message::Text(text) = message else { continue };
        let frame: Value = serde_json::from_str(&text).unwrap();
        if frame["op"] == "event" && frame["event"]["subject"] == command {
            let ended = frame["event"]["data"]["to"] == "SUCCEEDED";
            events.push(frame["event"].clone());
            if ended {
                return events;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flow_is_accepted_tells_its_statuses_over_the_websocket_and_is_verified() {
    let dev = Dev::start().await;
    let mut socket = connected(&dev).await;
    socket.send(Message::text(json!({"op": "subscribe", "cursor": "earliest"}).to_string())).await.unwrap();

    let inputs = json!({
        "caption": "from end to end", "reference": "end-to-end", "honours_keys": true, "absence": "inconclusive",
        "call_timeout_s": 3, "visible_within_s": 0,
    });
    let submission = json!({"type": "flow.run", "payload": {"workflow_name": "demo.http_publish", "inputs": inputs}});
    let (status, accepted) = dev.post("/v1/commands", &submission).await;
    assert_eq!(status, 202, "{accepted}");
    let command = accepted["command_id"].as_str().unwrap();

    let events = told(&mut socket, command).await;
    let statuses: Vec<&str> = events.iter().filter_map(|event| event["data"]["to"].as_str()).collect();
    assert_eq!(statuses, ["QUEUED", "RUNNING", "SUCCEEDED"]);
    let place = |kind: &str| events.iter().position(|event| event["type"] == kind).unwrap();
    let (attempted, verified) = (place("action.attempted"), place("action.verified"));
    assert!(attempted < verified && verified < events.len() - 1, "{events:#?}");
    assert_eq!(events[verified]["data"]["status"], "confirmed_success");
    assert!(events[verified]["data"]["level"].as_u64().unwrap() >= 1, "{}", events[verified]);

    let ended = dev.get(&format!("/v1/commands/{command}")).await;
    assert_eq!((&ended["status"], ended["result"].is_object()), (&json!("SUCCEEDED"), true), "{ended}");
    assert_eq!(dev.applied("end-to-end").await, 1);

    let actions = dev.get(&format!("/v1/commands/{command}/actions")).await;
    let action = dev.get(&format!("/v1/actions/{}", actions["items"][0]["action_id"].as_str().unwrap())).await;
    let mut kinds: Vec<_> =
        action["proofs"].as_array().unwrap().iter().map(|it| it["kind"].as_str().unwrap()).collect();
    kinds.sort_unstable();
    assert_eq!((&action["level"], kinds), (&json!(3), vec!["answer", "look", "request", "surface"]), "{action:#}");
    proven(&dev, command);
}

/// The command is exported and verified by a script of another language; the whole trail is verified with the heads that
/// have left the database.
fn proven(dev: &Dev, command: &str) {
    let bundle = dev.data_dir().join("proof.json");
    let api = ["--url", &dev.ready.control, "--token-file", dev.ready.token_file.to_str().unwrap()];
    let fermata = |words: &[&str]| {
        Command::new(env!("CARGO_BIN_EXE_fermata")).args(words).args(api).env_remove("DATABASE_URL").output().unwrap()
    };
    let exported = fermata(&["runs", "export", command, "--out", bundle.to_str().unwrap()]);
    assert!(exported.status.success(), "{}", String::from_utf8_lossy(&exported.stderr));
    let key = fermata_key(dev);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/../tests/audit/verify.mjs");
    let verified = Command::new("node").arg(script).arg(&bundle).arg(&key).output().unwrap();
    assert!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stderr));
    let heads = dev.data_dir().join("audit-heads.ndjson");
    let whole = fermata(&["audit", "verify", "--heads", heads.to_str().unwrap(), "--key", &key, "--json"]);
    let found: Value = serde_json::from_slice(&whole.stdout).unwrap();
    assert!(whole.status.success() && found["ok"] == true && found["heads"].as_u64().unwrap() > 0, "{found:#}");
}

fn fermata_key(dev: &Dev) -> String {
    let file = dev.data_dir().join("audit-key.pem");
    let shown = Command::new(env!("CARGO_BIN_EXE_fermata")).args(["audit", "key"]).arg(file).output().unwrap();
    String::from_utf8(shown.stdout).unwrap().trim().to_owned()
}
