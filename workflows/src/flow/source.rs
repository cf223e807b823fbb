//! From text to a JSON document: YAML or JSON, one size limit, errors with a place.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::finding::{Finding, FlowError, below};
use super::limits::{MAX_DOCUMENT_BYTES, MAX_FINDINGS};

mod weight;

/// How many times its allowed size a document may have once its targets are in their places.
const MAX_GROWTH: usize = 4;

/// Reads YAML, or JSON when it begins with a brace.
pub(crate) fn read(text: &str) -> Result<Value, FlowError> {
    bounded(text.len())?;
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| FlowError::Syntax {
            line: error.line(),
            column: error.column(),
            message: error.to_string(),
        });
    }
    // Aliases may make it larger than its text: by thousands of times, so it is weighed before it is made.
    bounded(weight::of(text, MAX_DOCUMENT_BYTES))?;
    let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(|error| {
        let place = error.location();
        FlowError::Syntax {
            line: place.as_ref().map_or(0, serde_yaml_ng::Location::line),
            column: place.as_ref().map_or(0, serde_yaml_ng::Location::column),
            message: error.to_string(),
        }
    })?;
    let document = json_of(yaml, "").map_err(|finding| FlowError::Refused(vec![finding]))?;
    bounded(fermata_engine::document::size(&document))?;
    Ok(document)
}

/// Refuses a document that is too large.
pub(crate) fn bounded(bytes: usize) -> Result<(), FlowError> {
    if bytes <= MAX_DOCUMENT_BYTES {
        return Ok(());
    }
    Err(FlowError::Refused(vec![Finding::error(
        "",
        format!("the document has {bytes} bytes, more than {MAX_DOCUMENT_BYTES}"),
        "split it into flows that start each other with `child`",
    )]))
}

fn json_of(yaml: serde_yaml_ng::Value, pointer: &str) -> Result<Value, Finding> {
    use serde_yaml_ng::Value as Yaml;
    match yaml {
        Yaml::Null => Ok(Value::Null),
        Yaml::Bool(flag) => Ok(Value::Bool(flag)),
        Yaml::String(text) => Ok(Value::String(text)),
        Yaml::Number(number) => serde_json::to_value(&number)
            .ok()
            .filter(Value::is_number)
            .ok_or_else(|| Finding::error(pointer, "it is not a finite number", "write a number")),
        Yaml::Sequence(items) => {
            let items = items.into_iter().enumerate();
            items.map(|(n, item)| json_of(item, &below(pointer, &n.to_string()))).collect()
        }
        Yaml::Mapping(fields) => {
            let mut object = Map::new();
            for (name, item) in fields {
                let Yaml::String(name) = name else {
                    return Err(Finding::error(pointer, "a key is not text", "put the key in quotes"));
                };
                let item = json_of(item, &below(pointer, &name))?;
                object.insert(name, item);
            }
            Ok(Value::Object(object))
        }
        Yaml::Tagged(tagged) => {
            Err(Finding::error(pointer, format!("the tag {} means nothing here", tagged.tag), "write it without a tag"))
        }
    }
}

/// Puts each named target where `${targets.<name>}` stands for it, so that the rest of the
/// document has the shape of its types.
pub(crate) fn with_targets(document: &Value) -> Result<Value, FlowError> {
    let targets: BTreeMap<&str, &Value> = document
        .get("targets")
        .and_then(Value::as_object)
        .map(|targets| targets.iter().map(|(name, target)| (name.as_str(), target)).collect())
        .unwrap_or_default();
    let mut filled = document.clone();
    let mut placing = Placing { targets, placed: 0, findings: Vec::new() };
    if let Some(steps) = filled.get_mut("steps") {
        placing.inside(steps, "/steps");
    }
    bounded(placing.placed / MAX_GROWTH)?;
    bounded(fermata_engine::document::size(&filled) / MAX_GROWTH)?;
    if placing.findings.is_empty() { Ok(filled) } else { Err(FlowError::Refused(placing.findings)) }
}

struct Placing<'d> {
    targets: BTreeMap<&'d str, &'d Value>,
    /// Bytes of the targets that were put in their places. A few names could stand for a lot, so it ends early.
    placed: usize,
    findings: Vec<Finding>,
}

