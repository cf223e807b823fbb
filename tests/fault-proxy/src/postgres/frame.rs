//! Where the messages of Postgres's protocol begin and end, whatever pieces they come in.
//!
//! A [`Framer`] keeps no bytes back: it says of each piece of the stream which message it belongs
//! to, and at a message's end what its body began with.

use bytes::{Bytes, BytesMut};

use crate::bounds::{MAX_MESSAGE_BYTES, MAX_SEEN_BYTES, MAX_STARTUP_BYTES};

/// The kind of a start-up packet, which has no letter.
pub(crate) const STARTUP: u8 = 0;

/// A message, with as much of its body as is looked at.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    /// At most [`MAX_SEEN_BYTES`]; nothing of messages whose body does not matter.
    pub(crate) body: Bytes,
}

/// A piece of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Piece {
    pub(crate) kind: u8,
    pub(crate) bytes: Bytes,
    /// The message, if this piece ends it.
    pub(crate) frame: Option<Frame>,
}

/// The bytes are not messages of this side.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Garbage;

/// Which messages are expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// Start-up packets of a client.
    Startup,
    Client,
    Server,
}

impl Side {
    fn knows(self, kind: u8) -> bool {
        match self {
            Self::Startup => kind == STARTUP,
            Self::Client => b"QPBDECHSFpXdcf".contains(&kind),
            Self::Server => b"RKSZENATDC123nstIGHWVvdc".contains(&kind),
        }
    }

    /// Whether the body of such a message is looked at.
    fn looks_into(self, kind: u8) -> bool {
        match self {
            Self::Startup => true,
            Self::Client => b"QPBEC".contains(&kind),
            Self::Server => b"ZC".contains(&kind),
        }
    }

    fn header_bytes(self) -> usize {
        if self == Self::Startup { 4 } else { 5 }
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Framer {
    side: Side,
    /// The header as far as it has come.
    header: Vec<u8>,
    /// Bytes of the body that are still to come, once the header is whole.
    missing: usize,
    body: BytesMut,
}

impl Framer {
    pub(crate) fn new(side: Side) -> Self {
        Self { side, header: Vec::new(), missing: 0, body: BytesMut::new() }
    }

    /// From the next message on, expects those of another side.
    pub(crate) fn turn_to(&mut self, side: Side) {
        self.side = side;
    }

    /// Takes the next piece off the chunk: up to the end of a message, or of the chunk.
    pub(crate) fn next(&mut self, chunk: &mut Bytes) -> Option<Result<Piece, Garbage>> {
        if chunk.is_empty() {
            return None;
        }
        let header_bytes = self.side.header_bytes();
        let of_header = chunk.len().min(header_bytes.saturating_sub(self.header.len()));
        self.header.extend_from_slice(&chunk[..of_header]);
        let kind = if self.side == Side::Startup { STARTUP } else { self.header[0] };
        if !self.side.knows(kind) {
            return Some(Err(Garbage));
        }
        if self.header.len() < header_bytes {
            return Some(Ok(Piece { kind, bytes: chunk.split_to(of_header), frame: None }));
        }
        if of_header > 0 {
            match self.length() {
                Some(length) => self.missing = length,
                None => return Some(Err(Garbage)),
            }
        }
        let of_body = self.missing.min(chunk.len() - of_header);
        if self.side.looks_into(kind) {
            let seen = of_body.min(MAX_SEEN_BYTES.saturating_sub(self.body.len()));
            self.body.extend_from_slice(&chunk[of_header..of_header + seen]);
        }
        self.missing -= of_body;
        let frame = (self.missing == 0).then(|| {
            self.header.clear();
            Frame { kind, body: self.body.split().freeze() }
        });
        Some(Ok(Piece { kind, bytes: chunk.split_to(of_header + of_body), frame }))
    }

    /// The length of the body that a whole header announces.
    fn length(&self) -> Option<usize> {
        let (_, length) = self.header.split_last_chunk::<4>()?;
        let length = usize::try_from(i32::from_be_bytes(*length)).ok()?;
        let most = if self.side == Side::Startup { MAX_STARTUP_BYTES } else { MAX_MESSAGE_BYTES };
        (4..=most).contains(&length).then(|| length - 4)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Feeds a stream in pieces; the messages, and the bytes that came out again.
    fn framed(side: Side, pieces: &[&[u8]]) -> (Vec<Frame>, Vec<u8>, bool) {
        let mut framer = Framer::new(side);
        let (mut found, mut out) = (Vec::new(), Vec::new());
        for piece in pieces {
            let mut chunk = Bytes::copy_from_slice(piece);
            while let Some(piece) = framer.next(&mut chunk) {
                let Ok(piece) = piece else { return (found, out, false) };
                out.extend_from_slice(&piece.bytes);
                found.extend(piece.frame);
            }
        }
        (found, out, true)
    }

    fn message() -> impl Strategy<Value = Vec<u8>> {
        let kinds = prop::sample::select(b"QPBDECHSFpXdcf".to_vec());
        (kinds, prop::collection::vec(any::<u8>(), 0..300)).prop_map(|(kind, body)| {
            let length = u32::try_from(body.len() + 4).unwrap();
            [&[kind], length.to_be_bytes().as_slice(), &body].concat()
        })
    }

    fn split<'a>(stream: &'a [u8], cuts: &[prop::sample::Index]) -> Vec<&'a [u8]> {
        let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
        places.extend([0, stream.len()]);
        places.sort_unstable();
        places.windows(2).map(|pair| &stream[pair[0]..pair[1]]).collect()
    }

    proptest! {
        #[test]
        fn any_split_of_a_stream_gives_the_same_messages(
            messages in prop::collection::vec(message(), 1..12),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
        ) {
            let stream = messages.concat();
            let whole = framed(Side::Client, &[&stream]);
            prop_assert_eq!(whole.0.len(), messages.len());
            prop_assert_eq!(&whole.1, &stream);
            prop_assert_eq!(framed(Side::Client, &split(&stream, &cuts)), whole);
        }

        #[test]
        fn what_comes_out_before_garbage_went_in(stream in prop::collection::vec(any::<u8>(), 0..400)) {
            for side in [Side::Startup, Side::Client, Side::Server] {
                let (_, out, _) = framed(side, &[&stream]);
                prop_assert!(stream.starts_with(&out));
            }
        }
    }

    #[test]
    fn a_long_body_is_seen_only_in_part() {
        let body = vec![b'x'; MAX_SEEN_BYTES * 2];
        let length = u32::try_from(body.len() + 4).unwrap();
        let stream = [b"Q", length.to_be_bytes().as_slice(), &body].concat();
        let (frames, out, _) = framed(Side::Client, &[&stream]);
        assert_eq!(frames[0].body.len(), MAX_SEEN_BYTES);
        assert_eq!(out, stream);
    }
}
