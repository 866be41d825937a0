//! The shape of a course: does it still rise, did it rise and stop, does it fill ever slower, or come and go?
//!
//! The time is divided into four quarters and the rise of each is compared. A rise that goes on has quarters alike; one
//! that slows down has each quarter below the one before, and the last below 0.7 of the second (a warm-up by
//! 1 - e^(-t/τ) with τ half of the time has 0.37, growth by the logarithm 0.42); one that stopped has nothing in the
//! last. The first quarter is left out of the comparison, as starting up is no leak. What all happened in the last
//! quarter is looked at by quarters of that; what all happened at once is a step.
//!
//! A course of few steps, such as those of an array that doubles when it is full, has not stopped before the next step
//! is overdue: before twice the time that lay between the last two.
//!
//! A course that falls back by half of its height is a sawtooth, unless the low points themselves rise, each higher
//! than the one before. Single odd snapshots do not count: the course is smoothed by medians of three.

use serde::Serialize;

/// Points from which on a course is smoothed, and may be called a sawtooth.
const SMOOTHED: usize = 5;
/// Share of its height that a course must lose to be a sawtooth.
const FALL: f64 = 0.4;
/// The last quarter against the second: below this it slows down.
const SLOWER: f64 = 0.7;
/// The last quarter against the mean of those before: below this it has stopped.
const STOPPED: f64 = 0.15;
/// Standard errors of the bounds within which a shape is sure.
const SURE: f64 = 1.64;
/// The same for the word that somebody's leak is one that fills.
const SURER: f64 = 2.8;
/// Part of a rise that makes a step of it, how many steps make it stepwise, and how many times the time between the
/// last two must have passed for the next one to be overdue.
const STEP: f64 = 0.1;
const STEPS: usize = 3;
const OVERDUE: f64 = 2.0;
/// Quarters of quarters that are looked at.
const DEPTH: usize = 3;

/// How something went on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Shape {
    /// Rises to the end.
    Rising,
    /// Rises to the end, ever slower.
    Slowing,
    /// Rose, then stopped.
    Stopped,
    /// Comes and goes.
    Sawtooth,
    /// All of it happened at once, shortly before the end.
    Step,
    /// Rose in steps, and the next one is not overdue yet: a container that is made larger when it is full.
    Stepwise,
    /// Too few points to tell.
    Unclear,
}

/// A course: values at ascending times, and how far a difference of them may be off.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Course<'a> {
    /// Seconds, or numbers of dumps.
    pub(crate) times: &'a [f64],
    /// Bytes.
    pub(crate) values: &'a [f64],
    /// Variance that each byte of a rise brings (see `trend`).
    pub(crate) grain: f64,
    /// Variance of a difference that comes from what is born and dies meanwhile.
    pub(crate) churn: f64,
}

