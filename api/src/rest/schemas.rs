//! Published schemas (JSON Schema 2020-12, Q-05, Q-07): commands by type, events by type, flows.
//!
//! They are checked in under `api/schemas`; `FERMATA_UPDATE=1 cargo test -p fermata-api schemas`
//! rewrites them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use fermata_engine::document::SCHEMA_BASE;
use fermata_engine::event::schema as events;
use fermata_engine::workflow::Registry;
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::commands::CommandRequest;
use super::wire;
use crate::app::AppState;
use crate::error::Problem;

pub(super) const SCHEMA_JSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/schema+json")];

/// What schemas there are.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SchemaList {
    /// The schemas.
    pub items: Vec<SchemaRef>,
}

/// What a schema describes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum SchemaFamily {
    /// A command: the envelope, or envelope and payload of one type.
    Command,
    /// An event: the envelope, or `data` of one type.
    Event,
    /// A flow document.
    Flow,
    /// An event of the audit trail.
    Audit,
}

/// One schema.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SchemaRef {
    /// What it describes.
    pub family: SchemaFamily,
    /// The type of command or event; `command`, `event`, `audit-event` or `flow` for the schemas of all of them.
    pub name: String,
    /// Its identity, the same in every installation.
    pub id: String,
    /// Where it is here, as a path.
    pub path: String,
}

/// List the schemas.
#[utoipa::path(
    get, path = "/v1/schemas", operation_id = "listSchemas", tag = "schemas",
    responses((status = 200, description = "All of them.", body = wire::SchemaList))
)]
pub(super) async fn list(State(app): State<AppState>) -> Json<SchemaList> {
    let all = all(app.engine.registry(), &app.flow_schema);
    Json(SchemaList { items: all.into_iter().map(|(about, _)| about).collect() })
}

/// The schema of flow documents.
#[utoipa::path(
    get, path = "/v1/schemas/flow", operation_id = "flowSchema", tag = "schemas",
    responses((status = 200, description = "A JSON Schema.", content_type = "application/schema+json", body = Object))
)]
pub(super) async fn flow(State(app): State<AppState>) -> impl IntoResponse {
    (SCHEMA_JSON, app.flow_schema.to_string())
}

/// The schema of the command envelope, whatever its payload.
#[utoipa::path(
    get, path = "/v1/schemas/command", operation_id = "commandEnvelopeSchema", tag = "schemas",
    responses((status = 200, description = "A JSON Schema.", content_type = "application/schema+json", body = Object))
)]
pub(super) async fn command_envelope() -> impl IntoResponse {
    (SCHEMA_JSON, envelope_schema().to_string())
}

/// The schema of commands of one type: the envelope and its payload.
#[utoipa::path(
    get, path = "/v1/schemas/command/{type}", operation_id = "commandSchema", tag = "schemas",
    params(("type" = String, Path, description = "The command type.")),
    responses((status = 200, description = "A JSON Schema.", content_type = "application/schema+json", body = Object))
)]
pub(super) async fn command(
    State(app): State<AppState>,
    Path(kind): Path<String>,
) -> Result<impl IntoResponse, Problem> {
    let payload = app.engine.registry().input_schema(&kind).ok_or_else(|| Problem::not_found("command type"))?;
    Ok((SCHEMA_JSON, command_schema(&kind, payload.into()).to_string()))
}

/// The schema of the event envelope: CloudEvents 1.0, whatever its data.
#[utoipa::path(
    get, path = "/v1/schemas/event", operation_id = "eventEnvelopeSchema", tag = "schemas",
    responses((status = 200, description = "A JSON Schema.", content_type = "application/schema+json", body = Object))
)]
pub(super) async fn event_envelope() -> impl IntoResponse {
    (SCHEMA_JSON, events::envelope().to_string())
}

/// The schema of `data` of events of one type: what `dataschema` names.
#[utoipa::path(
    get, path = "/v1/schemas/event/{type}", operation_id = "eventSchema", tag = "schemas",
    params(("type" = String, Path, description = "The type of event.")),
    responses((status = 200, description = "A JSON Schema.", content_type = "application/schema+json", body = Object))
)]
pub(super) async fn event(Path(kind): Path<String>) -> Result<impl IntoResponse, Problem> {
    let known = events::find(&kind).ok_or_else(|| Problem::not_found("type of event"))?;
    Ok((SCHEMA_JSON, known.schema().to_string()))
}

/// The schema of events of the audit trail (S-075 to S-083).
#[utoipa::path(
    get, path = "/v1/schemas/audit-event", operation_id = "auditEventSchema", tag = "schemas",
    responses((status = 200, description = "A JSON Schema.", content_type = "application/schema+json", body = Object))
)]
pub(super) async fn audit_event(State(app): State<AppState>) -> impl IntoResponse {
    (SCHEMA_JSON, fermata_engine::audit::schema(app.engine.registry().vocabulary()).to_string())
}

/// Every published schema.
fn all(registry: &Registry, flow: &Value) -> Vec<(SchemaRef, Value)> {
    let about = |family, name: &str, path: String, schema: Value| {
        let id = schema["$id"].as_str().unwrap_or_default().to_owned();
        (SchemaRef { family, name: name.to_owned(), id, path }, schema)
    };
    let mut all = vec![about(SchemaFamily::Command, "command", "/v1/schemas/command".to_owned(), envelope_schema())];
    all.extend(registry.names().filter_map(|name| {
        let schema = command_schema(name, registry.input_schema(name)?.into());
        Some(about(SchemaFamily::Command, name, format!("/v1/schemas/command/{name}"), schema))
    }));
    all.push(about(SchemaFamily::Event, "event", "/v1/schemas/event".to_owned(), events::envelope()));
    all.extend(events::TYPES.iter().map(|known| {
        about(SchemaFamily::Event, known.name, format!("/v1/schemas/event/{}", known.name), known.schema())
    }));
    let audit = fermata_engine::audit::schema(registry.vocabulary());
    all.push(about(SchemaFamily::Audit, "audit-event", "/v1/schemas/audit-event".to_owned(), audit));
    all.push(about(SchemaFamily::Flow, "flow", "/v1/schemas/flow".to_owned(), flow.clone()));
    all
}

