//! HTTP/1.1, as far as exchanges go: request lines, and where requests and answers begin and end.
//!
//! An upgrade (WebSocket) or a tunnel turns the connection into one that is only passed through,
//! and so does anything that cannot be read. [`head`] and [`body`] find the ends; [`Http`] makes
//! exchanges.

mod body;
mod head;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::Bytes;

use crate::bounds::MAX_HEAD_BYTES;
use crate::exchange::{Answered, Asked, Outcome, Request};
use crate::http::body::Body;
use crate::http::head::{Garbage, Head};

const HEAD_END: &[u8] = b"\r\n\r\n";
const SWITCHING: u16 = 101;
const WITHOUT_BODY: [u16; 2] = [204, 304];

/// Where one side is in its stream of messages.
#[derive(Debug)]
enum Place {
    /// In a head, as far as it has come.
    Head(Vec<u8>),
    Body(Body),
}

impl Default for Place {
    fn default() -> Self {
        Self::Head(Vec::new())
    }
}

/// See the head of this file.
#[derive(Debug, Default)]
pub(crate) struct Http {
    client: Place,
    server: Place,
    /// The methods of the requests that await their answers.
    awaited: VecDeque<String>,
    plain: bool,
}

impl Http {
    pub(crate) fn client_sent(&mut self, mut chunk: Bytes) -> Vec<Asked> {
        let mut signs = Vec::new();
        while !self.plain && !chunk.is_empty() {
            if self.client_piece(&mut chunk, &mut signs).is_err() {
                self.plain = true;
                signs.push(Asked::Plain);
            }
        }
        signs.extend((!chunk.is_empty()).then_some(Asked::Apart(chunk)));
        signs
    }

    pub(crate) fn server_sent(&mut self, mut chunk: Bytes) -> Vec<Answered> {
        let mut signs = Vec::new();
        while !self.plain && !chunk.is_empty() {
            if self.server_piece(&mut chunk, &mut signs).is_err() {
                self.plain = true;
                signs.push(Answered::Plain);
            }
        }
        signs.extend((!chunk.is_empty()).then_some(Answered::Apart(chunk)));
        signs
    }

    fn client_piece(&mut self, chunk: &mut Bytes, signs: &mut Vec<Asked>) -> Result<(), Garbage> {
        match &mut self.client {
            Place::Head(seen) => {
                let (bytes, is_whole) = take_head(seen, chunk)?;
                signs.push(Asked::Part(bytes));
                if is_whole {
                    let head = Head::read(seen)?;
                    self.awaited.push_back(head.method().to_owned());
                    self.client = Place::Body(Body::of_request(&head));
                    signs.push(Asked::Known(Request { text: head.line, ..Request::default() }));
                }
            }
            Place::Body(body) => signs.push(Asked::Part(body.take(chunk)?)),
        }
        if matches!(&self.client, Place::Body(body) if body.is_over()) {
            self.client = Place::default();
            signs.push(Asked::Whole);
        }
        Ok(())
    }

    fn server_piece(&mut self, chunk: &mut Bytes, signs: &mut Vec<Answered>) -> Result<(), Garbage> {
        match &mut self.server {
            Place::Head(seen) => {
                let (bytes, is_whole) = take_head(seen, chunk)?;
                signs.push(Answered::Part(bytes));
                if is_whole {
                    let head = Head::read(seen)?;
                    self.server = self.answer_begins(&head, signs)?;
                }
            }
            Place::Body(body) => signs.push(Answered::Part(body.take(chunk)?)),
        }
        if matches!(&self.server, Place::Body(body) if body.is_over()) {
            self.server = Place::default();
            self.awaited.pop_front();
            signs.push(Answered::Whole(Outcome::default()));
        }
        Ok(())
    }

    fn answer_begins(&mut self, head: &Head, signs: &mut Vec<Answered>) -> Result<Place, Garbage> {
        let status = head.status()?;
        if status < 200 && status != SWITCHING {
            signs.push(Answered::Interim);
            return Ok(Place::default());
        }
        signs.push(Answered::Begun);
        let method = self.awaited.front().map_or("", String::as_str);
        if status == SWITCHING || (method == "CONNECT" && status < 300) {
            self.plain = true;
            signs.push(Answered::Plain);
        }
        let body =
            if method == "HEAD" || WITHOUT_BODY.contains(&status) { Body::Sized(0) } else { Body::of_answer(head) };
        if body == Body::Endless || head.is_event_stream {
            signs.push(Answered::Endless);
        }
        Ok(Place::Body(body))
    }
}

/// Takes what belongs to a head off the chunk; whether the head is then whole.
fn take_head(seen: &mut Vec<u8>, chunk: &mut Bytes) -> Result<(Bytes, bool), Garbage> {
    let before = seen.len();
    seen.extend_from_slice(chunk);
    let from = before.saturating_sub(HEAD_END.len() - 1);
    let end = seen[from..].windows(HEAD_END.len()).position(|window| window == HEAD_END);
    let end = end.map(|end| from + end + HEAD_END.len());
    if end.unwrap_or(seen.len()) > MAX_HEAD_BYTES {
        return Err(Garbage);
    }
    seen.truncate(end.unwrap_or(seen.len()));
    Ok((chunk.split_to(seen.len() - before), end.is_some()))
}
