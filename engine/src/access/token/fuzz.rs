//! What strangers send as a token.
//!
//! No whole token may be in the repository, so entries have places: `@id@`, `@ID@` in capitals, `@secret@` with as
//! many digits as it has, `@secret39@` and `@secret37@` with fewer, and `@check@` for the right checksum of whatever
//! stands before it. So a variation gets further than to the first look at its checksum.

use fermata_corpus::Target;

use super::tests::{row, token};
use super::*;

/// The text with its places filled.
fn filled(entry: &str) -> String {
    let (id, original, _) = token();
    let hex = id.0.simple().to_string();
    let secret = &original[PREFIX.len() + ID_DIGITS + 1..][..SECRET_DIGITS];
    let mut text = entry.replace("@ID@", &hex.to_uppercase()).replace("@id@", &hex);
    for (place, digits) in [("@secret@", secret), ("@secret39@", &secret[..39]), ("@secret37@", &secret[..37])] {
        text = text.replace(place, digits);
    }
    while let Some((body, rest)) = text.split_once("@check@") {
        text = format!("{body}{}{rest}", checksum(body));
    }
    text
}

#[test]
fn fuzz_only_the_token_itself_is_let_in_and_only_a_whole_one_is_looked_up() {
    let (id, original, hash) = token();
    let (stored, now) = (row(id, hash), DateTime::UNIX_EPOCH);
    assert_eq!(filled("fermata_@id@_@secret@@check@"), original);
    Target::new("token", 2_000).holds(|bytes| {
        let text = filled(&String::from_utf8_lossy(bytes));
        let Some(presented) = parse(&text) else { return assert_ne!(text, original) };
        let (body, check) = text.split_at(text.len() - CHECK_DIGITS);
        assert_eq!(checksum(body), check, "what is mistyped is not looked up");
        let secret = &text[PREFIX.len() + ID_DIGITS + 1..];
        assert_eq!(format!("{PREFIX}{}_{secret}", presented.id.0.simple()), text, "a token is written in one way");
        assert!(secret.bytes().all(|byte| DIGITS.contains(&byte)), "a secret is digits");
        assert_eq!(stored.judge(&presented, now).is_ok(), text == original);
    });
}
