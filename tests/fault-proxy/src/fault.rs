//! A fault: what may be asked for on the control socket, and what it means once it is understood.
//!
//! To add a fault, add a variant to [`Kind`] and [`Act`], its fields to [`FaultSpec`], and its
//! moment to [`Act::moment`]; then obey it in `talk` (faults of an exchange) or `link` (of a link).

use serde::{Deserialize, Serialize};
use serde_json::Value;
use thiserror::Error;

use crate::random::{Chances, PerExchange};

/// What the bytes of a link mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Protocol {
    Postgres,
    Http,
    Tcp,
}

/// The names of the faults.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    CutAnswer,
    CutRequest,
    HalfAnswer,
    Delay,
    DelayRequest,
    HalfOpen,
    Reset,
    Refuse,
    Throttle,
    Random,
}

/// Which exchanges of Postgres a fault takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Only {
    /// Those that end, by commit, a transaction that did something; reading is something.
    Commit,
    /// Those that end, by commit, a transaction that wrote, as far as tags and texts tell.
    Write,
    /// All, also those that only prepare or fail.
    Any,
}

/// On which side of an exchange the cable is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum At {
    /// Before the request reaches the server.
    Request,
    /// After the server has answered, before a byte of it reaches the client.
    Answer,
}

/// A length of time: `5`, or `[1, 50]` for one that is drawn from the seed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "Value")]
pub(crate) struct Span {
    pub(crate) min_ms: u64,
    pub(crate) max_ms: u64,
}

impl TryFrom<Value> for Span {
    type Error = &'static str;

    fn try_from(value: Value) -> Result<Self, Self::Error> {
        const SHAPE: &str = "a length is a number of milliseconds or [min, max]";
        let (min_ms, max_ms) = match &value {
            Value::Number(one) => (one.as_u64(), one.as_u64()),
            Value::Array(two) if two.len() == 2 => (two[0].as_u64(), two[1].as_u64()),
            _ => return Err(SHAPE),
        };
        let (Some(min_ms), Some(max_ms)) = (min_ms, max_ms) else { return Err(SHAPE) };
        if min_ms <= max_ms { Ok(Self { min_ms, max_ms }) } else { Err(SHAPE) }
    }
}

/// A fault as it is asked for; which fields go with which kind is checked by [`FaultSpec::understood`].
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FaultSpec {
    kind: Kind,
    #[serde(default)]
    after: u64,
    times: Option<u64>,
    #[serde(rename = "match")]
    matches: Option<String>,
    within: Option<String>,
    only: Option<Only>,
    at: Option<At>,
    ms: Option<Span>,
    for_ms: Option<u64>,
    bytes_per_s: Option<u64>,
    seed: Option<u64>,
    per_exchange: Option<PerExchange>,
    delay_ms: Option<Span>,
}

/// Why a fault cannot be armed.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum Misunderstood {
    #[error("`{field}` is missing: this kind of fault needs it")]
    Missing { field: &'static str },
    #[error("`{field}` does not go with this kind of fault")]
    Stray { field: &'static str },
    #[error("`bytes_per_s` must be at least 1")]
    NoBytes,
    #[error("`per_exchange` must be probabilities with a sum of at most 1")]
    Chances,
    #[error("a link of protocol `tcp` has no exchanges: only half_open, reset, refuse and throttle act there")]
    NoExchanges,
    #[error("`only` and `within` need a link of protocol `postgres`")]
    NoTransactions,
}

/// What a fault does, with all that it needs.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    CutAnswer,
    CutRequest,
    HalfAnswer,
    Delay(Span),
    DelayRequest(Span),
    /// Without a side it happens at once, without waiting for an exchange.
    HalfOpen {
        at: Option<At>,
        for_ms: Option<u64>,
    },
    Reset,
    Refuse,
    Throttle {
        bytes_per_s: u64,
    },
    Random(Chances),
}

impl PartialEq for Act {
    fn eq(&self, other: &Self) -> bool {
        self.kind() == other.kind()
    }
}

/// When, in the life of an exchange, it is decided about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Moment {
    /// The request is known, and nothing of it has been passed on.
    Request,
    /// The answer's head is there (HTTP).
    Begun,
    /// The answer is whole.
    Whole,
}

