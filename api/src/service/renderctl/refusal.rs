//! What a caller is told when Render did not do what it was asked (M-158).
//!
//! Never Render's own words: they are about our token and our request, not about the caller's.

use std::error::Error;

use super::render::RenderError;
use crate::error::{Kind, Problem};

/// When to come back after too much was asked, where Render does not say. It counts by the minute.
const RETRY_AFTER_SECS: u64 = 60;

/// The answer to whoever wanted a list.
pub(super) fn of_list(error: &RenderError) -> Problem {
    tracing::warn!(error = error as &(dyn Error + 'static), "Render did not do what it was asked: {error}");
    let detail = error.to_string();
    match error {
        RenderError::Refused(status) if status.as_u16() == 400 => {
            Problem::new(Kind::Validation, "Render refuses these parameters; `after` must be a cursor that it gave")
        }
        RenderError::Unreached(_) | RenderError::Broken(_) => Problem::new(Kind::ProviderUnavailable, detail),
        RenderError::Silent(_) | RenderError::Lost(_) => Problem::new(Kind::ProviderTimeout, detail),
        // Not 401 or 403: the caller's token is good, and another one would not help.
        RenderError::TokenRefused(_) => {
            Problem::new(Kind::ProviderUnavailable, format!("{detail}, not yours")).with_code("provider_token_refused")
        }
        // Not 429: it is our token that has asked too much, perhaps elsewhere, and a caller who slows
        // down alone may wait in vain. 503 with `Retry-After` says what is true: not now, and nothing
        // was done.
        RenderError::Busy { retry_after_secs } => Problem::new(Kind::NotReady, detail)
            .with_code("provider_rate_limited")
            .retry_after(retry_after_secs.unwrap_or(RETRY_AFTER_SECS)),
        // These are answers of somebody who is not Render.
        RenderError::NoSuch | RenderError::Refused(_) | RenderError::Unreadable(_) => {
            Problem::new(Kind::ProviderUnavailable, detail).with_code("provider_answer_unusable")
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::http::StatusCode;

    use super::*;

    #[test]
    fn a_list_that_is_not_there_is_not_the_callers_mistake() {
        assert_eq!(of_list(&RenderError::NoSuch).kind(), Kind::ProviderUnavailable);
        assert_eq!(of_list(&RenderError::Refused(StatusCode::BAD_REQUEST)).kind(), Kind::Validation);
        assert_eq!(of_list(&RenderError::Refused(StatusCode::GONE)).kind(), Kind::ProviderUnavailable);
    }
}
