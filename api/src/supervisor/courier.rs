//! The last stretch: one request to chromedriver, and what it means when no answer comes.

use std::time::Duration;

use axum::http::StatusCode;
use serde_json::Value;

use super::proxy::Answer;

/// The largest answer of the driver that is passed on.
const ANSWER_MAX_BYTES: usize = 128 * 1024 * 1024;

/// No answer came.
#[derive(Debug)]
pub(super) enum Lost {
    /// The driver was not reached at all.
    NeverSent,
    /// It was, and said nothing in time.
    Unanswered(String),
}

impl Lost {
    pub(super) fn answer(&self) -> Answer {
        match self {
            Self::NeverSent => Answer::refused(
                StatusCode::SERVICE_UNAVAILABLE,
                "driver unavailable",
                "chromedriver is being started again",
            ),
            Self::Unanswered(why) => Answer::error(StatusCode::GATEWAY_TIMEOUT, "answer lost", why, None),
        }
    }
}

/// Sends it and waits for the whole answer, for so long.
pub(super) async fn send(request: reqwest::RequestBuilder, limit: Duration) -> Result<Answer, Lost> {
    let lost = |error: reqwest::Error| {
        if error.is_connect() {
            return Lost::NeverSent;
        }
        let what = if error.is_timeout() { "it ran out of time" } else { "the connection broke" };
        Lost::Unanswered(format!("chromedriver did not answer: {what}"))
    };
    let mut response = request.timeout(limit).send().await.map_err(lost)?;
    let status = response.status();
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(lost)? {
        if body.len() + chunk.len() > ANSWER_MAX_BYTES {
            return Err(Lost::Unanswered("the answer is too large".to_owned()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(Answer { status, body: body.into() })
}

/// Whether the driver says that the session is over.
pub(super) fn says_gone(answer: &Answer) -> bool {
    if answer.status != StatusCode::NOT_FOUND {
        return false;
    }
    let told: Value = serde_json::from_slice(&answer.body).unwrap_or_default();
    told.pointer("/value/error").and_then(Value::as_str) == Some("invalid session id")
}
