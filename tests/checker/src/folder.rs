//! A trial folder on disk becomes a [`Trial`]: the only place that touches files.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::history::Request;
use crate::rows::Dump;
use crate::stream::Reader;
use crate::trial::Trial;

/// Why a trial folder cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// A file is missing or cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    File {
        /// Which one.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A line is not what the contract says.
    #[error("{}, line {line}, does not fit: {source}", path.display())]
    Line {
        /// In which file.
        path: PathBuf,
        /// Which line, from 1.
        line: usize,
        /// Why.
        source: serde_json::Error,
    },
}

/// Reads a trial folder whole.
pub fn read(folder: &Path) -> Result<Trial, ReadError> {
    let facts = folder.join("trial.json");
    let facts = serde_json::from_str(&text(&facts)?).map_err(|source| ReadError::Line {
        path: facts.clone(),
        line: source.line(),
        source,
    })?;
    let earlier = folder.join("earlier").join("audit.jsonl");
    Ok(Trial {
        facts,
        history: history(&folder.join("history.jsonl"))?,
        ledger: lines(&folder.join("ledger.jsonl"))?,
        calls: lines(&folder.join("calls.jsonl"))?,
        dump: dump(&folder.join("dump"))?,
        earlier: if earlier.exists() { lines(&earlier)? } else { Vec::new() },
        readers: readers(&folder.join("streams"))?,
    })
}

/// The requests, each of the shape that its `op` says.
fn history(path: &Path) -> Result<Vec<Request>, ReadError> {
    let requests: Vec<Request> = lines(path)?;
    for (n, request) in requests.iter().enumerate() {
        request.check().map_err(|source| ReadError::Line { path: path.to_owned(), line: n + 1, source })?;
    }
    Ok(requests)
}

fn dump(folder: &Path) -> Result<Dump, ReadError> {
    Ok(Dump {
        run: table(folder, "run")?,
        live: table(folder, "live")?,
        outcome: table(folder, "outcome")?,
        step: table(folder, "step")?,
        event: table(folder, "event")?,
        audit: table(folder, "audit")?,
        action: table(folder, "action")?,
        intent: table(folder, "intent")?,
        gate: table(folder, "gate")?,
        signal: table(folder, "signal")?,
        idempotency: table(folder, "idempotency")?,
        kill_switch: table(folder, "kill_switch")?,
    })
}

fn table<T: DeserializeOwned>(folder: &Path, name: &str) -> Result<Vec<T>, ReadError> {
    lines(&folder.join(format!("{name}.jsonl")))
}

/// One reader a file, in the order of their names; a trial may have had none.
fn readers(folder: &Path) -> Result<Vec<Reader>, ReadError> {
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let unreadable = |source| ReadError::File { path: folder.to_owned(), source };
    let mut paths = Vec::new();
    for entry in fs::read_dir(folder).map_err(unreadable)? {
        let path = entry.map_err(unreadable)?.path();
        if path.extension().is_some_and(|extension| extension == "jsonl") {
            paths.push(path);
        }
    }
    paths.sort();
    paths.iter().map(|path| Ok(Reader { name: stem(path), seen: lines(path)? })).collect()
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// JSON Lines; empty lines are nothing.
fn lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>, ReadError> {
    let text = text(path)?;
    let numbered = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    numbered
        .map(|(n, line)| {
            serde_json::from_str(line).map_err(|source| ReadError::Line { path: path.to_owned(), line: n + 1, source })
        })
        .collect()
}

fn text(path: &Path) -> Result<String, ReadError> {
    fs::read_to_string(path).map_err(|source| ReadError::File { path: path.to_owned(), source })
}
