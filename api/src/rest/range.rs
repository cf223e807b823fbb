//! Byte ranges (RFC 9110, section 14).

/// What part of a content is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    /// All of it: no range was asked for, or one that we need not serve.
    Whole,
    /// From the first to the last byte, both included.
    Part {
        /// Where it begins.
        first: u64,
        /// Where it ends.
        last: u64,
    },
    /// A range that the content does not have.
    Nothing,
}

/// Reads a `Range` header against a content of `length` bytes. A header that is malformed, in
/// another unit, or asks for several ranges is ignored, as the standard allows.
pub(super) fn wanted(header: Option<&str>, length: u64) -> Wanted {
    let Some(range) = header.and_then(|header| header.trim().strip_prefix("bytes=")) else { return Wanted::Whole };
    let Some((from, to)) = range.split_once('-').filter(|_| !range.contains(',')) else { return Wanted::Whole };
    let number = |text: &str| {
        let text = text.trim();
        let is_number = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        // A number beyond u64 is only a very large one.
        is_number.then(|| text.parse::<u64>().unwrap_or(u64::MAX))
    };
    match (number(from), number(to)) {
        (Some(first), _) if first >= length && (to.trim().is_empty() || number(to) >= Some(first)) => Wanted::Nothing,
        (Some(first), Some(last)) if first <= last => Wanted::Part { first, last: last.min(length - 1) },
        (Some(first), None) if to.trim().is_empty() => Wanted::Part { first, last: length - 1 },
        (None, Some(0)) if from.trim().is_empty() => Wanted::Nothing,
        (None, Some(_)) if from.trim().is_empty() && length == 0 => Wanted::Nothing,
        (None, Some(count)) if from.trim().is_empty() => {
            Wanted::Part { first: length.saturating_sub(count), last: length - 1 }
        }
        _ => Wanted::Whole,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_is_cut_to_the_content() {
        let part = |first, last| Wanted::Part { first, last };
        for (header, wanted_part) in [
            ("bytes=0-0", part(0, 0)),
            ("bytes=2-5", part(2, 5)),
            ("bytes=2-", part(2, 9)),
            ("bytes=2-999", part(2, 9)),
            ("bytes=-3", part(7, 9)),
            ("bytes=-999", part(0, 9)),
            ("bytes=9-99999999999999999999999", part(9, 9)),
        ] {
            assert_eq!(wanted(Some(header), 10), wanted_part, "{header}");
        }
    }

    #[test]
    fn a_range_beyond_the_content_is_nothing() {
        for header in ["bytes=10-", "bytes=10-20", "bytes=-0", "bytes=99999999999999999999999-"] {
            assert_eq!(wanted(Some(header), 10), Wanted::Nothing, "{header}");
        }
        for header in ["bytes=0-", "bytes=0-0", "bytes=-1"] {
            assert_eq!(wanted(Some(header), 0), Wanted::Nothing, "{header} of nothing");
        }
    }

    #[test]
    fn what_is_no_single_range_of_bytes_is_ignored() {
        for header in
            ["", "bytes", "bytes=", "bytes=-", "bytes=a-b", "bytes=5-2", "bytes=0-1,3-4", "lines=1-2", "bytes=-1-2"]
        {
            assert_eq!(wanted(Some(header), 10), Wanted::Whole, "{header}");
        }
        assert_eq!(wanted(None, 10), Wanted::Whole);
    }
}
