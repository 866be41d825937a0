//! What of each dump is looked at: which measure, objects of what age, threads apart. Applied to a dump when
//! it was read and before it joins its series, as only then everything about its objects is there.

use super::Profile;
use super::mapped;
use super::metric::Metric;
use super::threads;
use crate::wire::ages::{LiveBin, live_bin_start};
use std::fmt;

/// What of a dump is looked at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Shape {
    /// The measure.
    pub(crate) metric: Metric,
    /// Only objects that are older than this, seconds.
    pub(crate) older_than: Option<f64>,
    /// Each stack's thread as its outermost frame.
    pub(crate) by_thread: bool,
    /// The ages in every dump, and not only in the last two.
    pub(crate) all_ages: bool,
}

/// Why a dump has not what is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ShapeError {
    /// No ages.
    NoAges,
    /// No cumulative columns.
    NotAccumulated,
    /// Nothing is known of mapped memory.
    NotMapped,
    /// Nobody looked what of it is resident.
    NotLookedAt,
}

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            ShapeError::NoAges => {
                "tells no ages of objects (--older-than): only dumps and processes of this heaptap do"
            }
            ShapeError::NotMapped => {
                "tells nothing of mapped memory (--metric mapped, resident): an older heaptap wrote it, or nothing was mapped"
            }
            ShapeError::NotLookedAt => {
                "does not tell what of its mapped memory is resident (--metric resident): the helper thread had not looked"
            }
            ShapeError::NotAccumulated => {
                "has no cumulative columns (--metric alloc-…): MALLOC_CONF needs prof_accum:true"
            }
        })
    }
}

impl std::error::Error for ShapeError {}

impl Shape {
    /// Brings a dump into this shape.
    pub(crate) fn apply(&self, profile: &mut Profile) -> Result<(), ShapeError> {
        if self.metric.is_mapped() {
            if self.older_than.is_some() {
                return Err(ShapeError::NoAges);
            }
            if profile.mapped.is_empty() {
                return Err(ShapeError::NotMapped);
            }
            let is_looked_at = profile.mapped.iter().any(|mapped| mapped.sums.resident.is_some());
            if self.metric == Metric::Resident && !is_looked_at {
                return Err(ShapeError::NotLookedAt);
            }
            mapped::take_the_place_of_malloc(profile, self.metric);
        }
        if let Some(age) = self.older_than {
            keep_older(profile, age)?;
        }
        if self.by_thread {
            threads::split(profile);
        }
        if self.metric.is_accumulated() && !profile.samples.is_empty() {
            let has_any = profile.samples.iter().any(|sample| sample.value.accum_bytes > 0.0);
            has_any.then_some(()).ok_or(ShapeError::NotAccumulated)?;
        }
        for sample in &mut profile.samples {
            sample.value = self.metric.of(sample.value);
            sample.past.iter_mut().for_each(|past| *past = self.metric.of_past(*past));
        }
        profile.history.other.iter_mut().for_each(|past| *past = self.metric.of_past(*past));
        profile.metric = self.metric;
        Ok(())
    }
}

/// Keeps what is older; a bin of ages that lies across the bound is taken in part.
fn keep_older(profile: &mut Profile, age: f64) -> Result<(), ShapeError> {
    if profile.metadata.aged_stacks.is_none() {
        return Err(ShapeError::NoAges);
    }
    for sample in &mut profile.samples {
        let Some(ages) = &mut sample.ages else { continue };
        let sum = |bins: &[LiveBin]| bins.iter().fold((0.0, 0.0), |sum, bin| (sum.0 + bin.objects, sum.1 + bin.bytes));
        let all = sum(&ages.live);
        for bin in &mut ages.live {
            let inside = inside(bin.bin, age);
            bin.objects *= inside;
            bin.bytes *= inside;
        }
        ages.live.retain(|bin| bin.objects > 0.0);
        let old = sum(&ages.live);
        let share = |old: f64, all: f64| if all > 0.0 { old / all } else { 0.0 };
        let (objects, bytes) = (share(old.0, all.0), share(old.1, all.1));
        sample.value.objects *= objects;
        sample.value.bytes *= bytes;
        let scaled = |count: u64, share: f64| (count as f64 * share).round() as u64;
        let counts = sample.threads.iter_mut().map(|thread| &mut thread.counts).chain([&mut sample.counts]);
        for counts in counts {
            (counts.objects, counts.bytes) = (scaled(counts.objects, objects), scaled(counts.bytes, bytes));
        }
        for thread in &mut sample.threads {
            thread.value.objects *= objects;
            thread.value.bytes *= bytes;
        }
        sample.past = Box::default();
    }
    // How old objects were at earlier times is not known.
    profile.history.forget_rows();
    profile.samples.retain(|sample| sample.value.bytes > 0.0);
    Ok(())
}

