//! What readers of the event stream saw: `streams/<reader>.jsonl`.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::Value;

/// The only form of a cursor so far.
const VERSION: u8 = 1;

/// One reader, over all of its connections.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reader {
    /// The name of its file.
    pub name: String,
    /// What it saw, in order.
    pub seen: Vec<Seen>,
}

/// One thing that a reader saw.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Seen {
    /// It connected.
    Opened {
        /// When.
        at: DateTime<Utc>,
        /// The cursor that it resumed from; `None` begins at the head.
        after: Option<String>,
        /// The only client whose events it wants.
        client_id: Option<String>,
    },
    /// An event came.
    Event {
        /// When.
        at: DateTime<Utc>,
        /// The event.
        event: Told,
    },
    /// The connection ended.
    Closed {},
    /// The very end: it had caught up to there.
    Reached {
        /// The position.
        position: i64,
    },
    /// Something that no invariant looks at.
    #[serde(other)]
    Other,
}

/// An event as a reader gets it.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Told {
    /// Its id.
    pub id: String,
    /// Its name.
    pub r#type: String,
    /// Its place in the stream.
    pub cursor: String,
    /// The run that it is about.
    #[serde(default)]
    pub subject: Option<String>,
    /// Whose it is.
    pub clientid: String,
    /// What happened.
    pub data: Value,
}

/// The position in a cursor: 13 bytes, base64url without padding: the form (1), the epoch of the
/// stream and the position, both big-endian.
pub fn position_of(cursor: &str) -> Option<i64> {
    let bytes: [u8; 13] = URL_SAFE_NO_PAD.decode(cursor).ok()?.try_into().ok()?;
    let [version, _, _, _, _, position @ ..] = bytes;
    Some(i64::from_be_bytes(position)).filter(|position| version == VERSION && *position >= 0)
}

/// The cursor of a position in the first epoch.
pub fn cursor_at(position: i64) -> String {
    let mut bytes = [0; 13];
    bytes[0] = VERSION;
    bytes[1..5].copy_from_slice(&1_u32.to_be_bytes());
    bytes[5..].copy_from_slice(&position.to_be_bytes());
    URL_SAFE_NO_PAD.encode(bytes)
}
