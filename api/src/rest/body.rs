//! Bodies: JSON in, or a problem that points at what does not fit.
//!
//! What fits is read in one go. Only what does not is looked at twice, against the schema that is
//! published for it, so that the caller learns of every misfit at once.

use axum::body::{Bytes, to_bytes};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use fermata_engine::document::{self, DocumentError};
use jsonschema::error::ValidationErrorKind;
use jsonschema::{ValidationError, Validator};
use schemars::{JsonSchema, schema_for};
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::app::AppState;
use crate::error::{FieldError, Kind, Problem};

/// What `curl -d` says of any body. It is read as JSON, and refused when it is not: a form cannot
/// bring a page's visitor to act here, because no cookie is a credential.
const UNSAID: &str = "application/x-www-form-urlencoded";
/// The most misfits that one answer lists.
const MAX_MISFITS: usize = 20;

/// A body that must be there.
#[derive(Debug)]
pub(crate) struct JsonBody<T>(pub(crate) T);

/// A body that may be empty.
#[derive(Debug)]
pub(super) struct MaybeJsonBody<T>(pub(super) T);

impl<T: DeserializeOwned + JsonSchema> FromRequest<AppState> for JsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        check_headers(request.headers(), app.options.max_body_bytes)?;
        parse(&read(request, app.options.max_body_bytes).await?).map(Self)
    }
}

impl<T: DeserializeOwned + JsonSchema + Default> FromRequest<AppState> for MaybeJsonBody<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, app: &AppState) -> Result<Self, Problem> {
        let headers = request.headers().clone();
        let bytes = read(request, app.options.max_body_bytes).await?;
        if bytes.iter().all(u8::is_ascii_whitespace) {
            return Ok(Self(T::default()));
        }
        check_headers(&headers, app.options.max_body_bytes)?;
        parse(&bytes).map(Self)
    }
}

async fn read(request: Request, limit: usize) -> Result<Bytes, Problem> {
    to_bytes(request.into_body(), limit).await.map_err(|error| {
        let source = std::error::Error::source(&error);
        let too_large = source.is_some_and(|source| source.to_string().contains("length limit"));
        if too_large { too_many_bytes(limit) } else { Problem::invalid("", "the body broke off") }
    })
}

fn too_many_bytes(limit: usize) -> Problem {
    let detail = format!("the body has more than {limit} bytes; keep large content as an artifact");
    Problem::new(Kind::TooLarge, detail)
}

/// Refuses what need not be read at all.
fn check_headers(headers: &HeaderMap, limit: usize) -> Result<(), Problem> {
    let text = |value: &HeaderValue| value.to_str().map(str::to_ascii_lowercase).unwrap_or_default();
    if let Some(encoding) = headers.get(CONTENT_ENCODING).map(text).filter(|encoding| encoding != "identity") {
        let detail = format!("bodies in `{encoding}` are not read; send it as it is");
        return Err(Problem::new(Kind::MediaType, detail));
    }
    let length = headers.get(CONTENT_LENGTH).map(text).and_then(|length| length.parse::<usize>().ok());
    if length.is_some_and(|length| length > limit) {
        return Err(too_many_bytes(limit));
    }
    let kind = headers.get(CONTENT_TYPE).map_or_else(|| "application/json".to_owned(), text);
    let mut parts = kind.split(';').map(str::trim);
    let is_json = parts.next().is_some_and(|kind| {
        kind == "application/json" || kind == UNSAID || (kind.starts_with("application/") && kind.ends_with("+json"))
    });
    let is_utf8 = parts
        .filter_map(|part| part.strip_prefix("charset="))
        .all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8" | "us-ascii"));
    if is_json && is_utf8 {
        return Ok(());
    }
    Err(Problem::new(Kind::MediaType, "send `Content-Type: application/json`, in UTF-8"))
}

/// A body of the type, or what does not fit.
pub(super) fn parse<T: DeserializeOwned + JsonSchema>(bytes: &[u8]) -> Result<T, Problem> {
    match serde_json::from_slice::<T>(bytes) {
        Ok(body) => {
            refuse_nul(bytes)?;
            Ok(body)
        }
        Err(error) => Err(misfits::<T>(bytes, &error)),
    }
}

