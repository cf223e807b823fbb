//! From text to a JSON document: YAML or JSON, one size limit, errors with a place.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::finding::{Finding, FlowError, below};
use super::limits::MAX_DOCUMENT_BYTES;

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
    let yaml: serde_yaml_ng::Value = serde_yaml_ng::from_str(text).map_err(|error| {
        let place = error.location();
        FlowError::Syntax {
            line: place.as_ref().map_or(0, serde_yaml_ng::Location::line),
            column: place.as_ref().map_or(0, serde_yaml_ng::Location::column),
            message: error.to_string(),
        }
    })?;
    let document = json_of(yaml, "").map_err(|finding| FlowError::Refused(vec![finding]))?;
    // Aliases may have made it larger than its text.
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
    let mut findings = Vec::new();
    let mut filled = document.clone();
    if let Some(steps) = filled.get_mut("steps") {
        place_targets(steps, &targets, "/steps", &mut findings);
    }
    // A few names could stand for a lot.
    bounded(fermata_engine::document::size(&filled) / 4)?;
    if findings.is_empty() { Ok(filled) } else { Err(FlowError::Refused(findings)) }
}

fn place_targets(value: &mut Value, targets: &BTreeMap<&str, &Value>, pointer: &str, findings: &mut Vec<Finding>) {
    match value {
        Value::String(text) => {
            let Some(name) = target_name(text) else {
                return;
            };
            match targets.get(name) {
                Some(target) => *value = (*target).clone(),
                None => findings.push(Finding::error(
                    pointer,
                    format!("there is no target `{name}`"),
                    "define it under `targets`, or correct its name",
                )),
            }
        }
        Value::Array(items) => {
            for (n, item) in items.iter_mut().enumerate() {
                place_targets(item, targets, &below(pointer, &n.to_string()), findings);
            }
        }
        Value::Object(fields) => {
            for (name, item) in fields {
                place_targets(item, targets, &below(pointer, name), findings);
            }
        }
        _ => {}
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
    fn a_named_target_stands_in_its_place() {
        let document = json!({"targets": {"go": {"role": "button"}}, "steps": [{"click": "${ targets.go }"}]});
        assert_eq!(with_targets(&document).unwrap()["steps"], json!([{"click": {"role": "button"}}]));
        let unknown = json!({"steps": [{"click": "${targets.stop}"}]});
        assert_eq!(with_targets(&unknown).unwrap_err().findings()[0].pointer, "/steps/0/click");
    }
}
