//! What a protocol tells of the bytes that pass: where a request and its answer begin and end.
//!
//! A protocol (`postgres`, `http`) turns each chunk of bytes into [`Asked`] or [`Answered`] signs
//! in the order of the stream. Every byte of the chunk comes out in exactly one sign, at once and
//! unchanged; a protocol keeps no bytes back, so falling out of step can never lose any.

use bytes::Bytes;

/// A sign in what the client sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    /// Bytes of no exchange: start-up, farewell, the data of a COPY.
    Apart(Bytes),
    /// Bytes of a request; the first ones begin an exchange.
    Part(Bytes),
    /// The request is known well enough to decide about it.
    Known(Request),
    /// The client wants answers before the request is whole: its answer cannot be held.
    Flushed,
    /// The request is whole.
    Whole,
    /// From here on nothing is understood: both directions are only passed through.
    Plain,
}

/// A sign in what the server sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answered {
    /// Bytes of no answer.
    Apart(Bytes),
    /// Bytes of the answer to the oldest exchange, or of none if nothing was asked.
    Part(Bytes),
    /// What came so far was only a word in between (HTTP 100); the answer is yet to begin.
    Interim,
    /// The answer's head is there, so the server has acted.
    Begun,
    /// This answer has no end to wait for (a COPY, a stream of events).
    Endless,
    /// The answer is whole.
    Whole(Outcome),
    /// From here on nothing is understood: both directions are only passed through.
    Plain,
}

/// What is known of a request before it is passed on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Request {
    /// The statements that it executes, or the request line.
    pub(crate) text: String,
    /// The statements that it only prepares.
    pub(crate) prepared: String,
    /// Whether, by its text, it ends a transaction that did something.
    pub(crate) commits: bool,
    /// Whether, by its text, that transaction wrote.
    pub(crate) writes: bool,
}

/// What is known once the answer is whole.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outcome {
    /// Whether it ended a transaction that did something, and that was committed.
    pub(crate) committed: bool,
    /// Whether that transaction wrote, as far as tags and texts tell.
    pub(crate) wrote: bool,
    /// The statements of the whole transaction, this exchange's among them.
    pub(crate) transaction: String,
}
