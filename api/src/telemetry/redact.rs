//! Takes secrets out of text before it is logged. Pure, and the same when applied twice.
//!
//! It would rather hide a harmless word than show a secret: `token: expected a brace` loses `expected`.

use std::borrow::Cow;

/// What stands where a secret stood.
pub const REDACTED: &str = "[redacted]";

/// Names whose value is secret when the name ends in them (case, `-` and `_` do not matter).
const SECRET_NAMES: &[&str] = &[
    "authorization",
    "cookie",
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "internalkey",
    "privatekey",
    "secretkey",
    "signingkey",
    "signature",
    "credential",
    "credentials",
    "sig",
    "otp",
];

/// Names of raw payloads, which are kept in the database only.
const PAYLOAD_NAMES: &[&str] = &["payload", "rawbody", "requestbody", "responsebody", "body", "caption"];

/// How issued keys begin; [`TOKEN_LENGTH`] or more characters must follow.
const TOKEN_PREFIXES: &[&str] = &[
    "eyJ",
    "sk-",
    "sk_live_",
    "sk_test_",
    "ghp_",
    "gho_",
    "ghs_",
    "github_pat_",
    "xoxb-",
    "xoxp-",
    "AKIA",
    "whsec_",
    "rnd_",
];
const TOKEN_LENGTH: usize = 12;

/// Replaces tokens, authorization headers, passwords and the userinfo of URLs by [`REDACTED`].
pub fn redact(text: &str) -> Cow<'_, str> {
    let mut clean = String::new();
    let mut copied = 0;
    let mut at = 0;
    while at < text.len() {
        match secret_at(text, at) {
            Some(secret) => {
                clean.push_str(&text[copied..secret.start]);
                clean.push_str(REDACTED);
                copied = secret.end;
                at = secret.end;
            }
            None => at = next(text, at),
        }
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    clean.push_str(&text[copied..]);
    Cow::Owned(clean)
}

/// Whether a field of this name is withheld whole.
pub fn is_secret_name(name: &str) -> bool {
    let name = plain(name.rsplit('.').next().unwrap_or(name));
    PAYLOAD_NAMES.contains(&name.as_str()) || SECRET_NAMES.iter().any(|secret| name.ends_with(secret))
}

/// What to cut, as byte positions on character borders; never empty, never starting before `at`.
struct Cut {
    start: usize,
    end: usize,
}

fn secret_at(text: &str, at: usize) -> Option<Cut> {
    let rest = &text[at..];
    if rest.starts_with("://") {
        return userinfo(text, at + 3);
    }
    let starts_word = !text[..at].chars().next_back().is_some_and(is_word);
    if !starts_word || !rest.chars().next().is_some_and(is_word) {
        return None;
    }
    let word = run(rest, is_word);
    after_scheme(text, at, word).or_else(|| issued_token(at, word)).or_else(|| named_value(text, at, word))
}

/// `Bearer xyz`, `Basic xyz`: the second word, unless it is plainly prose.
fn after_scheme(text: &str, at: usize, word: &str) -> Option<Cut> {
    if !["bearer", "basic"].iter().any(|scheme| word.eq_ignore_ascii_case(scheme)) {
        return None;
    }
    let after = at + word.len();
    let start = after + run(&text[after..], |c| matches!(c, ' ' | '\t')).len();
    let token = run(&text[start..], is_token);
    let secret = start > after && (token.len() >= 6 || token.bytes().any(|byte| byte.is_ascii_digit()));
    secret.then_some(Cut { start, end: start + token.len() })
}

/// Our own tokens (`fermata_<id>_<secret>`) and those of well-known issuers.
fn issued_token(at: usize, word: &str) -> Option<Cut> {
    if let Some(ours) = word.strip_prefix("fermata_") {
        // Metric names look alike; what is random has a digit or a capital, or is long.
        let last = ours.rsplit_once('_').map(|(_, last)| last)?;
        let random = ours.bytes().any(|b| b.is_ascii_digit() || b.is_ascii_uppercase()) || last.len() >= 20;
        return random.then_some(Cut { start: at + "fermata_".len(), end: at + word.len() });
    }
    let known = TOKEN_PREFIXES
        .iter()
        .any(|prefix| word.strip_prefix(prefix).is_some_and(|random| random.len() >= TOKEN_LENGTH));
    known.then_some(Cut { start: at, end: at + word.len() })
}

/// `password=…`, `Authorization: …`, `"token":"…"`, `secret: Some("…")`, plain or escaped.
fn named_value(text: &str, at: usize, word: &str) -> Option<Cut> {
    let mut from = at + word.len();
    from += run(&text[from..], |c| matches!(c, '\\' | '"' | '\'' | ' ' | '\t')).len();
    let separator = text[from..].chars().next().filter(|c| matches!(c, '=' | ':'))?;
    from += separator.len_utf8();
    let name = plain(word.rsplit('.').next().unwrap_or(word));
    if !SECRET_NAMES.iter().any(|secret| name.ends_with(secret)) {
        return None;
    }
    from += run(&text[from..], |c| matches!(c, ' ' | '\t' | '>')).len();
    loop {
        // Wrappers of debug output: `Some(`, `Token(`, `[`.
        let wrapper = run(&text[from..], char::is_alphanumeric).len();
        match text[from + wrapper..].chars().next() {
            Some('(') => from += wrapper + 1,
            Some('[') if wrapper == 0 && !text[from..].starts_with(REDACTED) => from += 1,
            _ => break,
        }
    }
    from += run(&text[from..], |c| c == '\\').len();
    let quote = text[from..].chars().next().filter(|c| matches!(c, '"' | '\''));
    let start = from + quote.map_or(0, char::len_utf8);
    if text[start..].starts_with(REDACTED) {
        return None;
    }
    let is_header = name.ends_with("authorization") || name.ends_with("cookie");
    let value = match quote {
        Some(quote) => quoted(&text[start..], quote),
        None if is_header => run(&text[start..], |c| !matches!(c, '\n' | '\r' | '"' | '\\' | '}')),
        None => run(&text[start..], |c| {
            !c.is_whitespace() && !matches!(c, '&' | ',' | ';' | '"' | '\'' | ')' | '}' | ']' | '\\')
        }),
    };
    (!value.is_empty()).then_some(Cut { start, end: start + value.len() })
}

