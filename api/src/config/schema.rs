//! The two files that are generated from the table: `infra/config.schema.json` and `.env.example`.

use std::fmt::Write as _;
use std::net::SocketAddr;

use serde_json::{Map, Value, json};

use super::keys::{GROUPS, Key, Kind, key_named, keys};
use super::site::{is_address, is_name};
use super::value::{is_headers, is_log_filter, is_url};
use super::{HostPattern, Role};

/// The configuration as a JSON Schema 2020-12 of an object with one property per key.
///
/// Numbers, booleans and lists are typed; a loader reads them from text first. What a role requires
/// is asked of a configuration that names the role or, for a role that is served by default, names none.
pub fn json_schema() -> Value {
    let properties: Map<String, Value> = keys().map(|key| (key.name.to_owned(), property(key))).collect();
    let by_default = key_named("FERMATA_ROLES").and_then(|key| key.default).unwrap_or_default();
    let requirements: Vec<Value> = Role::ALL
        .into_iter()
        .map(|role| {
            let required: Vec<&str> =
                keys().filter(|key| key.required_for.contains(&role)).map(|key| key.name).collect();
            let mut named = json!({ "properties": { "FERMATA_ROLES": { "contains": { "const": role.name() } } } });
            if !by_default.split(',').any(|name| name == role.name()) {
                named["required"] = json!(["FERMATA_ROLES"]);
            }
            json!({ "if": named, "then": { "required": required } })
        })
        .collect();
    json!({
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "$id": "https://fermata.invalid/config.schema.json",
        "title": "Fermata configuration",
        "description": "Generated from api/src/config/keys.rs; do not edit.",
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
        "allOf": requirements,
    })
}

/// A validator of [`json_schema`] that checks formats, ours included.
pub fn validator() -> Result<jsonschema::Validator, jsonschema::ValidationError<'static>> {
    jsonschema::options()
        .should_validate_formats(true)
        .with_format("uri", is_url)
        .with_format("socket-address", |text: &str| text.parse::<SocketAddr>().is_ok())
        .with_format("log-filter", is_log_filter)
        .with_format("headers", is_headers)
        .with_format("site-name", is_name)
        .with_format("site-address", is_address)
        .with_format("host-pattern", |text: &str| text.parse::<HostPattern>().is_ok())
        .build(&json_schema())
}

fn property(key: &Key) -> Value {
    let mut schema = kind_schema(key.kind);
    let mut note = |name: &str, value: Value| {
        if let Some(object) = schema.as_object_mut() {
            object.insert(name.to_owned(), value);
        }
    };
    note("description", Value::from(key.doc));
    if let Some(default) = key.default {
        note("default", key.json(default));
    }
    if let Some(example) = key.example {
        note("examples", json!([key.json(example)]));
    }
    if let Some(unit) = key.unit {
        note("x-unit", Value::from(unit));
    }
    if !key.aliases.is_empty() {
        note("x-aliases", json!(key.aliases));
    }
    if key.secret {
        note("writeOnly", Value::from(true));
    }
    schema
}

fn kind_schema(kind: Kind) -> Value {
    match kind {
        Kind::Url { schemes } => {
            json!({ "type": "string", "format": "uri", "pattern": format!("^({})://.", schemes.join("|")) })
        }
        Kind::Integer { min, max } | Kind::Seconds { min, max } => {
            json!({ "type": "integer", "minimum": min, "maximum": max })
        }
        Kind::Bool => json!({ "type": "boolean" }),
        Kind::Choice(words) => json!({ "type": "string", "enum": words }),
        Kind::Choices(words) => {
            json!({ "type": "array", "items": { "enum": words }, "minItems": 1, "uniqueItems": true })
        }
        Kind::SocketAddress => json!({
            "type": "string", "format": "socket-address", "pattern": r"^(\[[^\]]+\]|[0-9.]+):[0-9]{1,5}$"
        }),
        Kind::Path | Kind::Text => json!({ "type": "string", "minLength": 1 }),
        Kind::LogFilter => json!({ "type": "string", "format": "log-filter", "minLength": 1 }),
        Kind::Headers => json!({ "type": "string", "format": "headers", "pattern": "=" }),
        Kind::HostPatterns => json!({
            "type": "array", "items": { "type": "string", "format": "host-pattern" }, "minItems": 1
        }),
        Kind::Origins => json!({
            "type": "array", "items": { "type": "string", "pattern": r"^https?://[a-z0-9.-]+(:[0-9]{1,5})?$" },
            "minItems": 1
        }),
        Kind::Sites => json!({
            "type": "object", "minProperties": 1, "propertyNames": { "format": "site-name" },
            "additionalProperties": { "type": "string", "format": "site-address", "pattern": "^https?://." }
        }),
    }
}

/// Every key with its default or an example, ready to be copied. Holds no secret.
pub fn env_example() -> String {
    let mut text = String::from(
        "# Every configuration key of Fermata, with its default or an empty value (which counts as not set).\n\
         # Generated from api/src/config/keys.rs; do not edit. Sources, the later wins: defaults,\n\
         # the file that FERMATA_CONFIG names, the environment, flags. `fermata config check` says what is wrong.\n",
    );
    for group in GROUPS {
        let _ = write!(text, "\n# {}\n", group.title);
        for key in group.keys {
            let _ = write!(text, "\n# {}\n", key.doc);
            for fact in facts(key) {
                let _ = writeln!(text, "# {fact}");
            }
            // A secret text is nobody's to copy.
            let is_secret_text = key.secret && key.kind == Kind::Text;
            let required = key.example.filter(|_| !key.required_for.is_empty() && !is_secret_text);
            let _ = writeln!(text, "{}={}", key.name, key.default.or(required).unwrap_or_default());
        }
    }
    text
}

fn facts(key: &Key) -> Vec<String> {
    let mut facts = vec![match key.kind {
        Kind::Url { schemes } => format!("A URL: {}.", schemes.join(" or ")),
        Kind::Integer { min, max } | Kind::Seconds { min, max } => {
            format!("A whole number of {}, {min} to {max}.", key.unit.unwrap_or("units"))
        }
        Kind::Bool => "true or false.".to_owned(),
        Kind::Choice(words) => format!("One of: {}.", words.join(", ")),
        Kind::Choices(words) => format!("Some of, with commas between: {}.", words.join(", ")),
        Kind::SocketAddress => "An IP address and a port; port 0 takes a free one.".to_owned(),
        Kind::Path => "A path.".to_owned(),
        Kind::LogFilter => "A level, or directives such as info,fermata_engine=debug.".to_owned(),
        Kind::HostPatterns => "A list with commas between.".to_owned(),
        Kind::Origins => "A list of origins with commas between, such as https://board.example.com.".to_owned(),
        Kind::Sites => "A list of NAME=URL with commas between; http or https.".to_owned(),
        Kind::Headers => "A list of name=value with commas between, percent-encoded where it must be.".to_owned(),
        Kind::Text => "Any words.".to_owned(),
    }];
    if let (None, Some(example)) = (key.default, key.example) {
        facts.push(format!("For example: {example}"));
    }
    if let Some(value) = key.dev_default {
        facts.push(format!("Under `fermata dev`: {value}"));
    }
    if !key.required_for.is_empty() {
        let roles: Vec<&str> = key.required_for.iter().map(|role| role.name()).collect();
        facts.push(format!("Required for: {}.", roles.join(", ")));
    }
    if !key.aliases.is_empty() {
        facts.push(format!("Read as {} too.", key.aliases.join(", ")));
    }
    if key.secret {
        facts.push("Secret.".to_owned());
    }
    facts
}
