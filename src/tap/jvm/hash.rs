//! A fast hash of a few words, for the caches of `jvm`: not for untrusted keys.

/// An odd constant without structure: the fractional part of the golden ratio.
const MIX: u64 = 0x9e37_79b9_7f4a_7c15;

/// A running hash.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hash(u64);

impl Hash {
    pub(super) const fn new() -> Hash {
        Hash(MIX)
    }

    /// Adds a word: multiplied to 128 bits and folded, so that every bit of the input reaches every bit of the result.
    #[inline]
    pub(super) fn with(self, word: u64) -> Hash {
        let product = u128::from(self.0 ^ word) * u128::from(MIX);
        Hash((product >> 64) as u64 ^ product as u64 ^ self.0.rotate_left(23))
    }

    #[inline]
    pub(super) fn finish(self) -> u64 {
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
