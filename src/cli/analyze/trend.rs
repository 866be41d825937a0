//! Does it grow? One row of live bytes over time, judged with the noise that sampling puts on it.
//!
//! The slope is Theil-Sen's: the median of the slopes of all pairs, so that one odd dump (a JIT
//! burst, a cache being filled) does not decide. Slope times span is the change that is judged, against
//! three standard errors of it. The errors, each a bound:
//!
//! - Sampling. An estimate of B bytes has a variance of at most R*B (`sample::standard_error`). What is allocated anew
//!   for each dump errs anew each time, and a line through N dumps averages that: N even steps give the change
//!   a variance of k*R*B with k = 12(N-1)/(N(N+1)), which is 2 for two dumps and 0.12 for a hundred. What stays
//!   from dump to dump carries its error along, which cancels but for the bytes that were added: R*change.
//!   Together R*(k*B + change), and never more than R*(first + last). Example: 100 MiB at R = 128 KiB, and 5 MiB more after
//!   100 dumps: three errors are 4.4 MiB; from first and last alone they would be 15 MiB.
//! - The row's own ups and downs, for which the distance of the dumps from the line stands: k * (1.48 median distance)².

use crate::cli::profile::sample::standard_error;
use serde::Serialize;

/// Pairs that a slope is taken from; longer series are thinned to stay below.
const MAX_PAIRS: usize = 20_000;
/// Standard errors that a change must exceed to be believed.
const SIGMAS: f64 = 3.0;
/// Dumps from which on single ones do not speak for the beginning and the end.
const MANY: usize = 5;
/// Dumps from which on their order says something.
const ORDERED: usize = 8;

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
    /// One dump only.
    Unknown,
}

/// The judgement with its evidence.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Trend {
    /// Live bytes in the first dump.
    pub(crate) first_bytes: f64,
    /// Live bytes in the last dump.
    pub(crate) last_bytes: f64,
    /// Bytes per unit of the time axis (seconds, or dumps where times are unknown).
    pub(crate) slope: f64,
    /// What the change along the slope must exceed to be more than chance: three standard errors.
    pub(crate) noise_bytes: f64,
    /// Share of steps from dump to dump that rose.
    pub(crate) rising: f64,
    /// Standard errors that the change along the slope is worth; negative where it falls.
    pub(crate) sigmas: f64,
    /// The probability that it is no chance, 0 to 1: of `sigmas`, and from eight dumps on also of the order
    /// in which the values rise (Mann-Kendall), whichever is less sure.
    pub(crate) confidence: f64,
    /// The judgement.
    pub(crate) verdict: Verdict,
    /// Dumps that it rests on.
    #[serde(skip)]
    pub(crate) dumps: usize,
}

impl Trend {
    /// Judges live bytes `values` at `times` (same length, ascending).
    pub(crate) fn of(times: &[f64], values: &[f64], period_bytes: u64) -> Trend {
        let first = values.first().copied().unwrap_or(0.0);
        let last = values.last().copied().unwrap_or(0.0);
        let slope = slope(times, values);
        let steps = values.len().saturating_sub(1);
        let up = values.windows(2).filter(|pair| pair[1] > pair[0]).count();
        let rising = if steps == 0 { 0.0 } else { up as f64 / steps as f64 };
        let span = times.last().zip(times.first()).map_or(0.0, |(last, first)| last - first);
        let change = slope * span;
        let error = error(times, values, slope, change, period_bytes);
        let sigmas = if error > 0.0 { change / error } else { change.signum() * if change == 0.0 { 0.0 } else { 1e3 } };
        let noise = SIGMAS * error;
        let (began, ended) = ends(values);
        let verdict = match ended - began {
            _ if steps == 0 => Verdict::Unknown,
            _ if change > noise && is_still_rising(values, period_bytes) => Verdict::Grows,
            rise if rise > SIGMAS * standard_error(began + ended, period_bytes) => Verdict::Plateau,
            fall if -fall > SIGMAS * standard_error(began + ended, period_bytes) || -change > noise => Verdict::Shrinks,
            _ => Verdict::Steady,
        };
        Trend {
            first_bytes: first,
            last_bytes: last,
            slope,
            noise_bytes: noise,
            rising,
            sigmas,
            confidence: confidence(values, sigmas),
            verdict,
            dumps: values.len(),
        }
    }

