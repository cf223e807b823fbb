//! Where a message's body ends.

use bytes::Bytes;

use crate::http::head::{Garbage, Head};

/// The longest line between chunks.
const MAX_LINE_BYTES: usize = 8 * 1024;
const LINE_END_BYTES: u64 = 2;

/// What is still to come of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Body {
    /// So many bytes.
    Sized(u64),
    /// A chunk's size, as far as its line has come.
    Size(Vec<u8>),
    /// The rest of a chunk and of the line's end after it.
    Chunk(u64),
    /// What follows the last chunk, up to an empty line.
    Trailer(Vec<u8>),
    /// Until the connection ends.
    Endless,
}

impl Body {
    /// The body of a request.
    pub(crate) fn of_request(head: &Head) -> Self {
        if head.is_chunked { Self::Size(Vec::new()) } else { Self::Sized(head.length.unwrap_or(0)) }
    }

    /// The body of an answer that has one.
    pub(crate) fn of_answer(head: &Head) -> Self {
        match head.length {
            _ if head.is_chunked => Self::Size(Vec::new()),
            Some(length) => Self::Sized(length),
            None => Self::Endless,
        }
    }

    pub(crate) fn is_over(&self) -> bool {
        *self == Self::Sized(0)
    }

    /// Takes what belongs to the body off the chunk; all of it, or up to the body's end.
    pub(crate) fn take(&mut self, chunk: &mut Bytes) -> Result<Bytes, Garbage> {
        let before = chunk.clone();
        while !self.is_over() && !chunk.is_empty() {
            if let Err(garbage) = self.step(chunk) {
                *chunk = before;
                return Err(garbage);
            }
        }
        Ok(before.slice(..before.len() - chunk.len()))
    }

    fn step(&mut self, chunk: &mut Bytes) -> Result<(), Garbage> {
        match self {
            Self::Endless => chunk.clear(),
            Self::Sized(left) => skip(left, chunk),
            Self::Chunk(left) => {
                skip(left, chunk);
                if *left == 0 {
                    *self = Self::Size(Vec::new());
                }
            }
            Self::Size(line) => {
                if let Some(line) = ended(line, chunk)? {
                    let size = line.split(';').next().unwrap_or_default().trim();
                    *self = match u64::from_str_radix(size, 16).map_err(|_| Garbage)? {
                        0 => Self::Trailer(Vec::new()),
                        size => Self::Chunk(size.checked_add(LINE_END_BYTES).ok_or(Garbage)?),
                    };
                }
            }
            Self::Trailer(line) => {
                if let Some(line) = ended(line, chunk)? {
                    *self = if line.is_empty() { Self::Sized(0) } else { Self::Trailer(Vec::new()) };
                }
            }
        }
        Ok(())
    }
}

fn skip(left: &mut u64, chunk: &mut Bytes) {
    let here = usize::try_from(*left).unwrap_or(usize::MAX).min(chunk.len());
    drop(chunk.split_to(here));
    *left -= here as u64;
}

/// Adds to a line; the line, if it has ended, without its end.
fn ended(line: &mut Vec<u8>, chunk: &mut Bytes) -> Result<Option<String>, Garbage> {
    let end = chunk.iter().position(|byte| *byte == b'\n');
    line.extend_from_slice(&chunk.split_to(end.map_or(chunk.len(), |end| end + 1)));
    if line.len() > MAX_LINE_BYTES {
        return Err(Garbage);
    }
    Ok(end.map(|_| String::from_utf8_lossy(line).trim_end().to_owned()))
}