impl Act {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::CutAnswer => Kind::CutAnswer,
            Self::CutRequest => Kind::CutRequest,
            Self::HalfAnswer => Kind::HalfAnswer,
            Self::Delay(_) => Kind::Delay,
            Self::DelayRequest(_) => Kind::DelayRequest,
            Self::HalfOpen { .. } => Kind::HalfOpen,
            Self::Reset => Kind::Reset,
            Self::Refuse => Kind::Refuse,
            Self::Throttle { .. } => Kind::Throttle,
            Self::Random(_) => Kind::Random,
        }
    }

    /// The moment of an exchange at which this act is decided; none for acts upon the link.
    pub(crate) fn moment(&self, protocol: Protocol) -> Option<Moment> {
        // An answer of HTTP may never end; that it began says that the server has acted.
        let answered = if protocol == Protocol::Http { Moment::Begun } else { Moment::Whole };
        match self {
            Self::CutRequest | Self::DelayRequest(_) | Self::HalfOpen { at: Some(At::Request), .. } => {
                Some(Moment::Request)
            }
            Self::CutAnswer | Self::Delay(_) | Self::HalfOpen { at: Some(At::Answer), .. } => Some(answered),
            Self::HalfAnswer => Some(Moment::Whole),
            Self::HalfOpen { at: None, .. } | Self::Reset | Self::Refuse | Self::Throttle { .. } | Self::Random(_) => {
                None
            }
        }
    }

    /// Which exchanges it takes when nobody says.
    pub(crate) fn usual(&self, protocol: Protocol) -> Only {
        match self {
            Self::CutAnswer | Self::HalfOpen { at: Some(At::Answer), .. } if protocol == Protocol::Postgres => {
                Only::Commit
            }
            _ => Only::Any,
        }
    }
}

/// A fault that is understood: what it does, and to which exchanges.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) act: Act,
    pub(crate) after: u64,
    /// None: until it is cleared.
    pub(crate) times: Option<u64>,
    pub(crate) matches: Option<String>,
    pub(crate) within: Option<String>,
    pub(crate) only: Option<Only>,
}

impl FaultSpec {
    /// Checks that the fields fit the kind, and the kind the protocol.
    pub(crate) fn understood(self, protocol: Protocol) -> Result<Fault, Misunderstood> {
        self.nothing_stray()?;
        let act = self.act()?;
        let of_exchanges = act.moment(protocol).is_some() || act.kind() == Kind::Random;
        if protocol == Protocol::Tcp && of_exchanges {
            return Err(Misunderstood::NoExchanges);
        }
        if protocol != Protocol::Postgres && (self.only.is_some() || self.within.is_some()) {
            return Err(Misunderstood::NoTransactions);
        }
        let lasting = matches!(act, Act::Refuse | Act::Random(_));
        let times = if lasting { self.times } else { Some(self.times.unwrap_or(1)) };
        let Self { after, matches, within, only, .. } = self;
        Ok(Fault { act, after, times, matches, within, only })
    }

    fn act(&self) -> Result<Act, Misunderstood> {
        let missing = |field| Misunderstood::Missing { field };
        Ok(match self.kind {
            Kind::CutAnswer => Act::CutAnswer,
            Kind::CutRequest => Act::CutRequest,
            Kind::HalfAnswer => Act::HalfAnswer,
            Kind::Delay => Act::Delay(self.ms.ok_or(missing("ms"))?),
            Kind::DelayRequest => Act::DelayRequest(self.ms.ok_or(missing("ms"))?),
            Kind::HalfOpen => {
                let chosen = self.matches.is_some() || self.within.is_some() || self.only.is_some() || self.after > 0;
                Act::HalfOpen { at: self.at.or(chosen.then_some(At::Request)), for_ms: self.for_ms }
            }
            Kind::Reset => Act::Reset,
            Kind::Refuse => Act::Refuse,
            Kind::Throttle => match self.bytes_per_s.ok_or(missing("bytes_per_s"))? {
                0 => return Err(Misunderstood::NoBytes),
                bytes_per_s => Act::Throttle { bytes_per_s },
            },
            Kind::Random => {
                let per_exchange = self.per_exchange.ok_or(missing("per_exchange"))?;
                if !per_exchange.is_sound() {
                    return Err(Misunderstood::Chances);
                }
                let delay = self.delay_ms.unwrap_or(Span { min_ms: 1, max_ms: 50 });
                Act::Random(Chances { seed: self.seed.ok_or(missing("seed"))?, per_exchange, delay })
            }
        })
    }

