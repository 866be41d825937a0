//! One stack with what it holds, and the arithmetic that makes counts of samples into estimates.
//!
//! The profiler samples each byte with probability 1/R, so an allocation of s bytes is seen with
//! p = 1 - exp(-s/R), and a seen one stands for 1/p. A dump keeps sums only: n objects of s bytes
//! together. jeprof (its `AdjustSamples`) therefore corrects with the mean size s/n, and the writer
//! (jemalloc's `prof_unbias`, and our tap) writes numbers that this very formula turns into the
//! exact estimate. Hence the same formula here, per stack and per thread line, on the numbers as
//! they stand; scaling a sum of stacks would be a different, biased figure.

use super::history::{self, Past};
use super::location::LocationId;
use crate::wire::ages::Ages;

/// Numbers as they stand in a dump: not estimates, and not plain counts of samples either.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Live objects.
    pub(crate) objects: u64,
    /// Live bytes.
    pub(crate) bytes: u64,
    /// Objects allocated so far (`prof_accum`), else 0.
    pub(crate) accum_objects: u64,
    /// Bytes allocated so far (`prof_accum`), else 0.
    pub(crate) accum_bytes: u64,
}

impl Counts {
    /// What these numbers stand for, at a mean sampling distance of `period_bytes`.
    pub(crate) fn unbiased(self, period_bytes: u64) -> Estimate {
        let (objects, bytes) = unbias(self.objects, self.bytes, period_bytes);
        let (accum_objects, accum_bytes) = unbias(self.accum_objects, self.accum_bytes, period_bytes);
        Estimate { objects, bytes, accum_objects, accum_bytes }
    }

    /// The sum of both; not an estimate of anything, only what stands in the dumps.
    pub(crate) fn plus(self, other: Counts) -> Counts {
        Counts {
            objects: self.objects.saturating_add(other.objects),
            bytes: self.bytes.saturating_add(other.bytes),
            accum_objects: self.accum_objects.saturating_add(other.accum_objects),
            accum_bytes: self.accum_bytes.saturating_add(other.accum_bytes),
        }
    }
}

/// jeprof's correction of one pair. A pair without objects (a count that rounded to 0) and a
/// period of 0 stay as they are, as they do there.
fn unbias(objects: u64, bytes: u64, period_bytes: u64) -> (f64, f64) {
    let (n, s) = (objects as f64, bytes as f64);
    if objects == 0 || bytes == 0 || period_bytes == 0 {
        return (n, s);
    }
    let factor = 1.0 / -(-(s / n) / period_bytes as f64).exp_m1();
    (n * factor, s * factor)
}

/// Unbiased values: what the process is estimated to hold. These add up.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Estimate {
    /// Live objects.
    pub(crate) objects: f64,
    /// Live bytes.
    pub(crate) bytes: f64,
    /// Objects allocated so far.
    pub(crate) accum_objects: f64,
    /// Bytes allocated so far.
    pub(crate) accum_bytes: f64,
}

impl std::ops::AddAssign for Estimate {
    fn add_assign(&mut self, other: Estimate) {
        self.objects += other.objects;
        self.bytes += other.bytes;
        self.accum_objects += other.accum_objects;
        self.accum_bytes += other.accum_bytes;
    }
}

impl std::iter::Sum for Estimate {
    fn sum<I: Iterator<Item = Estimate>>(values: I) -> Estimate {
        values.fold(Estimate::default(), |mut sum, value| {
            sum += value;
            sum
        })
    }
}

/// The live numbers of one thread under one stack.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct ThreadCounts {
    /// jemalloc's number of the thread.
    pub(crate) uid: u64,
    /// As written in the dump.
    pub(crate) counts: Counts,
    /// What it stands for.
    pub(crate) value: Estimate,
}

/// One call stack and what it allocated.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    /// Leaf first.
    pub(crate) stack: Box<[LocationId]>,
    /// The `t*` line.
    pub(crate) counts: Counts,
    /// The `t*` line, unbiased.
    pub(crate) value: Estimate,
    /// The `t<n>` lines.
    pub(crate) threads: Box<[ThreadCounts]>,
    /// How old its objects are, and how long freed ones lived, where the dump tells it.
    pub(crate) ages: Option<Box<Ages>>,
    /// What it held at each of [`History::stack_times_ns`](super::history::History::stack_times_ns); empty where the
    /// dump does not tell.
    pub(crate) past: Box<[Past]>,
}

impl Sample {
    /// Adds the values of another sample of the same stack.
    pub(crate) fn add(&mut self, other: &Sample) {
        if self.past.is_empty() && self.value == Estimate::default() {
            self.past.clone_from(&other.past);
        } else {
            history::add_rows(&mut self.past, &other.past);
        }
        self.value += other.value;
        self.counts = self.counts.plus(other.counts);
        match (&mut self.ages, &other.ages) {
            (Some(own), Some(ages)) => own.add(ages),
            (None, ages) => self.ages.clone_from(ages),
            (Some(_), None) => {}
        }
        if self.threads.is_empty() {
            self.threads = other.threads.clone();
            return;
        }
        let mut threads = std::mem::take(&mut self.threads).into_vec();
        for thread in &other.threads {
            match threads.iter_mut().find(|known| known.uid == thread.uid) {
                Some(known) => {
                    known.counts = known.counts.plus(thread.counts);
                    known.value += thread.value;
                }
                None => threads.push(*thread),
            }
        }
        self.threads = threads.into();
    }
}

/// One standard deviation of an estimate of `bytes`, at most: for Poisson sampling of bytes each
/// size b adds n*b²/(e^(b/R)-1) <= n*b*R to the variance. 100 MiB at 512 KiB: 7 MiB.
pub(crate) fn standard_error(bytes: f64, period_bytes: u64) -> f64 {
    (period_bytes as f64 * bytes.max(0.0)).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unbiasing_is_jeprofs_formula() {
        // Worked by hand: 153 objects, 291,025 bytes at 128 KiB: mean 1,902.1, factor 1/(1-e^-0.014512).
        let value = Counts { objects: 153, bytes: 291_025, ..Counts::default() }.unbiased(131_072);
        let factor = 1.0 / (1.0 - (-(291_025.0f64 / 153.0) / 131_072.0).exp());
        assert!((value.bytes - 291_025.0 * factor).abs() < 1e-3);
        assert!((value.objects - 153.0 * factor).abs() < 1e-6);
        assert_eq!(value.accum_bytes, 0.0);
    }

    #[test]
    fn numbers_without_a_size_or_period_stay_as_they_are() {
        for (objects, bytes, period) in [(0, 512, 524_288), (7, 0, 524_288), (7, 700, 0)] {
            let value = Counts { objects, bytes, ..Counts::default() }.unbiased(period);
            assert_eq!((value.objects, value.bytes), (objects as f64, bytes as f64));
        }
    }

    #[test]
    fn the_error_bound_matches_the_worked_example() {
        let mib = 1024.0 * 1024.0;
        assert!((standard_error(100.0 * mib, 512 * 1024) / mib - 7.07).abs() < 0.01);
    }
}
