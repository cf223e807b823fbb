//! The cursor: where a reader stands in the stream, opaque to everybody but us.
//!
//! It carries a version of its own form, the epoch of the stream (raised when the database turns
//! out to have another history than before) and the position of the last event seen. Clients keep
//! it as text and hand it back; they never take it apart.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// The only form so far.
const VERSION: u8 = 1;
/// Version, epoch and position.
const BYTES: usize = 1 + 4 + 8;

/// A place in the stream: just behind the event at `position`; 0 is before the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cursor {
    /// Which history of the database the position belongs to.
    pub epoch: u32,
    /// The position of the last event seen.
    pub position: i64,
}

/// Why a cursor is of no use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CursorError {
    /// The text is not one of our cursors.
    #[error("the cursor cannot be read; send one exactly as it was given")]
    Malformed,
    /// It was made by a newer program.
    #[error("the cursor has form {0}, which this program does not know; ask a newer node")]
    Version(u8),
    /// It belongs to another history of the database, or is ahead of the stream.
    #[error("the cursor belongs to another history of the stream; read the state again and start from a new cursor")]
    Foreign,
    /// The events behind it are no longer kept.
    #[error("the cursor is older than what is kept; read the state again and start from `oldest_cursor`")]
    Expired {
        /// The oldest cursor that can still be resumed.
        oldest: Cursor,
    },
}

impl Cursor {
    /// The epoch of a database that was never restored to another history.
    pub const FIRST_EPOCH: u32 = 1;

    /// The cursor of a position in the first epoch.
    pub const fn at(position: i64) -> Self {
        Self { epoch: Self::FIRST_EPOCH, position }
    }

    /// Checks that the stream, which reaches from `oldest` to `head`, can be resumed here.
    pub fn check(self, oldest: Self, head: Self) -> Result<Self, CursorError> {
        if self.epoch != head.epoch || self.position > head.position {
            return Err(CursorError::Foreign);
        }
        if self.position < oldest.position {
            return Err(CursorError::Expired { oldest });
        }
        Ok(self)
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = [0; BYTES];
        bytes[0] = VERSION;
        bytes[1..5].copy_from_slice(&self.epoch.to_be_bytes());
        bytes[5..].copy_from_slice(&self.position.to_be_bytes());
        f.write_str(&URL_SAFE_NO_PAD.encode(bytes))
    }
}

impl FromStr for Cursor {
    type Err = CursorError;

    fn from_str(text: &str) -> Result<Self, CursorError> {
        // Longer text is refused before it is decoded.
        if text.len() > 4 * BYTES {
            return Err(CursorError::Malformed);
        }
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| CursorError::Malformed)?;
        // No form is shorter than this one.
        if bytes.len() < BYTES {
            return Err(CursorError::Malformed);
        }
        match bytes.first() {
            Some(&VERSION) => {}
            Some(&other) if other > VERSION && bytes.len() >= BYTES => return Err(CursorError::Version(other)),
            _ => return Err(CursorError::Malformed),
        }
        let bytes: [u8; BYTES] = bytes.try_into().map_err(|_| CursorError::Malformed)?;
        let [_, e0, e1, e2, e3, position @ ..] = bytes;
        let position = i64::from_be_bytes(position);
        if position < 0 {
            return Err(CursorError::Malformed);
        }
        Ok(Self { epoch: u32::from_be_bytes([e0, e1, e2, e3]), position })
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Cursor {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Cow::<'de, str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

impl JsonSchema for Cursor {
    fn schema_name() -> Cow<'static, str> {
        "Cursor".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "description": "A place in the stream; opaque." })
    }
}

#[cfg(test)]
mod fuzz;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_survives_the_round_trip() {
        for position in [0, 1, 10_000_000, i64::MAX] {
            let cursor = Cursor { epoch: 7, position };
            assert_eq!(cursor.to_string().parse(), Ok(cursor));
            let json = serde_json::to_string(&cursor).unwrap();
            assert_eq!(serde_json::from_str::<Cursor>(&json).unwrap(), cursor);
        }
    }

    #[test]
    fn what_is_not_a_cursor_is_refused() {
        let good = Cursor::at(5).to_string();
        let longer = format!("{good}AAAA");
        let negative = URL_SAFE_NO_PAD.encode([1, 0, 0, 0, 1, 255, 0, 0, 0, 0, 0, 0, 0]);
        for bad in ["", "x", "null", "5", "é", &good[1..], &good[..10], &longer, &negative, &"A".repeat(9999)] {
            assert_eq!(bad.parse::<Cursor>(), Err(CursorError::Malformed), "{bad}");
        }
        let newer = URL_SAFE_NO_PAD.encode([2; BYTES]);
        assert_eq!(newer.parse::<Cursor>(), Err(CursorError::Version(2)));
    }

    #[test]
    fn a_stream_is_resumed_only_where_nothing_is_missed() {
        let (oldest, head) = (Cursor::at(10), Cursor::at(20));
        for position in [10, 15, 20] {
            assert_eq!(Cursor::at(position).check(oldest, head), Ok(Cursor::at(position)));
        }
        assert_eq!(Cursor::at(9).check(oldest, head), Err(CursorError::Expired { oldest }));
        assert_eq!(Cursor::at(21).check(oldest, head), Err(CursorError::Foreign));
        let other = Cursor { epoch: 2, position: 15 };
        assert_eq!(other.check(oldest, head), Err(CursorError::Foreign));
    }
}
