//! The answer's media type and status, as GraphQL over HTTP says: `application/json` is 200
//! whenever the request was one, `application/graphql-response+json` tells by its status whether
//! anything was executed.

use async_graphql::{Response as Executed, ServerError, Value as GraphValue};
use async_graphql_axum::GraphQLResponse;
use axum::Json;
use axum::http::header::{ACCEPT, ALLOW, CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse as _, Response};
use fermata_graphql::Explained;
use fermata_graphql::limit::QUERIES_ONLY;
use serde_json::json;

/// The form of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Media {
    /// `application/json`: for clients that say nothing, or nothing better.
    Json,
    /// `application/graphql-response+json`.
    Graphql,
}

impl Media {
    const fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Graphql => "application/graphql-response+json",
        }
    }
}

/// The form that the caller likes best. One who names neither gets JSON.
pub(super) fn media(headers: &HeaderMap) -> Media {
    let ranges = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let (mut json, mut graphql) = (0.0_f32, 0.0_f32);
    for range in ranges.flat_map(|value| value.split(',')) {
        let mut parts = range.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let weight = parts.find_map(|part| part.strip_prefix("q=")).map_or(Ok(1.0), str::parse).unwrap_or(0.0);
        match name.as_str() {
            "application/json" => json = weight,
            "application/graphql-response+json" => graphql = weight,
            _ => {}
        }
    }
    if graphql > 0.0 && graphql >= json { Media::Graphql } else { Media::Json }
}

/// The answer to what was no GraphQL request.
pub(super) fn unreadable(media: Media, explained: Explained) -> Response {
    written(media, StatusCode::BAD_REQUEST, Executed::from_errors(vec![explained.server_error()]))
}

/// The answer to a request whose document is not to be had.
pub(super) fn refused(media: Media, explained: Explained) -> Response {
    let unreadable_anyway = explained.extensions.get("code").is_some_and(|code| code == "graphql_request");
    let answer = Executed::from_errors(vec![explained.server_error()]);
    let status = if unreadable_anyway { StatusCode::BAD_REQUEST } else { status(media, &answer) };
    written(media, status, answer)
}

/// The answer to a request that went to the schema.
pub(super) fn executed(media: Media, answer: Executed) -> Response {
    let outcome = match (answer.errors.is_empty(), &answer.data) {
        (true, _) => "answered",
        (false, GraphValue::Null) => "refused",
        (false, _) => "partial",
    };
    metrics::counter!("graphql_operations_total", "outcome" => outcome).increment(1);
    if answer.errors.iter().any(|error| code(error) == Some(QUERIES_ONLY)) {
        let mut response = written(media, StatusCode::METHOD_NOT_ALLOWED, answer);
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
        return response;
    }
    let status = status(media, &answer);
    written(media, status, answer)
}

/// An error without a path belongs to the request: nothing was executed.
fn is_not_executed(answer: &Executed) -> bool {
    answer.data == GraphValue::Null && answer.errors.iter().any(|error| error.path.is_empty())
}

fn status(media: Media, answer: &Executed) -> StatusCode {
    if is_not_executed(answer) && media == Media::Graphql { StatusCode::BAD_REQUEST } else { StatusCode::OK }
}

fn code(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        GraphValue::String(code) => Some(code),
        _ => None,
    }
}

fn written(media: Media, status: StatusCode, answer: Executed) -> Response {
    // Where nothing was executed there is no `data`, not even `null` (the specification's "Response Format").
    let mut response = if is_not_executed(&answer) {
        Json(json!({ "errors": answer.errors })).into_response()
    } else {
        GraphQLResponse::from(answer).into_response()
    };
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media.name()));
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caller_chooses_the_form() {
        let choose = |accept: &'static str| media(&HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static(accept))]));
        assert_eq!(media(&HeaderMap::new()), Media::Json);
        for (accept, wanted) in [
            ("*/*", Media::Json),
            ("application/json", Media::Json),
            ("text/html", Media::Json),
            ("application/graphql-response+json", Media::Graphql),
            ("application/graphql-response+json; charset=utf-8, application/json; charset=utf-8", Media::Graphql),
            ("application/json, application/graphql-response+json;q=0.9", Media::Json),
            ("application/graphql-response+json;q=0.9, application/json;q=0.8", Media::Graphql),
            ("application/graphql-response+json;q=x", Media::Json),
        ] {
            assert_eq!(choose(accept), wanted, "{accept}");
        }
    }
}
