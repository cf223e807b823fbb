//! JSON that Postgres will take: checked before it may join a batch (design, section 4).
//!
//! One poisonous record must fail alone and early, so everything that Postgres would refuse
//! (NUL characters, numbers out of range, sizes, depth) is refused here, with a pointer to it.

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Number, Value};
use sha2::{Digest, Sha256};

/// The deepest nesting of a stored document.
pub const MAX_DEPTH: usize = 64;
/// The largest stored document in bytes, as compact JSON.
pub const MAX_DOCUMENT_BYTES: usize = 1 << 20;
/// The longest key (names, keys, accounts) in bytes.
pub const MAX_KEY_BYTES: usize = 255;

/// What the identities of all published schemas begin with.
///
/// An identity is the same in every installation, so that a schema read in one is the schema of the
/// other; where to read it here is another matter (`/v1/schemas`).
pub const SCHEMA_BASE: &str = "https://fermata.dev/schemas";

/// JSON as text, made once and stored as it is.
pub type Raw = Box<RawValue>;

/// The JSON text of something that is known to be JSON (a `Value`, a struct of our own).
///
/// What cannot be JSON (a map with other keys than text) becomes `null`; input from outside is
/// checked by [`check`] before it gets here.
pub fn raw(document: &impl Serialize) -> Raw {
    to_raw_value(document).unwrap_or_else(|_| RawValue::NULL.to_owned())
}

/// Why a document cannot be stored.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DocumentError {
    /// Postgres has no NUL in text.
    #[error("the text at {pointer:?} has a NUL character, which cannot be stored; remove it")]
    Nul {
        /// RFC 6901 pointer to the text.
        pointer: String,
    },
    /// Nested deeper than [`MAX_DEPTH`].
    #[error("the document is nested deeper than {MAX_DEPTH} levels; flatten it")]
    TooDeep,
    /// Larger than [`MAX_DOCUMENT_BYTES`].
    #[error(
        "the document has {bytes} bytes, more than {MAX_DOCUMENT_BYTES}; store large content as an artifact and refer to it"
    )]
    TooLarge {
        /// Its size as compact JSON.
        bytes: usize,
    },
    /// A key that is empty, too long, or has control characters.
    #[error("{what} must have 1 to {MAX_KEY_BYTES} bytes without control characters")]
    Key {
        /// Which key.
        what: &'static str,
    },
}

/// Checks a document that is about to be stored.
pub fn check(document: &Value) -> Result<(), DocumentError> {
    check_value(document, &mut String::new(), MAX_DEPTH)?;
    let bytes = size(document);
    if bytes > MAX_DOCUMENT_BYTES {
        return Err(DocumentError::TooLarge { bytes });
    }
    Ok(())
}

/// Checks that no text of a document has a NUL, however deep it stands: for what is not yet known to be bounded by more
/// than its reader.
pub fn check_nul(document: &Value) -> Result<(), DocumentError> {
    check_value(document, &mut String::new(), usize::MAX)
}

/// Checks a name or key that is about to be stored.
pub fn check_key(what: &'static str, key: &str) -> Result<(), DocumentError> {
    let fits = !key.is_empty() && key.len() <= MAX_KEY_BYTES && !key.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(DocumentError::Key { what }) }
}

/// `deepest` is how many levels there may be below.
fn check_value(value: &Value, pointer: &mut String, deepest: usize) -> Result<(), DocumentError> {
    let below = |pointer: &mut String, part: &str, item: &Value| match deepest.checked_sub(1) {
        Some(deepest) => at(pointer, part, |pointer| check_value(item, pointer, deepest)),
        None => Err(DocumentError::TooDeep),
    };
    match value {
        Value::String(text) if text.contains('\0') => Err(DocumentError::Nul { pointer: pointer.clone() }),
        Value::Array(items) => items.iter().enumerate().try_for_each(|(n, item)| below(pointer, &n.to_string(), item)),
        Value::Object(fields) => fields.iter().try_for_each(|(name, item)| {
            if name.contains('\0') {
                return Err(DocumentError::Nul { pointer: pointer.clone() });
            }
            below(pointer, name, item)
        }),
        _ => Ok(()),
    }
}

fn at<T>(pointer: &mut String, part: &str, inside: impl FnOnce(&mut String) -> T) -> T {
    let length = pointer.len();
    pointer.push('/');
    pointer.push_str(&part.replace('~', "~0").replace('/', "~1"));
    let result = inside(pointer);
    pointer.truncate(length);
    result
}

