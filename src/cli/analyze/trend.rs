//! Does it grow? What some stacks held over time, judged with the noise that sampling puts on it.
//!
//! Consecutive snapshots share their samples: a block that is in both errs in both alike. So the error of a change
//! comes from what was born and what died in between, and from nothing else. The ages of the last snapshot tell
//! what was born since the first and lives, and the rows of its history tell it exactly; what is missing then has
//! died. A byte born or dead brings the track's grain (`track`), so `n` births and `m` deaths of samples differ by
//! chance as coins do: p = P(at least n heads of n + m). Example: 518 -> 545 MiB at R = 128 KiB, none freed: 27 MiB
//! are 216 births against no death, 14.7 standard errors, whatever the 518 MiB are. Where no ages are known (a
//! stock jemalloc), all is taken for renewed: then it is one.
//!
//! From five snapshots on, a line through all of them averages what comes and goes, and the row's own ups and downs
//! count, whatever they come from. The slope is Theil-Sen's: the median of the slopes of all pairs, so that one odd
//! snapshot does not decide. The change along it has the variance grain * (1.2 change + k churn) + k own², where
//! k = 12(N-1)/(N(N+1)) for N snapshots (2 for two, 0.12 for a hundred), `churn` is what came and went, N counts
//! only as often as that was renewed, and `own` is 1.48 times the median distance from the line, enlarged by
//! 1 + 45/(N-2)² for the few degrees of freedom that few snapshots leave (Student's t, near p = 1e-4).
//!
//! The first and the last value only decide whether it *rose*; whether it *still rises* is the shape's word.

use super::chance::{BOUND_95, FALSE_ALARMS, upper_tail};
use super::exchange::Exchange;
use super::line::{ends, median, slope};
use super::moments::Moments;
use super::sampled::{Chance, MANY, Sampled};
use super::shape::{Course, Shape};
use super::track::Track;
use serde::Serialize;

/// Snapshots from which on a fall in the very last one is odd rather than an end.
const ODD_END: usize = 8;
/// Samples that are missed by chance in 5 of 100 cases (e^-3): where none was born, so much may have been.
const UNSEEN: f64 = 3.0;
/// Samples without a death that are no chance among a thousand places (2^-20).
const ENOUGH: f64 = 20.0;
/// Share that a last value may fall by and still is the same.
const SAME: f64 = 0.02;

/// What a row does over the series.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// Rises beyond noise, and was still rising at the end.
    Grows,
    /// Rose beyond noise, then stopped: a cache that filled, a pool, a start-up cost.
    Plateau,
    /// Fell beyond noise.
    Shrinks,
    /// No change beyond noise.
    Steady,
    /// One snapshot only.
    Unknown,
}

/// The judgement with its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Trend {
    /// Live bytes in the first dump.
    pub(crate) first_bytes: f64,
    /// Live bytes in the last dump that is judged.
    pub(crate) last_bytes: f64,
    /// Bytes per unit of the time axis (seconds, or dumps where times are unknown).
    pub(crate) slope: f64,
    /// Bound of the error of `slope` that holds in 95 of 100 cases.
    pub(crate) slope_error: f64,
    /// Bound of the error of the change that holds in 95 of 100 cases.
    pub(crate) noise_bytes: f64,
    /// A growth that would be found by sampling alone, if nothing else went up and down.
    #[serde(skip)]
    pub(crate) unseen_bytes: f64,
    /// A growth that would have been found.
    #[serde(skip)]
    pub(crate) visible_bytes: f64,
    /// Share of steps from moment to moment that rose.
    pub(crate) rising: f64,
    /// Standard errors that the change is worth; negative where it falls.
    pub(crate) sigmas: f64,
    /// The probability that it is no chance, 0 to 1.
    pub(crate) confidence: f64,
    /// How it went on, where it rose.
    pub(crate) shape: Shape,
    /// The judgement.
    pub(crate) verdict: Verdict,
    /// Moments that it rests on: dumps, and those of the history; without the last where the process gave memory back
    /// as it ended.
    pub(crate) moments: usize,
    /// Bytes born since the first and alive, as ages tell.
    #[serde(skip)]
    pub(crate) born: Option<f64>,
    /// Bytes of the first that died.
    #[serde(skip)]
    pub(crate) died: Option<f64>,
    /// Whether the change is no chance of sampling, but of too few objects to be more than a chance of the program.
    #[serde(skip)]
    pub(crate) is_by_few: bool,
    /// Whether it is objects that became bigger, rather than more.
    #[serde(skip)]
    pub(crate) is_by_size: bool,
}

