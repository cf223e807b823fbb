//! What can be said of a document before it is parsed.

use super::{Limit, MAX_DOCUMENT_BYTES, MAX_NESTING};

/// Refuses text that is too long, too deeply nested for a recursive parser, or could not be
/// stored.
pub(super) fn check(document: &str) -> Result<(), Limit> {
    if document.len() > MAX_DOCUMENT_BYTES {
        let (has, most) = (document.len(), MAX_DOCUMENT_BYTES);
        return Err(Limit::exceeded("graphql_document_too_large", "document has this many bytes:", has, most));
    }
    // An escape that stands behind an escaped backslash is refused too: nobody will miss it.
    if document.contains('\0') || document.contains("\\u0000") {
        return Err(Limit::new("nul", "the document must not have NUL characters"));
    }
    let deepest = nesting(document);
    if deepest > MAX_NESTING {
        let what = "document's brackets are nested this deep:";
        return Err(Limit::exceeded("graphql_too_deep", what, deepest, MAX_NESTING));
    }
    Ok(())
}

/// How deep brackets are nested, outside of text and comments.
fn nesting(document: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0_usize);
    let mut rest = document.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = match byte {
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
                after
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                after
            }
            b'#' => &after[after.iter().position(|byte| matches!(byte, b'\n' | b'\r')).unwrap_or(after.len())..],
            b'"' => behind_text(after),
            _ => after,
        };
    }
    deepest
}

/// What stands behind a text whose first quotation mark has been read.
fn behind_text(rest: &[u8]) -> &[u8] {
    if let Some(block) = rest.strip_prefix(b"\"\"") {
        let end = block
            .windows(3)
            .enumerate()
            .find(|(n, three)| *three == b"\"\"\"" && !(*n > 0 && block.get(n - 1) == Some(&b'\\')));
        return end.map_or(&[], |(n, _)| &block[n + 3..]);
    }
    let mut escaped = false;
    for (n, byte) in rest.iter().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return &rest[n + 1..],
            // A text without an end: the parser will say so.
            b'\n' | b'\r' => return &rest[n..],
            _ => {}
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn brackets_are_counted_outside_of_text_and_comments() {
        for (document, deepest) in [
            ("{ a }", 1),
            ("{ a(b: [{c: 1}]) }", 4),
            (r#"{ a(b: "}}}}{{{{{{") { c } }"#, 2),
            (r#"{ a(b: "\"{{{") { c } }"#, 2),
            ("{ a(b: \"\"\" {{{ \\\"\"\" {{{ \"\"\") { c } }", 2),
            ("{ a # {{{{\n { b } }", 2),
            ("\"", 0),
            ("}}}{", 1),
            ("\"\"\"{", 0),
        ] {
            assert_eq!(nesting(document), deepest, "{document}");
        }
    }

    #[test]
    fn what_no_parser_should_see_is_refused() {
        assert_eq!(check("{ a }"), Ok(()));
        let code = |document: &str| check(document).unwrap_err().code;
        assert_eq!(code(&"{a".repeat(MAX_NESTING + 1)), "graphql_too_deep");
        assert_eq!(code(&"[".repeat(30_000)), "graphql_too_deep");
        assert_eq!(code(&" ".repeat(MAX_DOCUMENT_BYTES + 1)), "graphql_document_too_large");
        assert_eq!(code("{ a(b: \"\\u0000\") }"), "nul");
        assert_eq!(code("{ a(b: \"\0\") }"), "nul");
    }
}