/// Postgres has no NUL in text, so none gets further than this. In JSON it can only be written as
/// an escape.
fn refuse_nul(bytes: &[u8]) -> Result<(), Problem> {
    const ESCAPED: &[u8] = b"\\u0000";
    if !bytes.windows(ESCAPED.len()).any(|window| window == ESCAPED) {
        return Ok(());
    }
    let Ok(value) = serde_json::from_slice::<Value>(bytes) else { return Ok(()) };
    match document::check_nul(&value) {
        Err(DocumentError::Nul { pointer }) => {
            Err(Problem::invalid(pointer, "text must not have NUL characters").with_code("nul"))
        }
        _ => Ok(()),
    }
}

fn misfits<T: JsonSchema>(bytes: &[u8], error: &serde_json::Error) -> Problem {
    let value = match serde_json::from_slice::<Value>(bytes) {
        Ok(value) => value,
        Err(error) => {
            let at = format!("line {}, column {}", error.line(), error.column());
            let message = match std::str::from_utf8(bytes) {
                Err(broken) => format!("is not UTF-8 at byte {}", broken.valid_up_to()),
                Ok(_) => format!("is not JSON: {error}"),
            };
            return Problem::invalid("", message).with_code("malformed_json").with("at", at);
        }
    };
    let found = validator(&schema_for!(T).into()).map(|validator| list(&validator, &value)).unwrap_or_default();
    refused(found, || error.to_string())
}

/// A problem out of what a schema did not like; `otherwise` says why, when it liked everything.
pub(super) fn refused(found: Vec<FieldError>, otherwise: impl FnOnce() -> String) -> Problem {
    match found.as_slice() {
        [] => Problem::invalid("", otherwise()),
        [only] => Problem::invalid(only.pointer.clone(), only.message.clone()),
        [first, ..] => {
            let place = if first.pointer.is_empty() { "the body" } else { &first.pointer };
            let more = found.len() - 1;
            Problem::new(Kind::Validation, format!("{place}: {} (and {more} more)", first.message)).with_errors(found)
        }
    }
}

/// A validator that minds formats (dates, ids) as the reading of the body does.
pub(super) fn validator(schema: &Value) -> Option<Validator> {
    jsonschema::options().should_validate_formats(true).build(schema).ok()
}

/// Everything in `value` that does not fit, with pointers.
pub(super) fn list(validator: &Validator, value: &Value) -> Vec<FieldError> {
    validator.iter_errors(value).flat_map(|error| explain(&error)).take(MAX_MISFITS).collect()
}

fn explain(error: &ValidationError<'_>) -> Vec<FieldError> {
    let at = error.instance_path().to_string();
    let below = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    let unknown = |names: &[String]| {
        let one = |name: &String| FieldError { pointer: below(name), message: "there is no such field".to_owned() };
        names.iter().map(one).collect()
    };
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected }
        | ValidationErrorKind::UnevaluatedProperties { unexpected } => unknown(unexpected),
        ValidationErrorKind::Required { property } => {
            let pointer = property.as_str().map_or_else(|| at.clone(), below);
            vec![FieldError { pointer, message: "is required".to_owned() }]
        }
        // What may be left out is `null` or its shape: of the two, the shape was meant.
        ValidationErrorKind::AnyOf { context } => match meant(context, &at) {
            Some(branch) => branch.iter().flat_map(explain).collect(),
            None => {
                vec![FieldError { pointer: at.clone(), message: "fits none of the shapes that it may have".to_owned() }]
            }
        },
        // What may have no fields at all has a schema that says so in its own way.
        ValidationErrorKind::FalseSchema => {
            vec![FieldError { pointer: at.clone(), message: "must be empty".to_owned() }]
        }
        // The value itself is not repeated: it may be long, or not for a log.
        _ => vec![FieldError { pointer: at.clone(), message: error.masked().to_string() }],
    }
}

