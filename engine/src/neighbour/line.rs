//! A line to a neighbour: one command goes out, what became of it comes back.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::UnixStream;
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};

use super::{Hello, Told, VERSION, codec, user};
use crate::store::record::Accepted;

/// How long a door may take to say hello.
const HELLO_TIME: Duration = Duration::from_secs(1);

/// An open line. Whoever asks holds it alone, and keeps it only if it answered.
pub(super) struct Line {
    door: PathBuf,
    hello: Hello,
    framed: Framed<UnixStream, LengthDelimitedCodec>,
}

impl Line {
    /// Knocks at a door of this user's, and hears who is there.
    pub(super) async fn to(door: PathBuf) -> io::Result<Self> {
        let stream = UnixStream::connect(&door).await?;
        if stream.peer_cred()?.uid() != user()? {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let mut framed = Framed::new(stream, codec());
        let first = tokio::time::timeout(HELLO_TIME, framed.next()).await.map_err(|_| io::ErrorKind::TimedOut)?;
        let hello: Hello = serde_json::from_slice(&first.ok_or(io::ErrorKind::UnexpectedEof)??)?;
        if hello.version != VERSION {
            return Err(io::ErrorKind::Unsupported.into());
        }
        Ok(Self { door, hello, framed })
    }

    pub(super) fn door(&self) -> &Path {
        &self.door
    }

    pub(super) fn hosts(&self, workflow: &str) -> bool {
        self.hello.hosted.contains(workflow)
    }

    /// Asks, and waits for the answer: `None` within it if the command cannot be accepted there.
    pub(super) async fn ask(&mut self, frame: Vec<u8>) -> io::Result<Option<Accepted>> {
        self.framed.send(Bytes::from(frame)).await?;
        let answer = self.framed.next().await.ok_or(io::ErrorKind::UnexpectedEof)??;
        let Told { accepted } = serde_json::from_slice(&answer)?;
        Ok(accepted)
    }
}
