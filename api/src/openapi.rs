//! The OpenAPI document (3.1), generated from the handlers and the wire shapes, and checked in as
//! `api/openapi.json`.
//!
//! `utoipa` knows the routes; `schemars` knows the shapes, in JSON Schema 2020-12, which is what
//! OpenAPI 3.1 speaks. They meet here, in JSON.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};
use utoipa::OpenApi as _;

use crate::rest::{self, wire};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Fermata",
        description = "Durable workflows that act on the outside world exactly once, or stop and ask. \
                       Refusals are `application/problem+json` (RFC 9457), and `type` leads to a page about them; \
                       lists are pages with an opaque cursor. A body that comes as \
                       `application/x-www-form-urlencoded`, as `curl -d` sends it, is read as JSON too."
    ),
    tags(
        (name = "commands", description = "What clients ask for, and how it goes."),
        (name = "actions", description = "Attempts at side effects."),
        (name = "gates", description = "Waits for a person's decision."),
        (name = "kill switches", description = "Stop all effects, those of a client, or those of an account."),
        (name = "events", description = "Immutable facts, in the order in which they became durable."),
        (name = "artifacts", description = "Files kept for commands."),
        (name = "workflows", description = "What this installation can do."),
        (name = "schemas", description = "What commands, events and flows look like."),
        (name = "tokens", description = "Access."),
        (name = "process", description = "This process."),
    )
)]
struct Head;

/// The whole document.
pub fn document() -> Value {
    let (_, open) = rest::probes().merge(rest::pages()).split_for_parts();
    let (_, protected) = rest::protected().split_for_parts();
    let guarded: Vec<String> = protected.paths.paths.keys().cloned().collect();
    let mut head = Head::openapi();
    head.merge(open);
    head.merge(protected);
    let mut document = serde_json::to_value(head).unwrap_or_default();
    put_schemas(&mut document);
    document["components"]["securitySchemes"] = json!({
        "token": { "type": "http", "scheme": "bearer", "description": "`fermata_…`, from `fermata token create`." },
        "api_key": { "type": "apiKey", "in": "header", "name": "X-API-Key", "description": "The same token." },
    });
    for operation in operations(&mut document) {
        let (path, operation) = operation;
        if guarded.contains(&path) {
            operation.insert("security".to_owned(), json!([{ "token": [] }, { "api_key": [] }]));
        }
        if let Some(responses) = operation.get_mut("responses").and_then(Value::as_object_mut) {
            responses.insert("default".to_owned(), refusal());
        }
    }
    document
}

/// Every operation refuses in the same shape.
fn refusal() -> Value {
    json!({
        "description": "A refusal: `code` says which, `errors` what does not fit.",
        "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } },
    })
}

fn operations(document: &mut Value) -> Vec<(String, &mut Map<String, Value>)> {
    let paths = document.get_mut("paths").and_then(Value::as_object_mut).into_iter().flatten();
    let each = paths.flat_map(|(path, item)| {
        let methods = item.as_object_mut().into_iter().flatten();
        methods.filter_map(|(_, operation)| operation.as_object_mut()).map(|operation| (path.clone(), operation))
    });
    each.collect()
}

/// Puts the real shapes where `utoipa` left placeholders.
fn put_schemas(document: &mut Value) {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut generator = settings.into_generator();
    wire::collect(&mut generator);
    let shapes = generator.take_definitions(true);
    if let Some(schemas) = document.pointer_mut("/components/schemas").and_then(Value::as_object_mut) {
        schemas.extend(shapes);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                found.extend(fields.get("$ref").and_then(Value::as_str).map(str::to_owned));
                fields.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }

    #[test]
    fn the_checked_in_document_is_the_generated_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("openapi.json");
        let generated = format!("{:#}\n", document());
        if std::env::var_os("FERMATA_UPDATE").is_some() {
            std::fs::write(&path, &generated).unwrap();
        }
        let checked_in = std::fs::read_to_string(&path).unwrap_or_default();
        assert!(generated == checked_in, "api/openapi.json is stale: run the tests with FERMATA_UPDATE=1");
    }

    #[test]
    fn every_reference_leads_somewhere() {
        let document = document();
        let mut found = Vec::new();
        references(&document, &mut found);
        assert!(found.len() > 20);
        for reference in found {
            let pointer = reference.strip_prefix('#').unwrap();
            assert!(document.pointer(pointer).is_some(), "{reference}");
        }
    }

    #[test]
    fn every_wire_shape_has_its_own_name_and_is_no_placeholder() {
        let mut generator = SchemaSettings::draft2020_12().into_generator();
        for (name, shape) in wire::collect(&mut generator) {
            assert_eq!(name, shape);
        }
        let document = document();
        for (name, schema) in document["components"]["schemas"].as_object().unwrap() {
            assert_ne!(schema, &json!({ "type": "object" }), "{name}");
        }
    }

    #[test]
    fn every_protected_operation_asks_for_a_token_and_each_has_an_id_of_its_own() {
        let mut document = document();
        let mut ids = Vec::new();
        for (path, operation) in operations(&mut document) {
            assert_eq!(
                operation.contains_key("security"),
                path.starts_with("/v1/") || path == "/config/validate",
                "{path}"
            );
            ids.push(operation["operationId"].as_str().unwrap().to_owned());
        }
        let count = ids.len();
        ids.sort();
        ids.dedup();
        assert_eq!((ids.len(), document["openapi"].as_str()), (count, Some("3.1.0")));
    }
}
