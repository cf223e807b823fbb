//! What a client's prepared statements and portals are called, and what their texts say.

use std::collections::HashMap;
use std::sync::Arc;

use crate::bounds::MAX_STATEMENTS;

/// The prepared statements and portals of a connection.
#[derive(Debug, Default)]
pub(crate) struct Statements {
    prepared: HashMap<Vec<u8>, Arc<str>>,
    portals: HashMap<Vec<u8>, Arc<str>>,
}

impl Statements {
    /// A Parse: its name and its text, which is returned.
    pub(crate) fn parse(&mut self, body: &[u8]) -> Arc<str> {
        let (name, rest) = word(body);
        let text: Arc<str> = text(word(rest).0).into();
        remember(&mut self.prepared, name, Arc::clone(&text));
        text
    }

    /// A Bind: a portal of a statement.
    pub(crate) fn bind(&mut self, body: &[u8]) {
        let (portal, rest) = word(body);
        let (name, _) = word(rest);
        match self.prepared.get(name).cloned() {
            Some(text) => remember(&mut self.portals, portal, text),
            None => drop(self.portals.remove(portal)),
        }
    }

    /// An Execute: the text of its portal's statement.
    pub(crate) fn execute(&self, body: &[u8]) -> Option<Arc<str>> {
        self.portals.get(word(body).0).cloned()
    }

    /// A Close of a statement or of a portal.
    pub(crate) fn close(&mut self, body: &[u8]) {
        match body.split_first() {
            Some((b'S', name)) => drop(self.prepared.remove(word(name).0)),
            Some((b'P', name)) => drop(self.portals.remove(word(name).0)),
            _ => {}
        }
    }
}

fn remember(texts: &mut HashMap<Vec<u8>, Arc<str>>, name: &[u8], text: Arc<str>) {
    if texts.len() >= MAX_STATEMENTS && !texts.contains_key(name) {
        texts.clear();
    }
    texts.insert(name.to_vec(), text);
}

/// Up to the zero byte, and what follows it.
fn word(bytes: &[u8]) -> (&[u8], &[u8]) {
    match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[]),
    }
}

/// The text of a simple Query, or of a word.
pub(crate) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(word(bytes).0).into_owned()
}

/// Whether a command, by its first words, is more than housekeeping of the connection.
pub(crate) fn does_something(command: &str) -> bool {
    const HOUSEKEEPING: [&str; 17] = [
        "",
        "BEGIN",
        "START",
        "COMMIT",
        "END",
        "ROLLBACK",
        "ABORT",
        "SET",
        "SHOW",
        "RESET",
        "LISTEN",
        "UNLISTEN",
        "DISCARD",
        "DEALLOCATE",
        "SAVEPOINT",
        "RELEASE",
        "PREPARE",
    ];
    !HOUSEKEEPING.contains(&first_word(command).as_str())
}

/// Whether a statement's text commits a transaction block.
pub(crate) fn commits(statement: &str) -> bool {
    matches!(first_word(statement).as_str(), "COMMIT" | "END")
}

/// Whether a statement's text begins a transaction block.
pub(crate) fn begins(statement: &str) -> bool {
    matches!(first_word(statement).as_str(), "BEGIN" | "START")
}

fn first_word(command: &str) -> String {
    command.trim_start().chars().take_while(char::is_ascii_alphabetic).collect::<String>().to_ascii_uppercase()
}

/// Whether a statement's text writes, also as part of a SELECT.
pub(crate) fn writes(text: &str) -> bool {
    let text = text.to_ascii_lowercase();
    ["insert into", "delete from", "merge into"].iter().any(|part| text.contains(part))
        || (text.contains("update") && text.contains("set"))
}
