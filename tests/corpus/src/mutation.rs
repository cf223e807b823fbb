//! Small changes of an entry that are likely to matter to who reads it.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// The most changes of one entry.
const MAX_CHANGES: usize = 6;
/// The largest input that is made.
const MAX_INPUT_BYTES: usize = 1 << 20;
/// How deep what is nested deeply is nested.
const DEEP: usize = 20_000;
/// How long a long text is.
const LONG: usize = 70_000;

/// Numbers at which something ends.
const NUMBERS: &[&str] = &[
    "0",
    "-0",
    "-1",
    "1",
    "9",
    "10",
    "255",
    "256",
    "65535",
    "65536",
    "2147483647",
    "2147483648",
    "-2147483649",
    "4294967296",
    "9007199254740993",
    "9223372036854775807",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775809",
    "1e16",
    "1e308",
    "1e309",
    "-1e400",
    "5e-324",
    "1e-400",
    "-0.0",
    "0.1",
    "1.7976931348623157e308",
    "4.35",
    "1e22",
    "123456789012345678901234567890",
    "0x10",
    "1_000",
    ".5",
    "5.",
    "1.0",
    "NaN",
    ".inf",
];

/// Words that mean something to one reader or another.
const WORDS: &[&str] = &[
    "\0",
    "\\u0000",
    "\\u0000\\u0000",
    "\\\\u0000",
    "\\ud800",
    "\\udc00\\ud800",
    "\\u202e",
    "\u{202e}",
    "\u{200f}",
    "\u{feff}",
    "\u{fffd}",
    "\u{1f600}",
    "e\u{301}",
    "\u{85}",
    "\u{2028}",
    "\r\n",
    "\n",
    "\t",
    " ",
    "\"",
    "'",
    "\\",
    "/",
    "~",
    "~0",
    "~1",
    "#",
    "%",
    "%00",
    "&a ",
    "*a",
    "<<: *a",
    "!x ",
    "!!binary ",
    "---\n",
    "...\n",
    "- ",
    ": ",
    "? ",
    "|\n",
    ">-\n",
    "${",
    "$${",
    "${}",
    "${inputs.a}",
    "${targets.a}",
    "${targets.go}",
    "${a | default(",
    "}",
    "{",
    "[",
    "]",
    "(",
    ")",
    ",",
    ":",
    "null",
    "true",
    "false",
    "{}",
    "[]",
    "\"\"",
    "{\"a\":1,\"a\":2}",
    "__proto__",
    "constructor",
    "\"__proto__\":{},",
    "\"$ref\":\"#\",",
    "...F ",
    "fragment F on Query { ...F }",
    "@skip(if: true)",
    "\"\"\"",
    "$v",
    "_",
    "-",
    "=",
    "==",
    "+",
    "AAAA",
    "fermata_",
    "NaN",
    "yes",
    "~\n",
    "1e999",
    "-",
];

/// Bytes that are no text, or stop in the middle of it.
const BROKEN: &[&[u8]] = &[
    b"\xff",
    b"\xc3",
    b"\xe2\x82",
    b"\xf0\x9f\x98",
    b"\xed\xa0\x80",
    b"\xc0\x80",
    b"\xf4\x90\x80\x80",
    b"\x80",
    b"\xef\xbb\xbf",
    b"\xfe\xff",
];

