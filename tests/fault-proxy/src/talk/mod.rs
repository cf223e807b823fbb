//! One connection's exchanges: what of them is held, and what the faults make of it.
//!
//! [`Talk`] is pure: bytes from either side go in, and [`Step`]s come out that the pump of that
//! side carries out in order. Nothing is held unless a fault that is armed may want it.

#[cfg(test)]
mod tests;

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use crate::book::{Book, Facts, Verdict};
use crate::bounds::{MAX_HELD_BYTES, MAX_IN_FLIGHT};
use crate::exchange::{Answered, Asked, Outcome, Request};
use crate::fault::{Moment, Protocol};
use crate::http::Http;
use crate::postgres::Postgres;

/// What a pump does next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Pass these bytes on.
    Write(Bytes),
    /// Wait, or until the faults are cleared.
    Pause { ms: u64 },
    /// Pull the cable of the whole link.
    Freeze { for_ms: Option<u64> },
    /// Reset both sides. Nothing follows.
    Cut,
}

/// The direction that bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Toward {
    Server,
    Client,
}

#[derive(Debug)]
enum Dialect {
    Postgres(Box<Postgres>),
    Http(Box<Http>),
    /// Nothing is understood, everything is passed on.
    Plain,
}

#[derive(Debug)]
enum Answer {
    /// Not a byte has come.
    Awaited,
    Held(BytesMut),
    /// Its bytes have begun to pass, or may not be held.
    Passing,
}

#[derive(Debug)]
struct Exchange {
    number: u64,
    request: Option<Request>,
    /// The request as far as it is held back; none once it is passed on.
    held: Option<BytesMut>,
    whole: bool,
    /// The client waits for parts of the answer, so it may not be held.
    flushed: bool,
    /// The answer came whole before the request did.
    answered: bool,
    answer: Answer,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Talk {
    connection: u64,
    dialect: Dialect,
    exchanges: VecDeque<Exchange>,
    steps: Vec<Step>,
    turned: bool,
}

impl Talk {
    pub(crate) fn new(connection: u64, protocol: Protocol) -> Self {
        let dialect = match protocol {
            Protocol::Postgres => Dialect::Postgres(Box::default()),
            Protocol::Http => Dialect::Http(Box::default()),
            Protocol::Tcp => Dialect::Plain,
        };
        Self { connection, dialect, exchanges: VecDeque::new(), steps: Vec::new(), turned: false }
    }

    /// Takes bytes of the client; the steps are for the pump toward the server.
    pub(crate) fn client_sent(&mut self, chunk: Bytes, book: &mut Book) -> Vec<Step> {
        let signs = match &mut self.dialect {
            Dialect::Postgres(postgres) => postgres.client_sent(chunk),
            Dialect::Http(http) => http.client_sent(chunk),
            Dialect::Plain => {
                self.give_out(Toward::Server);
                vec![Asked::Apart(chunk)]
            }
        };
        for sign in signs {
            self.asked(sign, book);
            if self.steps.last() == Some(&Step::Cut) {
                break;
            }
        }
        std::mem::take(&mut self.steps)
    }

    /// Takes bytes of the server; the steps are for the pump toward the client.
    pub(crate) fn server_sent(&mut self, chunk: Bytes, book: &mut Book) -> Vec<Step> {
        let signs = match &mut self.dialect {
            Dialect::Postgres(postgres) => postgres.server_sent(chunk),
            Dialect::Http(http) => http.server_sent(chunk),
            Dialect::Plain => {
                self.give_out(Toward::Client);
                vec![Answered::Apart(chunk)]
            }
        };
        for sign in signs {
            self.answered(sign, book);
            if self.steps.last() == Some(&Step::Cut) {
                break;
            }
        }
        std::mem::take(&mut self.steps)
    }

    /// Gives out what is held in one direction: the faults were cleared, or its source has ended.
    pub(crate) fn release(&mut self, toward: Toward) -> Vec<Step> {
        self.give_out(toward);
        std::mem::take(&mut self.steps)
    }

    /// Whether it has just become plain; the pump of the other direction must then [`Talk::release`].
    pub(crate) fn has_turned(&mut self) -> bool {
        std::mem::take(&mut self.turned)
    }

