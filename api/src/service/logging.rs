//! Log lines of all services, taken in and found again (logging-svc, O-026..028).

use std::fmt;

use axum::extract::State;
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fermata_engine::log::{LineFilter, LogError, LogFrame, MAX_FRAMES};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::de::value::{MapAccessDeserializer, SeqAccessDeserializer};
use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::{Map, Value, json};

use crate::app::{AppState, service};
use crate::auth::Caller;
use crate::error::Problem;
use crate::rest::body::JsonBody;
use crate::rest::query::{Params, id_param, listed, page, time, words};
use crate::telemetry::{REDACTED, is_secret_name, redact};

/// The whole service.
pub(super) fn logging(state: AppState) -> Router {
    service(Router::new().route("/log", post(take)).route("/logs", get(list)), state)
}

/// One frame, or several at once.
enum Frames {
    One(Box<LogFrame>),
    List(Vec<LogFrame>),
}

impl<'de> Deserialize<'de> for Frames {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(OneOrMore)
    }
}

struct OneOrMore;

impl<'de> Visitor<'de> for OneOrMore {
    type Value = Frames;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a frame or a list of frames")
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Frames, A::Error> {
        LogFrame::deserialize(MapAccessDeserializer::new(map)).map(|frame| Frames::One(Box::new(frame)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Frames, A::Error> {
        Vec::deserialize(SeqAccessDeserializer::new(list)).map(Frames::List)
    }
}

impl JsonSchema for Frames {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "LogFrames".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let frame = generator.subschema_for::<LogFrame>();
        json_schema!({
            "anyOf": [frame, { "type": "array", "items": frame, "minItems": 1, "maxItems": MAX_FRAMES }]
        })
    }
}

/// Keeps frames, all or none. What looks like a secret is taken out before it is stored.
async fn take(
    State(app): State<AppState>,
    Caller(by): Caller,
    JsonBody(frames): JsonBody<Frames>,
) -> Result<Response, Problem> {
    let (frames, is_list) = match frames {
        Frames::One(frame) => (vec![*frame], false),
        Frames::List(frames) => (frames, true),
    };
    let kept = app.engine.log(&by, frames.into_iter().map(clean).collect()).await;
    let accepted = kept.map_err(|error| match error {
        // Of one frame, the body is the frame and not a list of it.
        LogError::Invalid { pointer, message } if !is_list => {
            Problem::invalid(pointer.strip_prefix("/0").unwrap_or(&pointer), message)
        }
        error => error.into(),
    })?;
    Ok((StatusCode::CREATED, Json(json!({ "accepted": accepted }))).into_response())
}

fn clean(mut frame: LogFrame) -> LogFrame {
    frame.message = redact(&frame.message).into_owned();
    frame.data = frame.data.into_iter().map(|(name, value)| clean_field(name, value)).collect();
    frame
}

fn clean_field(name: String, value: Value) -> (String, Value) {
    let value = if is_secret_name(&name) { Value::from(REDACTED) } else { clean_value(value) };
    (name, value)
}

/// The depth of bodies is bounded by the reader of JSON.
fn clean_value(value: Value) -> Value {
    match value {
        Value::String(text) => Value::from(redact(&text).into_owned()),
        Value::Array(items) => items.into_iter().map(clean_value).collect(),
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(name, value)| clean_field(name, value)).collect::<Map<_, _>>())
        }
        other => other,
    }
}

/// Which lines.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct LogQuery {
    /// Levels, with commas between.
    level: Option<String>,
    service: Option<String>,
    trace_id: Option<String>,
    correlation_id: Option<String>,
    run_id: Option<String>,
    since: Option<String>,
    until: Option<String>,
    limit: Option<u32>,
    #[serde(alias = "cursor")]
    after: Option<String>,
}

/// Lines, the last received first.
async fn list(
    State(app): State<AppState>,
    Caller(by): Caller,
    uri: Uri,
    Params(query): Params<LogQuery>,
) -> Result<Response, Problem> {
    let page = page(query.limit, query.after.as_deref())?;
    let filter = LineFilter {
        levels: words(query.level.as_deref()),
        service: query.service,
        trace_id: query.trace_id,
        correlation_id: query.correlation_id,
        run: id_param("runId", query.run_id.as_deref())?,
        since: time("since", query.since.as_deref())?,
        until: time("until", query.until.as_deref())?,
    };
    Ok(listed(&uri, app.engine.logs(&by, &filter, page).await?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_looks_like_a_secret_is_not_kept() {
        let frame = serde_json::from_value(json!({
            "level": "info", "service": "shop", "message": "asked with Authorization: Bearer abc123def",
            "data": { "password": "hunter2", "deep": [{ "apiKey": "k" }, "token=abc123"], "price": 3 },
        }));
        let frame = clean(frame.unwrap());
        let kept = serde_json::to_string(&frame).unwrap();
        for secret in ["abc123", "hunter2", "\"k\""] {
            assert!(!kept.contains(secret), "{secret} in {kept}");
        }
        assert_eq!((&frame.data["price"], &frame.data["password"]), (&json!(3), &json!(REDACTED)));
    }

    #[test]
    fn a_body_is_one_frame_or_a_list() {
        let one = json!({ "level": "info", "service": "s", "message": "m" });
        let read = |body: &Value| serde_json::from_value::<Frames>(body.clone());
        assert!(matches!(read(&one), Ok(Frames::One(_))));
        assert!(matches!(read(&json!([one, one])), Ok(Frames::List(frames)) if frames.len() == 2));
        for bad in [json!(1), json!([1]), json!({ "level": "loud", "service": "s", "message": "m" })] {
            assert!(read(&bad).is_err(), "{bad}");
        }
    }
}
