//! Postgres's protocol, version 3, as far as exchanges go.
//!
//! An exchange is what the client sends up to and with a Sync, or one simple Query; its answer
//! runs up to ReadyForQuery. Start-up, encryption, cancel requests and replication pass through.
//! [`frame`] finds the messages and [`statements`] knows the texts; [`Postgres`] makes exchanges.

mod frame;
mod statements;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::bounds::MAX_TRANSACTION_BYTES;
use crate::exchange::{Answered, Asked, Outcome, Request};
use crate::postgres::frame::{Frame, Framer, STARTUP, Side};
use crate::postgres::statements::Statements;

const SSL_REQUEST: u32 = 80_877_103;
const GSS_REQUEST: u32 = 80_877_104;
const MAJOR_VERSION: u32 = 3;
const IDLE: u8 = b'I';

/// A request that awaits its answer.
#[derive(Debug)]
struct Awaited {
    /// A simple Query: during a COPY of its data the client sends no Sync.
    simple: bool,
    text: String,
}

/// What the answer to the oldest request has said so far.
#[derive(Debug, Default)]
struct Said {
    failed: bool,
    committed: bool,
    rolled_back: bool,
}

/// What the open transaction has executed, as far as it was answered.
#[derive(Debug, Default)]
struct Transaction {
    texts: String,
    did: bool,
    wrote: bool,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Postgres {
    client: Framer,
    server: Framer,
    plain: bool,
    /// Single-byte answers to requests for encryption that are still to come.
    encryption_asked: usize,
    /// Whether the first ReadyForQuery has come.
    ready: bool,
    /// The state that the last ReadyForQuery told.
    status: u8,
    statements: Statements,
    asking: Request,
    /// The texts of the open request.
    executed: Vec<String>,
    awaited: VecDeque<Awaited>,
    said: Said,
    transaction: Transaction,
}

impl Default for Postgres {
    fn default() -> Self {
        Self {
            client: Framer::new(Side::Startup),
            server: Framer::new(Side::Server),
            plain: false,
            encryption_asked: 0,
            ready: false,
            status: IDLE,
            statements: Statements::default(),
            asking: Request::default(),
            executed: Vec::new(),
            awaited: VecDeque::new(),
            said: Said::default(),
            transaction: Transaction::default(),
        }
    }
}

impl Postgres {
    pub(crate) fn client_sent(&mut self, mut chunk: Bytes) -> Vec<Asked> {
        let mut signs = Vec::new();
        while !self.plain
            && let Some(piece) = self.client.next(&mut chunk)
        {
            let Ok(piece) = piece else {
                self.turn_plain(&mut signs, Asked::Plain);
                break;
            };
            let apart = matches!(piece.kind, STARTUP | b'p' | b'X' | b'd' | b'c' | b'f');
            signs.push(if apart { Asked::Apart(piece.bytes) } else { Asked::Part(piece.bytes) });
            if let Some(frame) = piece.frame {
                self.client_says(&frame, &mut signs);
            }
        }
        signs.extend((!chunk.is_empty()).then_some(Asked::Apart(chunk)));
        signs
    }

    pub(crate) fn server_sent(&mut self, mut chunk: Bytes) -> Vec<Answered> {
        let mut signs = Vec::new();
        while !self.plain && self.encryption_asked > 0 && !chunk.is_empty() {
            self.encryption_asked -= 1;
            match chunk[0] {
                b'N' => signs.push(Answered::Apart(chunk.split_to(1))),
                _ => self.turn_plain(&mut signs, Answered::Plain),
            }
        }
        while !self.plain
            && let Some(piece) = self.server.next(&mut chunk)
        {
            let Ok(piece) = piece else {
                self.turn_plain(&mut signs, Answered::Plain);
                break;
            };
            signs.push(if self.ready { Answered::Part(piece.bytes) } else { Answered::Apart(piece.bytes) });
            if let Some(frame) = piece.frame {
                self.server_says(&frame, &mut signs);
            }
        }
        signs.extend((!chunk.is_empty()).then_some(Answered::Apart(chunk)));
        signs
    }

    fn turn_plain<Sign>(&mut self, signs: &mut Vec<Sign>, plain: Sign) {
        self.plain = true;
        signs.push(plain);
    }

    fn client_says(&mut self, frame: &Frame, signs: &mut Vec<Asked>) {
        match frame.kind {
            STARTUP => self.starts_up(&frame.body, signs),
            b'Q' => {
                self.executed.push(statements::text(&frame.body));
                self.request_ends(true, signs);
            }
            b'F' => {
                self.executed.push("function call".to_owned());
                self.request_ends(true, signs);
            }
            b'P' => {
                let text = self.statements.parse(&frame.body);
                add(&mut self.asking.prepared, &text);
            }
            b'B' => self.statements.bind(&frame.body),
            b'C' => self.statements.close(&frame.body),
            b'E' => {
                let text = self.statements.execute(&frame.body);
                self.executed.push(text.as_deref().unwrap_or("unknown statement").to_owned());
            }
            b'H' => {
                let known = self.request();
                signs.extend([Asked::Known(known), Asked::Flushed]);
            }
            b'S' => self.request_ends(false, signs),
            _ => {}
        }
    }

