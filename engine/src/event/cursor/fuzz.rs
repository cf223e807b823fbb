//! What strangers send as a cursor.

use fermata_corpus::Target;

use super::*;

/// Places of the stream, and where it may reach from and to.
fn places(cursor: Cursor) -> [Cursor; 6] {
    let Cursor { epoch, position } = cursor;
    let at = |epoch, position| Cursor { epoch, position };
    [
        at(epoch, 0),
        at(epoch, position.saturating_sub(1)),
        cursor,
        at(epoch, position.saturating_add(1)),
        at(epoch, i64::MAX),
        at(epoch.wrapping_add(1), position),
    ]
}

#[test]
fn fuzz_a_place_has_one_text_and_a_stream_is_resumed_only_inside_of_itself() {
    Target::new("cursor", 2_000).holds(|bytes| {
        let text = String::from_utf8_lossy(bytes);
        let in_json = serde_json::from_slice::<Cursor>(bytes);
        let cursor = match text.parse::<Cursor>() {
            Ok(cursor) => cursor,
            Err(CursorError::Version(form)) => return assert!(form > VERSION, "{form}"),
            Err(error) => return assert_eq!(error, CursorError::Malformed),
        };
        assert!(in_json.is_err(), "text is no JSON");
        assert_eq!(cursor.to_string(), text, "one place has one text");
        assert_eq!(serde_json::from_value::<Cursor>(text.into()).ok(), Some(cursor));
        assert!(cursor.position >= 0);
        for oldest in places(cursor) {
            for head in places(cursor) {
                let same = cursor.epoch == head.epoch;
                let inside = same && (oldest.position..=head.position).contains(&cursor.position);
                assert_eq!(cursor.check(oldest, head).is_ok(), inside, "{cursor:?} from {oldest:?} to {head:?}");
            }
        }
    });
}