/// What speaks for a verdict.
struct Evidence {
    shape: Shape,
    /// Moments that are judged.
    count: usize,
    /// Bytes at the first and at the last of them.
    first: f64,
    last: f64,
    /// Bytes more along the line, and one standard error of it.
    change: f64,
    error: f64,
    /// Bytes more from what is usual at the beginning to what is at the end.
    rise: f64,
    by_change: Chance,
    by_ends: Chance,
    /// It rose only just now.
    is_fresh: bool,
    /// Probability of error that is allowed.
    allowed: f64,
}

impl Evidence {
    fn of(sample: &Sampled<'_>, raw: &[f64], slope: f64, span: f64, allowed: f64) -> Evidence {
        let (first, last) = (raw.first().copied().unwrap_or(0.0), raw.last().copied().unwrap_or(0.0));
        let (began, ended) = ends(sample.values);
        let (change, error) =
            if raw.len() < MANY { (last - first, sample.of_ends()) } else { sample.of_line(slope, span) };
        let (rise, grain) = (ended - began, sample.track.grain());
        let churn = 2.0 * grain * sample.exchange.churn() + sample.jumps().powi(2);
        let course = Course { times: sample.times, values: sample.values, grain, churn };
        Evidence {
            shape: if rise > 0.0 || change > 0.0 { course.shape() } else { Shape::Unclear },
            count: raw.len(),
            first,
            last,
            change,
            error,
            rise,
            by_change: sample.chance(change, error),
            by_ends: sample.chance(rise, sample.of_ends().hypot(sample.jumps() * std::f64::consts::SQRT_2)),
            is_fresh: sample.fresh().is_some_and(|(rise, error)| sample.chance(rise, error).is_rise(allowed)),
            allowed,
        }
    }

    fn has_grown(&self) -> bool {
        self.by_change.is_rise(self.allowed) && self.change > 0.0
    }

    fn has_risen(&self) -> bool {
        self.has_grown() || self.by_ends.is_rise(self.allowed) && self.rise > 0.0
    }

    fn has_fallen(&self) -> bool {
        self.by_change.is_fall(self.allowed) || self.by_ends.is_fall(self.allowed) && self.rise < 0.0
    }

    fn verdict(&self) -> Verdict {
        match self.shape {
            _ if self.count < 2 => Verdict::Unknown,
            Shape::Rising | Shape::Slowing | Shape::Unclear if self.has_grown() && self.last > self.first => {
                Verdict::Grows
            }
            Shape::Sawtooth => Verdict::Steady,
            Shape::Stopped | Shape::Step | Shape::Stepwise if self.has_risen() => Verdict::Plateau,
            _ if self.is_fresh => Verdict::Plateau,
            _ if self.has_fallen() => Verdict::Shrinks,
            _ => Verdict::Steady,
        }
    }
}

impl Trend {
    /// Judges a track; `allowed` is the probability of error that it may have (see `chance`).
    pub(crate) fn of(moments: &Moments, track: &Track, allowed: f64) -> Trend {
        let count = judged(moments, track);
        let (times, raw) = (head(&moments.times, count), head(&track.bytes, count));
        let ages = if count == track.bytes.len() { &track.ages } else { &track.earlier_ages };
        let straight = without_odd_end(raw);
        let (first, last) = (raw.first().copied().unwrap_or(0.0), raw.last().copied().unwrap_or(0.0));
        let span = times.last().zip(times.first()).map_or(0.0, |(last, first)| last - first);
        let exchange = Exchange::of(moments, track, ages, first, last, span);
        let slope = slope(times, &straight);
        let sample = Sampled { track, exchange, times, values: &straight };
        let evidence = Evidence::of(&sample, raw, slope, span, allowed);
        let up = raw.windows(2).filter(|pair| pair[1] > pair[0]).count();
        let verdict = evidence.verdict();
        let is_plateau = verdict == Verdict::Plateau;
        let deciding = if is_plateau && !evidence.has_grown() { evidence.by_ends } else { evidence.by_change };
        let bound = BOUND_95 * evidence.error;
        let by_chance = deciding.rise.min(deciding.fall) * FALSE_ALARMS / allowed.max(1e-12);
        Trend {
            first_bytes: first,
            last_bytes: last,
            slope,
            slope_error: if span > 0.0 { bound / span } else { 0.0 },
            noise_bytes: bound.max(UNSEEN * track.grain()),
            unseen_bytes: ENOUGH * track.grain(),
            visible_bytes: (2.0 * bound).max(ENOUGH * track.grain()),
            rising: if count > 1 { up as f64 / (count - 1) as f64 } else { 0.0 },
            sigmas: deciding.sigmas,
            confidence: (1.0 - by_chance).clamp(0.0, 1.0),
            shape: if is_plateau && !evidence.has_risen() { Shape::Step } else { evidence.shape },
            verdict,
            moments: count,
            born: exchange.born,
            died: exchange.died,
            is_by_few: !evidence.has_risen()
                && evidence.change > 0.0
                && upper_tail(evidence.by_change.sigmas) <= allowed,
            is_by_size: is_by_size(head(&track.objects, count), raw),
        }
    }