fn envelope_schema() -> Value {
    let mut schema = Value::from(schema_for!(CommandRequest));
    identify(&mut schema, &format!("{SCHEMA_BASE}/command/1"), "Command");
    schema
}

/// The envelope's schema with `type` fixed and `payload` filled in. The payload's schema keeps an
/// identity of its own, so that its inner references still lead to its own definitions.
fn command_schema(kind: &str, mut payload: Value) -> Value {
    let id = format!("{SCHEMA_BASE}/command/{kind}/1");
    if let Some(payload) = payload.as_object_mut() {
        payload.insert("$id".to_owned(), format!("{id}/payload").into());
        payload.remove("$schema");
    }
    let mut schema = Value::from(schema_for!(CommandRequest));
    identify(&mut schema, &id, &format!("Command {kind}"));
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("type".to_owned(), json!({ "const": kind }));
        properties.insert("payload".to_owned(), payload);
    }
    schema
}

/// Names a schema of commands, and closes it to unknown fields.
fn identify(schema: &mut Value, id: &str, title: &str) {
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$id".to_owned(), id.into());
        schema.insert("title".to_owned(), title.into());
        schema.remove("additionalProperties");
        schema.insert("unevaluatedProperties".to_owned(), false.into());
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::path::{Path as FilePath, PathBuf};

    use fermata_engine::clock::Clock;
    use fermata_workflows::{Installation, registry};

    use super::*;

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    struct Input {
        to: Address,
    }

    #[derive(JsonSchema)]
    #[expect(dead_code, reason = "only its schema is of interest")]
    struct Address {
        street: String,
    }

    fn is_valid(command: &Value) -> bool {
        let schema = command_schema("mail.send", schema_for!(Input).into());
        jsonschema::validator_for(&schema).unwrap().is_valid(command)
    }

    #[test]
    fn a_command_is_judged_by_envelope_and_payload() {
        let fit = json!({"type": "mail.send", "payload": {"to": {"street": "x"}}, "priority": 9});
        assert!(is_valid(&fit));
        for (pointer, bad) in [
            ("/type", json!("mail.read")),
            ("/priority", json!(10)),
            ("/payload", json!({"to": {}})),
            ("/payload", json!({"to": {"street": 1}})),
        ] {
            let mut command = fit.clone();
            *command.pointer_mut(pointer).unwrap() = bad;
            assert!(!is_valid(&command), "{pointer}");
        }
        let mut more = fit;
        more["color"] = json!("red");
        assert!(!is_valid(&more), "unknown fields are refused");
    }

    /// Every schema of an installation, by its file below `api/schemas`.
    fn published() -> BTreeMap<PathBuf, Value> {
        drop(rustls::crypto::ring::default_provider().install_default());
        let registry = registry(Installation::with_packs(Clock::system()).unwrap()).unwrap();
        let all = all(&registry, &fermata_workflows::flow::schema());
        let file = |about: &SchemaRef| format!("{}.json", about.path.strip_prefix("/v1/schemas/").unwrap());
        all.into_iter().map(|(about, schema)| (PathBuf::from(file(&about)), schema)).collect()
    }

    fn checked_in(folder: &FilePath) -> Vec<PathBuf> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() { found.extend(checked_in(&path)) } else { found.push(path) }
        }
        found
    }

    #[test]
    fn the_checked_in_schemas_are_the_published_ones() {
        let folder = FilePath::new(env!("CARGO_MANIFEST_DIR")).join("schemas");
        let published = published();
        if std::env::var_os("FERMATA_UPDATE").is_some() {
            drop(std::fs::remove_dir_all(&folder));
            for (name, schema) in &published {
                let file = folder.join(name);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, format!("{schema:#}\n")).unwrap();
            }
        }
        for (name, schema) in &published {
            let text = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            let same = text == format!("{schema:#}\n");
            assert!(same, "api/schemas/{} is stale: run the tests with FERMATA_UPDATE=1", name.display());
        }
        let files: Vec<_> = checked_in(&folder);
        let strange = files.iter().find(|file| !published.contains_key(file.strip_prefix(&folder).unwrap()));
        assert_eq!(strange, None, "nothing publishes it any more: run the tests with FERMATA_UPDATE=1");
    }

    #[test]
    fn every_published_schema_is_a_schema_with_an_identity_of_its_own() {
        let mut ids = Vec::new();
        for (name, schema) in published() {
            assert!(jsonschema::meta::is_valid(&schema), "{}", name.display());
            assert!(jsonschema::validator_for(&schema).is_ok(), "{}", name.display());
            assert_eq!(schema["$schema"], "https://json-schema.org/draft/2020-12/schema", "{}", name.display());
            let id = schema["$id"].as_str().unwrap().to_owned();
            assert!(id.starts_with(SCHEMA_BASE) && id.ends_with("/1"), "{id}");
            ids.push(id);
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!(ids.len(), count);
    }

    #[test]
    fn commands_are_closed_to_unknown_fields() {
        for (name, schema) in published() {
            if name.starts_with("command") || name == FilePath::new("command.json") {
                assert_eq!(schema["unevaluatedProperties"], false, "{}", name.display());
            }
        }
    }
}
