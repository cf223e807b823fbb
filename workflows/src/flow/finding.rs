//! What is wrong with a document, where, and what to do about it.

use std::fmt;

use fermata_engine::workflow::Failure;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::limits::{MAX_FINDINGS, MAX_MESSAGE_CHARS};

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Severity {
    /// The document is refused.
    Error,
    /// It runs, and may surprise.
    Warning,
}

/// One thing that is wrong with a document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// A JSON Pointer (RFC 6901) to the place.
    pub pointer: String,
    /// How much it matters.
    pub severity: Severity,
    /// What is wrong.
    pub message: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// Something for which the document is refused.
    pub fn error(pointer: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        let (message, remedy) = (bounded(message.into()), bounded(remedy.into()));
        Self { pointer: pointer.into(), severity: Severity::Error, message, remedy }
    }

    /// Something that may surprise.
    pub fn warning(pointer: impl Into<String>, message: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(pointer, message, remedy) }
    }

    /// The same, seen from a document that holds this one at `prefix`.
    pub(crate) fn under(mut self, prefix: &str) -> Self {
        self.pointer.insert_str(0, prefix);
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let place = if self.pointer.is_empty() { "the document" } else { &self.pointer };
        write!(f, "{place}: {}; {}", self.message, self.remedy)
    }
}

/// What a document names may be as long as the document: enough of it to be recognised is repeated.
fn bounded(text: String) -> String {
    match text.char_indices().nth(MAX_MESSAGE_CHARS) {
        Some((end, _)) => format!("{}...", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// Why a flow cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FlowError {
    /// Neither YAML nor JSON.
    #[error("line {line}, column {column}: {message}; write YAML or JSON")]
    Syntax {
        /// From 1; 0 when unknown.
        line: usize,
        /// From 1; 0 when unknown.
        column: usize,
        /// What the parser says.
        message: String,
    },
    /// A document that is no flow, or one that the linter refuses.
    #[error("{}", listed(.0))]
    Refused(Vec<Finding>),
}

impl FlowError {
    /// The findings, all with pointers.
    pub fn findings(&self) -> Vec<Finding> {
        match self {
            Self::Syntax { line, column, message } => {
                let place = format!("line {line}, column {column}: {message}");
                vec![Finding::error("", place, "write YAML or JSON")]
            }
            Self::Refused(findings) => findings.clone(),
        }
    }
}

fn listed(findings: &[Finding]) -> String {
    let shown: Vec<String> = findings.iter().take(3).map(Finding::to_string).collect();
    let more = findings.len().saturating_sub(shown.len());
    let more = if more == 0 { String::new() } else { format!(" (and {more} more)") };
    format!("{}{more}", shown.join(" | "))
}

/// A refusal for programs and people; pointers are from the document at `prefix`.
pub(crate) fn refusal(code: &str, findings: Vec<Finding>, prefix: &str) -> Failure {
    let mut findings: Vec<Finding> = findings.into_iter().map(|finding| finding.under(prefix)).collect();
    findings.truncate(MAX_FINDINGS);
    let first = findings.first().map(|finding| finding.pointer.as_str());
    Failure::new(code, listed(&findings))
        .with_details(json!({ "pointer": first.unwrap_or_default(), "findings": findings }))
}

/// A pointer one level deeper.
pub(crate) fn below(pointer: &str, name: &str) -> String {
    format!("{pointer}/{}", name.replace('~', "~0").replace('/', "~1"))
}
