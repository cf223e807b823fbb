//! The inputs of a flow: its JSON Schema, defaults that may be templates over `run`.

use jsonschema::Validator;
use serde_json::{Map, Value};

use super::finding::{Finding, below};
use super::schema::{compiled, errors_of};
use super::scope::{FillError, Scope};

/// What a flow takes.
#[derive(Debug)]
pub(crate) struct Inputs {
    validator: Validator,
    defaults: Map<String, Value>,
}

impl Inputs {
    /// Compiles the schema.
    pub(crate) fn of(schema: &Map<String, Value>) -> Result<Self, Finding> {
        let validator = compiled(&Value::Object(schema.clone())).map_err(|finding| finding.under("/inputs"))?;
        let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
        let defaults = properties.filter_map(|(name, property)| Some((name.clone(), property.get("default")?.clone())));
        Ok(Self { defaults: defaults.collect(), validator })
    }

    /// The inputs with defaults for what was left out.
    pub(crate) fn completed(&self, given: &Map<String, Value>, scope: &Scope) -> Result<Value, FillError> {
        let mut inputs = given.clone();
        for (name, default) in &self.defaults {
            if !inputs.contains_key(name) {
                inputs.insert(name.clone(), scope.fill(default)?);
            }
        }
        Ok(Value::Object(inputs))
    }

    /// What is wrong with completed inputs.
    pub(crate) fn misfits(&self, inputs: &Value) -> Vec<Finding> {
        errors_of(&self.validator, inputs)
    }
}

/// What is wrong with the schema itself.
pub(crate) fn lint_schema(schema: &Map<String, Value>, findings: &mut Vec<Finding>) {
    if let Err(finding) = Inputs::of(schema) {
        findings.push(finding);
        return;
    }
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        findings.push(Finding::error("/inputs/type", "inputs are always an object", "write `type: object`"));
    }
    if schema.get("additionalProperties") != Some(&Value::Bool(false)) {
        findings.push(Finding::warning(
            "/inputs",
            "inputs with unknown names are accepted, so a misspelt one goes unnoticed",
            "write `additionalProperties: false`",
        ));
    }
    let properties = schema.get("properties").and_then(Value::as_object).into_iter().flatten();
    for (name, property) in properties {
        let pointer = below("/inputs/properties", name);
        if !property.is_object() {
            findings.push(Finding::error(pointer, "an input is described by a schema object", "write an object"));
            continue;
        }
        let Some(default) = property.get("default") else {
            continue;
        };
        let is_template = default.to_string().contains("${");
        let fits = is_template || compiled(property).is_ok_and(|validator| validator.is_valid(default));
        if !fits && schema.get("$defs").is_none() {
            let message = "the default does not fit its own schema";
            findings.push(Finding::error(below(&pointer, "default"), message, "correct the default or the schema"));
        }
    }
}
