//! A log that is bounded: it keeps the newest and counts what it forgot.

use std::collections::VecDeque;

/// The newest of what was noted.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    kept: VecDeque<T>,
    limit: usize,
    forgotten: u64,
}

impl<T> Recent<T> {
    /// A log that keeps this many.
    pub(crate) fn keeping(limit: usize) -> Self {
        Self { kept: VecDeque::new(), limit, forgotten: 0 }
    }

    /// Adds one, at the cost of the oldest if there is no room.
    pub(crate) fn note(&mut self, item: T) {
        if self.kept.len() >= self.limit {
            self.kept.pop_front();
            self.forgotten += 1;
        }
        self.kept.push_back(item);
    }

    /// What is kept, oldest first, and how many older ones are not.
    pub(crate) fn page(&self) -> (Vec<T>, u64)
    where
        T: Clone,
    {
        (self.kept.iter().cloned().collect(), self.forgotten)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_are_kept_and_the_forgotten_counted() {
        let mut recent = Recent::keeping(2);

        (1..=5).for_each(|item| recent.note(item));

        assert_eq!(recent.page(), (vec![4, 5], 3));
    }
}
