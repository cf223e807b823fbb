//! An address of signed heads, on a real socket: each request waits until the test says how it is answered.

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// How a request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Answer {
    /// With this status.
    Status(u16),
    /// With a way to another place, where everything is well.
    Elsewhere,
    /// Not at all: the connection is closed.
    Close,
}

/// A request that brought heads, and has no answer yet.
#[derive(Debug)]
pub(super) struct Posted {
    pub(super) body: Vec<u8>,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// The place that [`Answer::Elsewhere`] names; what is asked for there brings no heads.
const ELSEWHERE: &str = "/elsewhere";

/// What is posted, in its order, and where to.
pub(super) async fn address() -> (UnboundedReceiver<Posted>, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/heads", listener.local_addr().unwrap());
    let (tell, posted) = unbounded_channel();
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let tell = tell.clone();
            // A client that goes away is not this side's trouble.
            tokio::spawn(async move { drop(answered(stream, tell).await) });
        }
    });
    (posted, url)
}

async fn answered(stream: TcpStream, tell: UnboundedSender<Posted>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (first, body) = request(&mut stream).await?;
    let answer = if first.contains(ELSEWHERE) {
        Answer::Status(200)
    } else {
        let (answer, told) = oneshot::channel();
        drop(tell.send(Posted { body, answer }));
        told.await.unwrap_or(Answer::Close)
    };
    let (status, more) = match answer {
        Answer::Close => return Ok(()),
        Answer::Status(status) => (status, String::new()),
        Answer::Elsewhere => (302, format!("location: {ELSEWHERE}\r\n")),
    };
    let text = format!("HTTP/1.1 {status} as told\r\n{more}content-length: 0\r\nconnection: close\r\n\r\n");
    stream.write_all(text.as_bytes()).await?;
    stream.shutdown().await
}

/// The first line of a request, and its body.
async fn request(stream: &mut BufReader<TcpStream>) -> std::io::Result<(String, Vec<u8>)> {
    let (mut first, mut length) = (String::new(), 0);
    stream.read_line(&mut first).await?;
    loop {
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let line = line.trim_end().to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        if let Some(told) = line.strip_prefix("content-length:") {
            length = told.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await?;
    Ok((first, body))
}
