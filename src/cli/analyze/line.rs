//! The line through a course: Theil-Sen's slope, the medians of its ends, and how well a line averages.

use super::shape::smoothed;

/// Values from which on single ones do not speak for the beginning and the end.
const ENDS: usize = 5;
/// Pairs that a slope is taken from; longer series are thinned to stay below.
const MAX_PAIRS: usize = 5_000;

/// Variance of the change along a line through so many independent values of variance 1.
pub(super) fn averaged(count: f64) -> f64 {
    12.0 * (count - 1.0) / (count * (count + 1.0))
}

/// Where it began and where it ended: single values of few dumps, medians of a fifth at each end of many.
pub(super) fn ends(values: &[f64]) -> (f64, f64) {
    let values = smoothed(values);
    let few = if values.len() < ENDS { 1.min(values.len()) } else { values.len().div_ceil(5) };
    let mut first = values.get(..few).unwrap_or(&[]).to_vec();
    let mut last = values.get(values.len() - few..).unwrap_or(&[]).to_vec();
    (median(&mut first), median(&mut last))
}

/// Theil-Sen: the median slope of all pairs with distinct times.
pub(super) fn slope(times: &[f64], values: &[f64]) -> f64 {
    let thin = (1..).find(|step| (values.len() / step).pow(2) / 2 <= MAX_PAIRS).unwrap_or(1);
    let points: Vec<(f64, f64)> = times.iter().copied().zip(values.iter().copied()).step_by(thin).collect();
    let mut slopes = Vec::new();
    for (index, (t1, v1)) in points.iter().enumerate() {
        let later = points.get(index + 1..).unwrap_or(&[]);
        slopes.extend(later.iter().filter(|(t2, _)| t2 > t1).map(|(t2, v2)| (v2 - v1) / (t2 - t1)));
    }
    median(&mut slopes)
}

/// The middle value, or the mean of the middle two; 0 of none.
pub(super) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.len(), values.get(middle)) {
        (length, Some(upper)) if length % 2 == 0 => (values.get(middle - 1).unwrap_or(upper) + upper) / 2.0,
        (_, Some(value)) => *value,
        (_, None) => 0.0,
    }
}
