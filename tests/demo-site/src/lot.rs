//! Chance without randomness: every draw follows from a seed and from what it is about.
//!
//! The same [`Lot`] gives the same draws in every process and in any order of arrival, so a trial
//! that failed can be had again by its seed. Each draw has a name of its own, so that another
//! fault does not shift the draws of those that were there before.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// One thing that chance decides about: the n-th of a subject, under a seed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Lot<'a> {
    /// What makes one run differ from another.
    pub(crate) seed: u64,
    /// What is decided about.
    pub(crate) subject: &'a str,
    /// Which time it is decided about, from 1.
    pub(crate) n: u64,
}

impl Lot<'_> {
    /// Whether something of this chance happens.
    pub(crate) fn happens(self, draw: &str, chance: f64) -> bool {
        self.share(draw) < chance
    }

    /// A number from 0, which may come, to 1, which may not.
    pub(crate) fn share(self, draw: &str) -> f64 {
        let [a, b, c, d, ..] = self.word(draw).to_be_bytes();
        f64::from(u32::from_be_bytes([a, b, c, d])) / (f64::from(u32::MAX) + 1.0)
    }

    /// A number of the span, both ends included.
    pub(crate) fn within(self, draw: &str, Span([least, most]): Span) -> u64 {
        let width = most.saturating_sub(least).saturating_add(1);
        least + self.word(draw) % width
    }

    /// One of the choices, or nothing if there are none.
    pub(crate) fn pick<T: Copy>(self, draw: &str, choices: &[T]) -> Option<T> {
        let last = u64::try_from(choices.len()).ok()?.checked_sub(1)?;
        let place = usize::try_from(self.within(draw, Span([0, last]))).ok()?;
        choices.get(place).copied()
    }

    fn word(self, draw: &str) -> u64 {
        let hash = Sha256::new_with_prefix(self.seed.to_be_bytes())
            .chain_update(self.n.to_be_bytes())
            .chain_update(draw)
            // No draw's name has a zero byte in it, so none runs into the subject.
            .chain_update([0])
            .chain_update(self.subject)
            .finalize();
        hash.iter().take(size_of::<u64>()).fold(0, |word, &byte| word << 8 | u64::from(byte))
    }
}

/// The least and the most that a draw may give, in JSON `[least, most]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Span(pub(crate) [u64; 2]);

impl Span {
    /// Refuses a span that is upside down or beyond a bound.
    pub(crate) fn checked(self, name: &str, bound: u64) -> Result<(), String> {
        let Self([least, most]) = self;
        if least > most || most > bound {
            return Err(format!("`{name}` is [least, most], and the most is at most {bound}"));
        }
        Ok(())
    }
}

/// Refuses a chance that is none.
pub(crate) fn checked_chance(name: &str, chance: f64) -> Result<(), String> {
    if (0.0..=1.0).contains(&chance) {
        return Ok(());
    }
    Err(format!("`{name}` is a chance from 0 to 1"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOT: Lot<'static> = Lot { seed: 1, subject: "r-1", n: 1 };

    fn draws(lot: Lot<'_>) -> [u64; 2] {
        ["delay", "hold"].map(|draw| lot.within(draw, Span([0, u64::MAX - 1])))
    }

    #[test]
    fn the_same_lot_draws_the_same_and_any_other_lot_another() {
        assert_eq!(draws(LOT), draws(LOT));
        for other in [Lot { seed: 2, ..LOT }, Lot { subject: "r-2", ..LOT }, Lot { n: 2, ..LOT }] {
            assert_ne!(draws(LOT)[0], draws(other)[0]);
            assert_ne!(draws(LOT)[1], draws(other)[1]);
        }
        assert_ne!(draws(LOT)[0], draws(LOT)[1]);
    }

    #[test]
    fn what_is_certain_happens_and_what_has_no_chance_does_not() {
        for n in 0..1000 {
            let lot = Lot { n, ..LOT };
            assert!(lot.happens("drop", 1.0) && !lot.happens("drop", 0.0));
            assert!((3..=5).contains(&lot.within("delay", Span([3, 5]))));
            assert!(lot.pick("status", &[500, 503]).is_some() && lot.pick::<u16>("status", &[]).is_none());
        }
    }

    #[test]
    fn a_tenth_is_about_a_tenth() {
        let hits = (0..10_000).filter(|&n| Lot { n, ..LOT }.happens("drop", 0.1)).count();

        assert!((900..1100).contains(&hits), "{hits}");
    }
}
