//! A line to a neighbour: what is asked goes out in order, answers come back in any.

use std::collections::HashMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::{SinkExt as _, StreamExt as _};
use tokio::net::UnixStream;
use tokio::sync::{mpsc, oneshot};
use tokio_util::bytes::Bytes;
use tokio_util::codec::{Framed, LengthDelimitedCodec};
use tokio_util::sync::CancellationToken;

use super::{Hello, MAX_PENDING, Told, VERSION, codec, user};
use crate::id::RunId;
use crate::store::record::Accepted;

/// How long a door may take to say hello.
const HELLO_TIME: Duration = Duration::from_secs(1);

/// Who waits for what became of which command.
type Waiting = HashMap<RunId, oneshot::Sender<Option<Accepted>>>;

/// An open line. Cheap to clone; it closes with the socket.
#[derive(Clone)]
pub(super) struct Line {
    door: Arc<PathBuf>,
    hello: Arc<Hello>,
    out: mpsc::Sender<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
    hung_up: CancellationToken,
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
        let (out, asked) = mpsc::channel(MAX_PENDING);
        let (waiting, hung_up) = (Arc::default(), CancellationToken::new());
        tokio::spawn(carry(framed, asked, Arc::clone(&waiting), hung_up.clone()));
        Ok(Self { door: Arc::new(door), hello: Arc::new(hello), out, waiting, hung_up })
    }

    pub(super) fn door(&self) -> &Path {
        &self.door
    }

    pub(super) fn is_open(&self) -> bool {
        !self.out.is_closed() && !self.hung_up.is_cancelled()
    }

    /// Whoever is behind it does not answer: nobody is to wait for that again.
    pub(super) fn hang_up(&self) {
        self.hung_up.cancel();
    }

    pub(super) fn hosts(&self, workflow: &str) -> bool {
        self.hello.hosted.contains(workflow)
    }

    pub(super) fn pending(&self) -> usize {
        lock(&self.waiting).len()
    }

    /// Asks, and waits for the answer; `None` without one.
    pub(super) async fn ask(&self, run: RunId, frame: Vec<u8>) -> Option<Accepted> {
        let (tell, told) = oneshot::channel();
        lock(&self.waiting).insert(run, tell);
        let _forgotten = Forget(self, run);
        self.out.send(frame).await.ok()?;
        told.await.ok().flatten()
    }
}

/// Whoever asked waits no longer.
struct Forget<'a>(&'a Line, RunId);

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.0.waiting).remove(&self.1);
    }
}

async fn carry(
    framed: Framed<UnixStream, LengthDelimitedCodec>,
    mut asked: mpsc::Receiver<Vec<u8>>,
    waiting: Arc<Mutex<Waiting>>,
    hung_up: CancellationToken,
) {
    let (mut sink, mut answers) = framed.split::<Bytes>();
    loop {
        tokio::select! {
            () = hung_up.cancelled() => break,
            next = asked.recv() => {
                let Some(frame) = next else { break };
                if sink.send(frame.into()).await.is_err() {
                    break;
                }
            }
            answer = answers.next() => {
                let Some(Ok(frame)) = answer else { break };
                let Ok(Told { run, accepted }) = serde_json::from_slice(&frame) else { break };
                if let Some(tell) = lock(&waiting).remove(&run) {
                    // Who no longer waits has accepted it elsewhere.
                    drop(tell.send(accepted));
                }
            }
        }
    }
    asked.close();
    // Whoever waits hears that no answer will come.
    lock(&waiting).clear();
}

fn lock(waiting: &Mutex<Waiting>) -> MutexGuard<'_, Waiting> {
    waiting.lock().unwrap_or_else(PoisonError::into_inner)
}
