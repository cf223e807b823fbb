//! The append-only file of applied effects: one JSON object a line, synced before it counts.
//!
//! The file is the site's only storage. It holds what happened, in order, and nothing else; read
//! [`Line`] first, then [`Ledger::append`].

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use crate::account::Handle;
use crate::effect::{Effect, Kind};

/// One applied effect, as stored.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Line {
    /// Its place in the ledger, from 1, without gaps.
    pub(crate) seq: u64,
    /// The `Idempotency-Key` header, else the reference, else nothing.
    pub(crate) key: Option<String>,
    /// What kind of effect it is.
    pub(crate) kind: Kind,
    /// SHA-256 of the content, in hexadecimal.
    pub(crate) content_hash: String,
    /// When it was applied.
    pub(crate) time: DateTime<Utc>,
    /// When the request arrived, before any delay; lines of older ledgers do not say.
    #[serde(default)]
    pub(crate) received: Option<DateTime<Utc>>,
    /// The caller's fencing token, as it came; the site knows nothing of its meaning.
    #[serde(default)]
    pub(crate) fence: Option<String>,
    /// Who did it.
    pub(crate) account: Handle,
    /// The way it came.
    pub(crate) lane: Lane,
    /// The id of what it made.
    pub(crate) id: String,
    /// The `Idempotency-Key` header alone: only this one is honoured.
    pub(crate) idempotency_key: Option<String>,
    /// What a second request with the same key is compared with.
    pub(crate) fingerprint: String,
    /// Before this moment no read surface shows it.
    pub(crate) visible_from: DateTime<Utc>,
    /// From this moment a video can be had; everything else is whole at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) ready_from: Option<DateTime<Utc>>,
    /// What happened, with its content.
    pub(crate) effect: Effect,
}

impl Line {
    /// The public face of the line, as `GET /_ledger` shows it.
    pub(crate) fn entry(&self) -> Entry<'_> {
        Entry {
            seq: self.seq,
            key: self.key.as_deref(),
            kind: self.kind,
            content_hash: &self.content_hash,
            time: self.time,
            received: self.received,
            fence: self.fence.as_deref(),
            account: &self.account,
            lane: self.lane,
            id: &self.id,
            reference: self.effect.reference(),
            to: self.effect.receiver(),
            post_id: self.effect.target(),
        }
    }
}

/// The way an effect reached the site.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Lane {
    /// The JSON API.
    Api,
    /// A form on a page.
    Html,
}

/// A ledger line as it is shown: what an auditor counts, without the content.
#[derive(Debug, Serialize)]
pub(crate) struct Entry<'a> {
    seq: u64,
    key: Option<&'a str>,
    kind: Kind,
    content_hash: &'a str,
    time: DateTime<Utc>,
    received: Option<DateTime<Utc>>,
    fence: Option<&'a str>,
    account: &'a Handle,
    lane: Lane,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    reference: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    to: Option<&'a Handle>,
    #[serde(skip_serializing_if = "Option::is_none")]
    post_id: Option<&'a str>,
}

/// The open ledger file.
#[derive(Debug)]
pub(crate) struct Ledger {
    path: PathBuf,
    file: File,
    size_bytes: u64,
    generation: u32,
}

impl Ledger {
    /// Opens or creates the file and reads what it holds.
    ///
    /// A last line without its newline was never answered for (the process ended inside the
    /// write) and is cut off. Any other line that does not parse is an error.
    pub(crate) fn open(path: &Path) -> io::Result<(Self, Vec<Line>)> {
        let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
        sync_folder_of(path)?;
        let mut stored = Vec::new();
        file.read_to_end(&mut stored)?;
        let newline = stored.iter().rposition(|&byte| byte == b'\n');
        stored.truncate(newline.map_or(0, |at| at + 1));
        file.set_len(stored.len() as u64)?;
        let lines = serde_json::Deserializer::from_slice(&stored).into_iter().collect::<Result<Vec<Line>, _>>()?;
        let ledger =
            Self { path: path.to_owned(), file, size_bytes: stored.len() as u64, generation: generation_of(path) };
        Ok((ledger, lines))
    }

    /// How many ledgers were set aside before this one.
    pub(crate) fn generation(&self) -> u32 {
        self.generation
    }

    /// Makes one line durable. When this fails the file is as it was before.
    pub(crate) fn append(&mut self, line: &Line) -> io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        let written = self.file.write_all(&text).and_then(|()| self.file.sync_data());
        if let Err(error) = written {
            self.file.set_len(self.size_bytes)?;
            self.file.seek(SeekFrom::End(0))?;
            return Err(error);
        }
        self.size_bytes += text.len() as u64;
        Ok(())
    }

    /// Renames the file aside and starts an empty one; says where the old one went.
    pub(crate) fn start_over(&mut self) -> io::Result<PathBuf> {
        let aside = set_aside(&self.path, self.generation + 1);
        fs::rename(&self.path, &aside)?;
        (*self, _) = Self::open(&self.path)?;
        Ok(aside)
    }
}

/// The path of the n-th ledger that was set aside.
fn set_aside(path: &Path, generation: u32) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(format!(".{generation}"));
    PathBuf::from(name)
}

/// Counts the ledgers that were set aside beside this one.
fn generation_of(path: &Path) -> u32 {
    (0..u32::MAX).find(|&n| !set_aside(path, n + 1).exists()).unwrap_or(u32::MAX)
}

fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => File::open(".")?.sync_all(),
    }
}