/// Bytes of the document as compact JSON, without building it.
pub fn size(document: &Value) -> usize {
    struct Count(usize);
    impl std::io::Write for Count {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0 += bytes.len();
            Ok(bytes.len())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let mut count = Count(0);
    // Writing a `Value` into a counter cannot fail: keys are strings and the sink is infallible.
    match serde_json::to_writer(&mut count, document) {
        Ok(()) => count.0,
        Err(_) => usize::MAX,
    }
}

/// SHA-256 of the canonical form, as hex: the fingerprint of Q-10.
///
/// Keys are sorted and numbers printed in their shortest form, which is RFC 8785 for everything but
/// exotic numbers; those stay distinct, so no two different documents share a fingerprint. What Postgres
/// gives back has the fingerprint of what was stored.
pub fn fingerprint(document: &Value) -> String {
    let mut hash = Sha256::new();
    feed(document, &mut |part| hash.update(part));
    hex::encode(hash.finalize())
}

/// The canonical form itself.
pub fn canonical(document: &Value) -> String {
    let mut text = String::new();
    feed(document, &mut |part| text.push_str(part));
    text
}

/// Feeds the canonical text. `serde_json`'s own order of keys depends on its features, so it is no
/// canonical one.
fn feed(document: &Value, sink: &mut impl FnMut(&str)) {
    match document {
        Value::Object(fields) => {
            let mut sorted: Vec<_> = fields.iter().collect();
            sorted.sort_by(|one, two| one.0.cmp(two.0));
            sink("{");
            for (n, (name, value)) in sorted.into_iter().enumerate() {
                sink(if n == 0 { "" } else { "," });
                sink(&Value::from(name.as_str()).to_string());
                sink(":");
                feed(value, sink);
            }
            sink("}");
        }
        Value::Array(items) => {
            sink("[");
            for (n, item) in items.iter().enumerate() {
                sink(if n == 0 { "" } else { "," });
                feed(item, sink);
            }
            sink("]");
        }
        Value::Number(number) => sink(&as_stored(number)),
        scalar => sink(&scalar.to_string()),
    }
}

/// The number as it is read again from `jsonb`, where a zero has no sign and a number no exponent: `1e16` comes back
/// as an integer, as far as those reach. A hash made before a crash must be the one that is made after it.
fn as_stored(number: &Number) -> String {
    let text = number.to_string();
    match number.as_f64() {
        Some(0.0) => text.trim_start_matches('-').to_owned(),
        Some(float) if number.is_f64() && float.abs() >= 1e16 => {
            let digits = float.to_string();
            let is_integer = digits.parse::<u64>().is_ok() || digits.parse::<i64>().is_ok();
            if is_integer { digits } else { text }
        }
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_nul_is_refused_with_a_pointer_to_it() {
        let refused = check(&json!({"a": [{"b/c": "x\0y"}]}));
        assert_eq!(refused, Err(DocumentError::Nul { pointer: "/a/0/b~1c".into() }));
    }

    #[test]
    fn nesting_is_bounded() {
        let mut deep = json!(1);
        for _ in 0..=MAX_DEPTH {
            deep = json!([deep]);
        }
        assert_eq!(check(&deep), Err(DocumentError::TooDeep));
    }

    #[test]
    fn the_order_of_keys_does_not_change_a_fingerprint() {
        let one: Value = serde_json::from_str(r#"{"a":1,"b":{"c":2,"d":3}}"#).unwrap();
        let two: Value = serde_json::from_str(r#"{"b":{"d":3,"c":2},"a":1}"#).unwrap();
        assert_eq!(fingerprint(&one), fingerprint(&two));
        assert_ne!(fingerprint(&one), fingerprint(&json!({"a": 1})));
        assert_eq!(fingerprint(&json!(["x", {"a": null}])), hex::encode(Sha256::digest(r#"["x",{"a":null}]"#)));
    }

    #[test]
    fn a_number_that_postgres_writes_in_another_way_keeps_its_fingerprint() {
        let read = |text: &str| fingerprint(&serde_json::from_str(text).unwrap());
        for (written, given_back) in [
            ("1e16", "10000000000000000"),
            ("-1.2345678901234568e17", "-123456789012345680"),
            ("1e20", "100000000000000000000"),
            ("-0.0", "0.0"),
            ("1e-7", "0.0000001"),
        ] {
            assert_eq!(read(written), read(given_back), "{written}");
        }
        assert_ne!(read("1.0"), read("1"));
        assert_ne!(read("1e16"), read("10000000000000001"));
    }

    #[test]
    fn a_nul_is_found_behind_what_is_too_deep() {
        let mut deep = json!("x\0");
        for _ in 0..=MAX_DEPTH {
            deep = json!([deep]);
        }
        assert_eq!(check(&deep), Err(DocumentError::TooDeep));
        assert!(matches!(check_nul(&json!([deep])), Err(DocumentError::Nul { .. })));
        assert_eq!(check_nul(&json!([[[]]])), Ok(()));
    }

    #[test]
    fn the_size_is_that_of_the_compact_text() {
        let document = json!({"a": [1, 2, "drei"]});
        assert_eq!(size(&document), document.to_string().len());
    }
}
