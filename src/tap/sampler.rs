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

/// Draws waits with mean `period` bytes, and says what a sample stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sampler {
    period: u64,
}

impl Sampler {
    /// A sampler with this mean, at least one byte.
    pub(crate) fn new(period: u64) -> Sampler {
        Sampler { period: period.max(1) }
    }

    /// The mean number of bytes between two sample points.
    pub(crate) fn period(self) -> u64 {
        self.period
    }

    /// The bytes up to and including the next sample point; `random` is a uniform word.
    pub(crate) fn draw(self, random: u64) -> u64 {
        if self.period == 1 {
            return 1;
        }
        // In (0, 1]: 53 random bits, moved up by one so that the logarithm exists.
        let uniform = ((random >> 11) + 1) as f64 / (1u64 << 53) as f64;
        (-ln(uniform) * self.mean_of_logarithm()) as u64 + 1
    }

    /// -1 / ln(1 - 1/R). By its series R - 1/2 - 1/12R - 1/24R² from R = 16 on (relative error below 1e-6).
    fn mean_of_logarithm(self) -> f64 {
        let period = self.period as f64;
        let inverse = 1.0 / period;
        if self.period < 16 {
            return -1.0 / ln(1.0 - inverse);
        }
        period - 0.5 - inverse * (1.0 / 12.0 + inverse / 24.0)
    }

    /// How many allocations of `requested` bytes one sampled one stands for: 1 / (1 - exp(-x)), x = requested / R.
    ///
    /// Nearly all allocations are much smaller than R; for them the first terms of the series do, without the
    /// exponential (relative error below 1e-12 up to an eighth).
    pub(crate) fn weight(self, requested: u64) -> f64 {
        let (period, requested) = (self.period as f64, requested.max(1) as f64);
        let x = requested / period;
        if x > 0.125 {
            return 1.0 / one_minus_exp(x);
        }
        let square = x * x;
        period / requested + 0.5 + x * (1.0 / 12.0 - square * (1.0 / 720.0 - square / 30240.0))
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

    #[test]
    fn weights_of_small_requests_are_those_of_the_formula() {
        for requested in [1, 7, 100, 4096, 16383, 16384, 16385, 40_000, 1 << 20] {
            let exact = 1.0 / one_minus_exp(requested as f64 / 131_072.0);
            assert!((Sampler::new(1 << 17).weight(requested) / exact - 1.0).abs() < 1e-12, "{requested}");
        }
    }
}
