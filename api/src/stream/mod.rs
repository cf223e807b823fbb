//! The event stream over WebSocket: one framing of the engine's event tail.
//!
//! Owns the protocol, who may open a connection, and the bounds of one. Which events somebody sees
//! is decided in the engine. Read `frame` for what is said and `session` for when; `asyncapi`
//! publishes both.

pub mod asyncapi;
mod door;
mod frame;
mod session;
mod subscription;

pub(crate) use door::{caller, known_origin, open};

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// The name of the protocol, also as a WebSocket subprotocol.
pub(crate) const PROTOCOL: &str = "fermata.stream.v1";
/// The most subscriptions of one connection.
pub(crate) const MAX_SUBSCRIPTIONS: usize = 16;
/// Frames that wait for one client's socket.
pub(crate) const STREAM_BUFFER: usize = 1_024;
/// The largest frame that a client may send, in bytes.
pub(crate) const MAX_FRAME_BYTES: usize = 64 * 1024;
/// Bytes that a connection holds ready for what its client says, which is little; the usual 128 KiB would
/// be most of what an idle connection costs. Longer frames are read in pieces.
pub(crate) const READ_BUFFER_BYTES: usize = 2 * 1024;
/// How long one write may wait for the client to read.
const SEND_LIMIT: Duration = Duration::from_secs(10);
/// How long a connection may stay without saying who it is.
const AUTH_LIMIT: Duration = Duration::from_secs(5);
/// After so many heartbeats without a sign of life the client is taken for gone.
const SILENT_HEARTBEATS: u32 = 4;

/// What all streams of this process share.
#[derive(Debug, Clone)]
pub struct Streams {
    /// How often a connection says that it is alive (`STREAM_HEARTBEAT_SECS`).
    pub heartbeat: Duration,
    /// Connections that may still be opened (`MAX_STREAMS`).
    pub places: Arc<Semaphore>,
    /// Origins besides our own whose pages may connect (`ALLOWED_ORIGINS`).
    pub origins: Arc<Vec<String>>,
    /// Ends all connections: the process drains.
    pub stopping: CancellationToken,
}

impl Streams {
    /// With at most `most` connections.
    pub fn new(most: usize) -> Self {
        Self {
            heartbeat: Duration::from_secs(15),
            places: Arc::new(Semaphore::new(most)),
            origins: Arc::default(),
            stopping: CancellationToken::new(),
        }
    }
}
