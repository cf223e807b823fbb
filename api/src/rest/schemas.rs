//! Published schemas (JSON Schema 2020-12, Q-05): commands by type, and flow documents.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse;
use schemars::{JsonSchema, schema_for};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::commands::CommandRequest;
use super::wire;
use crate::app::AppState;
use crate::error::Problem;

const SCHEMA_JSON: [(axum::http::HeaderName, &str); 1] = [(CONTENT_TYPE, "application/schema+json")];

/// What schemas there are.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SchemaList {
    /// The schemas.
    pub items: Vec<SchemaRef>,
}

/// One schema.
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SchemaRef {
    /// What it describes: a command type, or `flow`.
    pub name: String,
    /// Its identity.
    pub id: String,
    /// Where it is, as a path.
    pub path: String,
}

/// List the schemas.
#[utoipa::path(
    get, path = "/v1/schemas", operation_id = "listSchemas", tag = "schemas",
    responses((status = 200, description = "All of them.", body = wire::SchemaList))
)]
pub(super) async fn list(State(app): State<AppState>) -> Json<SchemaList> {
    let base = &app.options.public_base_url;
    let commands = app.engine.registry().names().map(|name| SchemaRef {
        name: name.to_owned(),
        id: command_schema_id(base, name),
        path: format!("/v1/schemas/command/{name}"),
    });
    let flow = SchemaRef {
        name: "flow".to_owned(),
        id: format!("{base}/schemas/flow/1"),
        path: "/v1/schemas/flow".to_owned(),
    };
    Json(SchemaList { items: commands.chain([flow]).collect() })
}

/// The schema of flow documents.
#[utoipa::path(
    get, path = "/v1/schemas/flow", operation_id = "flowSchema", tag = "schemas",
    responses((status = 200, description = "A JSON Schema.", content_type = "application/schema+json", body = Object))
)]
pub(super) async fn flow(State(app): State<AppState>) -> impl IntoResponse {
    (SCHEMA_JSON, app.flow_schema.to_string())
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
    let schema = command_schema(&app.options.public_base_url, &kind, payload.into());
    Ok((SCHEMA_JSON, schema.to_string()))
}

fn command_schema_id(base: &str, kind: &str) -> String {
    format!("{base}/schemas/command/{kind}/1")
}

/// The envelope's schema with `type` fixed and `payload` filled in. The payload's schema keeps an
/// identity of its own, so that its inner references still lead to its own definitions.
fn command_schema(base: &str, kind: &str, mut payload: Value) -> Value {
    let id = command_schema_id(base, kind);
    if let Some(payload) = payload.as_object_mut() {
        payload.insert("$id".to_owned(), format!("{id}/payload").into());
        payload.remove("$schema");
    }
    let mut schema = Value::from(schema_for!(CommandRequest));
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("$id".to_owned(), id.into());
        schema.insert("title".to_owned(), format!("Command {kind}").into());
        schema.remove("additionalProperties");
        schema.insert("unevaluatedProperties".to_owned(), false.into());
    }
    if let Some(properties) = schema.get_mut("properties").and_then(Value::as_object_mut) {
        properties.insert("type".to_owned(), json!({ "const": kind }));
        properties.insert("payload".to_owned(), payload);
    }
    schema
}

#[cfg(test)]
mod tests {
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
        let schema = command_schema("https://f.example", "mail.send", schema_for!(Input).into());
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
}