    /// Change from first to last.
    pub(crate) fn change_bytes(&self) -> f64 {
        self.last_bytes - self.first_bytes
    }

    /// Whether it rises step by step, rather than once or up and down: in most steps, or in so many dumps that chance would
    /// not order them so.
    pub(crate) fn is_persistent(&self) -> bool {
        self.rising >= 0.6 || self.dumps >= ORDERED && self.confidence >= 0.998
    }
}

/// One standard error of the change along the slope (see the head of this file).
fn error(times: &[f64], values: &[f64], slope: f64, change: f64, period_bytes: u64) -> f64 {
    let count = values.len() as f64;
    let (Some(first), Some(last)) = (values.first(), values.last()) else { return 0.0 };
    let averaged = 12.0 * (count - 1.0) / (count * (count + 1.0));
    let level = median(&mut values.to_vec());
    let anew = standard_error(averaged * level + change.abs(), period_bytes);
    let sampling = anew.min(standard_error(first + last, period_bytes));
    if values.len() < MANY {
        return sampling;
    }
    let mut rests: Vec<f64> = times.iter().zip(values).map(|(time, value)| value - slope * time).collect();
    let line = median(&mut rests);
    rests.iter_mut().for_each(|rest| *rest = (*rest - line).abs());
    let own = 1.4826 * median(&mut rests) * averaged.sqrt();
    sampling.hypot(own)
}

/// Where it began and where it ended: single values of few dumps, medians of a fifth at each end of many.
fn ends(values: &[f64]) -> (f64, f64) {
    let few = if values.len() < MANY { 1.min(values.len()) } else { values.len().div_ceil(5) };
    let mut first = values.get(..few).unwrap_or(&[]).to_vec();
    let mut last = values.get(values.len() - few..).unwrap_or(&[]).to_vec();
    (median(&mut first), median(&mut last))
}

/// The probability that a change of so many standard errors is no chance.
fn confidence(values: &[f64], sigmas: f64) -> f64 {
    let by_size = normal(sigmas.abs());
    if values.len() < ORDERED {
        return by_size;
    }
    by_size.min(normal(order(values).abs()))
}

/// Mann-Kendall's statistic in standard deviations: how many pairs rise, less those that fall.
fn order(values: &[f64]) -> f64 {
    let thin = (1..).find(|step| (values.len() / step).pow(2) / 2 <= MAX_PAIRS).unwrap_or(1);
    let values: Vec<f64> = values.iter().copied().step_by(thin).collect();
    let mut rises = 0.0;
    for (index, value) in values.iter().enumerate() {
        let later = values.get(index + 1..).unwrap_or(&[]);
        rises += later
            .iter()
            .map(|later| {
                if later > value {
                    1.0
                } else if later < value {
                    -1.0
                } else {
                    0.0
                }
            })
            .sum::<f64>();
    }
    let count = values.len() as f64;
    rises / (count * (count - 1.0) * (2.0 * count + 5.0) / 18.0).sqrt()
}

/// Share of a normal distribution within so many standard deviations (Abramowitz and Stegun 7.1.26, to 1e-7).
pub(super) fn normal(sigmas: f64) -> f64 {
    let x = sigmas / std::f64::consts::SQRT_2;
    let t = 1.0 / (1.0 + 0.327_591_1 * x);
    let terms = [1.061_405_429, -1.453_152_027, 1.421_413_741, -0.284_496_736, 0.254_829_592];
    let polynomial = terms.iter().fold(0.0, |sum, term| (sum + term) * t);
    (1.0 - polynomial * (-x * x).exp()).clamp(0.0, 1.0)
}

/// Whether the last third of a series (of five dumps or more) did its share of the rise: at least
/// a quarter of what an even rise would have given it.
fn is_still_rising(values: &[f64], period_bytes: u64) -> bool {
    let (count, Some(first), Some(last)) = (values.len(), values.first(), values.last()) else { return false };
    if count < 5 {
        return true;
    }
    let third = count / 3;
    let before = values.get(count - 1 - third).copied().unwrap_or(0.0);
    let even_share = (last - first) * third as f64 / (count - 1) as f64;
    last - before > 0.25 * even_share
        && last - before > standard_error(before.max(0.0), period_bytes).min(even_share) * 0.5
}

