//! The numbers that stock jeprof turns into the truth.
//!
//! A sample of usable size s, requested size n, drawn with period P, stands for `w = 1/(1-exp(-n/P))` objects and `s*w`
//! bytes. Per stack these sum up to C objects and S bytes. jeprof multiplies what it reads: from objects c and bytes b
//! it makes `c*f` and `b*f` with `f = 1/(1-exp(-(b/c)/R))`, where R is the period of the *header*, whatever periods the
//! samples had. With real numbers `c = C*q` and `b = S*q`, `q = 1-exp(-(S/C)/R)`, would be turned into C and S again.
//! Example: R = 131072, one live sample of malloc(100) in the 112-byte class: w = 1311.2, S = 146,856;
//! c = 1.12, b = 125.
//!
//! c and b must be whole numbers, and one raw object of small size stands for about R bytes: no stack can be shown as
//! less. Once the period has been raised, a stack that was sampled with the old one may be worth a sixteenth of that.
//! So the error is carried on, **in what jeprof will show** and not in what is written: a stack gets the c that brings
//! the sum of all stacks so far nearest to the truth, and a stack that is not its turn gets 0. The sum of bytes is then
//! true to half a raw object, and a single stack to one. b is free within bounds: of small objects it hardly changes
//! the bytes that jeprof shows (`c*R + b/2`) but the objects (`c*c*R/b`), so it evens those out; of large ones it is
//! the bytes. Our own readers take the exact sums, which stand after the maps.

use crate::wire::math::{ln, one_minus_exp};

/// Estimated objects and bytes: sums of what samples stand for.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Estimate {
    pub(super) objects: f64,
    pub(super) bytes: f64,
}

/// Objects and bytes as they are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raw {
    /// Raw objects.
    pub(crate) objects: u64,
    /// Their bytes.
    pub(crate) bytes: u64,
}

/// Blocks of so many periods are sampled with certainty: jeprof's factor is 1 to 0.04 %.
const CERTAIN: f64 = 8.0;
/// Steps of Newton's method: its start is near, and each doubles the digits.
const STEPS: usize = 6;

/// Makes raw numbers of a series of estimates, and carries on what they show too little or too much.
pub(super) struct Rounder {
    period: f64,
    carry: Estimate,
}

impl Rounder {
    /// Before the first stack. `period`: that of the header.
    pub(super) fn new(period: u64) -> Rounder {
        Rounder { period: period.max(1) as f64, carry: Estimate::default() }
    }

    /// The numbers of the next stack.
    pub(super) fn round(&mut self, exact: Estimate) -> Raw {
        // Also where one is no number.
        if !(exact.objects > 0.0 && exact.bytes > 0.0) {
            return Raw::default();
        }
        let wanted = Estimate { objects: exact.objects + self.carry.objects, bytes: exact.bytes + self.carry.bytes };
        let mean = exact.bytes / exact.objects;
        let objects = if mean >= CERTAIN * self.period {
            // jeprof shows these objects as they are written, and the bytes whatever their number.
            (exact.objects + between(self.carry.objects, -0.5, 0.5)).round().max(1.0)
        } else {
            (wanted.bytes * one_minus_exp(mean / self.period) / mean).round().max(0.0)
        };
        if objects < 1.0 {
            self.carry = wanted;
            return Raw::default();
        }
        let bytes = self.bytes(objects, mean, wanted).round().max(1.0);
        let shown = self.shown(objects, bytes);
        self.carry = Estimate { objects: wanted.objects - shown.objects, bytes: wanted.bytes - shown.bytes };
        Raw { objects: objects as u64, bytes: bytes as u64 }
    }

    /// What jeprof shows for raw numbers.
    fn shown(&self, objects: f64, bytes: f64) -> Estimate {
        let factor = 1.0 / one_minus_exp(bytes / objects / self.period);
        Estimate { objects: objects * factor, bytes: bytes * factor }
    }

    /// The raw bytes of so many raw objects of a mean size that show best what is wanted.
    fn bytes(&self, objects: f64, mean: f64, wanted: Estimate) -> f64 {
        let usual = objects * mean;
        if mean < self.period / 8.0 {
            // Half a period of b is a quarter of one in what is shown.
            let slack = (usual / 2.0).min(self.period / 2.0);
            let even = if wanted.objects > objects {
                -objects * self.period * ln(1.0 - objects / wanted.objects)
            } else {
                usual + slack
            };
            return between(even, usual - slack, usual + slack);
        }
        // x/(1-exp(-x)) = wanted, with x = b/(c*R): increasing, convex, 1 at 0.
        let wanted = wanted.bytes / (objects * self.period);
        let mut x = mean / self.period;
        for _ in 0..STEPS {
            let (below, rest) = (one_minus_exp(x), 1.0 - one_minus_exp(x));
            let slope = (below - x * rest) / (below * below);
            x = (x - (x / below - wanted) / slope).max(mean / self.period / 2.0);
        }
        between(x * objects * self.period, usual / 2.0, usual * 2.0)
    }
}