/// One change. Places are taken modulo the length of what they are in, so that any number is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mutation {
    /// Turns one bit.
    Flip {
        /// Where.
        at: usize,
        /// Which.
        bit: u8,
    },
    /// Puts something in.
    Insert {
        /// Where.
        at: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// Puts something in the place of a word: of letters, digits and underscores.
    Replace {
        /// Where it begins to look for the word.
        at: usize,
        /// What.
        bytes: Vec<u8>,
    },
    /// Takes some bytes out.
    Delete {
        /// Where.
        at: usize,
        /// How many.
        length: usize,
    },
    /// Writes some bytes several times.
    Repeat {
        /// Where.
        at: usize,
        /// How many.
        length: usize,
        /// How often.
        times: usize,
    },
    /// Goes on with the rest of another entry.
    Splice {
        /// Where this one ends.
        at: usize,
        /// Which entry.
        other: usize,
        /// Where the rest begins.
        from: usize,
    },
    /// Puts some bytes of another entry in.
    Graft {
        /// Where.
        at: usize,
        /// Which entry.
        other: usize,
        /// Where they begin.
        from: usize,
        /// How many.
        length: usize,
    },
    /// Writes another number in the place of one.
    Number {
        /// Where it begins to look for the number.
        at: usize,
        /// The new one.
        number: String,
    },
    /// Ends early, in the middle of a character if it comes to that.
    Truncate {
        /// Where.
        at: usize,
    },
}

/// A few changes, or none.
pub fn mutations() -> impl Strategy<Value = Vec<Mutation>> {
    vec(mutation(), 0..=MAX_CHANGES)
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let place = || 0_usize..1 << 16;
    let length = || prop_oneof![3 => 1_usize..8, 1 => 1_usize..400];
    prop_oneof![
        2 => (place(), 0_u8..8).prop_map(|(at, bit)| Mutation::Flip { at, bit }),
        4 => (place(), piece()).prop_map(|(at, bytes)| Mutation::Insert { at, bytes }),
        4 => (place(), piece()).prop_map(|(at, bytes)| Mutation::Replace { at, bytes }),
        2 => (place(), length()).prop_map(|(at, length)| Mutation::Delete { at, length }),
        2 => (place(), length(), prop_oneof![4 => 1_usize..4, 1 => 1_usize..300])
            .prop_map(|(at, length, times)| Mutation::Repeat { at, length, times }),
        2 => (place(), place(), place()).prop_map(|(at, other, from)| Mutation::Splice { at, other, from }),
        2 => (place(), place(), place(), length())
            .prop_map(|(at, other, from, length)| Mutation::Graft { at, other, from, length }),
        3 => (place(), select(NUMBERS)).prop_map(|(at, number)| Mutation::Number { at, number: number.to_owned() }),
        1 => place().prop_map(|at| Mutation::Truncate { at }),
    ]
}

fn piece() -> impl Strategy<Value = Vec<u8>> {
    let nested = prop_oneof![Just(2_usize), Just(13), Just(63), Just(64), Just(65), Just(127), Just(129), Just(DEEP)];
    let brackets = select(&[("[", "]"), ("{\"a\":", "}"), ("(", ")"), ("{a", "}"), ("- ", "")][..]);
    prop_oneof![
        12 => select(WORDS).prop_map(|word| word.as_bytes().to_vec()),
        3 => select(NUMBERS).prop_map(|number| number.as_bytes().to_vec()),
        2 => select(BROKEN).prop_map(<[u8]>::to_vec),
        2 => (brackets, nested)
            .prop_map(|((open, shut), depth)| format!("{}1{}", open.repeat(depth), shut.repeat(depth)).into_bytes()),
        1 => prop_oneof![Just(255_usize), Just(256), Just(LONG)].prop_map(|length| vec![b'x'; length]),
        2 => vec(any::<u8>(), 1..6),
    ]
}

/// An entry with the changes made one after another.
pub(crate) fn applied(corpus: &[Vec<u8>], entry: usize, changes: &[Mutation]) -> Vec<u8> {
    let mut input = corpus.get(entry).cloned().unwrap_or_default();
    for change in changes {
        apply(corpus, &mut input, change);
        input.truncate(MAX_INPUT_BYTES);
    }
    input
}