    pub(crate) fn is_plain(&self) -> bool {
        matches!(self.dialect, Dialect::Plain)
    }

    fn give_out(&mut self, toward: Toward) {
        let mut given = Vec::new();
        for exchange in &mut self.exchanges {
            let held = match (toward, &mut exchange.answer) {
                (Toward::Server, _) => exchange.held.take(),
                (Toward::Client, Answer::Held(held)) => {
                    let held = std::mem::take(held);
                    exchange.answer = Answer::Passing;
                    Some(held)
                }
                (Toward::Client, _) => None,
            };
            given.extend(held);
        }
        for held in given {
            self.write(held.freeze());
        }
    }

    fn asked(&mut self, sign: Asked, book: &mut Book) {
        match sign {
            Asked::Apart(bytes) => self.write(bytes),
            Asked::Part(bytes) => self.request_part(bytes, book),
            Asked::Known(request) => self.request_known(request, book),
            Asked::Flushed => {
                if let Some(exchange) = self.exchanges.back_mut() {
                    exchange.flushed = true;
                }
            }
            Asked::Whole => {
                if let Some(exchange) = self.exchanges.back_mut() {
                    exchange.whole = true;
                }
                if self.exchanges.back().is_some_and(|last| last.answered) {
                    self.exchanges.pop_back();
                }
            }
            Asked::Plain => self.turn_plain(Toward::Server, book),
        }
    }

    fn request_part(&mut self, bytes: Bytes, book: &mut Book) {
        if self.exchanges.back().is_none_or(|last| last.whole) {
            if self.exchanges.len() >= MAX_IN_FLIGHT {
                self.turn_plain(Toward::Server, book);
                return self.write(bytes);
            }
            let number = book.next_exchange();
            let held = book.may_want(&[Moment::Request], number, None).then(BytesMut::new);
            self.exchanges.push_back(Exchange {
                number,
                request: None,
                held,
                whole: false,
                flushed: false,
                answered: false,
                answer: Answer::Awaited,
            });
        }
        let Some(exchange) = self.exchanges.back_mut() else { return };
        match &mut exchange.held {
            Some(held) if held.len() + bytes.len() <= MAX_HELD_BYTES => held.extend_from_slice(&bytes),
            Some(_) => {
                book.counts.too_large += 1;
                let held = exchange.held.take().unwrap_or_default();
                self.write(held.freeze());
                self.write(bytes);
            }
            None => self.write(bytes),
        }
    }

    fn request_known(&mut self, request: Request, book: &mut Book) {
        let Some(exchange) = self.exchanges.back_mut() else { return };
        let held = exchange.held.take();
        let number = exchange.number;
        let request = exchange.request.insert(request);
        let Some(held) = held else { return };
        let facts = Facts {
            connection: self.connection,
            exchange: number,
            text: &request.text,
            prepared: &request.prepared,
            transaction: &request.text,
            commits: request.commits,
            writes: request.writes,
        };
        match book.decide(Moment::Request, &facts) {
            Some(Verdict::Cut | Verdict::Half) => return self.steps.push(Step::Cut),
            Some(Verdict::Delay { ms }) => self.steps.push(Step::Pause { ms }),
            Some(Verdict::HalfOpen { for_ms }) => self.steps.push(Step::Freeze { for_ms }),
            None => {}
        }
        self.write(held.freeze());
    }

    fn answered(&mut self, sign: Answered, book: &mut Book) {
        match sign {
            Answered::Apart(bytes) => self.write(bytes),
            Answered::Part(bytes) => self.answer_part(bytes, book),
            Answered::Interim => {
                self.pass_answer();
                if let Some(exchange) = self.exchanges.front_mut() {
                    exchange.answer = Answer::Awaited;
                }
            }
            Answered::Begun => self.answer_begun(book),
            Answered::Endless => self.pass_answer(),
            Answered::Whole(outcome) => self.answer_whole(&outcome, book),
            Answered::Plain => self.turn_plain(Toward::Client, book),
        }
    }

