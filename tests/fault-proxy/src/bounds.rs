//! What is bounded, and how much of it there may be.

/// Links that are open at a time.
pub(crate) const MAX_LINKS: usize = 64;
/// Connections of one link at a time; further ones are reset at once and counted as `turned_away`.
pub(crate) const MAX_CONNECTIONS_PER_LINK: usize = 1024;
/// Control connections at a time; further ones wait.
pub(crate) const MAX_CONTROL_CONNECTIONS: usize = 64;
/// The longest line of the control socket.
pub(crate) const MAX_CONTROL_LINE_BYTES: usize = 64 * 1024;
/// Faults that a link remembers; spent ones are forgotten first.
pub(crate) const MAX_FAULTS_PER_LINK: usize = 256;
/// Fired faults that `log` can tell of.
pub(crate) const MAX_LOG_LINES: usize = 1000;
/// How much of a statement a line of the log shows.
pub(crate) const MAX_LOG_STATEMENT_CHARS: usize = 120;
/// What is held of one request or answer; a longer one passes and is counted as `too_large`.
pub(crate) const MAX_HELD_BYTES: usize = 8 * 1024 * 1024;
/// What is read from a socket at a time.
pub(crate) const READ_BYTES: usize = 16 * 1024;
/// How much of a message's body is looked at; a statement's text is known up to here.
pub(crate) const MAX_SEEN_BYTES: usize = 16 * 1024;
/// How much of a transaction's statements is kept for `within`.
pub(crate) const MAX_TRANSACTION_BYTES: usize = 64 * 1024;
/// Prepared statements, and portals, that a connection remembers; all are forgotten beyond it.
pub(crate) const MAX_STATEMENTS: usize = 1024;
/// Exchanges of one connection whose answers are awaited; beyond it the connection is only passed through.
pub(crate) const MAX_IN_FLIGHT: usize = 1024;
/// The longest message that Postgres itself takes.
pub(crate) const MAX_MESSAGE_BYTES: usize = 0x3fff_ffff;
/// The longest start-up packet that Postgres itself takes.
pub(crate) const MAX_STARTUP_BYTES: usize = 10_000;
/// The longest head of an HTTP message that is read as one.
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1024;