fn apply(corpus: &[Vec<u8>], input: &mut Vec<u8>, change: &Mutation) {
    // One behind the end is a place, too.
    let place = |at: usize, bytes: &[u8]| at % (bytes.len() + 1);
    let end = |at: usize, length: usize, bytes: &[u8]| at.saturating_add(length).min(bytes.len());
    let entry = |n: usize| corpus.get(n % corpus.len().max(1)).map(Vec::as_slice).unwrap_or_default();
    match change {
        Mutation::Flip { at, bit } => {
            let at = place(*at, input);
            if let Some(byte) = input.get_mut(at) {
                *byte ^= 1 << (bit % 8);
            }
        }
        Mutation::Insert { at, bytes } => {
            let at = place(*at, input);
            input.splice(at..at, bytes.iter().copied());
        }
        Mutation::Replace { at, bytes } => {
            let range = run(input, place(*at, input), |byte| byte.is_ascii_alphanumeric() || byte == b'_');
            input.splice(range, bytes.iter().copied());
        }
        Mutation::Delete { at, length } => {
            let at = place(*at, input);
            input.drain(at..end(at, *length, input));
        }
        Mutation::Repeat { at, length, times } => {
            let at = place(*at, input);
            let again = input[at..end(at, *length, input)].repeat(*times);
            input.splice(at..at, again);
        }
        Mutation::Splice { at, other, from } => {
            let other = entry(*other);
            input.truncate(place(*at, input));
            input.extend_from_slice(&other[place(*from, other)..]);
        }
        Mutation::Graft { at, other, from, length } => {
            let (at, other) = (place(*at, input), entry(*other));
            let from = place(*from, other);
            input.splice(at..at, other[from..end(from, *length, other)].iter().copied());
        }
        Mutation::Number { at, number } => {
            let range = run(input, place(*at, input), |byte| byte.is_ascii_digit());
            input.splice(range, number.bytes());
        }
        Mutation::Truncate { at } => input.truncate(place(*at, input)),
    }
}

/// The first run of such bytes behind a place, or before it; an empty one where there is none.
fn run(input: &[u8], at: usize, of: impl Fn(u8) -> bool) -> std::ops::Range<usize> {
    let fits = |n: &usize| input.get(*n).is_some_and(|byte| of(*byte));
    let Some(found) = (at..input.len()).find(fits).or_else(|| (0..at).rev().find(fits)) else { return at..at };
    let from = (0..=found).rev().take_while(fits).last().unwrap_or(found);
    let to = (found..input.len()).take_while(fits).last().unwrap_or(found);
    from..to + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(entry: &str, change: &Mutation) -> String {
        let corpus = [entry.as_bytes().to_vec(), b"OTHER".to_vec()];
        String::from_utf8(applied(&corpus, 0, std::slice::from_ref(change))).unwrap()
    }

    #[test]
    fn each_change_does_what_it_says() {
        let bytes = b"!".to_vec();
        for (change, wanted) in [
            (Mutation::Flip { at: 0, bit: 0 }, "`=12,b=3"),
            (Mutation::Insert { at: 2, bytes: bytes.clone() }, "a=!12,b=3"),
            (Mutation::Replace { at: 4, bytes }, "a=12,!=3"),
            (Mutation::Delete { at: 1, length: 4 }, "ab=3"),
            (Mutation::Repeat { at: 0, length: 2, times: 2 }, "a=a=a=12,b=3"),
            (Mutation::Splice { at: 2, other: 1, from: 2 }, "a=HER"),
            (Mutation::Graft { at: 2, other: 1, from: 1, length: 2 }, "a=TH12,b=3"),
            (Mutation::Number { at: 3, number: "-1".to_owned() }, "a=-1,b=3"),
            (Mutation::Truncate { at: 4 }, "a=12"),
            (Mutation::Truncate { at: 8 + 1 + 4 }, "a=12"),
        ] {
            assert_eq!(changed("a=12,b=3", &change), wanted, "{change:?}");
        }
    }

    #[test]
    fn nothing_is_too_small_to_be_changed() {
        for change in [
            Mutation::Flip { at: 9, bit: 9 },
            Mutation::Delete { at: 9, length: 9 },
            Mutation::Repeat { at: 9, length: 9, times: 9 },
            Mutation::Number { at: 9, number: String::new() },
            Mutation::Truncate { at: 9 },
        ] {
            assert_eq!(changed("", &change), "", "{change:?}");
        }
    }
}