impl Placing<'_> {
    fn inside(&mut self, value: &mut Value, pointer: &str) {
        match value {
            Value::String(text) => {
                if let Some(name) = target_name(text) {
                    match self.targets.get(name) {
                        Some(target) => *value = self.place(target),
                        None => self.miss(name, pointer),
                    }
                }
            }
            Value::Array(items) => {
                for (n, item) in items.iter_mut().enumerate() {
                    self.inside(item, &below(pointer, &n.to_string()));
                }
            }
            Value::Object(fields) => {
                for (name, item) in fields {
                    self.inside(item, &below(pointer, name));
                }
            }
            _ => {}
        }
    }

    /// The target, or nothing once the document is refused for its size anyway.
    fn place(&mut self, target: &Value) -> Value {
        if self.placed / MAX_GROWTH > MAX_DOCUMENT_BYTES {
            return Value::Null;
        }
        self.placed += fermata_engine::document::size(target);
        target.clone()
    }

    fn miss(&mut self, name: &str, pointer: &str) {
        if self.findings.len() < MAX_FINDINGS {
            let message = format!("there is no target `{name}`");
            self.findings.push(Finding::error(pointer, message, "define it under `targets`, or correct its name"));
        }
    }
}

fn target_name(text: &str) -> Option<&str> {
    let path = text.strip_prefix("${")?.strip_suffix('}')?.trim();
    let name = path.strip_prefix("targets.")?;
    name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_').then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn yaml_and_json_of_the_same_document_are_the_same() {
        let yaml = read("a: 1\nb: [x, {c: null}]\n").unwrap();
        assert_eq!(yaml, read(r#"{"a":1,"b":["x",{"c":null}]}"#).unwrap());
    }

    #[test]
    fn what_does_not_parse_says_where() {
        let FlowError::Syntax { line, .. } = read("a: 1\nb: [1\n").unwrap_err() else { panic!() };
        assert!(line >= 2);
        assert!(matches!(read("a: 1\na: 2\n"), Err(FlowError::Syntax { .. })));
        for (text, pointer) in [("a: {1: 2}", "/a"), ("a: [.nan]", "/a/0"), ("a: !x 1", "/a")] {
            assert_eq!(read(text).unwrap_err().findings()[0].pointer, pointer, "{text}");
        }
    }

    #[test]
    fn large_documents_are_refused_however_they_are_written() {
        assert!(read(&format!("a: {}", "x".repeat(MAX_DOCUMENT_BYTES))).is_err());
        let bomb = format!("a: &a \"{}\"\nb: [{}]\n", "x".repeat(4096), vec!["*a"; 100].join(", "));
        assert!(read(&bomb).is_err());
    }

    #[test]
    fn what_would_become_huge_is_refused_before_it_is_made() {
        let long = "x".repeat(MAX_DOCUMENT_BYTES / 2);
        let aliases = format!("a: &a \"{long}\"\nb: [{}]\n", vec!["*a"; 30_000].join(","));
        assert!(weight::of(&aliases, MAX_DOCUMENT_BYTES) < 2 * MAX_DOCUMENT_BYTES, "weighing ends early");
        assert!(read(&aliases).is_err());
        let steps = vec!["${targets.a}"; 7_000];
        let named = json!({"targets": {"a": long}, "steps": steps});
        let refused = with_targets(&named).unwrap_err().to_string();
        let bytes: usize = refused.split(' ').find_map(|word| word.parse().ok()).unwrap();
        assert!(bytes < 2 * MAX_DOCUMENT_BYTES, "placing ends early: {refused}");
    }

    #[test]
    fn no_more_than_some_missing_targets_are_listed() {
        let named = json!({"steps": vec!["${targets.a}"; 1_000]});
        assert_eq!(with_targets(&named).unwrap_err().findings().len(), MAX_FINDINGS);
    }

    #[test]
    fn a_named_target_stands_in_its_place() {
        let document = json!({"targets": {"go": {"role": "button"}}, "steps": [{"click": "${ targets.go }"}]});
        assert_eq!(with_targets(&document).unwrap()["steps"], json!([{"click": {"role": "button"}}]));
        let unknown = json!({"steps": [{"click": "${targets.stop}"}]});
        assert_eq!(with_targets(&unknown).unwrap_err().findings()[0].pointer, "/steps/0/click");
    }
}