    /// A field that would be ignored is a mistake of whoever sent it.
    fn nothing_stray(&self) -> Result<(), Misunderstood> {
        let one_of = |kinds: &[Kind]| kinds.contains(&self.kind);
        let of_link = one_of(&[Kind::Reset, Kind::Refuse, Kind::Throttle]);
        let fields = [
            ("ms", self.ms.is_some(), one_of(&[Kind::Delay, Kind::DelayRequest])),
            ("at", self.at.is_some(), one_of(&[Kind::HalfOpen])),
            ("for_ms", self.for_ms.is_some(), one_of(&[Kind::HalfOpen])),
            ("bytes_per_s", self.bytes_per_s.is_some(), one_of(&[Kind::Throttle])),
            ("seed", self.seed.is_some(), one_of(&[Kind::Random])),
            ("per_exchange", self.per_exchange.is_some(), one_of(&[Kind::Random])),
            ("delay_ms", self.delay_ms.is_some(), one_of(&[Kind::Random])),
            ("match", self.matches.is_some(), !of_link),
            ("within", self.within.is_some(), !of_link),
            ("only", self.only.is_some(), !of_link),
            ("after", self.after > 0, !one_of(&[Kind::Reset, Kind::Throttle])),
            ("times", self.times.is_some(), !one_of(&[Kind::Reset, Kind::Throttle])),
        ];
        let stray = fields.into_iter().find(|(_, there, fits)| *there && !fits);
        stray.map_or(Ok(()), |(field, ..)| Err(Misunderstood::Stray { field }))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn understood(protocol: Protocol, spec: Value) -> Result<Fault, Misunderstood> {
        serde_json::from_value::<FaultSpec>(spec).unwrap().understood(protocol)
    }

    #[test]
    fn a_field_that_would_be_ignored_is_refused() {
        let refused = understood(Protocol::Postgres, json!({ "kind": "cut_answer", "ms": 5 })).unwrap_err();
        assert_eq!(refused, Misunderstood::Stray { field: "ms" });
        assert!(serde_json::from_value::<FaultSpec>(json!({ "kind": "cut_answer", "wen": 5 })).is_err());
    }

    #[test]
    fn a_link_without_exchanges_takes_no_fault_of_exchanges() {
        let refused = understood(Protocol::Tcp, json!({ "kind": "cut_answer" })).unwrap_err();
        assert_eq!(refused, Misunderstood::NoExchanges);
        assert!(understood(Protocol::Tcp, json!({ "kind": "half_open" })).is_ok());
    }

    #[test]
    fn chances_beyond_one_are_refused() {
        let spec = json!({ "kind": "random", "seed": 1, "per_exchange": { "delay": 0.7, "cut_answer": 0.7 } });
        assert_eq!(understood(Protocol::Postgres, spec).unwrap_err(), Misunderstood::Chances);
    }

    #[test]
    fn a_length_is_a_number_or_a_span() {
        let span = |value: Value| serde_json::from_value::<Span>(value).map(|span| (span.min_ms, span.max_ms)).ok();
        assert_eq!(span(json!(5)), Some((5, 5)));
        assert_eq!(span(json!([1, 50])), Some((1, 50)));
        assert_eq!(span(json!([50, 1])), None);
        assert_eq!(span(json!(-1)), None);
    }

    #[test]
    fn a_cable_is_pulled_at_once_unless_an_exchange_is_chosen() {
        let at = |spec| match understood(Protocol::Postgres, spec).unwrap().act {
            Act::HalfOpen { at, .. } => at,
            other => panic!("{other:?}"),
        };
        assert_eq!(at(json!({ "kind": "half_open" })), None);
        assert_eq!(at(json!({ "kind": "half_open", "match": "insert" })), Some(At::Request));
        assert_eq!(at(json!({ "kind": "half_open", "at": "answer" })), Some(At::Answer));
    }
}
