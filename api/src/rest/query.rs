//! Query strings, paths and pages.

use std::str::FromStr;

use axum::Json;
use axum::extract::{FromRequestParts, Query};
use axum::http::header::LINK;
use axum::http::request::Parts;
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use chrono::{DateTime, Utc};
use fermata_engine::read::{Page, PageError, Paged};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{FieldError, Kind, Problem};

/// A query string of known parameters.
#[derive(Debug)]
pub(crate) struct Params<T>(pub(crate) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        if !is_text(parts.uri.query().unwrap_or_default()) {
            return Err(misread("must be UTF-8 without NUL characters".to_owned()));
        }
        let Query(params) = Query::<T>::try_from_uri(&parts.uri).map_err(|error| {
            let source = std::error::Error::source(&error).map(ToString::to_string);
            misread(source.unwrap_or_else(|| error.to_string()))
        })?;
        Ok(Self(params))
    }
}

/// A query that cannot be read. The reason names the parameter before a colon, where it knows it.
fn misread(reason: String) -> Problem {
    let is_name = |name: &str| name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    if let Some((name, why)) = reason.split_once(": ").filter(|(name, _)| is_name(name)) {
        return Problem::invalid(format!("/{name}"), why);
    }
    let detail = format!("the query: {reason}");
    let error = FieldError { pointer: String::new(), message: reason };
    Problem::new(Kind::Validation, detail).with_errors(vec![error])
}

/// Whether a query, with its escapes undone, is text that Postgres can take. The reading of it
/// would quietly replace what is not.
fn is_text(raw: &str) -> bool {
    let mut bytes = Vec::with_capacity(raw.len());
    let mut rest = raw.as_bytes();
    while let [first, more @ ..] = rest {
        let mut escaped = [0];
        rest = match more {
            [high, low, after @ ..] if *first == b'%' && hex::decode_to_slice([*high, *low], &mut escaped).is_ok() => {
                bytes.extend(escaped);
                after
            }
            after => {
                bytes.push(*first);
                after
            }
        };
    }
    std::str::from_utf8(&bytes).is_ok_and(|text| !text.contains('\0'))
}

/// An id out of a path; what is no id names nothing.
pub(super) fn id<T: FromStr>(text: &str, what: &str) -> Result<T, Problem> {
    text.parse().map_err(|_| Problem::not_found(what))
}

/// An id out of a query string.
pub(crate) fn id_param<T: FromStr>(name: &str, text: Option<&str>) -> Result<Option<T>, Problem> {
    let parse = |text: &str| text.parse().map_err(|_| Problem::invalid(format!("/{name}"), "must be a UUID"));
    text.map(parse).transpose()
}

/// A time (RFC 3339). A plus sign that nobody escaped has become a space; it is put back.
pub(crate) fn time(name: &str, text: Option<&str>) -> Result<Option<DateTime<Utc>>, Problem> {
    let parse = |text: &str| {
        let parsed = DateTime::parse_from_rfc3339(&text.replace(' ', "+"));
        parsed.map(|time| time.to_utc()).map_err(|_| {
            Problem::invalid(format!("/{name}"), "must be a time of RFC 3339, such as 2026-01-31T12:00:00Z")
        })
    };
    text.map(parse).transpose()
}

/// Words with commas between.
pub(crate) fn words(text: Option<&str>) -> Vec<String> {
    let words = text.unwrap_or_default().split(',').map(str::trim);
    words.filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// The page that a query asks for.
pub(crate) fn page(limit: Option<u32>, after: Option<&str>) -> Result<Page, Problem> {
    Page::new(limit, after).map_err(|error| {
        let pointer = match error {
            PageError::Limit => "/limit",
            PageError::After => "/after",
        };
        Problem::invalid(pointer, error.to_string())
    })
}

/// A page as an answer, with its `Link` to the next one (RFC 8288).
pub(crate) fn listed<T: Serialize>(uri: &Uri, page: Paged<T>) -> Response {
    let link = page.next_cursor.as_deref().map(|cursor| next_link(uri, cursor));
    answered(link, Json(page))
}

/// An answer with its `Link`.
pub(crate) fn answered(link: Option<String>, body: impl IntoResponse) -> Response {
    let mut response = body.into_response();
    if let Some(link) = link.and_then(|link| HeaderValue::from_str(&link).ok()) {
        response.headers_mut().insert(LINK, link);
    }
    response
}

/// The same list behind another cursor.
pub(crate) fn next_link(uri: &Uri, cursor: &str) -> String {
    let query = uri.query().unwrap_or_default();
    let kept = query.split('&').filter(|pair| {
        !pair.is_empty()
            && !pair.starts_with("after=")
            && !pair.starts_with("cursor=")
            && !pair.contains(['<', '>', '"'])
    });
    let mut query: Vec<&str> = kept.collect();
    let after = format!("after={cursor}");
    query.push(&after);
    format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))
}

#[cfg(test)]
mod tests {
    use fermata_engine::id::RunId;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Filter {
        limit: Option<u32>,
    }

    async fn limit(query: &str) -> Result<Option<u32>, Problem> {
        let (mut parts, ()) = axum::http::Request::get(format!("/x?{query}")).body(()).unwrap().into_parts();
        let Params(filter) = Params::<Filter>::from_request_parts(&mut parts, &()).await?;
        Ok(filter.limit)
    }

    #[tokio::test]
    async fn only_known_parameters_of_the_right_type_are_read() {
        assert_eq!(limit("limit=5").await, Ok(Some(5)));
        assert_eq!(limit("").await, Ok(None));
        for bad in ["limit=x", "limit=-1", "limit=5&limit=6", "color=red", "limit=5%00", "limit=%FF"] {
            assert!(limit(bad).await.is_err(), "{bad}");
        }
        for (bad, place) in [("limit=x", "/limit: "), ("color=red", "/color: "), ("limit=%FF", "the query: ")] {
            let refused = limit(bad).await.unwrap_err();
            assert!(refused.detail().starts_with(place), "{bad} is pointed at, not {:?}", refused.detail());
        }
    }

    #[test]
    fn escapes_are_undone_before_a_query_is_judged() {
        for good in ["", "a=b", "a=%F0%9F%92%A9", "a=100%", "a=%zz", "a=ä"] {
            assert!(is_text(good), "{good}");
        }
        for bad in ["a=%00", "a=%ff", "a=%C3", "%C3=a"] {
            assert!(!is_text(bad), "{bad}");
        }
    }

    #[test]
    fn what_is_no_id_names_nothing_in_a_path_and_is_refused_in_a_query() {
        assert!(id::<RunId>("nope", "command").is_err());
        assert!(id_param::<RunId>("command_id", Some("nope")).is_err());
        assert_eq!(id_param::<RunId>("command_id", None), Ok(None));
    }

    #[test]
    fn a_time_survives_a_forgotten_escape() {
        assert_eq!(time("since", Some("2026-01-01T00:00:00 00:00")), time("since", Some("2026-01-01T00:00:00Z")));
        assert!(time("since", Some("yesterday")).is_err());
    }

    #[test]
    fn the_next_link_keeps_the_filter_and_moves_the_cursor() {
        let uri: Uri = "/v1/commands?state=FAILED&after=old&limit=2".parse().unwrap();
        assert_eq!(next_link(&uri, "new"), "</v1/commands?state=FAILED&limit=2&after=new>; rel=\"next\"");
    }
}
