//! Problems (RFC 9457, Q-09): the one shape of every refusal. `error/engine.rs` is the one place
//! where the engine's errors become problems.
//!
//! A [`Problem`] travels in its response's extensions; the outermost layer (`rest/layer.rs`) writes
//! the body, because only it knows the request id, the path and the public address.

mod engine;
pub(crate) mod pages;

use std::error::Error;

use axum::http::header::{RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

macro_rules! slugs {
    ($($(#[$doc:meta])* $kind:ident = $status:ident, $slug:literal, $title:literal;)+) => {
        /// What kind of problem it is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Kind {
            $($(#[$doc])* $kind,)+
        }

        impl Kind {
            /// Every kind.
            pub const ALL: &'static [Self] = &[$(Self::$kind,)+];

            /// The HTTP status.
            pub const fn status(self) -> StatusCode {
                match self { $(Self::$kind => StatusCode::$status,)+ }
            }

            /// The last part of the problem's type URI.
            pub const fn slug(self) -> &'static str {
                match self { $(Self::$kind => $slug,)+ }
            }

            /// The word for programs, where none is finer.
            pub fn code(self) -> String {
                self.slug().replace('-', "_")
            }

            /// The same sentence for every problem of the kind.
            pub const fn title(self) -> &'static str {
                match self { $(Self::$kind => $title,)+ }
            }
        }
    };
}

slugs! {
    /// The request does not fit.
    Validation = BAD_REQUEST, "validation", "The request does not fit";
    /// Nobody, or nobody known.
    Unauthorized = UNAUTHORIZED, "unauthorized", "A valid token is needed";
    /// Known, but not allowed.
    Forbidden = FORBIDDEN, "forbidden", "The token does not allow this";
    /// Not there, or not for this client.
    NotFound = NOT_FOUND, "not-found", "There is no such thing";
    /// The route has other methods.
    Method = METHOD_NOT_ALLOWED, "method-not-allowed", "The route does not have this method";
    /// The state of the thing does not allow it.
    Conflict = CONFLICT, "conflict", "The state does not allow this";
    /// The key belongs to another request.
    IdempotencyMismatch = CONFLICT, "idempotency-mismatch", "The idempotency key was used for another request";
    /// The cursor points to what is no longer kept.
    CursorExpired = GONE, "cursor-expired", "The cursor is older than what is kept";
    /// More than the limit.
    TooLarge = PAYLOAD_TOO_LARGE, "payload-too-large", "The request is too large";
    /// Not a form that we read.
    MediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is in a form that is not read here";
    /// Not a part of the content.
    Range = RANGE_NOT_SATISFIABLE, "range-not-satisfiable", "The content does not have that range";
    /// Too much at once.
    RateLimited = TOO_MANY_REQUESTS, "rate-limited", "Too much at once";
    /// Something that we need is not there.
    NotReady = SERVICE_UNAVAILABLE, "not-ready", "The service is not ready";
    /// The answer took too long.
    Timeout = SERVICE_UNAVAILABLE, "timeout", "The answer took too long";
    /// Somebody on whom the answer depends failed.
    ProviderUnavailable = BAD_GATEWAY, "provider-unavailable", "A service that we depend on failed";
    /// Somebody on whom the answer depends did not answer in time.
    ProviderTimeout = SERVICE_UNAVAILABLE, "provider-timeout", "A service that we depend on did not answer in time";
    /// A fault of ours.
    Internal = INTERNAL_SERVER_ERROR, "internal", "A fault on our side";
}

/// One thing that does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct FieldError {
    /// RFC 6901 pointer into the body; for a query parameter or a header, its name after a slash.
    pub pointer: String,
    /// What is wrong and what fits.
    pub message: String,
}

/// A refusal. Small to hand on: refusals are rare, and so is what they say.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem(Box<Facts>);

#[derive(Debug, Clone, PartialEq)]
struct Facts {
    kind: Kind,
    code: Option<&'static str>,
    detail: String,
    errors: Vec<FieldError>,
    retry_after_secs: Option<u64>,
    challenge: Option<&'static str>,
    more: Map<String, Value>,
}

/// The body of a refusal, as sent (`application/problem+json`).
#[derive(Debug, Clone, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Problem")]
#[serde(rename_all = "camelCase")]
pub struct ProblemBody {
    /// The kind of problem, as a URI.
    pub r#type: String,
    /// The same for every problem of the kind.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What happened here and what to do.
    pub detail: String,
    /// The path that was asked for.
    pub instance: String,
    /// A word for programs.
    pub code: String,
    /// Names this request in our logs.
    pub request_id: String,
    /// What does not fit, one by one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub errors: Vec<FieldError>,
    /// When to come back.
    #[serde(default, rename = "retry_after_s", skip_serializing_if = "Option::is_none")]
    pub retry_after_s: Option<u64>,
    /// The command that it is about.
    #[serde(default, rename = "command_id", skip_serializing_if = "Option::is_none")]
    pub command_id: Option<String>,
    /// Where a body stops being JSON.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<String>,
    /// The command types that there are.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub known: Vec<String>,
    /// The scope that the token lacks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// The gate, as it was decided before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gate: Option<Value>,
    /// The oldest place that can still be resumed.
    #[serde(default, rename = "oldest_cursor", skip_serializing_if = "Option::is_none")]
    pub oldest_cursor: Option<String>,
    /// The place to resume from.
    #[serde(default, rename = "resume_cursor", skip_serializing_if = "Option::is_none")]
    pub resume_cursor: Option<String>,
}

impl Problem {
    /// A problem of a kind, with a sentence for people.
    pub fn new(kind: Kind, detail: impl Into<String>) -> Self {
        let (code, errors, retry_after_secs, challenge, more) = (None, Vec::new(), None, None, Map::new());
        Self(Box::new(Facts { kind, code, detail: detail.into(), errors, retry_after_secs, challenge, more }))
    }

    /// One thing in the request that does not fit.
    pub fn invalid(pointer: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError { pointer: pointer.into(), message: message.into() };
        let name = if error.pointer.is_empty() { "the body" } else { &error.pointer };
        Self::new(Kind::Validation, format!("{name}: {}", error.message)).with_errors(vec![error])
    }

    /// Nothing of that name for this caller.
    pub fn not_found(what: &str) -> Self {
        Self::new(Kind::NotFound, format!("no such {what}"))
    }

    /// A fault of ours: logged whole, told without its insides.
    pub fn internal(error: &(dyn Error + 'static)) -> Self {
        tracing::error!(error, error.code = "internal", "a request failed: {error}");
        Self::broken()
    }

    /// A fault of ours that is in the log already.
    pub fn broken() -> Self {
        Self::new(Kind::Internal, "something went wrong on our side; the log has it under the request id")
    }

    /// With a finer word for programs than the kind.
    pub fn with_code(mut self, code: &'static str) -> Self {
        self.0.code = Some(code);
        self
    }

    /// With what does not fit, one by one.
    pub fn with_errors(mut self, errors: Vec<FieldError>) -> Self {
        self.0.errors = errors;
        self
    }

    /// With the time to come back.
    pub fn retry_after(mut self, secs: u64) -> Self {
        self.0.retry_after_secs = Some(secs);
        self
    }

    /// With the scheme to authenticate by.
    pub fn challenge(mut self, challenge: &'static str) -> Self {
        self.0.challenge = Some(challenge);
        self
    }

    /// With one more member.
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(name.to_owned(), value.into());
        self
    }

    /// What kind it is.
    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    /// The sentence for people.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The word for programs.
    pub fn code(&self) -> String {
        self.0.code.map_or_else(|| self.0.kind.code(), str::to_owned)
    }

    /// The body to send.
    pub fn body(&self, base: &str, path: &str, request_id: &str) -> Value {
        let facts = &self.0;
        let mut body = facts.more.clone();
        body.extend([
            ("type".to_owned(), format!("{base}/problems/{}", facts.kind.slug()).into()),
            ("title".to_owned(), facts.kind.title().into()),
            ("status".to_owned(), facts.kind.status().as_u16().into()),
            ("detail".to_owned(), facts.detail.clone().into()),
            ("instance".to_owned(), path.into()),
            ("code".to_owned(), self.code().into()),
            ("requestId".to_owned(), request_id.into()),
        ]);
        if !facts.errors.is_empty() {
            body.insert("errors".to_owned(), json!(facts.errors));
        }
        if let Some(secs) = facts.retry_after_secs {
            body.insert("retry_after_s".to_owned(), secs.into());
        }
        Value::Object(body)
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.0.kind.status().into_response();
        if let Some(secs) = self.0.retry_after_secs {
            response.headers_mut().insert(RETRY_AFTER, secs.into());
        }
        if let Some(challenge) = self.0.challenge {
            response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response.extensions_mut().insert(self);
        response
    }
}
