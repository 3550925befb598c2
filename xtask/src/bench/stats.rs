//! Medians and tails of measured times.

use std::time::Duration;

/// Times of one kind of call, in the order they were measured.
#[derive(Clone, Default)]
pub struct Samples(Vec<Duration>);

impl Samples {
    /// Adds one time.
    pub fn push(&mut self, took: Duration) {
        self.0.push(took);
    }

    /// How many there are.
    pub const fn len(&self) -> usize {
        self.0.len()
    }

    /// The median; of an even number of times the mean of the two in the middle. `None` without times.
    pub fn median(&self) -> Option<Duration> {
        let sorted = self.sorted();
        let upper = *sorted.get(sorted.len() / 2)?;
        let lower = *sorted.get(sorted.len().saturating_sub(1) / 2)?;
        Some(lower.saturating_add(upper) / 2)
    }

    /// The 99th percentile by nearest rank: with fewer than 100 times it is the longest. `None` without times.
    pub fn p99(&self) -> Option<Duration> {
        let sorted = self.sorted();
        let rank = sorted.len().saturating_mul(99).div_ceil(100);
        sorted.get(rank.checked_sub(1)?).copied()
    }

    fn sorted(&self) -> Vec<Duration> {
        let mut sorted = self.0.clone();
        sorted.sort_unstable();
        sorted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn samples(millis: impl IntoIterator<Item = u64>) -> Samples {
        Samples(millis.into_iter().map(Duration::from_millis).collect())
    }

    #[test]
    fn the_median_does_not_depend_on_the_order_and_halves_an_even_middle() {
        assert_eq!(samples([9, 1, 5]).median(), Some(Duration::from_millis(5)));
        assert_eq!(samples([8, 1, 4, 2]).median(), Some(Duration::from_millis(3)));
        assert_eq!(samples([]).median(), None);
    }

    #[test]
    fn the_99th_percentile_leaves_one_in_a_hundred_above_it() {
        assert_eq!(samples((1..=200).rev()).p99(), Some(Duration::from_millis(198)));
        assert_eq!(samples(1..=50).p99(), Some(Duration::from_millis(50)));
        assert_eq!(samples([]).p99(), None);
    }
}