impl Course<'_> {
    /// Its shape, given that it rises at all.
    pub(crate) fn shape(&self) -> Shape {
        let (Some(&first), Some(&last)) = (self.times.first(), self.times.last()) else { return Shape::Unclear };
        if self.values.len() < 3 || last <= first {
            return Shape::Unclear;
        }
        let values = smoothed(self.values);
        if values.len() >= SMOOTHED && self.is_sawtooth(&values) {
            return Shape::Sawtooth;
        }
        let smooth = Course { values: &values, ..*self };
        match smooth.jump(last - first).unwrap_or_else(|| smooth.between(first, last, DEPTH)) {
            Shape::Stopped if self.is_between_steps() => Shape::Stepwise,
            shape => shape,
        }
    }

    /// Whether most of the rise is a few steps, and the last was not long ago, for the time between them.
    fn is_between_steps(&self) -> bool {
        let (Some(first), Some(last), Some(end)) = (self.values.first(), self.values.last(), self.times.last()) else {
            return false;
        };
        let rise = last - first;
        let least = (STEP * rise).max(3.0 * (self.grain * STEP * rise + self.churn).sqrt());
        let pairs = self.times.windows(2).zip(self.values.windows(2));
        let steps = pairs.filter_map(|(times, values)| {
            let (time, step) = (times.last()?, values.last()? - values.first()?);
            (step > least).then_some((*time, step))
        });
        let steps: Vec<(f64, f64)> = steps.collect();
        let all: f64 = steps.iter().map(|(_, step)| step).sum();
        let [.., before, last] = steps.as_slice() else { return false };
        steps.len() >= STEPS && all > 0.6 * rise && end - last.0 < OVERDUE * (last.0 - before.0)
    }

    /// Whether nearly all of it happened from one moment to the next, and the rest is nothing: then there is no course,
    /// however far apart those moments are.
    fn jump(&self, span: f64) -> Option<Shape> {
        let rise = self.values.last()? - self.values.first()?;
        let steps = self.values.windows(2).map(|pair| pair[1] - pair[0]).enumerate();
        let (at, most) = steps.max_by(|a, b| a.1.total_cmp(&b.1))?;
        let rest = rise - most;
        if most < 0.9 * rise || rest > 3.0 * (self.grain * rest + self.churn).sqrt() {
            return None;
        }
        let since = self.times.last()? - self.times.get(at + 1)?;
        Some(if since > 0.2 * span { Shape::Stopped } else { Shape::Step })
    }

    fn between(&self, from: f64, to: f64, depth: usize) -> Shape {
        let at = |n: f64| self.at(from + (to - from) * n / 4.0);
        let quarters = [at(1.0) - at(0.0), at(2.0) - at(1.0), at(3.0) - at(2.0), at(4.0) - at(3.0)];
        let rise = at(4.0) - at(0.0);
        let error = |bytes: f64| (self.grain * bytes.abs() + self.churn).sqrt();
        let [_, second, third, fourth] = quarters;
        let before = (rise - fourth) / 3.0;
        // A start, and nothing since: three quarters without anything say it, however few there were.
        let late = third + fourth;
        let is_start = late < 0.08 * (rise - late) && rise > 2.2 * error(rise) && fourth <= 3.0 * error(fourth);
        // It stopped where even the most that the last quarter can be is little, or where it is nothing.
        if fourth + SURE * error(fourth.max(before * 0.25)) < 0.25 * before.max(0.0) + 0.02 * rise.max(0.0)
            || fourth < STOPPED * before && before > SURE * error(before)
            || is_start
        {
            // A start that dwarfs the rest hides it: what is left must be beyond chance, and even.
            let rest = second + third + fourth;
            let is_hidden = fourth > 3.0 * error(fourth) && rest > 4.0 * error(rest) && fourth > 0.2 * rest;
            if !is_hidden {
                return Shape::Stopped;
            }
        }
        if fourth > 0.85 * rise {
            let is_fine = self.times.iter().filter(|time| **time > from + 0.75 * (to - from)).count() >= 4;
            return match depth {
                0 => Shape::Step,
                // What stopped within the last quarter has not stopped for long enough to say so.
                _ if is_fine => match self.between(from + 0.75 * (to - from), to, depth - 1) {
                    Shape::Stopped => Shape::Step,
                    shape => shape,
                },
                _ => Shape::Step,
            };
        }
        let is_slower = fourth < SLOWER * second && third < second && fourth < 1.1 * third;
        let is_sure = second - fourth > SURER * error(second).hypot(error(fourth));
        if is_slower && is_sure { Shape::Slowing } else { Shape::Rising }
    }

    /// The value at a time, between its neighbours.
    fn at(&self, time: f64) -> f64 {
        let next = self.times.partition_point(|known| *known < time);
        let point = |index: usize| Some((*self.times.get(index)?, *self.values.get(index)?));
        match (next.checked_sub(1).and_then(point), point(next)) {
            (Some((t0, v0)), Some((t1, v1))) if t1 > t0 => v0 + (v1 - v0) * (time - t0) / (t1 - t0),
            (_, Some((_, value))) | (Some((_, value)), None) => value,
            (None, None) => 0.0,
        }
    }

    /// Whether it falls back by much, and its low points do not rise.
    fn is_sawtooth(&self, values: &[f64]) -> bool {
        let lows = lows(values, (4.0 * (self.churn + self.grain * height(values))).sqrt());
        if lows.is_empty() {
            return false;
        }
        // Low points that rise, each of them, are a leak below the teeth.
        let first = values.first().copied().unwrap_or(0.0);
        let noise = 3.0 * (self.churn + self.grain * height(values)).sqrt();
        let rises = lows.len() >= 3
            && lows.windows(2).all(|pair| pair[1] > pair[0])
            && lows.last().is_some_and(|last| last - first > noise);
        !rises
    }
}

fn height(values: &[f64]) -> f64 {
    let (low, high) = values.iter().fold((f64::INFINITY, 0.0f64), |(low, high), v| (low.min(*v), high.max(*v)));
    (high - low).max(0.0)
}

/// The low points behind each fall that takes away much of what rose before it.
fn lows(values: &[f64], noise: f64) -> Vec<f64> {
    let mut lows = Vec::new();
    let Some(&first) = values.first() else { return lows };
    let (mut base, mut peak, mut low) = (first, first, first);
    let mut falls = false;
    for &value in values {
        if !falls {
            peak = peak.max(value);
            if peak - value > (FALL * (peak - base)).max(noise) && peak > base {
                (falls, low) = (true, value);
            }
        } else if value < low {
            low = value;
        } else if value - low > (0.2 * (peak - low)).max(noise * 0.5) {
            lows.push(low);
            (falls, base, peak) = (false, low, value);
        }
    }
    if falls {
        lows.push(low);
    }
    lows
}

