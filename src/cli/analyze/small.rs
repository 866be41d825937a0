//! Small objects that are never freed, by number: a ranking by bytes does not show them, and each may keep something
//! big alive (an unclosed handle of 160 bytes, and the cache that it refers to).
//!
//! A place counts here if its objects are small, hardly any sampled one was ever freed, and it still grew in the later
//! half of the time. Its growth is n samples that stand for 1/p objects each, p = 1 - exp(-size/R): the bound of the
//! number is 1.96 sqrt(n)/p. Example: 1,200 objects of 1 KiB at R = 128 KiB are about 9 samples: 1,200 ± 790.
//!
//! What grew with them is a place whose bytes rise as their number does: that is a hint where to look, not a cause.

use super::chance::BOUND_95;
use super::maker::Maker;
use super::moments::Moments;
use super::place::Place;
use super::rows::Row;
use super::track::Track;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::series::Series;
use serde::Serialize;

/// Largest objects that are small, bytes.
const SMALL: f64 = 4096.0;
/// Samples that must have come, and those that must have come in the later half.
const LEAST_SAMPLES: f64 = 8.0;
const LEAST_LATE: f64 = 3.0;
/// Part of all samples of a place that may have been freed.
const MOST_FREED: f64 = 0.02;
/// How much more than they themselves something must have grown to be what they keep, and how like them it rises.
const TIMES_BIGGER: f64 = 4.0;
const ALIKE: f64 = 0.9;
/// Moments that are needed to say so.
const LEAST_MOMENTS: usize = 4;
/// Rows kept.
const ROWS: usize = 20;
/// The size by which it is told what is not seen.
const EXAMPLE: f64 = 160.0;

/// Small objects by number, and what of them cannot be seen.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Small {
    /// Places whose small objects are never freed, most first.
    pub(crate) rows: Vec<SmallRow>,
    /// Of objects of so many bytes …
    pub(crate) example_bytes: f64,
    /// … one in so many is sampled, …
    pub(crate) one_in: f64,
    /// … so fewer than so many that are never freed do not show.
    pub(crate) unseen_objects: f64,
}

/// One place.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct SmallRow {
    /// It in words.
    pub(crate) label: String,
    /// The same, part by part.
    pub(crate) place: Place,
    /// Names of its frames, leaf first.
    pub(crate) frames: Vec<String>,
    /// Mean size of an object, bytes.
    pub(crate) object_bytes: f64,
    /// Live objects.
    pub(crate) objects: f64,
    /// By how many they grew over the moments.
    pub(crate) growth_objects: f64,
    /// Bound of the error of that which holds in 95 of 100 cases.
    pub(crate) error_objects: f64,
    /// The Java constructor that allocates them.
    pub(crate) maker: Option<Maker>,
    /// The place that grew most with them.
    pub(crate) grew_with: Option<GrewWith>,
}

/// What grew with small objects.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct GrewWith {
    /// It in words.
    pub(crate) label: String,
    /// What it grew by, bytes.
    pub(crate) growth_bytes: f64,
    /// Correlation of its bytes with their number, up to 1.
    pub(crate) correlation: f64,
}

impl Small {
    /// Looks through the places of a series.
    pub(super) fn of(series: &Series, moments: &Moments, places: &[Row]) -> Small {
        let period = moments.period;
        let one_in = if period > 1.0 { -1.0 / (-EXAMPLE / period).exp_m1() } else { 1.0 };
        let mut small = Small {
            example_bytes: EXAMPLE,
            one_in,
            unseen_objects: if one_in > 1.5 { LEAST_SAMPLES * one_in } else { 0.0 },
            rows: Vec::new(),
        };
        if series.profile.metric != Metric::InuseBytes || moments.count() < 2 {
            return small;
        }
        for row in places {
            let Some(found) = found(&row.group.track, period) else { continue };
            let big = grew_with(series, &row.group.track, places);
            small.rows.push(SmallRow {
                label: row.group.label(&series.profile),
                place: row.group.place(&series.profile),
                frames: row.group.frames(&series.profile),
                object_bytes: found.size,
                objects: row.group.track.value.objects,
                growth_objects: found.growth,
                error_objects: found.error,
                maker: Maker::of(&row.group, &series.profile),
                grew_with: big,
            });
        }
        let sure = |row: &SmallRow| row.growth_objects - row.error_objects;
        small.rows.sort_by(|a, b| sure(b).total_cmp(&sure(a)).then_with(|| a.frames.cmp(&b.frames)));
        small.rows.truncate(ROWS);
        small
    }
}

