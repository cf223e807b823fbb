//! Events as they leave us: the attribute names of CloudEvents 1.0.

use std::borrow::Cow;
use std::ops::Deref;
use std::sync::OnceLock;

use chrono::{DateTime, Utc};
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};
use uuid::Uuid;

use crate::event::schema::{self, EventType};
use crate::event::{Cursor, Severity};
use crate::id::{EventId, RunId};
use crate::trace::span_of;

/// Who the events are from, as CloudEvents wants it: with `id` it is unique.
const SOURCE: &str = "/fermata";

/// An event as stored.
#[derive(Debug, Clone, PartialEq)]
pub struct EventFacts {
    /// Its place in the stream.
    pub cursor: Cursor,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// Whose it is.
    pub client_id: String,
    /// The command that it is about.
    pub run: Option<RunId>,
    /// Its name.
    pub kind: String,
    /// How much it matters.
    pub severity: Severity,
    /// What happened, by type.
    pub data: Value,
    /// The account of its command.
    pub account_id: Option<String>,
    /// The session of its command.
    pub session_id: Option<String>,
    /// The correlation id of its command.
    pub correlation_id: Option<String>,
    /// The trace of its command, 32 hex digits.
    pub trace_id: Option<String>,
}

/// An event in the shape of CloudEvents 1.0.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Event")]
pub struct EventView {
    /// `1.0`.
    #[schemars(extend("const" = "1.0"))]
    pub specversion: String,
    /// Unique for ever; the same event has the same id wherever it is read.
    pub id: EventId,
    /// Who it is from.
    pub source: String,
    /// Its name, such as `status.changed`.
    pub r#type: String,
    /// When it happened.
    pub time: DateTime<Utc>,
    /// The command that it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub subject: Option<RunId>,
    /// `application/json`.
    #[schemars(extend("const" = "application/json"))]
    pub datacontenttype: String,
    /// The identity of the schema of `data`; `/v1/schemas` says where to read it. Left out when the
    /// event was written by a newer program.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(url)]
    pub dataschema: Option<String>,
    /// Its place in the stream: reading goes on behind it.
    pub cursor: Cursor,
    /// How much it matters.
    pub severity: Severity,
    /// Whose it is.
    pub clientid: String,
    /// The account of its command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accountid: Option<String>,
    /// The session of its command.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sessionid: Option<String>,
    /// What its command was given to be found by.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub correlationid: Option<String>,
    /// The trace that it belongs to (W3C Trace Context): one for a command, across crash and resume.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
    /// What happened, by type.
    pub data: Value,
}

/// An event that many readers share: its JSON is made once, by the first one that needs it.
#[derive(Debug)]
pub struct SharedEvent {
    view: EventView,
    json: OnceLock<Option<Box<RawValue>>>,
}

impl From<EventView> for SharedEvent {
    fn from(view: EventView) -> Self {
        Self { view, json: OnceLock::new() }
    }
}

impl Deref for SharedEvent {
    type Target = EventView;

    fn deref(&self) -> &EventView {
        &self.view
    }
}

impl Serialize for SharedEvent {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.json.get_or_init(|| to_raw_value(&self.view).ok()) {
            Some(json) => json.serialize(serializer),
            None => self.view.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for SharedEvent {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        EventView::deserialize(deserializer).map(Self::from)
    }
}

impl JsonSchema for SharedEvent {
    fn schema_name() -> Cow<'static, str> {
        EventView::schema_name()
    }

    fn schema_id() -> Cow<'static, str> {
        EventView::schema_id()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        EventView::json_schema(generator)
    }
}

/// Some events, and where to go on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "EventList")]
pub struct EventPage {
    /// The events, in the order of the stream. May be empty although there is more: the filter
    /// skipped what was looked at.
    pub items: Vec<EventView>,
    /// Where the next page begins; `null` at the head of the stream. Each event's own `cursor`
    /// stays good for coming back later.
    pub next_cursor: Option<Cursor>,
}

impl From<EventFacts> for EventView {
    fn from(event: EventFacts) -> Self {
        Self {
            specversion: "1.0".to_owned(),
            id: EventId(event_id(event.at, event.cursor)),
            source: SOURCE.to_owned(),
            dataschema: schema::find(&event.kind).map(EventType::id),
            r#type: event.kind,
            time: event.at,
            subject: event.run,
            datacontenttype: "application/json".to_owned(),
            cursor: event.cursor,
            severity: event.severity,
            clientid: event.client_id,
            accountid: event.account_id,
            sessionid: event.session_id,
            correlationid: event.correlation_id,
            traceparent: event.run.zip(event.trace_id).map(|(run, trace)| traceparent(&trace, run)),
            data: event.data,
        }
    }
}

/// The command itself is the parent of all that happens in it.
fn traceparent(trace_id: &str, run: RunId) -> String {
    format!("00-{trace_id}-{}-01", hex::encode(span_of(run)))
}

/// An id in the shape of UUID version 7, made of nothing but time and place: 48 bits of
/// milliseconds, 12 of the epoch, 62 of the position.
fn event_id(at: DateTime<Utc>, cursor: Cursor) -> Uuid {
    let millis = u128::try_from(at.timestamp_millis()).unwrap_or(0) & ((1 << 48) - 1);
    let epoch = u128::from(cursor.epoch) & 0xFFF;
    let position = u128::try_from(cursor.position).unwrap_or(0) & ((1 << 62) - 1);
    Uuid::from_u128((millis << 80) | (7 << 76) | (epoch << 64) | (2 << 62) | position)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn facts(position: i64) -> EventFacts {
        EventFacts {
            cursor: Cursor::at(position),
            at: DateTime::from_timestamp_millis(1_700_000_000_123).unwrap(),
            client_id: "acme".into(),
            run: Some(RunId(Uuid::from_u128(1))),
            kind: "status.changed".into(),
            severity: Severity::Info,
            data: json!({"from": null, "to": "QUEUED"}),
            account_id: Some("ada".into()),
            session_id: Some("s-1".into()),
            correlation_id: Some("c-1".into()),
            trace_id: Some("0af7651916cd43dd8448eb211c80319c".into()),
        }
    }

    #[test]
    fn an_id_is_a_version_7_uuid_of_the_events_time_and_differs_by_position() {
        let id = EventView::from(facts(9)).id.0;
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        assert_eq!(id.get_timestamp().unwrap().to_unix().0, 1_700_000_000);
        assert_eq!(id, EventView::from(facts(9)).id.0);
        assert!(id < EventView::from(facts(10)).id.0);
    }

    #[test]
    fn an_event_has_the_attribute_names_of_cloudevents() {
        let event = serde_json::to_value(EventView::from(facts(9))).unwrap();
        let mut names: Vec<_> = event.as_object().unwrap().keys().map(String::as_str).collect();
        names.sort_unstable();
        assert_eq!(
            names,
            [
                "accountid",
                "clientid",
                "correlationid",
                "cursor",
                "data",
                "datacontenttype",
                "dataschema",
                "id",
                "sessionid",
                "severity",
                "source",
                "specversion",
                "subject",
                "time",
                "traceparent",
                "type"
            ]
        );
        assert_eq!(serde_json::from_value::<EventView>(event).unwrap(), EventView::from(facts(9)));
    }
}