    fn answer_part(&mut self, bytes: Bytes, book: &mut Book) {
        // What comes before the request has been passed on is no answer to it.
        let Some(exchange) = self.exchanges.front_mut().filter(|first| first.held.is_none()) else {
            return self.write(bytes);
        };
        if matches!(exchange.answer, Answer::Awaited) {
            let text = exchange.request.as_ref().map(|request| request.text.as_str());
            let wanted = !exchange.flushed && book.may_want(&[Moment::Begun, Moment::Whole], exchange.number, text);
            exchange.answer = if wanted { Answer::Held(BytesMut::new()) } else { Answer::Passing };
        }
        match &mut exchange.answer {
            Answer::Held(_) if exchange.flushed => {
                self.pass_answer();
                self.write(bytes);
            }
            Answer::Held(held) if held.len() + bytes.len() <= MAX_HELD_BYTES => held.extend_from_slice(&bytes),
            Answer::Held(_) => {
                book.counts.too_large += 1;
                self.pass_answer();
                self.write(bytes);
            }
            Answer::Awaited | Answer::Passing => self.write(bytes),
        }
    }

    /// The server has acted: most faults of HTTP need not wait for the end of the answer.
    fn answer_begun(&mut self, book: &mut Book) {
        let decided = self.decide_answer(Moment::Begun, &Outcome::default(), book);
        let Some(exchange) = self.exchanges.front() else { return };
        let text = exchange.request.as_ref().map(|request| request.text.as_str());
        if decided || !book.may_want(&[Moment::Whole], exchange.number, text) {
            self.pass_answer();
        }
    }

    fn answer_whole(&mut self, outcome: &Outcome, book: &mut Book) {
        book.counts.commits += u64::from(outcome.committed);
        self.decide_answer(Moment::Whole, outcome, book);
        self.pass_answer();
        // An answer may come before the request is whole; the exchange then ends with the request.
        match self.exchanges.front_mut() {
            Some(first) if !first.whole => first.answered = true,
            _ => drop(self.exchanges.pop_front()),
        }
    }

    /// Decides about the oldest exchange if not a byte of its answer has passed.
    fn decide_answer(&mut self, moment: Moment, outcome: &Outcome, book: &mut Book) -> bool {
        let Some(Exchange { number, request: Some(request), whole: true, answer: Answer::Held(held), .. }) =
            self.exchanges.front_mut()
        else {
            return false;
        };
        let facts = Facts {
            connection: self.connection,
            exchange: *number,
            text: &request.text,
            prepared: &request.prepared,
            transaction: &outcome.transaction,
            commits: outcome.committed,
            writes: outcome.wrote,
        };
        let Some(verdict) = book.decide(moment, &facts) else { return false };
        match verdict {
            Verdict::Cut => self.steps.push(Step::Cut),
            Verdict::Half => {
                let half = held.split_to(held.len() / 2);
                self.steps.extend([Step::Write(half.freeze()), Step::Cut]);
            }
            Verdict::Delay { ms } => self.steps.push(Step::Pause { ms }),
            Verdict::HalfOpen { for_ms } => self.steps.push(Step::Freeze { for_ms }),
        }
        if matches!(verdict, Verdict::Cut | Verdict::Half) {
            held.clear();
        }
        true
    }

    /// The oldest answer passes from here on.
    fn pass_answer(&mut self) {
        let Some(exchange) = self.exchanges.front_mut() else { return };
        if let Answer::Held(held) = std::mem::replace(&mut exchange.answer, Answer::Passing) {
            self.write(held.freeze());
        }
    }

    /// Nothing is understood any more: what is held in this direction passes first.
    fn turn_plain(&mut self, toward: Toward, book: &mut Book) {
        if !matches!(self.dialect, Dialect::Plain) {
            book.counts.plain += 1;
            self.dialect = Dialect::Plain;
            self.turned = true;
        }
        self.give_out(toward);
    }

    fn write(&mut self, bytes: Bytes) {
        let after_a_cut = self.steps.last() == Some(&Step::Cut);
        if !bytes.is_empty() && !after_a_cut {
            self.steps.push(Step::Write(bytes));
        }
    }
}