struct Found {
    size: f64,
    growth: f64,
    error: f64,
}

/// Whether a track is of small objects that are never freed and go on growing.
fn found(track: &Track, period: f64) -> Option<Found> {
    let (first, last) = (*track.objects.first()?, *track.objects.last()?);
    // The later half is at least half of the steps: a part of them would miss steady growth of some tens of samples.
    let middle = *track.objects.get((track.objects.len() - 1) / 2)?;
    let size = track.value.bytes / track.value.objects;
    let seen = if period > 1.0 { -(-size / period).exp_m1() } else { 1.0 };
    let (growth, late) = (last - first, last - middle);
    let is_small = size.is_finite() && size > 0.0 && size <= SMALL;
    let grows = growth * seen >= LEAST_SAMPLES && (late * seen >= LEAST_LATE && late * 4.0 >= growth);
    let freed: f64 = track.ages.freed.iter().map(|(_, samples)| *samples as f64).sum();
    let is_kept = freed <= MOST_FREED * (freed + last * seen);
    (is_small && grows && is_kept).then(|| Found { size, growth, error: BOUND_95 * (growth * seen).sqrt() / seen })
}

/// The place that grew most of those whose bytes rise as the objects of this one do.
fn grew_with(series: &Series, small: &Track, places: &[Row]) -> Option<GrewWith> {
    if small.objects.len() < LEAST_MOMENTS {
        return None;
    }
    let own = small.bytes.last()? - small.bytes.first()?;
    let change = |track: &Track| Some(track.bytes.last()? - track.bytes.first()?);
    let mut best: Option<GrewWith> = None;
    for row in places.iter().filter(|row| row.group.track.members != small.members) {
        let Some(grown) = change(&row.group.track).filter(|grown| *grown > TIMES_BIGGER * own) else { continue };
        let alike = correlation(&small.objects, &row.group.track.bytes);
        if alike >= ALIKE && best.as_ref().is_none_or(|best| grown > best.growth_bytes) {
            let label = row.group.label(&series.profile);
            best = Some(GrewWith { label, growth_bytes: grown, correlation: alike });
        }
    }
    best
}

/// Pearson's correlation; 0 where one of both does not change.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let mean = |all: &[f64]| all.iter().sum::<f64>() / all.len().max(1) as f64;
    let (of_a, of_b) = (mean(a), mean(b));
    let (mut both, mut only_a, mut only_b) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        both += (a - of_a) * (b - of_b);
        only_a += (a - of_a).powi(2);
        only_b += (b - of_b).powi(2);
    }
    let of = (only_a * only_b).sqrt();
    if of > 0.0 { both / of } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::sample::Estimate;

    fn track(objects: &[f64], size: f64) -> Track {
        let last = objects.last().copied().unwrap_or(0.0);
        let mut track = Track::of_values(objects);
        track.bytes = objects.iter().map(|count| count * size).collect();
        track.value = Estimate { objects: last, bytes: last * size, ..Estimate::default() };
        track
    }

    #[test]
    fn small_ones_that_go_on_growing_are_found_with_a_bound() {
        let period = 131_072.0;
        let leak = found(&track(&[0.0, 400.0, 800.0, 1200.0], 1024.0), period).unwrap();
        assert!((leak.growth, leak.size) == (1200.0, 1024.0) && (650.0..820.0).contains(&leak.error), "{}", leak.error);
        // Too few samples; nothing more since; too big.
        assert!(found(&track(&[0.0, 400.0, 800.0, 1200.0], 160.0), period).is_none());
        assert!(found(&track(&[0.0, 9000.0, 9000.0, 9000.0], 1024.0), period).is_none());
        // By chance the last of three steps brought little.
        assert!(found(&track(&[0.0, 1200.0, 3000.0, 3600.0], 1024.0), period).is_some());
        assert!(found(&track(&[0.0, 400.0, 800.0, 1200.0], 8192.0), period).is_none());
    }

    #[test]
    fn what_rises_alike_is_told_by_its_correlation() {
        assert!((correlation(&[1.0, 2.0, 3.0], &[10.0, 20.0, 30.0]) - 1.0).abs() < 1e-12);
        assert!(correlation(&[1.0, 2.0, 3.0], &[3.0, 2.0, 1.0]) < -0.99);
        assert_eq!(correlation(&[1.0, 2.0], &[5.0, 5.0]), 0.0);
    }
}
