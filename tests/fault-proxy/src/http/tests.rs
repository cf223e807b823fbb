//! Laws of the reading of HTTP/1.1.

use proptest::prelude::*;

use super::*;

const REQUESTS: &[u8] = b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n\
    POST /v1/commands HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello\
    PUT /b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\na;x=y\r\n0123456789\r\n0\r\nX: y\r\n\r\n\
    HEAD /c HTTP/1.1\r\n\r\n";
const ANSWERS: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi\
    HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n\
    HTTP/1.1 204 No Content\r\n\r\n\
    HTTP/1.1 200 OK\r\nContent-Length: 77\r\n\r\n";

/// The signs without their bytes, and the bytes that came out.
fn asked(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut http = Http::default();
    let (mut lines, mut out) = (Vec::new(), Vec::new());
    for sign in pieces.iter().flat_map(|piece| http.client_sent(Bytes::copy_from_slice(piece))).collect::<Vec<_>>() {
        match sign {
            Asked::Apart(bytes) | Asked::Part(bytes) => out.extend_from_slice(&bytes),
            Asked::Known(request) => lines.push(request.text),
            other => lines.push(format!("{other:?}")),
        }
    }
    (lines, out)
}

fn answered(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
    let mut http = Http::default();
    http.client_sent(Bytes::from_static(REQUESTS));
    let (mut lines, mut out) = (Vec::new(), Vec::new());
    for sign in pieces.iter().flat_map(|piece| http.server_sent(Bytes::copy_from_slice(piece))).collect::<Vec<_>>() {
        match sign {
            Answered::Apart(bytes) | Answered::Part(bytes) => out.extend_from_slice(&bytes),
            Answered::Whole(_) => lines.push("Whole".to_owned()),
            other => lines.push(format!("{other:?}")),
        }
    }
    (lines, out)
}

fn split<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
}

proptest! {
    #[test]
    fn any_split_of_a_stream_gives_the_same_exchanges(cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30)) {
        prop_assert_eq!(asked(&split(REQUESTS, &cuts)), asked(&[REQUESTS]));
        prop_assert_eq!(answered(&split(ANSWERS, &cuts)), answered(&[ANSWERS]));
    }

    #[test]
    fn garbage_passes_unchanged(stream in prop::collection::vec(any::<u8>(), 0..400), cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..9)) {
        prop_assert_eq!(asked(&split(&stream, &cuts)).1, stream.clone());
        prop_assert_eq!(answered(&split(&stream, &cuts)).1, stream);
    }
}

#[test]
fn requests_and_answers_have_ends() {
    let (lines, out) = asked(&[REQUESTS]);
    let expected = ["GET /a HTTP/1.1", "Whole", "POST /v1/commands HTTP/1.1", "Whole", "PUT /b HTTP/1.1", "Whole"];
    assert_eq!(lines[..6], expected);
    assert_eq!(out, REQUESTS);
    let (lines, out) = answered(&[ANSWERS]);
    assert_eq!(lines, ["Begun", "Whole", "Interim", "Begun", "Whole", "Begun", "Whole", "Begun", "Whole"]);
    assert_eq!(out, ANSWERS);
}

#[test]
fn an_upgrade_is_only_passed_through_from_then_on() {
    let mut http = Http::default();
    http.client_sent(Bytes::from_static(b"GET /ws HTTP/1.1\r\nUpgrade: websocket\r\n\r\n"));
    let signs = http.server_sent(Bytes::from_static(b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x81\x02hi"));
    assert!(signs.contains(&Answered::Plain), "{signs:?}");
    assert_eq!(signs.last(), Some(&Answered::Apart(Bytes::from_static(b"\x81\x02hi"))));
    assert_eq!(http.client_sent(Bytes::from_static(b"\x82\x00")), [Asked::Apart(Bytes::from_static(b"\x82\x00"))]);
}
