//! TCP connections that a handler can cut before its answer has left.
//!
//! `axum::serve` owns the sockets, so a handler cannot close one. It is given a [`Cord`] instead:
//! once pulled, every read and write of that connection fails, the server gives the connection up
//! and the client sees it closed without an answer.
//!
//! Browsers need one byte more. Chromium silently sends a request again, a POST too, when a
//! connection it had opened ahead closes without a byte, so one click would be several effects.
//! A byte that cannot begin an answer makes it show its error page instead.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Context, Poll, ready};

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use crate::ledger::Lane;

const INTACT: u8 = 0;
const TORN: u8 = 1;
const CUT: u8 = 2;
/// What a browser gets of an answer that is torn off.
const TORN_ANSWER: &[u8] = b"\0";

/// Cuts the connection it belongs to; handlers receive it as `ConnectInfo<Cord>`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cord(Arc<AtomicU8>);

impl Cord {
    /// From now on no answer passes: not a byte to programs, and [`TORN_ANSWER`] to browsers. The
    /// pending answer's first write closes the socket.
    pub(crate) fn cut(&self, lane: Lane) {
        let how = match lane {
            Lane::Api => CUT,
            Lane::Html => TORN,
        };
        self.0.store(how, Ordering::SeqCst);
    }

    fn state(&self) -> u8 {
        self.0.load(Ordering::SeqCst)
    }

    fn intact(&self) -> io::Result<()> {
        if self.state() == INTACT {
            return Ok(());
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the answer was to be dropped"))
    }
}

impl Connected<IncomingStream<'_, Doorway>> for Cord {
    fn connect_info(stream: IncomingStream<'_, Doorway>) -> Self {
        stream.io().cord.clone()
    }
}

/// A TCP listener whose connections carry a [`Cord`].
pub(crate) struct Doorway(pub(crate) TcpListener);

impl Listener for Doorway {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.0).await;
        let cord = Cord::default();
        (Wire { stream, cord }, peer)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// One TCP stream that obeys its [`Cord`].
pub(crate) struct Wire {
    stream: TcpStream,
    cord: Cord,
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.cord.intact()?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        if self.cord.state() == TORN {
            ready!(Pin::new(&mut self.stream).poll_write(cx, TORN_ANSWER))?;
            self.cord.0.store(CUT, Ordering::SeqCst);
        }
        self.cord.intact()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cord.intact()?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.cord.intact()?;
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
