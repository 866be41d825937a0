//! When to sample, and what a sample stands for.
//!
//! Every requested byte is a sample point with probability 1/R, independently: the bytes up to the next
//! point are geometric with mean R. An allocation of n bytes is sampled if a point falls into it, which
//! has probability `1 - (1-1/R)^n`, about `1 - exp(-n/R)`; so one sampled allocation stands for
//! `1 / (1 - exp(-n/R))` of its kind. With R = 131,072: malloc(100) is sampled once in 1,311.2 calls,
//! malloc(131072) with p = 0.632, malloc(2^20) with p = 0.9997.
//!
//! The wait is drawn anew after each sample (geometric waits have no memory, so nothing is owed).

use crate::wire::math::{ln, one_minus_exp};

/// Draws waits with mean `period` bytes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sampler {
    period: u64,
    /// ln(1 - 1/period), negative; minus infinity for period 1.
    ln_keep: f64,
}

impl Sampler {
    /// A sampler with this mean, at least one byte.
    pub(crate) fn new(period: u64) -> Sampler {
        let period = period.max(1);
        let inverse = 1.0 / period as f64;
        // Below 2^-26 the series is exact to the last bit, and 1 - inverse would not be.
        let ln_keep = if period > 1 << 26 { -inverse - inverse * inverse / 2.0 } else { ln(1.0 - inverse) };
        Sampler { period, ln_keep }
    }

    /// The sampler as two words, for [`from_words`](Self::from_words).
    pub(crate) fn to_words(self) -> (u64, u64) {
        (self.period, self.ln_keep.to_bits())
    }

    /// The sampler that [`to_words`](Self::to_words) took apart; words that do not belong together give one
    /// whose next wait has another mean.
    pub(crate) fn from_words(period: u64, ln_keep: u64) -> Sampler {
        Sampler { period: period.max(1), ln_keep: f64::from_bits(ln_keep) }
    }

    /// The mean number of bytes between two sample points.
    pub(crate) fn period(&self) -> u64 {
        self.period
    }

    /// The bytes up to and including the next sample point; `random` is a uniform word.
    pub(crate) fn draw(&self, random: u64) -> u64 {
        if self.period == 1 {
            return 1;
        }
        // In (0, 1]: 53 random bits, moved up by one so that the logarithm exists.
        let uniform = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (ln(uniform) / self.ln_keep) as u64 + 1
    }

    /// How many allocations of `requested` bytes one sampled one stands for.
    pub(crate) fn weight(&self, requested: u64) -> f64 {
        1.0 / one_minus_exp(requested.max(1) as f64 / self.period as f64)
    }
}

/// The next word of a thread's random numbers (xorshift64*, Vigna 2016); never give it zero.
pub(crate) fn next_random(state: u64) -> (u64, u64) {
    let mut state = state;
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    (state, state.wrapping_mul(0x2545_f491_4f6c_dd1d))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_have_the_mean_and_the_share_that_the_weights_assume() {
        for (period, size) in [(1 << 17, 33), (1 << 17, 100_000), (4, 3), (1 << 40, 1 << 38)] {
            let sampler = Sampler::new(period);
            let (mut state, mut sum, mut hits) = (0x9e37_79b9_7f4a_7c15, 0.0, 0.0);
            let draws = 2_000_000;
            for _ in 0..draws {
                let (next, random) = next_random(state);
                state = next;
                let wait = sampler.draw(random);
                sum += wait as f64;
                hits += f64::from(u8::from(wait <= size));
            }
            let mean = sum / f64::from(draws) / period as f64;
            assert!((mean - 1.0).abs() < 0.003, "mean {mean} of period {period}");
            let (expected, found) = (f64::from(draws) / sampler.weight(size), hits);
            let exact = f64::from(draws) * (1.0 - (1.0 - 1.0 / period as f64).powf(size as f64));
            let bound = 5.0 * exact.sqrt() + 1.0;
            assert!((found - exact).abs() < bound, "{found} of {exact}");
            assert!(period < 100 || (found - expected).abs() < bound, "{found} of {expected}");
        }
    }

    #[test]
    fn period_one_samples_every_byte() {
        let sampler = Sampler::new(1);
        assert_eq!((sampler.draw(0), sampler.draw(u64::MAX)), (1, 1));
        assert!((Sampler::new(0).weight(8) - 1.0).abs() < 1e-3);
    }
}