/// Which share of a bin is older.
fn inside(bin: u8, age: f64) -> f64 {
    let (start, end) = (live_bin_start(bin) as f64 / 1e9, live_bin_start(bin.saturating_add(1)) as f64 / 1e9);
    ((end - start.max(age)) / (end - start)).clamp(0.0, 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;

    const SMALL: &str = include_str!("../../../tests/dumps/small.heap");

    fn small(ages: &str) -> Profile {
        heap_v2::parse(format!("{SMALL}\n# heaptap 1\n{ages}").as_bytes()).unwrap()
    }

    #[test]
    fn what_is_young_is_left_out_and_proportions_stay() {
        // 64 s and 1 s: bins 79 and 55 or so; one of four stacks has old objects only in part.
        let bin = |seconds: u64| crate::wire::ages::live_bin(seconds * 1_000_000_000);
        let ages =
            format!("# ages: 4\n# age: 0 {}/10/1000 {}/30/3000 |\n# age: 1 {}/5/50 |\n", bin(1), bin(64), bin(1));
        let (whole, mut old) = (small(&ages), small(&ages));
        Shape { older_than: Some(10.0), ..Shape::default() }.apply(&mut old).unwrap();
        // Stacks without a line of ages stay as they are.
        assert_eq!(old.samples.len(), 3);
        let share = old.samples[0].value.bytes / whole.samples[0].value.bytes;
        assert!((share - 0.75).abs() < 1e-9, "{share}");
        assert_eq!(old.samples[0].counts.objects, (78.0f64 * 0.75).round() as u64);
        let mut none = small("");
        assert_eq!(Shape { older_than: Some(1.0), ..Shape::default() }.apply(&mut none), Err(ShapeError::NoAges));
    }

    #[test]
    fn a_bin_across_the_bound_counts_in_part() {
        assert_eq!((inside(0, 1.0), inside(100, 0.0)), (0.0, 1.0));
        let bin = crate::wire::ages::live_bin(10_000_000_000);
        let (start, end) = (live_bin_start(bin) as f64 / 1e9, live_bin_start(bin + 1) as f64 / 1e9);
        assert!((inside(bin, (start + end) / 2.0) - 0.5).abs() < 1e-9);
    }

    #[test]
    fn counts_change_places_with_bytes_and_back() {
        let whole = small("");
        let mut counted = small("");
        Shape { metric: Metric::InuseCount, ..Shape::default() }.apply(&mut counted).unwrap();
        assert_eq!((counted.total().bytes, counted.total().objects), (whole.total().objects, whole.total().bytes));
        let accum = Shape { metric: Metric::AllocBytes, ..Shape::default() };
        assert_eq!(accum.apply(&mut small("")), Err(ShapeError::NotAccumulated));
        let text = SMALL.replace("[0: 0]", "[200: 999999]");
        let mut accumulated = heap_v2::parse(text.as_bytes()).unwrap();
        let expected: f64 = accumulated.samples.iter().map(|sample| sample.value.accum_bytes).sum();
        accum.apply(&mut accumulated).unwrap();
        assert_eq!(accumulated.total().bytes, expected);
    }
}
