//! A span as it is told, and who is told.

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::TraceContext;
use super::context::SpanId;

/// What a span is, seen from the process that tells of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// Work of this program.
    Internal,
    /// A call to somebody else.
    Client,
    /// Work that somebody asked for and did not wait for.
    Consumer,
}

/// The value of an attribute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attribute {
    /// A word or an id.
    Text(String),
    /// A number.
    Number(i64),
}

impl From<String> for Attribute {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Attribute {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i32> for Attribute {
    fn from(number: i32) -> Self {
        Self::Number(number.into())
    }
}

impl From<u16> for Attribute {
    fn from(number: u16) -> Self {
        Self::Number(number.into())
    }
}

/// Something that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// Its own place.
    pub context: TraceContext,
    /// The span that it is part of; `None` at the root of a trace.
    pub parent: Option<SpanId>,
    /// `layer.resource.verb`.
    pub name: &'static str,
    /// What it is.
    pub kind: SpanKind,
    /// When it began.
    pub began: DateTime<Utc>,
    /// When it ended.
    pub ended: DateTime<Utc>,
    /// What else is known; never a secret.
    pub attributes: Vec<(&'static str, Attribute)>,
    /// The code of the error that it ended with.
    pub error: Option<String>,
}

/// Takes spans to wherever they are looked at.
pub trait SpanSink: Send + Sync {
    /// Takes one. Returns at once: what cannot be kept is dropped and counted.
    fn take(&self, span: Span);
}

/// Whether anybody wants spans, and who. Cheap to clone; nobody by default.
#[derive(Clone, Default)]
pub struct Traces(Option<Arc<dyn SpanSink>>);

impl Traces {
    /// Spans go there.
    pub fn to(sink: impl SpanSink + 'static) -> Self {
        Self(Some(Arc::new(sink)))
    }

    pub(super) fn sink(&self) -> Option<&dyn SpanSink> {
        self.0.as_deref()
    }
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Traces(on)" } else { "Traces(off)" })
    }
}
