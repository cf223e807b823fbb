//! Where a request carries its token (A.5).

use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;

use crate::error::{Kind, Problem};

const API_KEY: &str = "x-api-key";

/// The token of a request; `None` without one. Both headers, or one twice, are refused: whoever
/// sends two means one of them, and we do not guess which.
pub(crate) fn token(headers: &HeaderMap) -> Result<Option<&str>, Problem> {
    let mut given = headers.get_all(AUTHORIZATION).iter().map(|value| (true, value));
    let mut keys = headers.get_all(API_KEY).iter().map(|value| (false, value));
    let all = [given.next(), keys.next(), given.next().or_else(|| keys.next())];
    let mut all = all.into_iter().flatten();
    let Some((is_authorization, value)) = all.next() else { return Ok(None) };
    if all.next().is_some() {
        let detail = "send the token once: either `Authorization: Bearer …` or `X-API-Key: …`";
        return Err(Problem::new(Kind::Validation, detail).with_code("two_credentials"));
    }
    let text = value.to_str().map_err(|_| unreadable())?.trim();
    if !is_authorization {
        return Ok(Some(text));
    }
    match text.split_once(' ') {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(Some(token.trim())),
        _ => Err(unreadable()),
    }
}

fn unreadable() -> Problem {
    Problem::new(Kind::Unauthorized, "the header must be `Authorization: Bearer <token>`")
        .with_code("scheme_unknown")
        .challenge(r#"Bearer realm="fermata""#)
}

#[cfg(test)]
mod tests {
    use axum::http::{HeaderName, HeaderValue};

    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let pair = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    #[test]
    fn a_token_comes_in_either_header() {
        assert_eq!(token(&headers(&[])), Ok(None));
        assert_eq!(token(&headers(&[("authorization", "Bearer t")])), Ok(Some("t")));
        assert_eq!(token(&headers(&[("authorization", "bearer  t ")])), Ok(Some("t")));
        assert_eq!(token(&headers(&[("x-api-key", "t")])), Ok(Some("t")));
    }

    #[test]
    fn two_credentials_are_refused_even_when_equal() {
        for two in [
            [("authorization", "Bearer t"), ("x-api-key", "t")],
            [("authorization", "Bearer t"), ("authorization", "Bearer t")],
            [("x-api-key", "t"), ("x-api-key", "u")],
        ] {
            assert_eq!(token(&headers(&two)).unwrap_err().kind(), Kind::Validation, "{two:?}");
        }
    }

    #[test]
    fn another_scheme_is_refused() {
        for bad in ["Basic dTpw", "Bearer", "", "t"] {
            assert_eq!(token(&headers(&[("authorization", bad)])).unwrap_err().kind(), Kind::Unauthorized, "{bad}");
        }
    }
}