/// As `f64::clamp`, which can panic with a message that holds floats: writing those would be 20 KB of the tap.
#[allow(clippy::manual_clamp, reason = "see above")]
fn between(value: f64, least: f64, most: f64) -> f64 {
    value.max(least).min(most)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What jeprof makes of a count line (AdjustSamples in jeprof.in).
    fn jeprof(raw: Raw, period: f64) -> Estimate {
        if raw.objects == 0 {
            return Estimate { objects: 0.0, bytes: raw.bytes as f64 };
        }
        let (objects, bytes) = (raw.objects as f64, raw.bytes as f64);
        let scale = 1.0 / (1.0 - (-(bytes / objects) / period).exp());
        Estimate { objects: objects * scale, bytes: bytes * scale }
    }

    /// Differences of what jeprof shows from the truth: of the sums, relative; of the worst single stack, in bytes.
    fn errors(period: u64, stacks: &[Estimate]) -> (f64, f64, f64) {
        let mut rounder = Rounder::new(period);
        let (mut exact, mut shown, mut worst) = (Estimate::default(), Estimate::default(), 0f64);
        for stack in stacks {
            let value = jeprof(rounder.round(*stack), period as f64);
            exact = Estimate { objects: exact.objects + stack.objects, bytes: exact.bytes + stack.bytes };
            shown = Estimate { objects: shown.objects + value.objects, bytes: shown.bytes + value.bytes };
            worst = worst.max((value.bytes - stack.bytes).abs() / (period as f64 + stack.bytes / stack.objects));
        }
        ((shown.bytes - exact.bytes) / period as f64, shown.objects / exact.objects - 1.0, worst)
    }

    #[test]
    fn a_raised_period_moves_no_total() {
        // 64 paths of half a MiB in 1,200-byte objects, sampled at 128 KiB, read under ever longer periods.
        let stack = Estimate { objects: 437.0 * 1280.0 / 1200.0, bytes: 437.0 * 1280.0 };
        for lg in [10, 17, 19, 20, 21, 24] {
            let (bytes, objects, worst) = errors(1 << lg, &[stack; 64]);
            assert!(bytes.abs() <= 0.8 && worst <= 1.1, "lg {lg}: {bytes} raw objects off, {worst} at one stack");
            // Of 0.002 raw objects none is shown.
            assert!(objects.abs() < 0.05 || lg > 22, "lg {lg}: objects off by {objects}");
        }
    }

    #[test]
    fn objects_of_stacks_with_certain_blocks_sum_up() {
        // Blocks of one byte, of which 1 - 1/e are seen even where every byte may be drawn.
        let weight = 1.0 / (1.0 - (-1.0f64).exp());
        let stack = Estimate { objects: weight, bytes: weight * 8.5 };
        let (bytes, objects, _) = errors(1, &[stack; 50]);
        assert!(bytes.abs() <= 1.0 && objects.abs() <= 0.7 / (50.0 * weight), "{bytes} bytes, {objects} objects off");
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn stacks_of_all_sizes_and_periods_keep_the_sum() {
        let mut state = 1u64;
        let mut random = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 11) as f64 / (1u64 << 53) as f64
        };
        for round in 0..200 {
            let period = 1u64 << (9 + round % 14);
            let stacks: Vec<Estimate> = (0..500)
                .map(|_| {
                    let size = (16.0 * (2f64).powf(random() * 18.0)).round();
                    let weight = 1.0 / one_minus_exp(size / (131_072.0 * (1.0 + random() * 15.0)));
                    let samples = (random() * random() * 40.0).ceil();
                    Estimate { objects: samples * weight, bytes: samples * weight * size }
                })
                .collect();
            let (bytes, objects, worst) = errors(period, &stacks);
            assert!(bytes.abs() < 1.0, "period {period}: {bytes} raw objects off");
            assert!(worst < 1.6, "period {period}: {worst} raw objects off at one stack");
            assert!(objects.abs() < 0.25, "period {period}: objects off by {objects}");
        }
    }

    #[test]
    fn large_blocks_and_equal_periods_are_exact() {
        let block = Estimate { objects: 1.0 / one_minus_exp(16.0), bytes: 2_097_152.0 / one_minus_exp(16.0) };
        assert_eq!(Rounder::new(131_072).round(block), Raw { objects: 1, bytes: 2_097_152 });
        let many = Estimate { objects: 1000.0 * 1311.2, bytes: 1000.0 * 146_856.0 };
        let shown = jeprof(Rounder::new(131_072).round(many), 131_072.0);
        assert!((shown.bytes / many.bytes - 1.0).abs() < 1e-3, "{shown:?}");
        assert!((shown.objects / many.objects - 1.0).abs() < 1e-3, "{shown:?}");
    }

    #[test]
    fn nonsense_is_nothing() {
        for exact in [(0.0, 5.0), (5.0, 0.0), (f64::NAN, 1.0), (-1.0, 1.0)] {
            let exact = Estimate { objects: exact.0, bytes: exact.1 };
            assert_eq!(Rounder::new(1024).round(exact), Raw::default());
        }
        assert!(Rounder::new(0).round(Estimate { objects: 3.0, bytes: 300.0 }).objects == 3);
    }
}
