//! The frames of the stream's protocol, one JSON object each. `asyncapi.rs` publishes them.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use fermata_engine::event::{Cursor, Severity};
use fermata_engine::id::RunId;
use fermata_engine::read::{EventFilter, SharedEvent};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::ProblemBody;

/// The subscription's name when the client gives none.
const UNNAMED: &str = "default";
/// The longest name of a subscription, in bytes.
pub(super) const MAX_NAME_BYTES: usize = 128;

/// What a client wants to follow: said in a frame, or in the address.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// The subscription's name.
    pub(super) id: String,
    /// Which events.
    pub(super) filter: StreamFilter,
    /// From where on.
    pub(super) cursor: Option<String>,
}

/// What may stand in the address (G-085). Anything but the ticket is a subscription named `default`,
/// which stands as soon as the connection does.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StreamQuery {
    /// A one-time ticket of POST /v1/ws-tickets.
    pub(super) ticket: Option<String>,
    /// `latest`, `earliest`, or the cursor of the last event that was seen.
    cursor: Option<String>,
    /// About this command.
    command_id: Option<RunId>,
    /// About commands of this session.
    session_id: Option<String>,
    /// About commands for this account.
    account_id: Option<String>,
    /// Of this client; of use to tokens of every client.
    client_id: Option<String>,
    /// Of any of these types, with commas between.
    types: Option<String>,
    /// At least this severe.
    #[serde(alias = "severity")]
    min_severity: Option<Severity>,
}

impl StreamQuery {
    /// The subscription that it asks for, if it asks for one.
    pub(super) fn wanted(self) -> Option<Wanted> {
        let asks = self.cursor.is_some()
            || self.command_id.is_some()
            || [&self.session_id, &self.account_id, &self.client_id, &self.types].iter().any(|it| it.is_some())
            || self.min_severity.is_some();
        let types = self.types.iter().flat_map(|types| types.split(',')).map(str::trim);
        let filter = StreamFilter {
            types: types.filter(|kind| !kind.is_empty()).map(str::to_owned).collect(),
            session_id: self.session_id,
            account_id: self.account_id,
            command_id: self.command_id,
            client_id: self.client_id,
            min_severity: self.min_severity,
        };
        asks.then(|| Wanted { id: unnamed(), filter, cursor: self.cursor })
    }
}

/// What a client may say.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum ClientFrame {
    /// Says who connects, as the first frame, when neither header, subprotocol nor ticket did.
    Auth {
        /// The token.
        token: String,
    },
    /// Follows events from a place on.
    Subscribe {
        /// The client's name for it; the same name on every frame about it.
        #[serde(default = "unnamed")]
        #[schemars(length(min = 1, max = 128))]
        id: String,
        /// Which events; every one that the token may see when left out.
        #[serde(default)]
        filter: StreamFilter,
        /// `latest` (also when left out), `earliest`, or the cursor of the last event that was seen.
        #[serde(default)]
        cursor: Option<String>,
    },
    /// Stops following.
    Unsubscribe {
        /// Which.
        #[serde(default = "unnamed")]
        id: String,
    },
    /// Everything up to this cursor has been dealt with. It moves nothing; operators see how far
    /// behind clients are.
    Ack {
        /// The last event that was dealt with.
        cursor: String,
    },
    /// Asks for a `pong`.
    Ping {
        /// Comes back as it is.
        #[serde(default)]
        #[schemars(length(max = 128))]
        nonce: Option<String>,
    },
}

fn unnamed() -> String {
    UNNAMED.to_owned()
}

/// Which events; everything absent matches everything.
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct StreamFilter {
    /// About commands of this session.
    session_id: Option<String>,
    /// About commands for this account.
    account_id: Option<String>,
    /// About this command.
    command_id: Option<RunId>,
    /// Of this client; of use to tokens of every client.
    client_id: Option<String>,
    /// Of any of these types.
    #[schemars(length(max = 64))]
    types: Vec<String>,
    /// At least this severe.
    #[serde(alias = "severity")]
    min_severity: Option<Severity>,
}

impl From<StreamFilter> for EventFilter {
    fn from(filter: StreamFilter) -> Self {
        Self {
            run: filter.command_id,
            types: filter.types,
            min_severity: filter.min_severity,
            client_id: filter.client_id,
            account_id: filter.account_id,
            session_id: filter.session_id,
        }
    }
}