    fn starts_up(&mut self, body: &[u8], signs: &mut Vec<Asked>) {
        let code = body.first_chunk::<4>().map_or(0, |code| u32::from_be_bytes(*code));
        let replicates = body.split(|byte| *byte == 0).any(|word| word == b"replication");
        match code {
            SSL_REQUEST | GSS_REQUEST => self.encryption_asked += 1,
            _ if code >> 16 == MAJOR_VERSION && !replicates => self.client.turn_to(Side::Client),
            // A cancel request, another version, replication.
            _ => self.turn_plain(signs, Asked::Plain),
        }
    }

    fn request_ends(&mut self, simple: bool, signs: &mut Vec<Asked>) {
        let known = self.request();
        self.awaited.push_back(Awaited { simple, text: known.text.clone() });
        signs.extend([Asked::Known(known), Asked::Whole]);
        self.asking = Request::default();
        self.executed.clear();
    }

    /// The open request as far as it is known; what it will do is guessed from its texts.
    fn request(&self) -> Request {
        let statements = || self.executed.iter().flat_map(|text| text.split(';'));
        let (ends, begins) = (statements().any(statements::commits), statements().any(statements::begins));
        let does = statements().any(statements::does_something);
        // Answers that are on their way may change the state; then only a COMMIT is sure.
        let alone = self.awaited.is_empty();
        let implicit = alone && self.status == IDLE && !begins;
        let commits = if implicit { does } else { ends && (does || self.transaction.did || !alone) };
        let writes = self.transaction.wrote || statements().any(statements::writes);
        let mut request = Request { commits, writes, ..self.asking.clone() };
        for text in &self.executed {
            add(&mut request.text, text);
        }
        request
    }

    fn server_says(&mut self, frame: &Frame, signs: &mut Vec<Answered>) {
        match frame.kind {
            b'E' => self.said.failed = true,
            b'C' => self.command_ends(&statements::text(&frame.body)),
            // A portal that was not read to its end has run all the same.
            b's' => {
                self.transaction.did = true;
                self.transaction.wrote |= self.awaited.front().is_some_and(|first| statements::writes(&first.text));
            }
            b'H' => signs.push(Answered::Endless),
            // During a COPY a server ignores each Sync that was sent ahead: only a simple Query
            // leaves no doubt which answer is whose.
            b'G' if self.awaited.front().is_some_and(|first| first.simple) => signs.push(Answered::Endless),
            b'G' | b'W' => self.turn_plain(signs, Answered::Plain),
            b'Z' => self.answer_ends(frame.body.first().copied().unwrap_or(IDLE), signs),
            _ => {}
        }
    }

    fn command_ends(&mut self, tag: &str) {
        match tag {
            "COMMIT" => self.said.committed = true,
            "ROLLBACK" => self.said.rolled_back = true,
            _ => {}
        }
        self.transaction.did |= statements::does_something(tag);
        let verb = tag.split(' ').next().unwrap_or_default();
        let of_rows = ["INSERT", "UPDATE", "DELETE", "MERGE", "COPY"].contains(&verb);
        let reads = ["SELECT", "FETCH", "MOVE", "VALUES", "CLOSE", "DECLARE", "EXPLAIN", "NOTIFY"].contains(&verb);
        let defines = statements::does_something(tag) && !reads && !of_rows;
        self.transaction.wrote |= defines || (of_rows && !tag.ends_with(" 0"));
        let text = self.awaited.front().map_or("", |first| &first.text);
        self.transaction.wrote |= reads && statements::writes(text);
    }

    fn answer_ends(&mut self, status: u8, signs: &mut Vec<Answered>) {
        self.status = status;
        if !self.ready {
            self.ready = true;
            return;
        }
        if let Some(first) = self.awaited.pop_front() {
            add(&mut self.transaction.texts, &first.text);
        }
        let said = std::mem::take(&mut self.said);
        if status != IDLE {
            let Transaction { texts, wrote, .. } = &self.transaction;
            signs.push(Answered::Whole(Outcome { committed: false, wrote: *wrote, transaction: texts.clone() }));
            return;
        }
        let Transaction { texts, did, wrote } = std::mem::take(&mut self.transaction);
        let committed = did && !said.failed && (said.committed || !said.rolled_back);
        signs.push(Answered::Whole(Outcome { committed, wrote, transaction: texts }));
    }
}

/// Adds a statement to a text of many.
fn add(texts: &mut String, text: &str) {
    if texts.len() + text.len() > MAX_TRANSACTION_BYTES {
        return;
    }
    if !texts.is_empty() {
        texts.push_str("; ");
    }
    texts.push_str(text);
}
