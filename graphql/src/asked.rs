//! Who asks, whom, and how a refusal is told.
//!
//! The same refusal must read the same on every surface, and only the surface around us knows the
//! codes, the public address and the request's id. So resolvers hand it a [`Refusal`], and it
//! answers with what to say ([`Explained`]).

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use async_graphql::{Context, Error, ErrorExtensionValues, ID, ServerError, Value as GraphValue};
use fermata_engine::Engine;
use fermata_engine::access::{Denied, Principal};
use fermata_engine::event::FollowEnd;
use fermata_engine::read::{Page, PageError, ReadError};
use fermata_engine::run::{ControlError, DecideError, SubmitError};
use fermata_engine::trace::TraceContext;
use serde_json::{Map, Value};

use crate::limit::Limit;

/// Why something was refused.
#[derive(Debug)]
pub enum Refusal {
    /// A read.
    Read(ReadError),
    /// A submission: of which type, with which payload.
    Submit {
        /// Why.
        error: SubmitError,
        /// The command type.
        kind: String,
        /// What was to be submitted.
        payload: Value,
    },
    /// A cancellation or a signal.
    Control(ControlError),
    /// A decision.
    Decide(DecideError),
    /// A follower of the stream, at its beginning or its end.
    Follow(FollowEnd),
    /// The principal may not.
    Denied(Denied),
    /// An argument does not fit.
    Invalid {
        /// RFC 6901 pointer into the arguments.
        pointer: String,
        /// What is wrong and what fits.
        message: String,
    },
    /// The request is not a GraphQL request, does not fit the schema, or is too large.
    Limit(Limit),
}

/// What to say of a refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Explained {
    /// For people.
    pub message: String,
    /// For programs: `code`, `status`, `type`, `requestId`, `errors`, ...
    pub extensions: Map<String, Value>,
}

/// Finds the words for a refusal.
pub type Explain = Arc<dyn Fn(Refusal) -> Explained + Send + Sync>;

/// Who asks and whom. Every request carries one in its data.
#[derive(Clone)]
pub struct Asked {
    /// Answers.
    pub engine: Engine,
    /// Asks.
    pub by: Principal,
    /// The way in must not change anything (GET).
    pub queries_only: bool,
    /// Where the request stands in its caller's trace.
    pub caller: Option<TraceContext>,
    /// Finds the words.
    pub explain: Explain,
}

impl fmt::Debug for Asked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asked").field("by", &self.by.id).finish_non_exhaustive()
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::Read(error)
    }
}

impl From<ControlError> for Refusal {
    fn from(error: ControlError) -> Self {
        Self::Control(error)
    }
}

impl From<DecideError> for Refusal {
    fn from(error: DecideError) -> Self {
        Self::Decide(error)
    }
}

impl From<FollowEnd> for Refusal {
    fn from(end: FollowEnd) -> Self {
        Self::Follow(end)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied(denied)
    }
}

impl From<Limit> for Refusal {
    fn from(limit: Limit) -> Self {
        Self::Limit(limit)
    }
}

impl Explained {
    fn values(self) -> (String, ErrorExtensionValues) {
        let mut values = ErrorExtensionValues::default();
        for (name, value) in self.extensions {
            values.set(name, GraphValue::from_json(value).unwrap_or_default());
        }
        (self.message, values)
    }

    /// As an error that belongs to no field.
    pub fn server_error(self) -> ServerError {
        let (message, values) = self.values();
        ServerError { extensions: Some(values), ..ServerError::new(message, None) }
    }
}

impl Asked {
    /// Out of a resolver's context.
    pub(crate) fn of<'a>(context: &Context<'a>) -> async_graphql::Result<&'a Self> {
        context.data::<Self>()
    }

    /// A refusal as a field's error.
    pub(crate) fn refuse(&self, refusal: impl Into<Refusal>) -> Error {
        let (message, values) = (self.explain)(refusal.into()).values();
        Error { message, source: None, extensions: Some(values) }
    }

    /// An argument that does not fit.
    pub(crate) fn invalid(&self, pointer: &str, message: impl fmt::Display) -> Error {
        self.refuse(Refusal::Invalid { pointer: pointer.to_owned(), message: message.to_string() })
    }

    /// An id out of an argument.
    pub(crate) fn id<T: FromStr>(&self, pointer: &str, id: &ID) -> async_graphql::Result<T> {
        id.parse().map_err(|_| self.invalid(pointer, "must be a UUID"))
    }

    /// An id that may be left out.
    pub(crate) fn some_id<T: FromStr>(&self, pointer: &str, id: Option<&ID>) -> async_graphql::Result<Option<T>> {
        id.map(|id| self.id(pointer, id)).transpose()
    }

    /// The page that a list's arguments ask for.
    pub(crate) fn page(&self, first: Option<u32>, after: Option<&str>) -> async_graphql::Result<Page> {
        Page::new(first, after).map_err(|error| match error {
            PageError::Limit => self.invalid("/first", error),
            PageError::After => self.invalid("/after", "is not a cursor of this list; send it exactly as it was given"),
        })
    }
}
