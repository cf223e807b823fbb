//! Flows: workflows written as data, read, judged and carried out.
//!
//! Owns the document ([`FlowDocument`], published as [`schema()`]), the linter ([`lint()`]),
//! templates, and the interpreter behind the workflow `flow.run` ([`FlowRun`]). Knows no platform:
//! what is special about one is in its pack. Read [`FlowDocument`] and [`FlowRun`] first; to add a
//! kind of step see [`document`].

pub mod document;
mod finding;
mod flow_run;
mod foresee;
mod http;
mod inputs;
mod interpreter;
mod late;
pub mod limits;
mod lint;
mod schema;
mod scope;
mod source;
mod template;

use std::collections::BTreeMap;

use fermata_engine::document::fingerprint;
use serde::Deserialize as _;
use serde_json::{Map, Value};

use document::FlowDocument;
use inputs::Inputs;
use scope::Scope;

pub(crate) use finding::refusal;
pub use finding::{Finding, FlowError, Severity};
pub use flow_run::{FlowInput, FlowRun, Policy};
pub(crate) use http::Request;
pub use http::{AllowList, HttpError, HttpLane};
pub(crate) use interpreter::Tools;
pub use late::{Late, Seconds, Text};
pub use lint::{lint, lint_sites, lint_words};
pub use schema::{SCHEMA_ID, schema};
pub use scope::FillError;
pub use template::{Template, TemplateError};

/// A flow that was read, judged and found fit.
#[derive(Debug)]
pub struct Flow {
    document: FlowDocument,
    hash: String,
    inputs: Inputs,
    warnings: Vec<Finding>,
}

impl Flow {
    /// Reads a flow from YAML or JSON text.
    pub fn read(text: &str) -> Result<Self, FlowError> {
        Self::of(&source::read(text)?)
    }

    /// Makes a flow of a document.
    pub fn of(source: &Value) -> Result<Self, FlowError> {
        let document = parse(source)?;
        let (errors, warnings): (Vec<Finding>, Vec<Finding>) =
            lint(&document).into_iter().partition(|finding| finding.severity == Severity::Error);
        if !errors.is_empty() {
            return Err(FlowError::Refused(errors));
        }
        let inputs = Inputs::of(&document.inputs).map_err(|finding| FlowError::Refused(vec![finding]))?;
        Ok(Self { hash: fingerprint(&sorted(source)), document, inputs, warnings })
    }

    /// The document, with its targets in their places.
    pub fn document(&self) -> &FlowDocument {
        &self.document
    }

    /// The name that it is started by.
    pub fn name(&self) -> &str {
        &self.document.name
    }

    /// The content hash that a run is pinned to: SHA-256 of the canonical document.
    pub fn hash(&self) -> &str {
        &self.hash
    }

    /// What may surprise.
    pub fn warnings(&self) -> &[Finding] {
        &self.warnings
    }

    /// The inputs with defaults, or what is wrong with them.
    pub(crate) fn inputs(&self, given: &Map<String, Value>, scope: &Scope) -> Result<Value, Vec<Finding>> {
        let completed = self
            .inputs
            .completed(given, scope)
            .map_err(|error| vec![Finding::error("", error.to_string(), "correct the flow's default")])?;
        let misfits = self.inputs.misfits(&completed);
        if misfits.is_empty() { Ok(completed) } else { Err(misfits) }
    }
}

/// The same document with its keys in order: thirtyfour makes `serde_json` keep the order of
/// writing in every crate of the program, and a hash must not depend on it.
fn sorted(value: &Value) -> Value {
    match value {
        Value::Array(items) => items.iter().map(sorted).collect(),
        Value::Object(fields) => {
            let in_order: BTreeMap<&String, Value> = fields.iter().map(|(name, item)| (name, sorted(item))).collect();
            in_order.into_iter().map(|(name, item)| (name.clone(), item)).collect()
        }
        other => other.clone(),
    }
}

/// Reads a document without judging more than its shape.
pub fn parse(source: &Value) -> Result<FlowDocument, FlowError> {
    source::bounded(fermata_engine::document::size(source))?;
    if let Err(error) = fermata_engine::document::check(source) {
        return Err(FlowError::Refused(vec![Finding::error("", error.to_string(), "correct the document")]));
    }
    let complete = source::with_targets(source)?;
    let misfits = schema::misfits(&complete);
    if !misfits.is_empty() {
        return Err(FlowError::Refused(misfits));
    }
    FlowDocument::deserialize(&complete).map_err(|error| {
        FlowError::Refused(vec![Finding::error("", error.to_string(), "compare it with the published schema")])
    })
}

#[cfg(test)]
mod corpus;
#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
mod flow_run_tests;
#[cfg(test)]
mod fuzz;
#[cfg(test)]
#[expect(clippy::needless_pass_by_value, reason = "`json!` reads better at the call")]
mod tests;