    /// Of a series of plain values, such as resident bytes, that are measured exactly.
    pub(crate) fn of_exact(moments: &Moments, values: &[f64], allowed: f64) -> Trend {
        let moments = Moments { is_last_final: false, ..moments.clone() };
        Trend::of(&moments, &Track::of_values(values), allowed)
    }

    /// Change from first to last.
    pub(crate) fn change_bytes(&self) -> f64 {
        self.last_bytes - self.first_bytes
    }

    /// Whether the process gave some of it back in a last dump that is not judged.
    pub(crate) fn is_without_last(&self, moments: usize) -> bool {
        self.moments < moments
    }
}

fn head(values: &[f64], count: usize) -> &[f64] {
    values.get(..count).unwrap_or(values)
}

/// How many moments are judged. What a process holds as it ends confirms growth; less of it acquits nothing. Less is
/// what is beyond the usual steps.
fn judged(moments: &Moments, track: &Track) -> usize {
    let all = track.bytes.len();
    let [others @ .., last] = track.bytes.as_slice() else { return all };
    let before = others.last().copied().unwrap_or(0.0);
    let mut steps: Vec<f64> = others.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let bound = (SAME * before).max(if others.len() < MANY { 0.0 } else { 3.0 * median(&mut steps) });
    if moments.is_last_final && *last < before - bound { all - 1 } else { all }
}

/// A fall in the last of many snapshots only, far beyond the usual steps, that leaves part of the rise.
fn without_odd_end(values: &[f64]) -> Vec<f64> {
    let mut values = values.to_vec();
    if values.len() < ODD_END {
        return values;
    }
    let mut steps: Vec<f64> = values.windows(2).map(|pair| (pair[1] - pair[0]).abs()).collect();
    let usual = median(&mut steps);
    let first = values.first().copied().unwrap_or(0.0);
    if let [.., before, last] = values.as_mut_slice()
        && *last < *before - 4.0 * usual
        && *last - first > 0.25 * (*before - first)
        && *before > first
    {
        *last = *before;
    }
    values
}

