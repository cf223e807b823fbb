//! Chance that is the same each time: whoever begins with the same number draws the same.

/// Numbers that look random (SplitMix64).
#[derive(Debug, Clone)]
pub struct Lot(u64);

impl Lot {
    /// Begins with a number.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number from 0 to below `end`.
    ///
    /// # Panics
    /// When `end` is 0.
    #[expect(clippy::expect_used, reason = "a harness fails its test by panicking")]
    pub fn below(&mut self, end: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        let end = u64::try_from(end).expect("a number of choices is a number");
        usize::try_from((z ^ (z >> 31)) % end).expect("it is below a number of choices")
    }

    /// True once in so many times.
    pub fn one_in(&mut self, many: usize) -> bool {
        self.below(many) == 0
    }

    /// One of these.
    pub fn of<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())].clone()
    }
}
