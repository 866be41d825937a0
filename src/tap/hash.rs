//! Mixing words: for tables and caches whose keys are addresses and names, not for keys that somebody chose.

/// An odd constant without structure: 2^64 divided by the golden ratio.
pub(crate) const ODD: u64 = 0x9e37_79b9_7f4a_7c15;

/// Spreads low bits over high ones, and no two words alike (Knuth's multiplicative hash).
#[inline(always)]
pub(crate) const fn spread(word: u64) -> u64 {
    word.wrapping_mul(ODD)
}

/// Multiplies to 128 bits and folds, so that every bit of the input reaches every bit of the result: one step of a
/// 64-bit hash.
#[inline]
pub(crate) fn fold(value: u64, by: u64) -> u64 {
    let product = u128::from(value) * u128::from(by);
    (product >> 64) as u64 ^ product as u64
}

/// A running hash of a few words.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hash(u64);

impl Hash {
    /// Of nothing yet.
    pub(crate) const fn new() -> Hash {
        Hash(ODD)
    }

    /// Adds a word.
    #[inline]
    pub(crate) fn with(self, word: u64) -> Hash {
        Hash(fold(self.0 ^ word, ODD) ^ self.0.rotate_left(23))
    }

    /// The hash.
    #[inline]
    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::Hash;

    #[test]
    fn neighbouring_words_spread_over_low_and_high_bits() {
        let hashes: Vec<u64> = (0..4096).map(|word| Hash::new().with(0x7f00_0000_0000 + 8 * word).finish()).collect();
        for shift in [0, 52] {
            let mut buckets: Vec<u64> = hashes.iter().map(|hash| hash >> shift & 0xfff).collect();
            buckets.sort_unstable();
            buckets.dedup();
            // 4,096 random balls in 4,096 boxes hit 2,589 of them; a poor hash hits far fewer.
            assert!(buckets.len() > 2400, "{} at {shift}", buckets.len());
        }
    }

    #[test]
    fn order_matters() {
        assert_ne!(Hash::new().with(1).with(2).finish(), Hash::new().with(2).with(1).finish());
    }
}
