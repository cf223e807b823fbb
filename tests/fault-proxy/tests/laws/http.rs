//! Laws of the faults of HTTP, against a server that counts what it was asked.

use std::io::ErrorKind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};

use crate::running::{Proxy, is_stuck, soon};

const COMMAND: &str = "POST /v1/commands HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello";
const OTHER: &str = "GET /other HTTP/1.1\r\n\r\n";
const ANSWER: &str = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789";

/// A server that answers each request with [`ANSWER`], and then says words back if it is upgraded.
async fn serve(mut stream: TcpStream, handled: Arc<AtomicUsize>) -> std::io::Result<()> {
    let (source, mut sink) = stream.split();
    let mut source = BufReader::new(source);
    loop {
        let (mut length, mut upgrades) = (0, false);
        loop {
            let mut line = String::new();
            if source.read_line(&mut line).await? == 0 {
                return Ok(());
            }
            if let Some(value) = line.strip_prefix("Content-Length: ") {
                length = value.trim().parse().unwrap();
            }
            upgrades |= line.starts_with("Upgrade:");
            if line == "\r\n" {
                break;
            }
        }
        source.read_exact(&mut vec![0; length]).await?;
        handled.fetch_add(1, Ordering::SeqCst);
        if upgrades {
            sink.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n").await?;
            return tokio::io::copy(&mut source, &mut sink).await.map(drop);
        }
        sink.write_all(ANSWER.as_bytes()).await?;
    }
}

struct Rig {
    proxy: Proxy,
    client: TcpStream,
    handled: Arc<AtomicUsize>,
}

impl Rig {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let upstream = listener.local_addr().unwrap().to_string();
        let handled = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&handled);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, Arc::clone(&count)));
            }
        });
        let proxy = Proxy::start().await;
        let address = proxy.open(&upstream, "http").await;
        Self { proxy, client: TcpStream::connect(address).await.unwrap(), handled }
    }

    /// What comes back before the connection is reset, or the answer.
    async fn ask(&mut self, request: &str) -> (String, Option<ErrorKind>) {
        self.client.write_all(request.as_bytes()).await.unwrap();
        let mut heard = vec![0; ANSWER.len()];
        let mut length = 0;
        let mut failed = None;
        while length < heard.len() && failed.is_none() {
            match soon("an answer or a reset comes", self.client.read(&mut heard[length..])).await {
                Ok(0) => failed = Some(ErrorKind::UnexpectedEof),
                Ok(read) => length += read,
                Err(error) => failed = Some(error.kind()),
            }
        }
        (String::from_utf8_lossy(&heard[..length]).into_owned(), failed)
    }

    fn handled(&self) -> usize {
        self.handled.load(Ordering::SeqCst)
    }
}

#[tokio::test]
async fn an_answer_that_is_cut_was_given_and_not_a_byte_of_it_arrives() {
    let mut rig = Rig::start().await;
    rig.proxy.arm(json!({ "kind": "cut_answer", "match": "POST /v1/commands" })).await;
    assert_eq!(rig.ask(OTHER).await, (ANSWER.to_owned(), None));

    let cut = rig.ask(COMMAND).await;

    assert_eq!(cut, (String::new(), Some(ErrorKind::ConnectionReset)));
    assert_eq!(rig.handled(), 2);
    assert!(rig.proxy.fired().await.contains("POST /v1/commands"));
}

#[tokio::test]
async fn a_request_of_http_that_is_cut_never_reaches_the_server() {
    let mut rig = Rig::start().await;
    rig.proxy.arm(json!({ "kind": "cut_request", "match": "POST /v1/commands" })).await;
    assert_eq!(rig.ask(OTHER).await, (ANSWER.to_owned(), None));
    assert_eq!(rig.ask(COMMAND).await, (String::new(), Some(ErrorKind::ConnectionReset)));
    assert_eq!(rig.handled(), 1);
}

