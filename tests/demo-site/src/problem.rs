//! Everything that can keep a request from its answer, and the status each one has.

use std::io;

use axum::Json;
use axum::extract::rejection::{BytesRejection, FormRejection, QueryRejection};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::json;

/// Why a request is refused; as a response it is JSON `{"error": "..."}`.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Problem {
    /// The body or a field of it is not what the endpoint takes.
    #[error("{0}")]
    Malformed(String),
    /// axum refused the request before the handler saw it.
    #[error("{1}")]
    Unreadable(StatusCode, String),
    /// No valid bearer token.
    #[error("a valid bearer token is required")]
    NotSignedIn,
    /// The password is not the one every handle has.
    #[error("wrong handle or password")]
    WrongPassword,
    /// The named thing does not exist or is not visible (yet).
    #[error("no such {0}")]
    NotFound(&'static str),
    /// The path exists, but not with this method.
    #[error("this address does not take that method")]
    WrongMethod,
    /// The key came earlier with another body.
    #[error("this idempotency key was used with a different request")]
    KeyReused,
    /// The ledger or the list of accounts is at its bound.
    #[error("the site is full")]
    Full,
    /// The named things are at their bound; removing some makes room.
    #[error("there are too many {0}")]
    TooMany(&'static str),
    /// The mode or a plan asked for this failure.
    #[error("the site is having trouble, try again later")]
    Fault(StatusCode),
    /// The connection was cut; whatever is answered goes nowhere.
    #[error("the connection was cut")]
    Cut,
    /// The ledger or a media file could not be written.
    #[error("the site's storage failed")]
    Storage(#[source] io::Error),
    /// The task that applies effects ended early.
    #[error("the site's own work failed")]
    Broken,
}

impl Problem {
    /// A field that is not what it should be.
    pub(crate) fn malformed(text: impl Into<String>) -> Self {
        Self::Malformed(text.into())
    }

    /// The status this problem is answered with.
    pub(crate) fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unreadable(status, _) | Self::Fault(status) => *status,
            Self::NotSignedIn | Self::WrongPassword => StatusCode::UNAUTHORIZED,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::KeyReused => StatusCode::UNPROCESSABLE_ENTITY,
            Self::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Cut | Self::Storage(_) | Self::Broken => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        (self.status(), Json(json!({ "error": self.to_string() }))).into_response()
    }
}

impl From<BytesRejection> for Problem {
    fn from(rejection: BytesRejection) -> Self {
        Self::Unreadable(rejection.status(), rejection.body_text())
    }
}

impl From<QueryRejection> for Problem {
    fn from(rejection: QueryRejection) -> Self {
        Self::malformed(rejection.body_text())
    }
}

impl From<FormRejection> for Problem {
    fn from(rejection: FormRejection) -> Self {
        // 422 is kept for a key that is used twice; a form that does not parse is a 400.
        match rejection.status() {
            StatusCode::UNPROCESSABLE_ENTITY => Self::malformed(rejection.body_text()),
            status => Self::Unreadable(status, rejection.body_text()),
        }
    }
}

impl From<multer::Error> for Problem {
    fn from(error: multer::Error) -> Self {
        Self::malformed(format!("the form does not parse: {error}"))
    }
}
