//! Log lines of all services, kept and found again (O-026).
//!
//! Owns the frame that is taken in, its bounds, and whose line it is: a line that a client's
//! principal sends is that client's; one that a principal of every client sends about a run is that
//! run's client's; every other one is only for those who act for every client. Knows nothing of how
//! a line got here. It is for what other services have to tell; what this process does itself is
//! on its standard error.

use chrono::{DateTime, Datelike as _, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::access::{Denied, Principal, Scope};
use crate::document::{self, raw};
use crate::engine::Engine;
use crate::id::{RunId, uuid_at};
use crate::read::{Page, Paged, ReadError};
use crate::store::StoreError;

/// The largest frame in bytes, as compact JSON.
pub const MAX_FRAME_BYTES: usize = 64 << 10;
/// The most frames of one call.
pub const MAX_FRAMES: usize = 1_000;
/// The longest trace or correlation id in bytes.
const MAX_ID_BYTES: usize = document::MAX_KEY_BYTES;
/// The years whose times are kept.
const YEARS: std::ops::RangeInclusive<i32> = 1970..=9999;

/// How much a line matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every turn.
    Trace,
    /// For whoever looks for a fault.
    Debug,
    /// What happens when all is well.
    Info,
    /// What somebody should look at some time.
    Warn,
    /// What failed.
    Error,
}

impl Level {
    /// Every level, the least first.
    pub const ALL: [Self; 5] = [Self::Trace, Self::Debug, Self::Info, Self::Warn, Self::Error];

    /// The word on the wire and in the database.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Trace => "trace",
            Self::Debug => "debug",
            Self::Info => "info",
            Self::Warn => "warn",
            Self::Error => "error",
        }
    }
}

/// A line as a service sends it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub struct LogFrame {
    /// When it happened; the time of its receipt when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timestamp: Option<DateTime<Utc>>,
    /// How much it matters.
    pub level: Level,
    /// Who says so.
    pub service: String,
    /// What happened.
    pub message: String,
    /// The trace that it belongs to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trace_id: Option<String>,
    /// The caller's own name for what belongs together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// The command that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run_id: Option<RunId>,
    /// Whatever else is known.
    #[serde(default)]
    pub data: Map<String, Value>,
}

/// A line as it is kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "LogLine")]
#[serde(rename_all = "camelCase")]
pub struct LineView {
    /// Its id; ids grow with the time of receipt.
    pub id: Uuid,
    /// When it happened.
    pub timestamp: DateTime<Utc>,
    /// When it was received.
    pub received_at: DateTime<Utc>,
    /// How much it matters.
    pub level: String,
    /// Who said so.
    pub service: String,
    /// What happened.
    pub message: String,
    /// The trace that it belongs to.
    pub trace_id: Option<String>,
    /// The sender's own name for what belongs together.
    pub correlation_id: Option<String>,
    /// The command that it is about.
    pub run_id: Option<RunId>,
    /// Whatever else was known.
    pub data: Value,
}

/// Which lines; everything absent matches everything.
#[derive(Debug, Clone, Default)]
pub struct LineFilter {
    /// Any of these levels; empty is every one.
    pub levels: Vec<String>,
    /// Of this service.
    pub service: Option<String>,
    /// Of this trace.
    pub trace_id: Option<String>,
    /// With this correlation id.
    pub correlation_id: Option<String>,
    /// About this command.
    pub run: Option<RunId>,
    /// Happened at or after.
    pub since: Option<DateTime<Utc>>,
    /// Happened before.
    pub until: Option<DateTime<Utc>>,
}

/// Why frames were not kept. None of the call's was.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The principal may not.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// One does not fit.
    #[error("{pointer}: {message}")]
    Invalid {
        /// RFC 6901 pointer, from the list of frames.
        pointer: String,
        /// What does not fit.
        message: String,
    },
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A frame that may be stored.
pub(crate) struct LogRow {
    pub(crate) id: Uuid,
    pub(crate) frame: LogFrame,
}

impl Engine {
    /// Keeps frames, all or none; they are durable when it returns. The order of the call is the
    /// order of the lines' ids.
    pub async fn log(&self, by: &Principal, frames: Vec<LogFrame>) -> Result<usize, LogError> {
        by.require(Scope::LogsWrite)?;
        check(&frames)?;
        let now = self.clock().now();
        let mut ids: Vec<Uuid> = frames.iter().map(|_| uuid_at(now)).collect();
        ids.sort_unstable();
        let rows = ids.into_iter().zip(frames).map(|(id, frame)| LogRow { id, frame }).collect::<Vec<_>>();
        self.store().insert_logs(&by.client_id, &rows, now).await?;
        Ok(rows.len())
    }