/// Whether bytes grew and objects did not: one container that is made bigger again and again.
fn is_by_size(objects: &[f64], bytes: &[f64]) -> bool {
    let (Some(first), Some(last), Some(b0), Some(b1)) = (objects.first(), objects.last(), bytes.first(), bytes.last())
    else {
        return false;
    };
    *b1 > *b0 && *first >= 0.5 && (last / first - 1.0).max(0.0) < 0.3 * (b1 / b0.max(1.0) - 1.0)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cli::analyze::moments::Point;
    use crate::wire::ages::live_bin;

    pub(crate) const MIB: f64 = 1048576.0;
    const PERIOD: f64 = 131_072.0;

    pub(crate) fn moments(count: usize) -> Moments {
        let times = (0..count).map(|n| n as f64 * 10.0).collect();
        let points = (0..count).map(Point::Dump).collect();
        Moments { times, points, has_times: true, period: PERIOD, ..Moments::default() }
    }

    /// MiB of objects of 1,000 bytes.
    pub(crate) fn track(values: &[f64]) -> Track {
        let grain = |size: f64| size / (size / PERIOD).exp_m1();
        let bytes: Vec<f64> = values.iter().map(|value| value * MIB).collect();
        let objects = bytes.iter().map(|bytes| bytes / 1000.0).collect();
        Track::example(bytes, objects, grain(1000.0), PERIOD)
    }

    fn judge(values: &[f64]) -> Trend {
        Trend::of(&moments(values.len()), &track(values), FALSE_ALARMS)
    }

    #[test]
    fn a_leak_grows_and_an_odd_dump_does_not_change_its_slope() {
        let trend = judge(&[10.0, 20.0, 30.0, 400.0, 50.0, 60.0, 70.0, 80.0]);
        assert_eq!(trend.verdict, Verdict::Grows);
        assert!((trend.slope / MIB - 1.0).abs() < 0.01, "{}", trend.slope);
        let mut twelve: Vec<f64> = (1..13).map(|n| 10.0 * f64::from(n)).collect();
        for at in [4, 7, 10, 11] {
            let straight = std::mem::replace(&mut twelve[at], if at == 11 { 60.0 } else { 130.0 });
            assert_eq!(judge(&twelve).verdict, Verdict::Grows, "{at}");
            twelve[at] = straight;
        }
    }

    #[test]
    fn a_cache_that_filled_is_a_plateau() {
        assert_eq!(judge(&[10.0, 60.0, 90.0, 100.0, 100.0, 100.2, 99.9, 100.1]).verdict, Verdict::Plateau);
        assert_eq!(judge(&[10.0, 60.0, 90.0, 100.0, 100.0, 99.0]).verdict, Verdict::Plateau);
        for few in [&[5.67, 26.68, 26.81][..], &[5.67, 26.68, 26.55], &[2.0, 120.0, 120.5, 121.0]] {
            assert_eq!(judge(few).verdict, Verdict::Plateau, "{few:?}");
        }
    }

    #[test]
    fn noise_is_not_growth() {
        assert_eq!(judge(&[100.0, 104.0, 98.0, 103.0, 107.0]).verdict, Verdict::Steady);
        assert_eq!(judge(&[100.0]).verdict, Verdict::Unknown);
        assert_eq!(judge(&[100.0, 50.0]).verdict, Verdict::Shrinks);
        assert_eq!(judge(&[]).verdict, Verdict::Unknown);
    }

    #[test]
    fn what_both_snapshots_share_does_not_err() {
        // A cache of 500 MiB, and a leak of 27 MiB: by values alone it is within noise, by births it is sure.
        let values = [518.0, 525.0, 534.0, 545.0];
        assert_eq!(judge(&values).verdict, Verdict::Steady);
        let mut aged = track(&values);
        aged.ages.add_live(live_bin(12_000_000_000), 27e3, 27.0 * MIB);
        aged.ages.add_live(live_bin(60_000_000_000), 518e3, 518.0 * MIB);
        let trend = Trend::of(&moments(4), &aged, FALSE_ALARMS);
        assert_eq!(trend.verdict, Verdict::Grows, "{trend:?}");
        assert!(trend.sigmas > 13.0 && trend.died == Some(0.0), "{trend:?}");
    }

    #[test]
    fn what_a_process_gives_back_as_it_ends_acquits_nothing() {
        let values = [20.0, 40.0, 60.0, 80.0, 0.0];
        let ending = Moments { is_last_final: true, ..moments(5) };
        let trend = Trend::of(&ending, &track(&values), FALSE_ALARMS);
        assert_eq!((trend.verdict, trend.moments), (Verdict::Grows, 4));
        assert_ne!(judge(&values).verdict, Verdict::Grows);
    }

    #[test]
    fn many_dumps_see_what_two_cannot() {
        let wobble = |n: usize| if n.is_multiple_of(2) { 0.6 } else { -0.6 };
        let slow: Vec<f64> = (0..100).map(|n| 100.0 + n as f64 * 0.07 + wobble(n)).collect();
        let trend = judge(&slow);
        assert_eq!(trend.verdict, Verdict::Grows, "{trend:?}");
        assert!(trend.confidence > 0.998, "{trend:?}");
        assert_eq!(judge(&[slow[0], slow[99]]).verdict, Verdict::Steady);
        let still: Vec<f64> = (0..100).map(|n| 100.0 + 4.0 * wobble(n)).collect();
        assert_eq!(judge(&still).verdict, Verdict::Steady);
    }

    #[test]
    fn a_sawtooth_does_not_grow_however_high_it_ends() {
        let teeth: Vec<f64> = (0..24).map(|n| 50.0 + 30.0 * f64::from(n % 6)).collect();
        assert_eq!((teeth[0], teeth[23]), (50.0, 200.0));
        assert_ne!(judge(&teeth).verdict, Verdict::Grows, "{:?}", judge(&teeth));
        // It does if each tooth begins higher.
        let higher: Vec<f64> = (0..24).map(|n| 50.0 + 30.0 * f64::from(n % 6) + 20.0 * f64::from(n)).collect();
        assert_eq!(judge(&higher).verdict, Verdict::Grows);
    }

    #[test]
    fn exact_values_have_no_noise() {
        let exact = Trend::of_exact(&moments(5), &[5.0, 6.0, 7.0, 8.0, 9.0], FALSE_ALARMS);
        assert_eq!((exact.verdict, exact.noise_bytes), (Verdict::Grows, 0.0));
    }

    #[test]
    fn long_series_are_thinned() {
        let values: Vec<f64> = (0..5000).map(|n| n as f64).collect();
        assert!((judge(&values).slope / MIB - 0.1).abs() < 1e-9);
    }
}
