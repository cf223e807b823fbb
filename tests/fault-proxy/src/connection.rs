//! One connection: two sockets, a pump for each direction, and the steps they carry out.
//!
//! What is to be done with bytes is decided by [`Talk`]; here it is done, in whatever weather the
//! link has.

use std::future::Future;
use std::io;
use std::sync::Mutex;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpStream, UnixStream};
use tokio::sync::{Notify, watch};

use crate::bounds::READ_BYTES;
use crate::clock;
use crate::link::{Link, Upstream, Weather, lock};
use crate::talk::{Step, Talk, Toward};

/// A throttled connection passes this many pieces a second.
const THROTTLED_PIECES_PER_S: u64 = 20;

/// What becomes of a connection that was accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Conduct {
    Serve,
    Refuse,
}

/// Both sockets are to be reset: a fault asked for it, or one of them failed.
#[derive(Clone, Copy, Debug)]
struct Torn;

impl From<io::Error> for Torn {
    fn from(_: io::Error) -> Self {
        Self
    }
}

/// The socket toward the server.
enum Far {
    Tcp(TcpStream),
    Unix(UnixStream),
}

type Source<'a> = Box<dyn AsyncRead + Send + Unpin + 'a>;
type Sink<'a> = Box<dyn AsyncWrite + Send + Unpin + 'a>;

impl Far {
    async fn connect(upstream: &Upstream) -> io::Result<Self> {
        match upstream {
            Upstream::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                Ok(Self::Tcp(stream))
            }
            Upstream::Unix(path) => UnixStream::connect(path).await.map(Self::Unix),
        }
    }

    fn split(&mut self) -> (Source<'_>, Sink<'_>) {
        match self {
            Self::Tcp(stream) => {
                let (source, sink) = stream.split();
                (Box::new(source), Box::new(sink))
            }
            Self::Unix(stream) => {
                let (source, sink) = stream.split();
                (Box::new(source), Box::new(sink))
            }
        }
    }

    fn reset(self) {
        match self {
            Self::Tcp(stream) => reset(stream),
            // A unix socket knows no reset; its other side sees the end, or an error if it writes.
            Self::Unix(stream) => drop(stream),
        }
    }
}

/// Closes a socket with RST: what was not sent yet is thrown away.
pub(crate) fn reset(stream: TcpStream) {
    // If even this fails the socket is gone already.
    let _ = stream.set_zero_linger();
    drop(stream);
}

/// Serves an accepted connection until both of its directions have ended.
pub(crate) async fn serve(
    link: &std::sync::Arc<Link>,
    client: TcpStream,
    number: u64,
    weather: watch::Receiver<Weather>,
) {
    let resets = weather.borrow().resets;
    let mut watched = weather.clone();
    let mut torn = std::pin::pin!(async move {
        let _ = watched.wait_for(|weather| weather.resets != resets).await;
    });
    let upstream = link.upstream();
    let far = tokio::select! {
        far = Far::connect(&upstream) => far,
        () = &mut torn => return reset(client),
    };
    let Ok(mut far) = far else {
        link.with_book(|book| book.counts.unreachable += 1);
        return reset(client);
    };
    let mut client = client;
    let ended = tokio::select! {
        ended = pump_both(link, &mut client, &mut far, (number, weather)) => ended,
        () = &mut torn => Err(Torn),
    };
    if ended.is_err() {
        reset(client);
        far.reset();
    }
}

async fn pump_both(
    link: &std::sync::Arc<Link>,
    client: &mut TcpStream,
    far: &mut Far,
    (number, weather): (u64, watch::Receiver<Weather>),
) -> Result<(), Torn> {
    client.set_nodelay(true)?;
    let protocol = link.with_book(|book| book.protocol);
    let talk = Mutex::new(Talk::new(number, protocol));
    let (near_source, near_sink) = client.split();
    let (far_source, far_sink) = far.split();
    let turned = (Notify::new(), Notify::new());
    let to_server =
        Pump { link, talk: &talk, toward: Toward::Server, weather: weather.clone(), turned: (&turned.0, &turned.1) };
    let to_client = Pump { link, talk: &talk, toward: Toward::Client, weather, turned: (&turned.1, &turned.0) };
    let (near_source, near_sink): (Source<'_>, Sink<'_>) = (Box::new(near_source), Box::new(near_sink));
    tokio::try_join!(to_server.run(near_source, far_sink), to_client.run(far_source, near_sink))?;
    Ok(())
}