/// Up to the closing quote or, when there is none, to the end. An escaped quote inside does not close it,
/// unless the opening one was escaped too, which cannot be told apart: then more is cut than needed.
fn quoted(text: &str, quote: char) -> &str {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if c == quote && !escaped {
            return &text[..at];
        }
        escaped = c == '\\' && !escaped;
    }
    text
}

/// `user:password@` of a URL whose authority starts at `start`.
fn userinfo(text: &str, start: usize) -> Option<Cut> {
    let whole = run(&text[start..], |c| !c.is_whitespace() && !matches!(c, '"' | '\'' | '<' | '>' | '`'));
    let authority = run(whole, |c| !matches!(c, '/' | '?' | '#'));
    // A password may hold a bare slash: `user:pa/ss@host`. A port does not begin with another character than a digit.
    let port = authority.rsplit_once(':').map(|(_, port)| port);
    let odd =
        port.is_some_and(|port| !port.is_empty() && !port.bytes().all(|b| b.is_ascii_digit()) && !port.ends_with(']'));
    let at = authority.rfind('@').or_else(|| whole.rfind('@').filter(|_| odd))?;
    let secret = at > 0 && &whole[..at] != REDACTED;
    secret.then_some(Cut { start, end: start + at })
}

fn next(text: &str, at: usize) -> usize {
    at + text[at..].chars().next().map_or(1, char::len_utf8)
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> &str {
    let end = text.find(|c| !belongs(c)).unwrap_or(text.len());
    &text[..end]
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn is_token(c: char) -> bool {
    is_word(c) || matches!(c, '~' | '+' | '/' | '=')
}

fn plain(name: &str) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_canary_gets_through_in_any_wrapping() {
        let templates = [
            "Bearer {}",
            "authorization: bearer {}",
            "Authorization: Basic {}",
            "AUTHORIZATION={}",
            "Cookie: a={}; b={}",
            "password={}",
            "db password='{}' refused",
            "{\"password\":\"{}\"}",
            "{\\\"token\\\":\\\"{}\\\"}",
            "secret: Some(\"{}\")",
            "api_key => {}",
            "X-Api-Key: {}",
            "client_secret={}&a=b",
            "https://h/p?token={}&x=1",
            "postgres://user:{}@host:5432/db",
            "postgres://{}@host/db",
            "redis://:{}@host",
            "amqp://u:pa/{}@host",
            "headers {\"authorization\": \"Bearer {}\"}",
            "run.access_token={}",
            "tokens [\"x\"], token: [\"{}\"]",
            "https://b.s3.amazonaws.com/k?X-Amz-Signature={}&z=1",
            "set-cookie: sid={}; HttpOnly",
            "grüß token={} ü",
            "password=\"a\\\"{}\"",
            "fermata_cli_{}",
            "id fermata_{}_{}.",
            "eyJhbGciOi.{}.sig",
            "sk-{}",
            "token:\t{}",
        ];
        for canary in ["c4naryS3cretValue", "CANARYcanary0123456789abcdef"] {
            for template in templates {
                let text = template.replace("{}", canary);
                let clean = redact(&text);
                assert!(!clean.contains(canary), "{template}: {clean}");
                assert!(clean.contains(REDACTED), "{template}: {clean}");
                assert_eq!(redact(&clean), clean, "{template}: not the same when applied twice");
            }
        }
    }

    #[test]
    fn what_is_no_secret_is_left_alone_without_a_copy() {
        for text in [
            "",
            "password authentication failed for user \"app\"",
            "bearer auth is off",
            "https://h.example/a@b?c=d",
            "http://127.0.0.1:7070/v1/commands",
            "fermata_build_info fermata_runs_in_flight_total",
            "token_file=/run/t",
            "run 0198f3f2-0000-7000-8000-000000000000 done in 12 ms",
            "naïve — ünïcode ✓",
            "postgres://host:5432/db",
            "idempotency_key=abc",
            "a://",
            "http://[::1]:80/@x",
            "token",
            "token=",
            "bearer",
        ] {
            assert!(matches!(redact(text), Cow::Borrowed(same) if same == text), "{text}: {}", redact(text));
        }
    }

    #[test]
    fn what_stands_around_a_secret_stays() {
        for (text, clean) in [
            ("GET /x?token=abc&page=2 -> 200", "GET /x?token=[redacted]&page=2 -> 200"),
            ("to postgres://u:p@db:5432/f now", "to postgres://[redacted]@db:5432/f now"),
            ("{\"password\":\"x\",\"a\":1}", "{\"password\":\"[redacted]\",\"a\":1}"),
            ("used fermata_ci_Ab12 at", "used fermata_[redacted] at"),
        ] {
            assert_eq!(redact(text), clean);
        }
    }

    #[test]
    fn a_name_tells_whether_its_field_is_withheld() {
        for name in
            ["password", "db.password", "access_token", "Authorization", "set-cookie", "webhook.payload", "x-api-key"]
        {
            assert!(is_secret_name(name), "{name}");
        }
        for name in ["run.id", "token_id", "token_file", "status", "key", "payload_bytes", "actor"] {
            assert!(!is_secret_name(name), "{name}");
        }
    }
}
