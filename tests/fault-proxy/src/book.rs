//! The book of one link: which faults are armed, which fired, and what was counted.
//!
//! It is pure: it is asked about an exchange and answers with a [`Verdict`]. Whoever holds the
//! sockets carries it out, and takes the lines of the log from [`Book::take_fired`].

use std::collections::BTreeMap;

use serde::Serialize;

use crate::bounds::{MAX_FAULTS_PER_LINK, MAX_LOG_STATEMENT_CHARS};
use crate::fault::{Act, Fault, Kind, Moment, Only, Protocol};
use crate::random;

/// What is to happen to an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Reset both sides; what is held is never delivered.
    Cut,
    /// Deliver the first half of what is held, then reset both sides.
    Half,
    /// Deliver what is held after so long.
    Delay { ms: u64 },
    /// Pull the cable of the whole link; what is held is delivered when it is plugged in again.
    HalfOpen { for_ms: Option<u64> },
}

/// What a decision may look at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Facts<'a> {
    pub(crate) connection: u64,
    pub(crate) exchange: u64,
    pub(crate) text: &'a str,
    pub(crate) prepared: &'a str,
    /// The statements of the transaction up to and with this exchange.
    pub(crate) transaction: &'a str,
    pub(crate) commits: bool,
    pub(crate) writes: bool,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Fired {
    pub(crate) at_ms: u64,
    pub(crate) link: String,
    pub(crate) id: String,
    pub(crate) kind: Kind,
    pub(crate) connection: Option<u64>,
    pub(crate) exchange: Option<u64>,
    pub(crate) statement: String,
}

impl Fired {
    /// The line as a sentence, for whoever waits for it.
    pub(crate) fn sentence(&self) -> String {
        let kind = serde_json::to_value(self.kind).ok();
        let kind = kind.as_ref().and_then(|kind| kind.as_str()).unwrap_or_default();
        match (self.connection, self.exchange) {
            (Some(connection), Some(exchange)) => {
                format!("{kind} on `{}`, connection {connection}, exchange {exchange}: {}", self.link, self.statement)
            }
            (Some(connection), None) => format!("{kind} on `{}`, connection {connection}", self.link),
            _ => format!("{kind} on `{}`: {}", self.link, self.statement),
        }
    }
}

/// What happened on a link since it was opened.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Counts {
    pub(crate) connections: u64,
    /// Connections that are open now.
    pub(crate) current: u64,
    /// Connections beyond [`crate::bounds::MAX_CONNECTIONS_PER_LINK`].
    pub(crate) turned_away: u64,
    /// Connections for which the upstream could not be reached.
    pub(crate) unreachable: u64,
    pub(crate) exchanges: u64,
    pub(crate) commits: u64,
    /// Requests and answers that were too long to hold, and passed.
    pub(crate) too_large: u64,
    /// Connections that are only passed through: encrypted, upgraded, replication, not understood.
    pub(crate) plain: u64,
    pub(crate) bytes_to_server: u64,
    pub(crate) bytes_to_client: u64,
    pub(crate) fired: BTreeMap<Kind, u64>,
}

/// A fault in the book.
#[derive(Debug)]
struct Armed {
    id: String,
    fault: Fault,
    disarmed: bool,
    skipped: u64,
    fired: u64,
    last: Option<String>,
}

impl Armed {
    fn is_live(&self) -> bool {
        !self.disarmed && self.fault.times.is_none_or(|times| self.fired < times)
    }

    /// What this fault would do to an exchange.
    fn act(&self, link: &str, exchange: u64) -> Option<Act> {
        match self.fault.act {
            Act::Random(chances) => chances.fate(link, exchange),
            act => Some(act),
        }
    }

    fn admits(&self, act: &Act, protocol: Protocol, facts: &Facts<'_>) -> bool {
        let kind = match self.fault.only.unwrap_or_else(|| act.usual(protocol)) {
            Only::Commit => facts.commits,
            Only::Write => facts.commits && facts.writes,
            Only::Any => true,
        };
        kind && self.may_admit(facts.text)
            && self.fault.within.as_ref().is_none_or(|within| facts.transaction.contains(within.as_str()))
    }

    /// Whether the request alone does not rule it out.
    fn may_admit(&self, text: &str) -> bool {
        self.fault.matches.as_ref().is_none_or(|part| text.contains(part.as_str()))
    }

    fn is_due(&mut self) -> bool {
        let due = self.skipped >= self.fault.after;
        self.skipped += u64::from(!due);
        due
    }
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Book {
    pub(crate) link: String,
    pub(crate) protocol: Protocol,
    pub(crate) counts: Counts,
    seed: u64,
    armed: Vec<Armed>,
    fired: Vec<Fired>,
}

impl Book {
    pub(crate) fn new(link: String, protocol: Protocol, seed: u64) -> Self {
        Self { link, protocol, counts: Counts::default(), seed, armed: Vec::new(), fired: Vec::new() }
    }