/// Theil-Sen: the median slope of all pairs with distinct times.
fn slope(times: &[f64], values: &[f64]) -> f64 {
    let thin = (1..).find(|step| (values.len() / step).pow(2) / 2 <= MAX_PAIRS).unwrap_or(1);
    let points: Vec<(f64, f64)> = times.iter().copied().zip(values.iter().copied()).step_by(thin).collect();
    let mut slopes = Vec::new();
    for (index, (t1, v1)) in points.iter().enumerate() {
        let later = points.get(index + 1..).unwrap_or(&[]);
        slopes.extend(later.iter().filter(|(t2, _)| t2 > t1).map(|(t2, v2)| (v2 - v1) / (t2 - t1)));
    }
    median(&mut slopes)
}

fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len(), values.get(middle)) {
        (length, Some(upper)) if length % 2 == 0 => (values.get(middle - 1).unwrap_or(upper) + upper) / 2.0,
        (_, Some(value)) => *value,
        (_, None) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: f64 = 1048576.0;
    const PERIOD: u64 = 131_072;

    fn judge(values: &[f64]) -> Trend {
        let times: Vec<f64> = (0..values.len()).map(|n| n as f64 * 10.0).collect();
        let values: Vec<f64> = values.iter().map(|value| value * MIB).collect();
        Trend::of(&times, &values, PERIOD)
    }

    #[test]
    fn a_leak_grows_and_an_odd_dump_does_not_change_its_slope() {
        let trend = judge(&[10.0, 20.0, 30.0, 400.0, 50.0, 60.0, 70.0, 80.0]);
        assert_eq!(trend.verdict, Verdict::Grows);
        assert!((trend.slope / MIB - 1.0).abs() < 0.01, "{}", trend.slope);
    }

    #[test]
    fn a_cache_that_filled_is_a_plateau() {
        assert_eq!(judge(&[10.0, 60.0, 90.0, 100.0, 100.0, 100.2, 99.9, 100.1]).verdict, Verdict::Plateau);
        assert_eq!(judge(&[10.0, 60.0, 90.0, 100.0, 100.0, 99.0]).verdict, Verdict::Plateau);
    }

    #[test]
    fn noise_is_not_growth() {
        // 100 MiB at 128 KiB: three standard errors of both ends are 15 MiB.
        assert_eq!(judge(&[100.0, 104.0, 98.0, 103.0, 107.0]).verdict, Verdict::Steady);
        assert_eq!(judge(&[100.0]).verdict, Verdict::Unknown);
        assert_eq!(judge(&[100.0, 50.0]).verdict, Verdict::Shrinks);
        assert_eq!(judge(&[]).verdict, Verdict::Unknown);
    }

    #[test]
    fn many_dumps_see_what_two_cannot() {
        let wobble = |n: usize| if n.is_multiple_of(2) { 0.6 } else { -0.6 };
        let slow: Vec<f64> = (0..100).map(|n| 100.0 + n as f64 * 0.07 + wobble(n)).collect();
        let trend = judge(&slow);
        assert_eq!(trend.verdict, Verdict::Grows, "{trend:?}");
        assert!(trend.confidence > 0.998 && trend.is_persistent() && trend.rising < 0.6, "{trend:?}");
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
    fn confidence_is_that_of_a_normal_distribution() {
        for (sigmas, share) in [(0.0, 0.0), (1.0, 0.682_689), (2.0, 0.954_500), (3.0, 0.997_300), (40.0, 1.0)] {
            assert!((normal(sigmas) - share).abs() < 2e-6, "{sigmas}");
        }
        let few = judge(&[100.0, 110.0]);
        assert!((few.sigmas - 10.0 * MIB / standard_error(210.0 * MIB, PERIOD)).abs() < 1e-9, "{few:?}");
        // Every allocation counted: no noise, and any change is sure.
        let exact = Trend::of(&[0.0, 1.0], &[5.0, 6.0], 0);
        assert_eq!((exact.verdict, exact.confidence), (Verdict::Grows, 1.0));
    }

    #[test]
    fn long_series_are_thinned() {
        let values: Vec<f64> = (0..5000).map(|n| n as f64).collect();
        assert!((judge(&values).slope / MIB - 0.1).abs() < 1e-9);
    }
}