/// One direction of a connection.
struct Pump<'a> {
    link: &'a std::sync::Arc<Link>,
    talk: &'a Mutex<Talk>,
    toward: Toward,
    weather: watch::Receiver<Weather>,
    /// Told by the other pump, and told to it, when the talk turns plain.
    turned: (&'a Notify, &'a Notify),
}

impl Pump<'_> {
    async fn run(mut self, mut source: Source<'_>, mut sink: Sink<'_>) -> Result<(), Torn> {
        let mut buffer = BytesMut::with_capacity(READ_BYTES);
        let mut clears = self.weather.borrow_and_update().clears;
        loop {
            self.thaw().await?;
            let read = tokio::select! {
                read = source.read_buf(&mut buffer) => Some(read?),
                changed = self.weather.changed() => {
                    changed.map_err(|_| Torn)?;
                    None
                }
                () = self.turned.0.notified() => None,
            };
            let steps = match read {
                Some(0) => lock(self.talk).release(self.toward),
                Some(_) => self.feed(buffer.split().freeze()),
                None => {
                    let seen = self.weather.borrow_and_update().clears;
                    let release = std::mem::replace(&mut clears, seen) != seen || lock(self.talk).is_plain();
                    if release { lock(self.talk).release(self.toward) } else { Vec::new() }
                }
            };
            for step in steps {
                self.carry_out(step, &mut sink).await?;
            }
            if read == Some(0) {
                self.thaw().await?;
                return Ok(sink.shutdown().await?);
            }
            buffer.reserve(READ_BYTES);
        }
    }

    fn feed(&self, chunk: Bytes) -> Vec<Step> {
        let mut talk = lock(self.talk);
        let steps = self.link.with_book(|book| {
            let count = match self.toward {
                Toward::Server => &mut book.counts.bytes_to_server,
                Toward::Client => &mut book.counts.bytes_to_client,
            };
            *count += chunk.len() as u64;
            match self.toward {
                Toward::Server => talk.client_sent(chunk, book),
                Toward::Client => talk.server_sent(chunk, book),
            }
        });
        if talk.has_turned() {
            self.turned.1.notify_one();
        }
        steps
    }

    async fn carry_out(&mut self, step: Step, sink: &mut Sink<'_>) -> Result<(), Torn> {
        match step {
            Step::Write(bytes) => self.write(bytes, sink).await,
            Step::Pause { ms } => {
                let clears = self.weather.borrow().clears;
                let mut weather = self.weather.clone();
                let cleared = weather.wait_for(|weather| weather.clears != clears);
                tokio::select! {
                    () = clock::pause(Duration::from_millis(ms)) => Ok(()),
                    cleared = cleared => cleared.map(drop).map_err(|_| Torn),
                }
            }
            Step::Freeze { for_ms } => {
                self.link.freeze(for_ms);
                Ok(())
            }
            Step::Cut => Err(Torn),
        }
    }

    /// Passes bytes on, when the cable is plugged in and as fast as the link may.
    async fn write(&mut self, mut bytes: Bytes, sink: &mut Sink<'_>) -> Result<(), Torn> {
        while !bytes.is_empty() {
            self.thaw().await?;
            let Some(bytes_per_s) = self.weather.borrow().bytes_per_s else {
                // In pieces, so that a change of the weather is obeyed between them.
                let piece = bytes.split_to(bytes.len().min(READ_BYTES));
                sink.write_all(&piece).await?;
                continue;
            };
            let most = usize::try_from(bytes_per_s.div_ceil(THROTTLED_PIECES_PER_S)).unwrap_or(usize::MAX);
            let piece = bytes.split_to(bytes.len().min(most));
            sink.write_all(&piece).await?;
            let due = Duration::from_micros((piece.len() as u64).saturating_mul(1_000_000) / bytes_per_s);
            self.unless_unthrottled(clock::pause(due)).await?;
        }
        Ok(())
    }

    async fn unless_unthrottled(&self, wait: impl Future<Output = ()>) -> Result<(), Torn> {
        let mut weather = self.weather.clone();
        tokio::select! {
            () = wait => Ok(()),
            free = weather.wait_for(|weather| weather.bytes_per_s.is_none()) => free.map(drop).map_err(|_| Torn),
        }
    }

    /// Waits until the cable is plugged in.
    async fn thaw(&self) -> Result<(), Torn> {
        let mut weather = self.weather.clone();
        weather.wait_for(|weather| weather.frozen.is_none()).await.map(drop).map_err(|_| Torn)
    }
}
