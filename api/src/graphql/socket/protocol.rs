//! The words of `graphql-transport-ws`: pure.

use serde_json::{Value, json};

/// The subprotocol.
pub(super) const SUBPROTOCOL: &str = "graphql-transport-ws";
/// The longest id of an operation.
const MAX_ID_BYTES: usize = 128;

/// What a client says.
#[derive(Debug, PartialEq)]
pub(super) enum Said {
    /// Who it is.
    Init(Value),
    /// It wants an operation executed.
    Subscribe {
        /// Its name for the operation.
        id: String,
        /// The operation.
        payload: Value,
    },
    /// It wants no more of an operation.
    Complete(String),
    /// It wants an answer.
    Ping(Value),
    /// It answers.
    Pong,
}

/// Why a connection is closed: the code and the reason of the protocol.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Closing {
    fn new(code: u16, reason: impl Into<String>) -> Self {
        let mut reason: String = reason.into();
        // A close frame holds 123 bytes of text.
        while reason.len() > 123 {
            reason.pop();
        }
        Self { code, reason }
    }

    /// What was said is not of the protocol.
    pub(super) fn bad(reason: impl Into<String>) -> Self {
        Self::new(4400, reason)
    }

    /// It subscribed before it said who it is.
    pub(super) fn unauthorized() -> Self {
        Self::new(4401, "Unauthorized")
    }

    /// Its token is not good, or no longer.
    pub(super) fn forbidden(reason: impl Into<String>) -> Self {
        Self::new(4403, reason)
    }

    /// It speaks another subprotocol.
    pub(super) fn unknown_subprotocol() -> Self {
        Self::new(4406, "Subprotocol not acceptable")
    }

    /// It did not say in time who it is.
    pub(super) fn init_timeout() -> Self {
        Self::new(4408, "Connection initialisation timeout")
    }

    /// It used an id for two operations at once.
    pub(super) fn taken(id: &str) -> Self {
        Self::new(4409, format!("Subscriber for {id} already exists"))
    }

    /// It said twice who it is.
    pub(super) fn twice() -> Self {
        Self::new(4429, "Too many initialisation requests")
    }

    /// It answers no more.
    pub(super) fn silent() -> Self {
        Self::new(4499, "Terminated")
    }

    /// Something of ours is not there.
    pub(super) fn internal(reason: impl Into<String>) -> Self {
        Self::new(1011, reason)
    }

    /// This process ends.
    pub(super) fn going_away() -> Self {
        Self::new(1001, "this node is shutting down; connect again")
    }
}

impl Said {
    /// What a text says.
    pub(super) fn of(text: &str) -> Result<Self, Closing> {
        let message: Value = serde_json::from_str(text).map_err(|_| Closing::bad("Invalid message: not JSON"))?;
        let payload = || message.get("payload").cloned().unwrap_or_default();
        let id = || match message.get("id").and_then(Value::as_str) {
            Some(id) if !id.is_empty() && id.len() <= MAX_ID_BYTES => Ok(id.to_owned()),
            _ => Err(Closing::bad(format!("Invalid message: `id` must be a string of 1 to {MAX_ID_BYTES} bytes"))),
        };
        match message.get("type").and_then(Value::as_str) {
            Some("connection_init") => match payload() {
                payload @ (Value::Object(_) | Value::Null) => Ok(Self::Init(payload)),
                _ => Err(Closing::bad("Invalid message: `payload` must be an object")),
            },
            Some("subscribe") => match payload() {
                payload @ Value::Object(_) => Ok(Self::Subscribe { id: id()?, payload }),
                _ => Err(Closing::bad("Invalid message: `payload` must be an object")),
            },
            Some("complete") => Ok(Self::Complete(id()?)),
            Some("ping") => Ok(Self::Ping(payload())),
            Some("pong") => Ok(Self::Pong),
            _ => Err(Closing::bad("Invalid message: `type` is not one of graphql-transport-ws")),
        }
    }
}

/// `connection_ack`.
pub(super) fn ack() -> String {
    json!({"type": "connection_ack"}).to_string()
}

/// `pong`, with what the ping carried.
pub(super) fn pong(payload: &Value) -> String {
    if payload.is_null() {
        return json!({"type": "pong"}).to_string();
    }
    json!({"type": "pong", "payload": payload}).to_string()
}

/// An answer to an operation.
pub(super) fn next(id: &str, answer: &Value) -> String {
    json!({"type": "next", "id": id, "payload": answer}).to_string()
}

/// An operation was refused: nothing of it was executed.
pub(super) fn error(id: &str, errors: &Value) -> String {
    json!({"type": "error", "id": id, "payload": errors}).to_string()
}

/// An operation has ended.
pub(super) fn complete(id: &str) -> String {
    json!({"type": "complete", "id": id}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_the_protocol_is_understood() {
        assert_eq!(Said::of(r#"{"type":"connection_init"}"#), Ok(Said::Init(Value::Null)));
        let subscribe = r#"{"type":"subscribe","id":"1","payload":{"query":"{a}"}}"#;
        let wanted = Said::Subscribe { id: "1".into(), payload: json!({"query": "{a}"}) };
        assert_eq!(Said::of(subscribe), Ok(wanted));
        assert_eq!(Said::of(r#"{"type":"complete","id":"1"}"#), Ok(Said::Complete("1".into())));
        assert_eq!(Said::of(r#"{"type":"ping","payload":{"n":1}}"#), Ok(Said::Ping(json!({"n": 1}))));
        assert_eq!(Said::of(r#"{"type":"pong"}"#), Ok(Said::Pong));
    }

    #[test]
    fn everything_else_is_a_bad_message() {
        let long = format!(r#"{{"type":"complete","id":"{}"}}"#, "x".repeat(MAX_ID_BYTES + 1));
        for bad in [
            "",
            "{",
            "[]",
            r#"{"type":"start"}"#,
            r#"{"type":"subscribe","payload":{}}"#,
            r#"{"type":"subscribe","id":1,"payload":{}}"#,
            r#"{"type":"subscribe","id":"1"}"#,
            r#"{"type":"connection_init","payload":[]}"#,
            &long,
        ] {
            assert_eq!(Said::of(bad).unwrap_err().code, 4400, "{bad}");
        }
    }

    #[test]
    fn a_reason_fits_into_a_close_frame() {
        assert!(Closing::bad("ä".repeat(200)).reason.len() <= 123);
    }
}
