//! Identifiers: typed, time-ordered (UUID version 7, RFC 9562), made by the server only.
//!
//! Partitions of the run tables are ranges of these ids, so they come from the database's time
//! ([`Clock`]) and never from a client.

use std::fmt;
use std::str::FromStr;

use chrono::{DateTime, Utc};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::{NoContext, Timestamp, Uuid};

use crate::clock::Clock;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl $name {
            /// A new id at the clock's time.
            pub fn new(clock: &Clock) -> Self {
                Self(uuid_at(clock.now()))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::from_str(text).map(Self)
            }
        }
    )+};
}

ids! {
    /// A command, and the run that carries it out: the same id (design, section 2).
    RunId,
    /// One attempt at an intent; walks the action machine once.
    ActionId,
    /// The business identity of a side effect.
    IntentId,
    /// A wait for a person's decision.
    GateId,
    /// A file or document kept for a run.
    ArtifactId,
    /// One process start of a node: fresh each time, so that a dead one is never mistaken.
    NodeId,
    /// An access token.
    TokenId,
    /// A signal, as sent by a client.
    SignalId,
    /// An immutable fact in the stream.
    EventId,
}

/// A UUID version 7 of that time, to a quarter of a microsecond (RFC 9562, section 6.2, method 3), so
/// that what comes later sorts later; the other 62 bits are random.
pub fn uuid_at(at: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(at.timestamp()).unwrap_or(0);
    let nanos = at.timestamp_subsec_nanos();
    let id = Uuid::new_v7(Timestamp::from_unix(NoContext, seconds, nanos)).as_u128();
    let fraction = u128::from(nanos % 1_000_000) * 4_096 / 1_000_000;
    Uuid::from_u128((id & !(0xFFF << 64)) | (fraction << 64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_a_microsecond_later_sorts_later() {
        let at = |micros| DateTime::from_timestamp_micros(1_800_000_000_000_000 + micros).unwrap();
        let ids: Vec<Uuid> = (0..3_000_i64).map(|micros| uuid_at(at(micros))).collect();
        assert!(ids.is_sorted() && ids.windows(2).all(|pair| pair[0] != pair[1]));
        assert_ne!(uuid_at(at(0)), uuid_at(at(0)));
        let id = ids[999];
        assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
        assert_eq!(id.get_timestamp().map(|time| time.to_unix().0), Some(1_800_000_000));
    }
}