/// What the server says.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[serde(tag = "op", rename_all = "snake_case")]
pub(crate) enum ServerFrame {
    /// The connection is open and its token accepted.
    Hello {
        /// `fermata.stream.v1`.
        protocol: String,
        /// Just before the oldest event that is kept.
        oldest_cursor: Cursor,
        /// The newest event.
        head_cursor: Cursor,
        /// How often there is a `heartbeat`, in seconds.
        heartbeat_s: u64,
        /// The most subscriptions of one connection.
        max_subscriptions: usize,
    },
    /// A subscription stands; its events follow.
    Subscribed {
        /// Its name.
        id: String,
        /// Where it begins: the first event is the next one behind this.
        cursor: Cursor,
    },
    /// A subscription has ended; none of its events follows.
    Unsubscribed {
        /// Its name.
        id: String,
    },
    /// One event.
    Event {
        /// The subscription's name.
        id: String,
        /// Its place: hand it back to go on behind it.
        cursor: Cursor,
        /// What happened.
        event: Arc<SharedEvent>,
    },
    /// Everything that was there when the subscription began has been sent; what follows is new.
    CaughtUp {
        /// The subscription's name.
        id: String,
        /// The head at that time.
        cursor: Cursor,
    },
    /// The connection is alive.
    Heartbeat {
        /// The server's time.
        time: DateTime<Utc>,
    },
    /// The answer to a `ping`.
    Pong {
        /// What came with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nonce: Option<String>,
    },
    /// A frame was refused, or a subscription has ended. When the connection ends with it, its close
    /// code says so.
    Error {
        /// The subscription that it is about.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<String>,
        /// What and why (RFC 9457).
        #[schemars(with = "ProblemBody")]
        problem: Value,
    },
}

/// Why the server closes a connection. `1001` is a server that ends: connect again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Close {
    /// A frame that is none of ours, or too large.
    BadFrame,
    /// No token, or one that no longer stands.
    Auth,
    /// The token lacks a scope.
    Scope,
    /// Nothing was heard of the client for too long.
    Silent,
    /// The client reads too slowly: resume from the last cursor.
    Slow,
    /// The cursor cannot be resumed: read the state again and begin anew.
    Cursor,
    /// The server ends.
    GoingAway,
    /// A fault of ours.
    Internal,
}

impl Close {
    /// Every reason.
    pub(crate) const ALL: &'static [Self] = &[
        Self::BadFrame,
        Self::Auth,
        Self::Scope,
        Self::Silent,
        Self::Slow,
        Self::Cursor,
        Self::GoingAway,
        Self::Internal,
    ];

    /// The close code.
    pub(crate) const fn code(self) -> u16 {
        match self {
            Self::BadFrame => 4400,
            Self::Auth => 4401,
            Self::Scope => 4403,
            Self::Silent => 4408,
            Self::Slow => 4409,
            Self::Cursor => 4410,
            Self::GoingAway => 1001,
            Self::Internal => 1011,
        }
    }

    /// The reason that is sent along; at most 123 bytes.
    pub(crate) const fn reason(self) -> &'static str {
        match self {
            Self::BadFrame => "the frame cannot be read",
            Self::Auth => "a valid token is needed",
            Self::Scope => "the token lacks the scope events:read",
            Self::Silent => "nothing was heard for too long",
            Self::Slow => "too slow: connect again and resume from the last cursor",
            Self::Cursor => "the cursor cannot be resumed: read the state again and begin anew",
            Self::GoingAway => "shutting down: connect again and resume from the last cursor",
            Self::Internal => "a fault on our side",
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_client_frame_reads_with_its_defaults_and_refuses_what_it_does_not_know() {
        let read = |value| serde_json::from_value::<ClientFrame>(value);
        let frame = read(json!({"op": "subscribe"})).unwrap();
        assert!(matches!(frame, ClientFrame::Subscribe { id, cursor: None, .. } if id == "default"));
        assert!(read(json!({"op": "ping"})).is_ok());
        for bad in [
            json!({"op": "publish"}),
            json!({"op": "subscribe", "filter": {"tpyes": []}}),
            json!({"op": "subscribe", "cursor": 7}),
            json!({"op": "subscribe", "filter": {"command_id": "x"}}),
            json!({"op": "ack"}),
            json!([]),
            json!(null),
        ] {
            assert!(read(bad.clone()).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_close_reason_fits_into_its_control_frame() {
        assert!(Close::ALL.iter().all(|close| close.reason().len() <= 123));
    }
}
