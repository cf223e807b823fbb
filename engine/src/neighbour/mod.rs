//! Workers of the same machine (docs/speed.md, "A worker next door"): a process that carries no runs hands its commands to one
//! that does, which accepts and begins them in its own one commit.
//!
//! Nothing rests on it. Who gets no answer accepts the command itself, under the same id, which is taken once. The door is a
//! socket in a folder of the user, named after the database and its history; only processes of the same user come in.
//! [`Neighbours`] hands over, [`listen`] takes.

mod door;
mod line;

use std::collections::HashSet;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};
use tokio::net::UnixStream;
use tokio_util::codec::LengthDelimitedCodec;

pub(crate) use door::listen;
use line::Line;

use crate::clock::Clock;
use crate::store::record::{Acceptance, Accepted};
use crate::telemetry;

/// The largest frame: a larger command is not handed over.
const MAX_FRAME_BYTES: usize = 1 << 20;
/// The most neighbours that commands are handed to in turns.
const MAX_NEIGHBOURS: usize = 16;
/// How long an answer is waited for before the command is accepted here.
const PATIENCE: Duration = Duration::from_secs(1);
/// The time between two looks for neighbours, while there are commands.
const LOOK_AGAIN: Duration = Duration::from_secs(2);
/// The bits of a folder's mode by which others may do anything with it.
const OF_OTHERS: u32 = 0o077;
/// What a door says of itself changes when this does.
const VERSION: u32 = 1;

/// What a door says first.
#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    version: u32,
    /// `name@version` of the workflows that are hosted behind it.
    hosted: HashSet<String>,
}

/// What became of a command; `None` if it could not be accepted there.
#[derive(Debug, Serialize, Deserialize)]
struct Told {
    accepted: Option<Accepted>,
}

/// Where the doors of one database are.
#[derive(Debug, Clone)]
pub(crate) struct Street {
    folder: PathBuf,
    /// What the names of its sockets begin with.
    prefix: String,
}

impl Street {
    /// Of the database that `known_as` names, in a folder that nobody else may enter.
    pub(crate) fn of(folder: PathBuf, known_as: &str) -> io::Result<Self> {
        private(&folder)?;
        let hash = hex::encode(Sha256::digest(known_as.as_bytes()));
        Ok(Self { folder, prefix: hash[..16].to_owned() })
    }

    fn doors(&self) -> Vec<PathBuf> {
        let ours = |path: &PathBuf| {
            path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&self.prefix))
        };
        self.all_doors().filter(ours).take(MAX_NEIGHBOURS).collect()
    }

    /// Those of every database that this user's workers are at.
    fn all_doors(&self) -> impl Iterator<Item = PathBuf> + use<> {
        let entries = std::fs::read_dir(&self.folder).into_iter().flatten().flatten();
        entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|extension| extension == "sock"))
    }
}

/// The folder of this user's doors.
pub(crate) fn folder() -> io::Result<PathBuf> {
    Ok(std::env::temp_dir().join(format!("fermata-{}", user()?)))
}

/// Whoever this process runs as.
fn user() -> io::Result<u32> {
    Ok(UnixStream::pair()?.0.peer_cred()?.uid())
}

/// Makes the folder if it is not there, and sees that it is nobody else's.
fn private(folder: &Path) -> io::Result<()> {
    match std::fs::DirBuilder::new().mode(0o700).create(folder) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    let found = std::fs::symlink_metadata(folder)?;
    if found.is_dir() && found.uid() == user()? && found.mode() & OF_OTHERS == 0 {
        Ok(())
    } else {
        Err(io::Error::new(io::ErrorKind::PermissionDenied, format!("{} is open to others", folder.display())))
    }
}

fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().max_frame_length(MAX_FRAME_BYTES).new_codec()
}

/// The workers of this machine that commands are handed to.
pub(crate) struct Neighbours {
    street: Street,
    clock: Clock,
    known: Arc<Mutex<Known>>,
    /// Held by each command that this process has under way.
    under_way: Arc<()>,
}

/// A command that is under way.
pub(crate) struct UnderWay(Arc<()>);

impl UnderWay {
    /// Whether no other command is. Those that come together share a commit here, which is faster than sharing one next door
    /// (docs/speed.md, "A worker next door").
    pub(crate) fn is_alone(&self) -> bool {
        // Its own mark, and the one that marks are made from.
        Arc::strong_count(&self.0) == 2
    }
}

#[derive(Default)]
struct Known {
    /// Those that nobody asks at the moment.
    lines: Vec<Line>,
    looked: Option<Instant>,
}

impl Known {
    /// One line to each door is enough; of too many, the one that was not used for the longest time goes.
    fn keep(&mut self, line: Line) {
        self.lines.retain(|other| other.door() != line.door());
        if self.lines.len() >= MAX_NEIGHBOURS {
            self.lines.remove(0);
        }
        self.lines.push(line);
    }
}

impl Neighbours {
    pub(crate) fn new(street: Street, clock: Clock) -> Self {
        Self { street, clock, known: Arc::default(), under_way: Arc::default() }
    }

    /// Counts a command among those that this process has under way, for as long as the answer is held.
    pub(crate) fn under_way(&self) -> UnderWay {
        UnderWay(Arc::clone(&self.under_way))
    }

    /// Hands a command over; `None` if it has to be accepted here: nobody near hosts its workflow, or no answer came. It may
    /// have been accepted then, under its own id.
    pub(crate) async fn accept(&self, acceptance: &Acceptance) -> Option<Accepted> {
        self.look();
        let frame = serde_json::to_vec(acceptance).ok().filter(|frame| frame.len() <= MAX_FRAME_BYTES)?;
        let mut line = self.line_to(&acceptance.workflow)?;
        let until = self.clock.monotonic() + PATIENCE;
        let answer = self.clock.before(until, line.ask(frame)).await;
        // Who does not answer is not waited for again.
        let accepted = answer.and_then(Result::ok).and_then(|accepted| {
            self.known().keep(line);
            accepted
        });
        telemetry::handed_over(accepted.is_some());
        accepted
    }

    /// The line that was not used for the longest time, of those to who hosts `workflow`.
    fn line_to(&self, workflow: &str) -> Option<Line> {
        let mut known = self.known();
        let place = known.lines.iter().position(|line| line.hosts(workflow))?;
        Some(known.lines.remove(place))
    }

    /// Looks who is there, beside whoever asks, if that was not done just now.
    fn look(&self) {
        let now = self.clock.monotonic();
        let mut known = self.known();
        if known.looked.is_some_and(|looked| now < looked + LOOK_AGAIN) {
            return;
        }
        known.looked = Some(now);
        let reached: HashSet<PathBuf> = known.lines.iter().map(|line| line.door().to_owned()).collect();
        drop(known);
        let (street, known) = (self.street.clone(), Arc::clone(&self.known));
        tokio::spawn(async move {
            for door in street.doors().into_iter().filter(|door| !reached.contains(door)) {
                // Nobody is behind it any more, or another user is.
                let Ok(line) = Line::to(door).await else { continue };
                lock(&known).keep(line);
            }
        });
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        lock(&self.known)
    }
}

fn lock(known: &Mutex<Known>) -> MutexGuard<'_, Known> {
    // No code panics while it holds the lock.
    known.lock().unwrap_or_else(PoisonError::into_inner)
}
