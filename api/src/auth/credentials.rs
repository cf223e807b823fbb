//! Where a request carries what it is known by (A.5).

use axum::http::header::AUTHORIZATION;
use axum::http::{HeaderMap, HeaderValue};

use crate::error::{Kind, Problem};

const API_KEY: &str = "x-api-key";
const INTERNAL_KEY: &str = "x-internal-key";

/// What a request is known by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Credential<'a> {
    /// A token of ours.
    Token(&'a str),
    /// The key that the services of an installation share (O-065).
    InternalKey(&'a str),
}

/// The credential of a request; `None` without one. Two of them, or one twice, are refused: whoever
/// sends two means one of them, and we do not guess which.
pub(crate) fn credential(headers: &HeaderMap) -> Result<Option<Credential<'_>>, Problem> {
    let all = [AUTHORIZATION.as_str(), API_KEY, INTERNAL_KEY];
    let mut given = all.into_iter().flat_map(|name| headers.get_all(name).iter().map(move |value| (name, value)));
    let Some((name, value)) = given.next() else { return Ok(None) };
    if given.next().is_some() {
        let detail = "send one of `Authorization: Bearer …`, `X-API-Key: …` and `X-Internal-Key: …`, and send it once";
        return Err(Problem::new(Kind::Validation, detail).with_code("two_credentials"));
    }
    read(name, value).map(Some)
}

fn read<'a>(name: &str, value: &'a HeaderValue) -> Result<Credential<'a>, Problem> {
    let text = value.to_str().map_err(|_| unreadable())?.trim();
    match name {
        API_KEY => Ok(Credential::Token(text)),
        INTERNAL_KEY => Ok(Credential::InternalKey(text)),
        _ => match text.split_once(' ') {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Credential::Token(token.trim())),
            _ => Err(unreadable()),
        },
    }
}

fn unreadable() -> Problem {
    Problem::new(Kind::Unauthorized, "the header must be `Authorization: Bearer <token>`")
        .with_code("scheme_unknown")
        .challenge(r#"Bearer realm="fermata""#)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderName;

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_credential_comes_in_one_of_three_headers() {
        let read = |pair| credential(&headers(&[pair])).map(|found| format!("{found:?}"));
        assert_eq!(credential(&headers(&[])), Ok(None));
        assert_eq!(read(("authorization", "Bearer t")).unwrap(), r#"Some(Token("t"))"#);
        assert_eq!(read(("authorization", "bearer  t ")).unwrap(), r#"Some(Token("t"))"#);
        assert_eq!(read(("x-api-key", "t")).unwrap(), r#"Some(Token("t"))"#);
        assert_eq!(read(("x-internal-key", "t")).unwrap(), r#"Some(InternalKey("t"))"#);
    }

    #[test]
    fn two_credentials_are_refused_even_when_equal() {
        for two in [
            [("authorization", "Bearer t"), ("x-api-key", "t")],
            [("authorization", "Bearer t"), ("authorization", "Bearer t")],
            [("x-api-key", "t"), ("x-api-key", "u")],
            [("x-internal-key", "t"), ("authorization", "Bearer t")],
            [("x-internal-key", "t"), ("x-internal-key", "t")],
        ] {
            assert_eq!(credential(&headers(&two)).unwrap_err().kind(), Kind::Validation, "{two:?}");
        }
    }

    #[test]
    fn another_scheme_is_refused() {
        for bad in ["Basic dTpw", "Bearer", "", "t"] {
            assert_eq!(
                credential(&headers(&[("authorization", bad)])).unwrap_err().kind(),
                Kind::Unauthorized,
                "{bad}"
            );
        }
    }
}