/// The only branch whose complaint is not that the whole value has the wrong type.
fn meant<'a>(branches: &'a [Vec<ValidationError<'static>>], at: &str) -> Option<&'a Vec<ValidationError<'static>>> {
    let is_other_type = |error: &ValidationError<'_>| {
        matches!(error.kind(), ValidationErrorKind::Type { .. }) && error.instance_path().as_str() == at
    };
    let mut meant = branches.iter().filter(|branch| !branch.iter().any(is_other_type));
    meant.next().filter(|_| meant.next().is_none())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Order {
        item: String,
        #[serde(default)]
        count: Option<u8>,
        #[serde(default)]
        extra: Value,
        #[serde(default)]
        wrap: Option<Wrap>,
    }

    #[derive(Debug, PartialEq, Deserialize, JsonSchema)]
    #[serde(deny_unknown_fields)]
    struct Wrap {
        paper: String,
    }

    fn pointers(body: &str) -> Vec<String> {
        let body = parse::<Order>(body.as_bytes()).unwrap_err().body("", "/", "r");
        assert_eq!(body["status"], 400);
        body["errors"].as_array().unwrap().iter().map(|e| e["pointer"].as_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn what_fits_is_read() {
        let order = parse::<Order>(br#"{"item": "pen", "count": 2}"#).unwrap();
        assert_eq!(order, Order { item: "pen".into(), count: Some(2), extra: Value::Null, wrap: None });
    }

    #[test]
    fn every_misfit_is_pointed_at() {
        assert_eq!(pointers(r#"{"item": "pen", "sort": 1}"#), ["/sort"]);
        assert_eq!(pointers("{}"), ["/item"]);
        assert_eq!(pointers(r#"{"item": 1}"#), ["/item"]);
        assert_eq!(pointers(r#"{"item": "pen", "count": 900}"#), ["/count"]);
        assert_eq!(pointers(r#"{"item": 1, "sort": 1, "b/c": 1}"#).len(), 3);
        assert_eq!(pointers(r#"{"item": "pen", "wrap": {"paper": 1, "bow": 2}}"#), ["/wrap/paper", "/wrap/bow"]);
        assert_eq!(pointers(r#"{"item": "pen", "wrap": 1}"#), ["/wrap"]);
        assert_eq!(pointers("[]"), [""]);
    }

    #[test]
    fn a_body_without_fields_takes_none() {
        #[derive(Debug, Deserialize, JsonSchema)]
        #[serde(deny_unknown_fields)]
        struct Nothing {}

        assert!(parse::<Nothing>(b"{}").is_ok());
        assert_eq!(parse::<Nothing>(br#"{"sort": 1}"#).unwrap_err().detail(), "the body: must be empty");
    }

    #[test]
    fn a_field_given_twice_is_refused() {
        assert_eq!(pointers(r#"{"item": "pen", "item": "ink"}"#), [""]);
    }

    #[test]
    fn what_is_not_json_is_a_bad_request() {
        let deep = format!(r#"{{"item": "pen", "extra": {}1{}}}"#, "[".repeat(9_000), "]".repeat(9_000));
        for bad in ["", "{", "nul", "{\"item\": \"\\ud800\"}", "{\"item\": 1e999}", deep.as_str()] {
            assert_eq!(pointers(bad), [""], "{}", &bad[..bad.len().min(40)]);
        }
        let not_utf8 = parse::<Order>(b"{\"item\": \"\xff\"}").unwrap_err();
        assert_eq!(not_utf8.kind(), Kind::Validation);
    }

    #[test]
    fn a_nul_is_refused_wherever_it_stands() {
        assert_eq!(pointers(r#"{"item": "pen", "extra": {"a": ["\u0000"]}}"#), ["/extra/a/0"]);
        assert_eq!(pointers(r#"{"item": "p\u0000n"}"#), ["/item"]);
        let deep = format!(r#"{{"extra": {}1{}, "item": "\u0000"}}"#, "[".repeat(70), "]".repeat(70));
        assert_eq!(pointers(&deep), ["/item"]);
        assert!(parse::<Order>(br#"{"item": "\\u0000"}"#).is_ok(), "a backslash and digits are no NUL");
    }

    #[test]
    fn only_json_in_utf_8_is_read() {
        let check = |name, value: &'static str| {
            check_headers(&HeaderMap::from_iter([(name, HeaderValue::from_static(value))]), 10).map_err(|p| p.kind())
        };
        assert_eq!(check_headers(&HeaderMap::new(), 10), Ok(()));
        for good in ["application/json", "Application/JSON; charset=UTF-8", "application/cloudevents+json", UNSAID] {
            assert_eq!(check(CONTENT_TYPE, good), Ok(()), "{good}");
        }
        for bad in ["text/plain", "multipart/form-data", "", "application/json; charset=latin1"] {
            assert_eq!(check(CONTENT_TYPE, bad), Err(Kind::MediaType), "{bad}");
        }
        assert_eq!(check(CONTENT_ENCODING, "gzip"), Err(Kind::MediaType));
        assert_eq!(check(CONTENT_LENGTH, "11"), Err(Kind::TooLarge));
    }
}
