//! Pseudo-random numbers that are the same in every run (SplitMix64), so that a demo or a benchmark can be
//! repeated exactly. Never for anything that must be hard to guess.

/// A generator; two with the same seed give the same numbers.
pub struct Prng(u64);

impl Prng {
    /// A generator that starts from `seed`.
    pub const fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A container id as runtimes make them: 64 hexadecimal digits.
    pub fn container_id(&mut self) -> String {
        format!("{:016x}{:016x}{:016x}{:016x}", self.next(), self.next(), self.next(), self.next())
    }

    /// A pod uid: the text form of a random UUID (version 4).
    pub fn uid(&mut self) -> String {
        let (high, low) = (self.next(), self.next());
        format!(
            "{:08x}-{:04x}-4{:03x}-a{:03x}-{:012x}",
            high >> 32,
            (high >> 16) & 0xffff,
            high & 0xfff,
            low >> 52,
            low & 0xffff_ffff_ffff
        )
    }

    /// The five characters with which Kubernetes ends a generated pod name.
    pub fn pod_suffix(&mut self) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut number = self.next();
        let mut suffix = String::new();
        while suffix.len() < 5 {
            let place = usize::try_from(number % 27).unwrap_or_default();
            suffix.extend(ALPHABET.get(place).map(|byte| char::from(*byte)));
            number /= 27;
        }
        suffix
    }

    /// Puts `items` into another order.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            let bound = u64::try_from(last).unwrap_or(u64::MAX).saturating_add(1);
            items.swap(last, usize::try_from(self.next() % bound).unwrap_or_default());
        }
    }
}