/// Medians of three neighbours; the ends as they are, but no end beyond the two before it by more than they differ from
/// the rest.
pub(crate) fn smoothed(values: &[f64]) -> Vec<f64> {
    if values.len() < SMOOTHED {
        return values.to_vec();
    }
    let mut smooth = values.to_vec();
    for (index, three) in values.windows(3).enumerate() {
        let mut three = [three[0], three[1], three[2]];
        three.sort_by(f64::total_cmp);
        if let Some(slot) = smooth.get_mut(index + 1) {
            *slot = three[1];
        }
    }
    smooth
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shape(values: &[f64]) -> Shape {
        let times: Vec<f64> = (0..values.len()).map(|n| n as f64).collect();
        Course { times: &times, values, grain: 0.1, churn: 0.0 }.shape()
    }

    fn of(count: usize, value: impl Fn(f64) -> f64) -> Shape {
        shape(&(0..count).map(|n| value(n as f64 / (count - 1) as f64)).collect::<Vec<_>>())
    }

    #[test]
    fn what_rises_evenly_rises() {
        assert_eq!(shape(&[10.0, 20.0, 30.0]), Shape::Rising);
        assert_eq!(of(12, |x| 100.0 * x), Shape::Rising);
        assert_eq!(of(12, |x| 1000.0 + 100.0 * x), Shape::Rising);
        // Also in bursts, after a large start, late, and with an odd snapshot.
        assert_eq!(of(40, |x| 100.0 * (8.0 * x).floor()), Shape::Rising);
        assert_eq!(of(30, |x| if x > 0.0 { 5000.0 + 270.0 * x } else { 0.0 }), Shape::Rising);
        assert_eq!(of(40, |x| 1000.0 * (x - 0.6).max(0.0)), Shape::Rising);
        let mut odd: Vec<f64> = (1..13).map(|n| 10.0 * f64::from(n)).collect();
        odd[7] = 130.0;
        assert_eq!(shape(&odd), Shape::Rising);
        (odd[7], odd[4]) = (80.0, 130.0);
        assert_eq!(shape(&odd), Shape::Rising);
    }

    #[test]
    fn what_stopped_stopped() {
        assert_eq!(shape(&[5.67, 26.68, 26.81]), Shape::Stopped);
        assert_eq!(shape(&[2.0, 120.0, 120.5, 121.0]), Shape::Stopped);
        assert_eq!(of(20, |x| 500.0 * x.min(0.5)), Shape::Stopped);
        assert_eq!(shape(&[10.0, 60.0, 90.0, 100.0, 100.0, 100.2, 99.9, 100.1]), Shape::Stopped);
    }

    #[test]
    fn what_fills_slows_down() {
        assert_eq!(of(20, |x| 1000.0 * (1.0 - (-2.0 * x).exp())), Shape::Slowing);
        assert_eq!(of(20, |x| 1000.0 * (1.0 + 20.0 * x).ln()), Shape::Slowing);
    }

    #[test]
    fn what_comes_and_goes_is_a_sawtooth() {
        let teeth: Vec<f64> = (0..24).map(|n| 50.0 + 30.0 * f64::from(n % 6)).collect();
        assert_eq!(shape(&teeth), Shape::Sawtooth);
        let higher: Vec<f64> = (0..24).map(|n| 50.0 + 30.0 * f64::from(n % 6) + 20.0 * f64::from(n)).collect();
        assert_eq!(shape(&higher), Shape::Rising);
    }

    #[test]
    fn what_rises_in_steps_has_not_stopped_before_the_next_is_overdue() {
        // A table that doubles at 80, 160 and 320 of 600; then the same at twice that age.
        let doubled = |t: f64| 4.0 * (t.max(10.0) / 10.0).log2().floor().min(5.0).exp2();
        assert_eq!(of(31, |x| doubled(60.0 + 540.0 * x)), Shape::Stepwise);
        assert_eq!(of(61, |x| doubled(60.0 + 1140.0 * x)), Shape::Stopped);
    }

    #[test]
    fn one_step_at_the_end_is_no_course() {
        assert_eq!(shape(&[0.0, 0.0, 0.0, 90.0]), Shape::Step);
        assert_eq!(shape(&[1.0, 2.0]), Shape::Unclear);
    }
}