    /// Lines, the last received first.
    pub async fn logs(&self, by: &Principal, filter: &LineFilter, page: Page) -> Result<Paged<LineView>, ReadError> {
        by.require(Scope::LogsRead)?;
        let known = |word: &String| Level::ALL.iter().any(|level| level.as_str() == word);
        if !filter.levels.iter().all(known) {
            let words = Level::ALL.map(Level::as_str).join(", ");
            return Err(ReadError::Filter { name: "level", message: format!("must be one of {words}") });
        }
        let rows = self.store().logs(&by.client_id, filter, page).await?;
        Ok(page.cut(rows, |line| line.id))
    }
}

fn check(frames: &[LogFrame]) -> Result<(), LogError> {
    let invalid =
        |n: usize, field: &str, message: String| Err(LogError::Invalid { pointer: format!("/{n}{field}"), message });
    if !(1..=MAX_FRAMES).contains(&frames.len()) {
        let message = format!("send 1 to {MAX_FRAMES} frames at once");
        return Err(LogError::Invalid { pointer: String::new(), message });
    }
    for (n, frame) in frames.iter().enumerate() {
        if let Err(error) = document::check_key("the service's name", &frame.service) {
            return invalid(n, "/service", error.to_string());
        }
        for (field, id) in [("/traceId", &frame.trace_id), ("/correlationId", &frame.correlation_id)] {
            if id.as_ref().is_some_and(|id| id.is_empty() || id.len() > MAX_ID_BYTES || id.contains('\0')) {
                return invalid(n, field, format!("must have 1 to {MAX_ID_BYTES} bytes without NUL"));
            }
        }
        if frame.message.contains('\0') {
            return invalid(n, "/message", "must not have NUL characters".to_owned());
        }
        if frame.timestamp.is_some_and(|at| !YEARS.contains(&at.year())) {
            return invalid(n, "/timestamp", format!("must be in the years {} to {}", YEARS.start(), YEARS.end()));
        }
        if let Err(error) = document::check(&Value::Object(frame.data.clone())) {
            return invalid(n, "/data", error.to_string());
        }
        let bytes = raw(frame).get().len();
        if bytes > MAX_FRAME_BYTES {
            return invalid(n, "", format!("has {bytes} bytes, more than the {MAX_FRAME_BYTES} of a frame"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn frame(changes: &Value) -> LogFrame {
        let mut frame = json!({ "level": "info", "service": "shop", "message": "sold" });
        frame.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        serde_json::from_value(frame).unwrap()
    }

    fn refused(frames: &[LogFrame]) -> String {
        match check(frames) {
            Err(LogError::Invalid { pointer, .. }) => pointer,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_frame_within_its_bounds_is_taken() {
        let whole = json!({ "timestamp": "2026-01-02T03:04:05Z", "traceId": "t", "correlationId": "c",
            "runId": Uuid::nil(), "data": { "price": 3 } });
        assert!(check(&[frame(&json!({})), frame(&whole)]).is_ok());
    }

    #[test]
    fn the_first_thing_that_does_not_fit_is_pointed_at() {
        assert_eq!(refused(&[]), "");
        assert_eq!(refused(&vec![frame(&json!({})); MAX_FRAMES + 1]), "");
        assert_eq!(refused(&[frame(&json!({ "service": "" }))]), "/0/service");
        assert_eq!(
            refused(&[frame(&json!({})), frame(&json!({ "traceId": "x".repeat(MAX_ID_BYTES + 1) }))]),
            "/1/traceId"
        );
        assert_eq!(refused(&[frame(&json!({ "correlationId": "" }))]), "/0/correlationId");
        assert_eq!(refused(&[frame(&json!({ "message": "a\0b" }))]), "/0/message");
        assert_eq!(refused(&[frame(&json!({ "timestamp": "1969-12-31T23:59:59Z" }))]), "/0/timestamp");
        assert_eq!(refused(&[frame(&json!({ "data": { "a": "\0" } }))]), "/0/data");
        assert_eq!(refused(&[frame(&json!({ "message": "x".repeat(MAX_FRAME_BYTES) }))]), "/0");
    }
}
