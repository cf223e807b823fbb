//! Chance, as a function of the seed, the link's name and the number of the exchange.

use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde::Deserialize;

use crate::fault::{Act, Span};

/// Which part of the exchanges meets which fault.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct PerExchange {
    cut_answer: f64,
    cut_request: f64,
    half_answer: f64,
    delay: f64,
}

impl PerExchange {
    /// Whether these are probabilities that leave no exchange with two fates.
    pub(crate) fn is_sound(&self) -> bool {
        let all = [self.cut_answer, self.cut_request, self.half_answer, self.delay];
        all.iter().all(|one| (0.0..=1.0).contains(one)) && all.iter().sum::<f64>() <= 1.0 + f64::EPSILON
    }
}

/// A source of fates for the exchanges of a link.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Chances {
    pub(crate) seed: u64,
    pub(crate) per_exchange: PerExchange,
    pub(crate) delay: Span,
}

impl Chances {
    /// What happens to an exchange: always the same for the same seed, link and number.
    pub(crate) fn fate(&self, link: &str, exchange: u64) -> Option<Act> {
        let drawn = source(self.seed, link, exchange).random::<f64>();
        let fates = [
            (self.per_exchange.cut_answer, Act::CutAnswer),
            (self.per_exchange.cut_request, Act::CutRequest),
            (self.per_exchange.half_answer, Act::HalfAnswer),
            (self.per_exchange.delay, Act::Delay(self.delay)),
        ];
        let mut upto = 0.0;
        fates.into_iter().find_map(|(part, act)| {
            upto += part;
            (drawn < upto).then_some(act)
        })
    }
}

/// A length within a span: always the same for the same seed, link and number.
pub(crate) fn within(span: Span, seed: u64, link: &str, exchange: u64) -> u64 {
    // Turned, so that it is independent of the fate that was drawn from the same three.
    source(!seed, link, exchange).random_range(span.min_ms..=span.max_ms)
}

/// FNV-1a over the three, so that neighbours in number are strangers in chance.
fn source(seed: u64, link: &str, exchange: u64) -> StdRng {
    let bytes = seed.to_le_bytes().into_iter().chain(link.bytes()).chain([0]).chain(exchange.to_le_bytes());
    let hash = bytes
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    StdRng::seed_from_u64(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chances(seed: u64) -> Chances {
        let per_exchange = PerExchange { cut_answer: 0.1, cut_request: 0.1, half_answer: 0.1, delay: 0.2 };
        Chances { seed, per_exchange, delay: Span { min_ms: 1, max_ms: 50 } }
    }

    fn fates(seed: u64, link: &str) -> Vec<Option<Act>> {
        (0..2000).map(|exchange| chances(seed).fate(link, exchange)).collect()
    }

    #[test]
    fn a_fate_is_a_function_of_seed_link_and_number() {
        assert_eq!(fates(7, "db"), fates(7, "db"));
        assert_ne!(fates(7, "db"), fates(8, "db"));
        assert_ne!(fates(7, "db"), fates(7, "http"));
    }

    #[test]
    fn fates_come_as_often_as_was_asked() {
        let fates = fates(1, "db");
        let often = |act: Act| fates.iter().filter(|fate| **fate == Some(act)).count();
        for (act, expected) in [(Act::CutAnswer, 200), (Act::CutRequest, 200), (Act::HalfAnswer, 200)] {
            assert!(often(act).abs_diff(expected) < 60, "{act:?}: {} of 2000", often(act));
        }
    }

    #[test]
    fn a_length_stays_within_its_span() {
        let span = Span { min_ms: 3, max_ms: 5 };
        let lengths: Vec<_> = (0..200).map(|exchange| within(span, 1, "db", exchange)).collect();
        assert!((3..=5).all(|length| lengths.contains(&length)), "{lengths:?}");
        assert!(lengths.iter().all(|length| (3..=5).contains(length)));
    }
}
