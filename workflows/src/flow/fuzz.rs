//! What strangers write as a flow.

use fermata_corpus::Target;
use serde_json::Value;

use super::*;
use crate::flow::limits::{MAX_DOCUMENT_BYTES, MAX_FINDINGS, MAX_MESSAGE_CHARS};

/// Every field in the opposite order.
fn turned(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(turned).collect(),
        Value::Object(fields) => fields.iter().rev().map(|(name, item)| (name.clone(), turned(item))).collect(),
        other => other.clone(),
    }
}

/// A refusal says what to do, where, and not endlessly.
fn check_findings(error: &FlowError, document: Option<&Value>) {
    let findings = error.findings();
    assert!((1..=MAX_FINDINGS).contains(&findings.len()), "{} findings", findings.len());
    for Finding { pointer, message, remedy, .. } in findings {
        assert!(!message.is_empty() && !remedy.is_empty(), "{pointer}");
        let longest = message.chars().count().max(remedy.chars().count());
        assert!(longest <= MAX_MESSAGE_CHARS + 3, "a message of {longest} characters at {pointer}");
        assert!(pointer.is_empty() || pointer.starts_with('/'), "{pointer}");
        // What is missing is pointed at where it should be; of a target that stands elsewhere, inside of it.
        let first = pointer.split('/').nth(1).map(|name| format!("/{name}"));
        let known = document.is_none_or(|document| first.is_none_or(|first| document.pointer(&first).is_some()));
        let head = ["/inputs/", "/name", "/version", "/platform", "/steps", "/targets"];
        assert!(known || head.iter().any(|part| pointer.starts_with(part)), "{pointer} is nowhere: {message}");
    }
}

/// A document that has the shape of a flow.
fn check_document(document: &FlowDocument) {
    let written = serde_json::to_value(document).unwrap();
    let findings = lint(document);
    // With its targets in their places it may be longer than what may be sent.
    if fermata_engine::document::size(&written) <= MAX_DOCUMENT_BYTES {
        let again = parse(&written).map_err(|error| error.to_string());
        // A target that names a target is refused by the linter.
        let settled = source::with_targets(&written).as_ref() == Ok(&written);
        let is_same = if settled { again.as_ref() == Ok(document) } else { !findings.is_empty() };
        assert!(is_same, "{written} is read as {again:?}");
    }
    assert_eq!(findings, lint(document), "the linter says the same twice");
    assert!(findings.len() <= MAX_FINDINGS);
}

/// A flow that the linter lets pass.
fn check_flow(flow: &Flow, source: &Value) {
    assert!(flow.hash().len() == 64 && flow.warnings().iter().all(|one| one.severity == Severity::Warning));
    for other in [turned(source).to_string(), source.to_string()] {
        assert_eq!(Flow::read(&other).map(|other| other.hash), Ok(flow.hash.clone()), "{other}");
    }
    let scope = Scope::default().with("run", serde_json::json!({"id": "r"}));
    for given in [Map::new(), source.as_object().cloned().unwrap_or_default()] {
        let (one, two) = (flow.inputs(&given, &scope), flow.inputs(&given, &scope));
        assert_eq!(one, two, "inputs are judged the same twice");
    }
}

#[test]
fn fuzz_a_flow_is_read_judged_and_written_the_same_however_often() {
    Target::new("flow", 2_000).holds(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let document = match source::read(&text) {
            Ok(document) => document,
            Err(error) => return check_findings(&error, None),
        };
        assert!(fermata_engine::document::size(&document) <= MAX_DOCUMENT_BYTES);
        if document.is_object() {
            assert_eq!(source::read(&document.to_string()).as_ref(), Ok(&document), "written as JSON and read again");
        }
        match parse(&document) {
            Ok(parsed) => check_document(&parsed),
            Err(error) => check_findings(&error, Some(&document)),
        }
        match Flow::of(&document) {
            Ok(flow) => check_flow(&flow, &document),
            Err(error) => check_findings(&error, Some(&document)),
        }
    });
}
