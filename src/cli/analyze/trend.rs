//! Does it grow? One row of live bytes over time, judged with the noise that sampling puts on it.
//!
//! The slope is Theil-Sen's: the median of the slopes of all pairs, so that one odd dump (a JIT
//! burst, a cache being filled) does not decide. A change counts only beyond three standard errors,
//! with the bound of `sample::standard_error` for both ends; that is careful, as objects living in
//! both dumps carry the same error twice and cancel.

use crate::cli::profile::sample::standard_error;
use serde::Serialize;

/// Pairs that a slope is taken from; longer series are thinned to stay below.
const MAX_PAIRS: usize = 20_000;
/// Standard errors that a change must exceed to be believed.
const SIGMAS: f64 = 3.0;

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
    /// What the difference must exceed to be more than chance.
    pub(crate) noise_bytes: f64,
    /// Share of steps from dump to dump that rose.
    pub(crate) rising: f64,
    /// The judgement.
    pub(crate) verdict: Verdict,
}

impl Trend {
    /// Judges live bytes `values` at `times` (same length, ascending).
    pub(crate) fn of(times: &[f64], values: &[f64], period_bytes: u64) -> Trend {
        let first = values.first().copied().unwrap_or(0.0);
        let last = values.last().copied().unwrap_or(0.0);
        let noise = SIGMAS * standard_error(first + last, period_bytes);
        let slope = slope(times, values);
        let steps = values.len().saturating_sub(1);
        let up = values.windows(2).filter(|pair| pair[1] > pair[0]).count();
        let rising = if steps == 0 { 0.0 } else { up as f64 / steps as f64 };
        let verdict = match last - first {
            _ if steps == 0 => Verdict::Unknown,
            change if change > noise && slope > 0.0 && is_still_rising(values, period_bytes) => Verdict::Grows,
            change if change > noise => Verdict::Plateau,
            change if -change > noise => Verdict::Shrinks,
            _ => Verdict::Steady,
        };
        Trend { first_bytes: first, last_bytes: last, slope, noise_bytes: noise, rising, verdict }
    }

    /// Change from first to last.
    pub(crate) fn change_bytes(&self) -> f64 {
        self.last_bytes - self.first_bytes
    }
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
    fn long_series_are_thinned() {
        let values: Vec<f64> = (0..5000).map(|n| n as f64).collect();
        assert!((judge(&values).slope / MIB - 0.1).abs() < 1e-9);
    }
}
