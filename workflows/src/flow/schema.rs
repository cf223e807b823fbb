//! The published JSON Schema of flow documents, and readable errors of any JSON Schema.

use std::sync::OnceLock;

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::document::{ACTIONS, FlowDocument};
use super::finding::{Finding, below};
use super::limits::MAX_FINDINGS;

/// The address that names the schema.
pub const SCHEMA_ID: &str = "https://fermata.dev/schemas/flow/1";

/// The longest message of a validator that is passed on.
const MAX_MESSAGE_CHARS: usize = 300;

/// The JSON Schema (2020-12) of a flow document.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft2020_12().for_deserialize().into_generator();
    let mut schema = generator.into_root_schema_for::<FlowDocument>().to_value();
    if let Some(root) = schema.as_object_mut() {
        root.insert("$id".to_owned(), SCHEMA_ID.into());
    }
    if let Some(Value::Object(definitions)) = schema.get_mut("$defs") {
        name_targets(definitions);
    }
    schema
}

/// Lets `${targets.<name>}` stand wherever a target may.
fn name_targets(definitions: &mut Map<String, Value>) {
    let Some(target) = definitions.remove("Target") else {
        return;
    };
    let named = json!({ "type": "string", "pattern": r"^\$\{\s*targets\.[A-Za-z0-9_]+\s*\}$" });
    definitions.insert("Target".to_owned(), json!({ "anyOf": [target, named] }));
}

/// A validator that never leaves this machine and never backtracks.
pub(crate) fn compiled(schema: &Value) -> Result<Validator, Finding> {
    let options = jsonschema::options().offline().with_pattern_options(PatternOptions::regex());
    options.build(schema).map_err(|error| {
        let pointer = error.instance_path().to_string();
        Finding::error(pointer, shortened(&error), "write a JSON Schema (2020-12) without remote references")
    })
}

/// What of a document does not fit the schema of flows.
pub(crate) fn misfits(document: &Value) -> Vec<Finding> {
    static VALIDATOR: OnceLock<Option<Validator>> = OnceLock::new();
    let odd_steps = odd_steps(document);
    if !odd_steps.is_empty() {
        return odd_steps;
    }
    // That the schema compiles is a test's business; serde judges the document in any case.
    match VALIDATOR.get_or_init(|| compiled(&schema()).ok()) {
        Some(validator) => errors_of(validator, document),
        None => Vec::new(),
    }
}

/// What a validator has against a value.
pub(crate) fn errors_of(validator: &Validator, value: &Value) -> Vec<Finding> {
    validator.iter_errors(value).take(MAX_FINDINGS).map(|error| explained(&error)).collect()
}

fn odd_steps(document: &Value) -> Vec<Finding> {
    let steps = document.get("steps").and_then(Value::as_array).into_iter().flatten().enumerate();
    let odd = steps.filter_map(|(n, step)| {
        let given: Vec<&str> = ACTIONS.into_iter().filter(|name| !step[name].is_null()).collect();
        let pointer = below("/steps", &n.to_string());
        let message = match given.as_slice() {
            [_] => return None,
            [] => "the step does nothing".to_owned(),
            several => format!("the step does several things: {}", several.join(", ")),
        };
        step.is_object()
            .then(|| Finding::error(pointer, message, format!("give exactly one of {}", ACTIONS.join(", "))))
    });
    odd.take(MAX_FINDINGS).collect()
}

/// The deepest reason of an error: of several alternatives, the one that got furthest.
fn explained(error: &ValidationError<'_>) -> Finding {
    let (ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context }) = error.kind() else {
        return Finding::error(error.instance_path().to_string(), shortened(error), remedy(error));
    };
    let here = error.instance_path().as_str().len();
    let deepest = context.iter().flatten().max_by_key(|inner| (depth(inner), std::cmp::Reverse(is_type(inner))));
    match deepest {
        Some(inner) if depth(inner) > here || !is_choice(context) => explained(inner),
        _ => {
            let message = "it has none of the forms that are possible here";
            Finding::error(error.instance_path().to_string(), message, format!("write one of {}", forms(context)))
        }
    }
}

fn depth(error: &ValidationError<'_>) -> usize {
    match error.kind() {
        ValidationErrorKind::AnyOf { context } | ValidationErrorKind::OneOfNotValid { context } => {
            context.iter().flatten().map(depth).max().unwrap_or(0)
        }
        _ => error.instance_path().as_str().len(),
    }
}

fn is_type(error: &ValidationError<'_>) -> bool {
    matches!(error.kind(), ValidationErrorKind::Type { .. } | ValidationErrorKind::Pattern { .. })
}

/// Whether the alternatives are the variants of one kind of thing, told apart by a key or word.
fn is_choice(context: &[Vec<ValidationError<'_>>]) -> bool {
    context.len() > 2 || !forms(context).is_empty()
}

fn forms(context: &[Vec<ValidationError<'_>>]) -> String {
    let mut forms: Vec<String> = Vec::new();
    for error in context.iter().flatten() {
        match error.kind() {
            ValidationErrorKind::Required { property: Value::String(name) } => forms.push(format!("`{name}: ...`")),
            ValidationErrorKind::Constant { expected_value } => {
                forms.push(expected_value.to_string());
            }
            ValidationErrorKind::Enum { options } => forms.push(options.to_string()),
            _ => {}
        }
    }
    forms.dedup();
    forms.join(", ")
}

fn remedy(error: &ValidationError<'_>) -> String {
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            format!("remove or correct {}", unexpected.join(", "))
        }
        ValidationErrorKind::Required { property } => format!("add {property}"),
        ValidationErrorKind::Type { .. } => "write a value of that type".to_owned(),
        ValidationErrorKind::Enum { options } => format!("write one of {options}"),
        _ => "correct the value".to_owned(),
    }
}

/// The validator's words without the value itself, which may be long or private.
fn shortened(error: &ValidationError<'_>) -> String {
    error.masked().to_string().chars().take(MAX_MESSAGE_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_schema_is_itself_valid() {
        assert!(jsonschema::meta::is_valid(&schema()));
        assert!(compiled(&schema()).is_ok());
    }

    #[test]
    fn errors_point_to_the_deepest_reason() {
        let step = |act: Value| {
            json!({"name": "a", "version": "1", "platform": "p", "lane": "browser",
            "steps": [{"id": "s", "browser": {"do": [act]}}]})
        };
        for (act, pointer, says) in [
            (json!({"clik": {}}), "/steps/0/browser/do/0", "goto"),
            (json!({"click": {"rol": "button"}}), "/steps/0/browser/do/0/click", "rol"),
            (json!({"fill": {"target": {}}}), "/steps/0/browser/do/0/fill", "text"),
            (json!({"wait": {"for": {"visble": {}}}}), "/steps/0/browser/do/0/wait/for", "visible"),
        ] {
            let findings = misfits(&step(act.clone()));
            assert_eq!(findings[0].pointer, pointer, "{act}: {findings:?}");
            assert!(findings[0].to_string().contains(says), "{act}: {findings:?}");
        }
    }

    #[test]
    fn a_step_that_does_nothing_or_too_much_is_told_so() {
        for step in [json!({"id": "a"}), json!({"id": "a", "sleep": {"seconds": 1}, "set": {"values": {}}})] {
            let findings = misfits(&json!({"steps": [step]}));
            assert_eq!(findings[0].pointer, "/steps/0");
            assert!(findings[0].remedy.contains("wait_signal"));
        }
    }
}
