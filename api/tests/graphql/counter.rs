//! Counts the statements that reach Postgres on connections of the reader's role: a proxy that
//! reads the protocol on the wire, so that nothing can go past it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};

/// What begins a connection with "may we speak TLS?" instead of with its parameters.
const SSL_REQUEST: [u8; 4] = 80_877_103_u32.to_be_bytes();

/// A proxy in front of a database.
pub(crate) struct Counter {
    pub(crate) url: String,
    statements: Arc<AtomicU64>,
}

impl Counter {
    pub(crate) async fn before(database: &str) -> Self {
        let (credentials, rest) = database.rsplit_once('@').unwrap();
        let (server, name) = rest.split_once('/').unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("{credentials}@{}/{name}", listener.local_addr().unwrap());
        let statements = Arc::new(AtomicU64::new(0));
        let (server, counted) = (server.to_owned(), statements.clone());
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let upstream = TcpStream::connect(&server).await.unwrap();
                upstream.set_nodelay(true).unwrap();
                client.set_nodelay(true).unwrap();
                let ((mut down, mut back), (from, to)) = (upstream.into_split(), client.into_split());
                let (counted, mut to) = (counted.clone(), to);
                tokio::spawn(async move { tokio::io::copy(&mut down, &mut to).await });
                tokio::spawn(async move { count(from, &mut back, &counted).await });
            }
        });
        Self { url, statements }
    }

    pub(crate) fn statements(&self) -> u64 {
        self.statements.load(Ordering::SeqCst)
    }
}

/// Hands on what a client says, message by message.
async fn count(mut from: OwnedReadHalf, to: &mut OwnedWriteHalf, statements: &AtomicU64) -> std::io::Result<()> {
    let (mut started, mut is_reader) = (false, false);
    loop {
        let kind = if started { from.read_u8().await? } else { 0 };
        let length = from.read_u32().await?;
        let mut message = if started { vec![kind] } else { Vec::new() };
        message.extend(length.to_be_bytes());
        let head = message.len();
        message.resize(head + usize::try_from(length).unwrap() - 4, 0);
        from.read_exact(&mut message[head..]).await?;
        to.write_all(&message).await?;
        let body = &message[head..];
        started |= body != SSL_REQUEST;
        match kind {
            b'Q' if String::from_utf8_lossy(body).contains("fermata_reader") => is_reader = true,
            // A simple query, or the execution of a prepared one.
            b'Q' | b'E' if is_reader => drop(statements.fetch_add(1, Ordering::SeqCst)),
            _ => {}
        }
    }
}