/// A client and the server's end of its connection, with a fault between them.
async fn both_ends(proxy: &Proxy, fault: serde_json::Value) -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = proxy.open(&listener.local_addr().unwrap().to_string(), "http").await;
    proxy.arm(fault).await;
    let client = TcpStream::connect(address).await.unwrap();
    (client, soon("the proxy connects", listener.accept()).await.unwrap().0)
}

#[tokio::test]
async fn not_a_byte_of_a_request_that_is_cut_is_passed_on() {
    let proxy = Proxy::start().await;
    let (mut client, mut server) = both_ends(&proxy, json!({ "kind": "cut_request" })).await;
    client.write_all(OTHER.as_bytes()).await.unwrap();
    let mut heard = Vec::new();
    // It may see the reset or the end.
    drop(soon("the cut comes", server.read_to_end(&mut heard)).await);
    assert_eq!(heard, b"");
}

#[tokio::test]
async fn a_request_that_is_held_is_passed_on_when_the_faults_are_cleared() {
    let proxy = Proxy::start().await;
    let (mut client, mut server) = both_ends(&proxy, json!({ "kind": "cut_request" })).await;
    client.write_all(b"GET /hal").await.unwrap();
    assert!(is_stuck(server.read_u8()).await);

    proxy.clear().await;

    let mut heard = [0; 8];
    soon("what was held comes", server.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"GET /hal");
}

#[tokio::test]
async fn half_of_an_answer_of_http_arrives() {
    let mut rig = Rig::start().await;
    rig.proxy.arm(json!({ "kind": "half_answer" })).await;
    let half = ANSWER[..ANSWER.len() / 2].to_owned();
    assert_eq!(rig.ask(COMMAND).await, (half, Some(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn a_delayed_answer_of_http_is_held_until_the_faults_are_cleared() {
    let mut rig = Rig::start().await;
    rig.proxy.arm(json!({ "kind": "delay", "ms": 600_000 })).await;
    rig.client.write_all(COMMAND.as_bytes()).await.unwrap();
    rig.proxy.fired().await;
    assert_eq!(rig.handled(), 1);
    assert!(is_stuck(rig.client.read_u8()).await);

    rig.proxy.clear().await;

    let mut heard = vec![0; ANSWER.len()];
    soon("the answer comes", rig.client.read_exact(&mut heard)).await.unwrap();
    assert_eq!(heard, ANSWER.as_bytes());
}

#[tokio::test]
async fn requests_on_one_connection_get_their_answers_in_order() {
    let mut rig = Rig::start().await;
    rig.proxy.arm(json!({ "kind": "cut_answer", "match": "/third" })).await;
    let both = format!("{COMMAND}{OTHER}GET /third HTTP/1.1\r\n\r\n");
    assert_eq!(rig.ask(&both).await, (ANSWER.to_owned(), None));
    assert_eq!(rig.ask("").await, (ANSWER.to_owned(), None));
    assert_eq!(rig.ask("").await, (String::new(), Some(ErrorKind::ConnectionReset)));
}

#[tokio::test]
async fn an_upgraded_connection_knows_only_the_faults_of_the_link() {
    let mut rig = Rig::start().await;
    let upgrade = "GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n";
    rig.client.write_all(upgrade.as_bytes()).await.unwrap();
    let mut heard = [0; 56];
    soon("the upgrade comes", rig.client.read_exact(&mut heard)).await.unwrap();
    rig.proxy.arm(json!({ "kind": "cut_answer" })).await;
    assert_eq!(rig.ask(&"x".repeat(ANSWER.len())).await, ("x".repeat(ANSWER.len()), None));
    assert_eq!(rig.proxy.stats().await["plain"], 1);

    rig.proxy.arm_anew(json!({ "kind": "half_open" })).await;
    rig.client.write_all(b"stuck").await.unwrap();
    assert!(is_stuck(rig.client.read_u8()).await);
    rig.proxy.arm_anew(json!({ "kind": "reset" })).await;

    let mut rest = Vec::new();
    let failed = soon("the reset comes", rig.client.read_to_end(&mut rest)).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::ConnectionReset);
}
