//! `asyncapi.json`: the stream's protocol as an AsyncAPI 3 document, made from the frames themselves.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::frame::{ClientFrame, Close, ServerFrame, StreamQuery};
use super::{MAX_FRAME_BYTES, MAX_SUBSCRIPTIONS, PROTOCOL, STREAM_BUFFER};

/// The document, whole.
pub fn document() -> Value {
    let (sent, sent_names, mut schemas) = frames::<ClientFrame>("client");
    let (received, received_names, more) = frames::<ServerFrame>("server");
    schemas.extend(more);
    let mut messages = sent;
    messages.extend(received);
    let refer = |names: &[String], at: &str| -> Vec<Value> {
        names.iter().map(|name| json!({ "$ref": format!("{at}/{name}") })).collect()
    };
    let all: Map<String, Value> = messages
        .keys()
        .map(|name| (name.clone(), json!({ "$ref": format!("#/components/messages/{name}") })))
        .collect();
    let channel = "#/channels/stream/messages";
    json!({
        "asyncapi": "3.0.0",
        "info": {
            "title": "Fermata event stream",
            "version": env!("CARGO_PKG_VERSION"),
            "description": description(),
            "license": { "name": "MIT" },
        },
        "defaultContentType": "application/json",
        "servers": {
            "telemetry": { "host": "127.0.0.1:7071", "protocol": "ws", "description": "The telemetry port." },
            "control": { "host": "127.0.0.1:7070", "protocol": "ws", "description": "The control port serves it too." },
        },
        "channels": {
            "stream": {
                "address": "/v1/stream",
                "title": "Events, from any cursor into the present",
                "messages": all,
                "bindings": { "ws": { "method": "GET", "query": query(&mut schemas) } },
            },
        },
        "operations": {
            "say": {
                "action": "receive",
                "summary": "What a client may say.",
                "channel": { "$ref": "#/channels/stream" },
                "messages": refer(&sent_names, channel),
            },
            "hear": {
                "action": "send",
                "summary": "What the server says.",
                "channel": { "$ref": "#/channels/stream" },
                "messages": refer(&received_names, channel),
            },
        },
        "components": { "messages": messages, "schemas": schemas },
    })
}

fn description() -> String {
    let codes: Vec<String> =
        Close::ALL.iter().map(|close| format!("- `{}`: {}", close.code(), close.reason())).collect();
    format!(
        "WebSocket subprotocol `{PROTOCOL}`; one JSON object a text frame, at most {MAX_FRAME_BYTES} bytes from the \
         client. Say who you are by `Authorization: Bearer`, by a subprotocol `bearer.<token>`, by `?ticket=` \
         (`POST /v1/ws-tickets`, good once for 30 s), or by an `auth` frame within 5 s. A cursor or a filter in the \
         address is a subscription named `default`, which stands as soon as the connection does. The token needs the scope \
         `events:read`.\n\nAfter `hello`, `subscribe` (at most {MAX_SUBSCRIPTIONS} at once): `subscribed`, the events \
         behind the cursor, `caught_up`, then events as they happen. Delivery is at least once over reconnects: keep \
         the cursor of the last event that was dealt with, and subscribe with it; an event's `id` is unique. At most \
         {STREAM_BUFFER} frames wait for a client that does not read.\n\nThe server closes with:\n{}\n\nEvent types: {}.",
        codes.join("\n"),
        "see /v1/schemas/event",
    )
}

/// What may stand in the address.
fn query(schemas: &mut Map<String, Value>) -> Value {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let mut schema = generator.root_schema_for::<StreamQuery>();
    schema.remove("$schema");
    schema.remove("title");
    schemas.extend(generator.take_definitions(true));
    schema.to_value()
}

/// The variants of a frame as messages, their names, and the schemas that they refer to.
fn frames<T: schemars::JsonSchema>(who: &str) -> (Map<String, Value>, Vec<String>, Map<String, Value>) {
    let settings =
        SchemaSettings::draft2020_12().with(|settings| settings.definitions_path = "/components/schemas".into());
    let mut generator = settings.into_generator();
    let schema = generator.subschema_for::<T>();
    drop(schema);
    let mut schemas = generator.take_definitions(true);
    let whole = schemas.remove(T::schema_name().as_ref()).unwrap_or_default();
    let mut messages = Map::new();
    let mut names = Vec::new();
    for variant in whole["oneOf"].as_array().into_iter().flatten() {
        let op = variant["properties"]["op"]["const"].as_str().unwrap_or_default();
        let name = format!("{who}.{op}");
        let mut payload = variant.clone();
        let summary = payload["description"].take();
        if let Some(members) = payload.as_object_mut() {
            members.remove("description");
        }
        messages.insert(name.clone(), json!({ "name": op, "summary": summary, "payload": payload }));
        names.push(name);
    }
    (messages, names, schemas)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The checked-in document; `FERMATA_UPDATE=1` rewrites it.
    #[test]
    fn the_checked_in_document_is_the_protocol() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/asyncapi.json");
        let text = serde_json::to_string_pretty(&document()).unwrap() + "\n";
        if std::env::var_os("FERMATA_UPDATE").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap_or_default(), text, "run the test with FERMATA_UPDATE=1");
    }

    #[test]
    fn every_frame_is_a_message() {
        let document = document();
        let messages = document["components"]["messages"].as_object().unwrap();
        assert_eq!(messages.len(), 5 + 8, "{:?}", messages.keys().collect::<Vec<_>>());
    }
}
