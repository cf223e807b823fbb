//! What the rig's clients asked and were told, as the checker reads it: `history.jsonl`.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use serde::Serialize;
use serde_json::Value;

use crate::trouble::Trouble;

/// How a request ended for its client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ended {
    /// Done, and the answer says so.
    Ok,
    /// Refused for good: nothing was done.
    Fail,
    /// Nobody knows: no answer, or one that says that it does not know.
    Unknown,
}

/// What a client was told.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) ended: Ended,
    pub(crate) status: Option<u16>,
    pub(crate) answer: Value,
}

#[derive(Serialize)]
struct Line<'a> {
    n: u64,
    who: &'a str,
    via: &'a str,
    op: &'a str,
    sent_at: DateTime<Utc>,
    answered_at: Option<DateTime<Utc>>,
    result: Ended,
    status: Option<u16>,
    #[serde(rename = "ask")]
    asked: &'a Value,
    answer: &'a Value,
}

/// One request as it is about to be sent.
#[derive(Debug, Clone)]
pub(crate) struct Ask {
    pub(crate) who: &'static str,
    pub(crate) via: &'static str,
    pub(crate) op: &'static str,
    pub(crate) what: Value,
    pub(crate) sent_at: DateTime<Utc>,
}

/// The history of one trial.
pub(crate) struct History(Mutex<(u64, BufWriter<File>)>);

impl History {
    pub(crate) fn new(folder: &Path) -> Result<Self, Trouble> {
        Ok(Self(Mutex::new((0, BufWriter::new(File::create(folder.join("history.jsonl"))?)))))
    }

    /// Writes down how a request ended.
    pub(crate) fn note(&self, ask: &Ask, answered_at: Option<DateTime<Utc>>, told: &Told) -> Result<(), Trouble> {
        let mut inner = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        inner.0 += 1;
        let line = Line {
            n: inner.0,
            who: ask.who,
            via: ask.via,
            op: ask.op,
            sent_at: ask.sent_at,
            answered_at,
            result: told.ended,
            status: told.status,
            asked: &ask.what,
            answer: &told.answer,
        };
        let text = serde_json::to_string(&line)?;
        writeln!(inner.1, "{text}")?;
        Ok(())
    }

    /// Everything noted is in the file.
    pub(crate) fn close(&self) -> Result<(), Trouble> {
        Ok(self.0.lock().unwrap_or_else(PoisonError::into_inner).1.flush()?)
    }
}
