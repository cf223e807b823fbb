//! What strangers ask: text of any kind as a document with variables.
//!
//! An entry is the body of a request. What passes the bounds is validated and executed for nobody, so that every
//! resolver refuses: what is judged is how long a document may keep us, and that it is refused or answered.

use std::collections::HashMap;

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{Selection, SelectionSet};
use async_graphql::{EmptySubscription, Schema};
use fermata_corpus::Target;
use serde_json::{Map, Value};

use super::*;
use crate::{Mutation, Query};

/// How large a selection set is, by writing every fragment out; `None` once that is too much.
struct Walk<'a> {
    document: &'a ExecutableDocument,
    left: usize,
}

impl Walk<'_> {
    fn set(&mut self, set: &SelectionSet, under: &mut Vec<Name>) -> Option<Measure> {
        let mut whole = Measure::default();
        for selection in &set.items {
            self.left = self.left.checked_sub(1)?;
            whole.directives += selection.node.directives().len();
            let (inside, is_field) = match &selection.node {
                Selection::Field(field) => (self.set(&field.node.selection_set.node, under)?, true),
                Selection::InlineFragment(inline) => (self.set(&inline.node.selection_set.node, under)?, false),
                Selection::FragmentSpread(spread) => {
                    let name = &spread.node.fragment_name.node;
                    if under.contains(name) {
                        return None;
                    }
                    under.push(name.clone());
                    let fragment = self.document.fragments.get(name);
                    let inside = fragment.map_or(Some(Measure::default()), |fragment| {
                        self.set(&fragment.node.selection_set.node, under)
                    });
                    under.pop();
                    (inside?, false)
                }
            };
            whole.fields += inside.fields + usize::from(is_field);
            whole.root_fields += if is_field { 1 } else { inside.root_fields };
            whole.aliases += inside.aliases;
            whole.directives += inside.directives;
            whole.depth = whole.depth.max(inside.depth.max(inside.introspection_depth) + usize::from(is_field));
            if let Selection::Field(field) = &selection.node {
                whole.aliases += usize::from(field.node.alias.is_some());
                whole.introspection_depth |=
                    usize::from(matches!(field.node.name.node.as_str(), "__schema" | "__type"));
            }
            whole.introspection_depth |= inside.introspection_depth.min(1);
        }
        Some(whole)
    }
}

/// Whatever passed is as small as the bounds say, counted in another way.
fn check_size(document: &ExecutableDocument, measure: &Measure) {
    for (_, operation) in document.operations.iter() {
        let mut walk = Walk { document, left: 100_000 };
        let walked = walk.set(&operation.node.selection_set.node, &mut Vec::new()).expect("what passed is small");
        assert!(walked.fields <= measure.fields && walked.fields <= MAX_FIELDS, "{walked:?}, {measure:?}");
        assert!(walked.root_fields <= MAX_ROOT_FIELDS && walked.aliases <= MAX_ALIASES, "{walked:?}");
        let directives = walked.directives + operation.node.directives.len();
        assert!(directives <= MAX_DIRECTIVES, "{directives} directives");
        let about_the_schema = walked.introspection_depth > 0;
        let deepest = if about_the_schema { MAX_DEPTH + MAX_INTROSPECTION_DEPTH } else { MAX_DEPTH };
        assert!(walked.depth <= deepest, "{walked:?}");
        assert!(!about_the_schema || measure.asks_about_the_schema(), "the schema is asked for: {walked:?}");
    }
}

/// What could not be stored does not get past the bounds.
fn check_variables(given: &Variables) -> bool {
    let value = serde_json::to_value(given).unwrap();
    match variables(given) {
        Ok(()) => assert!(document::check(&value).is_ok() && value.to_string().len() <= MAX_VARIABLES_BYTES),
        Err(refusal) => match *refusal {
            Refusal::Invalid { pointer, message } => {
                let inside = pointer.strip_prefix("/variables").expect("it points into the variables");
                assert!(value.pointer(inside).is_some() && !message.is_empty(), "{pointer}");
                return false;
            }
            Refusal::Limit(limit) => {
                assert!(limit.code == "graphql_variables_too_large" && value.to_string().len() > MAX_VARIABLES_BYTES);
                return false;
            }
            other => panic!("{other:?}"),
        },
    }
    true
}

fn check_request(schema: &Schema<Query, Mutation, EmptySubscription>, body: &Map<String, Value>) {
    let query = body.get("query").and_then(Value::as_str).unwrap_or_default();
    let given = Variables::from_json(body.get("variables").cloned().unwrap_or_default());
    let (text, storable) = (text::check(query), check_variables(&given));
    if let Err(limit) = &text {
        return assert!(!limit.code.is_empty() && !limit.message.is_empty());
    }
    assert!(!query.contains('\0') && query.len() <= MAX_DOCUMENT_BYTES);
    // Not more than text::check let pass gets to the parser, which is recursive.
    let Ok(document) = parse_query(query) else { return };
    let measured = Measure::of(&document);
    assert_eq!(measured, Measure::of(&document), "it is measured the same twice");
    let Ok(measure) = measured.and_then(|measure| measure.check().map(|()| measure)) else { return };
    check_size(&document, &measure);
    let name = body.get("operationName").and_then(Value::as_str);
    let missing = missing_variable(&document, name, &set_variables(&given));
    if let Some(pointer) = &missing {
        let variable = pointer.strip_prefix("/variables/").expect("it points at a variable");
        assert!(body.get("variables").is_none_or(|given| given.get(variable).is_none_or(Value::is_null)), "{pointer}");
    }
    if missing.is_some() || !storable {
        return;
    }
    let mut request = Request::new(query).variables(given);
    request.operation_name = name.map(str::to_owned);
    let response = futures::executor::block_on(schema.execute(request));
    // Nobody asks, so there is nothing to be told but what the schema is.
    let answered = serde_json::to_value(&response.data).unwrap();
    let told = answered.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()).count();
    assert!(!response.errors.is_empty() || told <= MAX_ROOT_FIELDS, "{answered}");
}

#[test]
fn fuzz_what_passes_the_bounds_is_small_and_is_refused_or_answered() {
    let schema = Schema::build(Query, Mutation, EmptySubscription).limit_complexity(MAX_COMPLEXITY).finish();
    Target::new("graphql", 2_000).holds(|bytes| {
        // Either a whole request, or a document as it is.
        let body = match serde_json::from_slice(bytes) {
            Ok(Value::Object(body)) => body,
            _ => Map::from_iter([("query".to_owned(), String::from_utf8_lossy(bytes).into())]),
        };
        check_request(&schema, &body);
    });
}

#[test]
fn the_walk_counts_what_it_says() {
    let document = parse_query("{ a { ...F } b { ...F } } fragment F on X { c: d { e } }").unwrap();
    let operations: HashMap<_, _> = document.operations.iter().collect();
    let set = &operations[&None].node.selection_set.node;
    let walked = Walk { document: &document, left: 100 }.set(set, &mut Vec::new()).unwrap();
    assert_eq!(walked, Measure::of(&document).unwrap());
    assert!(Walk { document: &document, left: 5 }.set(set, &mut Vec::new()).is_none());
}
