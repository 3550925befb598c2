//! Orders that differ from run to run and can be had again by their seed.

use std::time::{SystemTime, UNIX_EPOCH};

/// A small generator (xorshift64*): order of pods, nothing that needs secrecy.
pub struct Shuffle {
    state: u64,
}

impl Shuffle {
    /// A generator that gives the same orders for the same `seed`.
    pub fn new(seed: u64) -> Self {
        // Zero is the one state that xorshift never leaves.
        Self { state: seed.max(1) }
    }

    /// A seed that another run will hardly have.
    pub fn fresh_seed() -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        since.as_secs().wrapping_mul(1_000_000).wrapping_add(u64::from(since.subsec_micros())) % 1_000_000_000
    }

    fn next(&mut self) -> u64 {
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    /// A number below `bound`; 0 if there is none.
    pub fn below(&mut self, bound: usize) -> usize {
        let bound = u64::try_from(bound).unwrap_or(u64::MAX).max(1);
        usize::try_from(self.next() % bound).unwrap_or(0)
    }

    /// Puts `items` in another order (Fisher-Yates).
    pub fn order<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let chosen = self.below(last.saturating_add(1));
            items.swap(last, chosen);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_order_again_and_loses_nothing() {
        let mut first: Vec<u32> = (0..30).collect();
        let mut second = first.clone();
        Shuffle::new(7).order(&mut first);
        Shuffle::new(7).order(&mut second);
        assert_eq!(first, second);
        assert_ne!(first, (0..30).collect::<Vec<_>>());
        first.sort_unstable();
        assert_eq!(first, (0..30).collect::<Vec<_>>());
    }
}
