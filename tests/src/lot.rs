//! Chance that is the same each time: whoever begins with the same number draws the same.

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};

/// Draws, in the words of the laws that draw.
#[derive(Debug)]
pub struct Lot(StdRng);

impl Lot {
    /// Begins with a number.
    pub fn new(seed: u64) -> Self {
        Self(StdRng::seed_from_u64(seed))
    }

    /// A number from 0 to below `end`.
    ///
    /// # Panics
    /// When `end` is 0.
    pub fn below(&mut self, end: usize) -> usize {
        self.0.random_range(0..end)
    }

    /// True once in so many times.
    ///
    /// # Panics
    /// When `many` is 0.
    pub fn one_in(&mut self, many: u32) -> bool {
        self.0.random_ratio(1, many)
    }

    /// One of these.
    ///
    /// # Panics
    /// When there are none.
    #[expect(clippy::expect_used, reason = "a harness fails its test by panicking")]
    pub fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices.choose(&mut self.0).expect("there are choices").clone()
    }
}