    /// Enters a fault; false when the book is full of faults that are still armed.
    pub(crate) fn arm(&mut self, id: String, fault: Fault) -> bool {
        self.forget(&id);
        if self.armed.len() >= MAX_FAULTS_PER_LINK {
            let Some(spent) = self.armed.iter().position(|one| !one.is_live()) else { return false };
            self.armed.remove(spent);
        }
        self.armed.push(Armed { id, fault, disarmed: false, skipped: 0, fired: 0, last: None });
        true
    }

    /// Disarms one fault, or all; returns the kinds of those that were disarmed.
    pub(crate) fn disarm(&mut self, id: Option<&str>) -> Vec<Kind> {
        let chosen = self.armed.iter_mut().filter(|one| id.is_none_or(|id| one.id == id));
        chosen
            .map(|one| {
                one.disarmed = true;
                one.fault.act.kind()
            })
            .collect()
    }

    /// Forgets a fault, so that its id may be given anew.
    pub(crate) fn forget(&mut self, id: &str) {
        self.armed.retain(|one| one.id != id);
    }

    /// Whether a fault of this id is still armed.
    pub(crate) fn is_armed(&self, id: &str) -> bool {
        self.armed.iter().any(|one| one.id == id && one.is_live())
    }

    /// How often a fault of this id has fired, and what it did last.
    pub(crate) fn record(&self, id: &str) -> Option<(u64, Option<String>)> {
        self.armed.iter().find(|one| one.id == id).map(|one| (one.fired, one.last.clone()))
    }

    /// The number of an exchange that begins.
    pub(crate) fn next_exchange(&mut self) -> u64 {
        self.counts.exchanges += 1;
        self.counts.exchanges
    }

    /// Whether a fault may want to decide about this exchange at one of these moments.
    ///
    /// `text` is what is known of the request; a fault that waits for another text is ruled out.
    pub(crate) fn may_want(&self, moments: &[Moment], exchange: u64, text: Option<&str>) -> bool {
        self.armed.iter().filter(|one| one.is_live() && text.is_none_or(|text| one.may_admit(text))).any(|one| {
            let moment = one.act(&self.link, exchange).and_then(|act| act.moment(self.protocol));
            moment.is_some_and(|moment| moments.contains(&moment))
        })
    }

    /// Decides about an exchange: the fault that was armed first and is due wins.
    pub(crate) fn decide(&mut self, moment: Moment, facts: &Facts<'_>) -> Option<Verdict> {
        let Self { link, protocol, armed, seed, .. } = self;
        let (index, act) = armed.iter_mut().enumerate().find_map(|(index, one)| {
            let act = one.act(link, facts.exchange).filter(|act| act.moment(*protocol) == Some(moment))?;
            let due = one.is_live() && one.admits(&act, *protocol, facts) && one.is_due();
            due.then_some((index, act))
        })?;
        let seed = match armed[index].fault.act {
            Act::Random(chances) => chances.seed,
            _ => *seed,
        };
        let verdict = match act {
            Act::HalfAnswer => Verdict::Half,
            Act::Delay(span) | Act::DelayRequest(span) => {
                Verdict::Delay { ms: random::within(span, seed, link, facts.exchange) }
            }
            Act::HalfOpen { for_ms, .. } => Verdict::HalfOpen { for_ms },
            _ => Verdict::Cut,
        };
        let statement = if facts.text.is_empty() { facts.prepared } else { facts.text };
        self.note(index, act.kind(), Some((facts.connection, Some(facts.exchange))), statement);
        Some(verdict)
    }

    /// Whether a new connection is to be refused.
    pub(crate) fn refuses(&mut self, connection: u64) -> bool {
        let refusing = |one: &mut Armed| one.is_live() && one.fault.act == Act::Refuse && one.is_due();
        let Some(index) = self.armed.iter_mut().position(refusing) else { return false };
        self.note(index, Kind::Refuse, Some((connection, None)), "");
        true
    }

    /// Fires a fault that does not wait for an exchange.
    pub(crate) fn fire_at_once(&mut self, id: &str, what: &str) {
        if let Some(index) = self.armed.iter().position(|one| one.id == id) {
            let kind = self.armed[index].fault.act.kind();
            self.note(index, kind, None, what);
        }
    }

    /// The lines that have come since the last call, still without their time.
    pub(crate) fn take_fired(&mut self) -> Vec<Fired> {
        std::mem::take(&mut self.fired)
    }

    fn note(&mut self, index: usize, kind: Kind, place: Option<(u64, Option<u64>)>, statement: &str) {
        let one = &mut self.armed[index];
        one.fired += 1;
        *self.counts.fired.entry(kind).or_default() += 1;
        let fired = Fired {
            at_ms: 0,
            link: self.link.clone(),
            id: one.id.clone(),
            kind,
            connection: place.map(|(connection, _)| connection),
            exchange: place.and_then(|(_, exchange)| exchange),
            statement: statement.chars().take(MAX_LOG_STATEMENT_CHARS).collect(),
        };
        one.last = Some(fired.sentence());
        self.fired.push(fired);
    }
}

impl Act {
    /// Whether it happens as soon as it is armed.
    pub(crate) fn is_immediate(&self) -> bool {
        matches!(self, Self::HalfOpen { at: None, .. } | Self::Reset | Self::Throttle { .. })
    }
}
