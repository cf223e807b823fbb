//! Laws of the faults of a whole link, against a server that says back what it is told.

use std::io::ErrorKind;
use std::net::SocketAddr;

use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use crate::running::{Proxy, is_stuck, soon};

/// A server that says everything back.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut source, mut sink) = stream.split();
                drop(tokio::io::copy(&mut source, &mut sink).await);
            });
        }
    });
    address
}

async fn rig() -> (Proxy, TcpStream, SocketAddr) {
    let proxy = Proxy::start().await;
    let address = proxy.open(&echo().await.to_string(), "tcp").await;
    let mut client = TcpStream::connect(address).await.unwrap();
    assert_eq!(said_back(&mut client, b"hello").await.unwrap(), b"hello");
    (proxy, client, address)
}

async fn said_back(client: &mut TcpStream, words: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut heard = vec![0; words.len()];
    client.write_all(words).await?;
    soon("the words come back", client.read_exact(&mut heard)).await?;
    Ok(heard)
}

/// What a client sees whose connection was reset.
async fn fate(client: &mut TcpStream) -> ErrorKind {
    soon("the reset comes", client.read_u8()).await.unwrap_err().kind()
}

/// The same for one that comes anew; the reset may be there before it knows that it is connected.
async fn fate_of_newcomer(address: SocketAddr) -> ErrorKind {
    match TcpStream::connect(address).await {
        Ok(mut client) => fate(&mut client).await,
        Err(error) => error.kind(),
    }
}

#[tokio::test]
async fn half_open_passes_nothing_until_it_is_cleared() {
    let (proxy, mut client, address) = rig().await;
    proxy.arm(json!({ "kind": "half_open" })).await;
    client.write_all(b"again").await.unwrap();
    assert!(is_stuck(client.read_u8()).await);
    let mut newcomer = TcpStream::connect(address).await.unwrap();
    newcomer.write_all(b"!").await.unwrap();
    assert!(is_stuck(newcomer.read_u8()).await);

    proxy.clear().await;

    let mut heard = [0; 5];
    soon("the words come back", client.read_exact(&mut heard)).await.unwrap();
    assert_eq!(&heard, b"again");
    assert_eq!(soon("the words come back", newcomer.read_u8()).await.unwrap(), b'!');
}

#[tokio::test]
async fn half_open_can_end_by_itself() {
    let (proxy, mut client, _) = rig().await;
    let began = Instant::now();
    proxy.arm(json!({ "kind": "half_open", "for_ms": 400 })).await;
    assert_eq!(said_back(&mut client, b"again").await.unwrap(), b"again");
    assert!(began.elapsed().as_millis() >= 400);
}

#[tokio::test]
async fn reset_takes_the_connections_there_are_and_no_later_one() {
    let (proxy, mut client, address) = rig().await;
    proxy.arm(json!({ "kind": "reset" })).await;
    assert_eq!(fate(&mut client).await, ErrorKind::ConnectionReset);
    assert!(proxy.fired().await.contains("1 connections"));
    let mut later = TcpStream::connect(address).await.unwrap();
    assert_eq!(said_back(&mut later, b"later").await.unwrap(), b"later");
}

#[tokio::test]
async fn refuse_takes_new_connections_and_no_earlier_one() {
    let (proxy, mut client, address) = rig().await;
    proxy.arm(json!({ "kind": "refuse" })).await;
    for _ in 0..3 {
        assert_eq!(fate_of_newcomer(address).await, ErrorKind::ConnectionReset);
    }
    assert_eq!(said_back(&mut client, b"earlier").await.unwrap(), b"earlier");
    assert_eq!(proxy.times().await, 3);

    proxy.clear().await;

    let mut welcome = TcpStream::connect(address).await.unwrap();
    assert_eq!(said_back(&mut welcome, b"welcome").await.unwrap(), b"welcome");
}

#[tokio::test]
async fn throttle_passes_so_many_bytes_a_second() {
    let (proxy, mut client, _) = rig().await;
    proxy.arm(json!({ "kind": "throttle", "bytes_per_s": 20_000 })).await;
    let words = vec![b'x'; 10_000];
    let began = Instant::now();
    assert_eq!(said_back(&mut client, &words).await.unwrap(), words);
    assert!(began.elapsed().as_millis() >= 450, "{:?}", began.elapsed());

    proxy.arm_anew(json!({ "kind": "throttle", "bytes_per_s": 1 })).await;
    client.write_all(&words).await.unwrap();
    assert!(is_stuck(client.read_exact(&mut vec![0; words.len()])).await);
    proxy.clear().await;
    soon("the rest comes", client.read_u8()).await.unwrap();
}

#[tokio::test]
async fn a_new_upstream_is_for_new_connections() {
    let (proxy, mut client, address) = rig().await;
    let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let upstream = other.local_addr().unwrap().to_string();
    proxy.agree(json!({ "op": "upstream", "name": "link", "upstream": upstream })).await;
    let mut later = TcpStream::connect(address).await.unwrap();
    let (mut server, _) = soon("the proxy connects", other.accept()).await.unwrap();
    server.write_all(b"!").await.unwrap();
    assert_eq!(soon("the other server speaks", later.read_u8()).await.unwrap(), b'!');
    assert_eq!(said_back(&mut client, b"hello").await.unwrap(), b"hello");
}

#[tokio::test]
async fn an_upstream_that_is_not_there_is_a_reset() {
    let proxy = Proxy::start().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let address = proxy.open(&gone.to_string(), "postgres").await;
    assert_eq!(fate_of_newcomer(address).await, ErrorKind::ConnectionReset);
    assert_eq!(proxy.stats().await["unreachable"], 1);
}

#[tokio::test]
async fn a_link_that_is_closed_takes_its_connections_with_it() {
    let (proxy, mut client, address) = rig().await;
    proxy.agree(json!({ "op": "close", "name": "link" })).await;
    assert_eq!(fate(&mut client).await, ErrorKind::ConnectionReset);
    crate::running::eventually("the address is free", || async { TcpStream::connect(address).await.err().map(drop) })
        .await;
}
