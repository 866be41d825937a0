//! What sampling does to a track: the standard error of its changes, and how likely they are by chance.
//!
//! The errors are `trend`'s (its head has the formulas). Only what was born and died between two snapshots errs.

use super::chance::{births_by_chance, upper_tail};
use super::exchange::Exchange;
use super::line::{averaged, median};
use super::track::Track;

/// Snapshots from which on single ones do not speak for the beginning and the end.
pub(super) const MANY: usize = 5;

/// A track's judged part.
pub(super) struct Sampled<'a> {
    /// The whole track.
    pub(super) track: &'a Track,
    /// What was born and died from its first to its last moment.
    pub(super) exchange: Exchange,
    /// Seconds.
    pub(super) times: &'a [f64],
    /// Bytes, without an odd end.
    pub(super) values: &'a [f64],
}

/// How likely a change is by chance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Chance {
    /// The change in standard errors.
    pub(super) sigmas: f64,
    /// Probability of such a rise by chance.
    pub(super) rise: f64,
    /// Probability of such a fall by chance.
    pub(super) fall: f64,
}

impl Chance {
    /// Whether it is a rise beyond chance.
    pub(super) fn is_rise(&self, allowed: f64) -> bool {
        self.rise <= allowed
    }

    /// Whether it is a fall beyond chance.
    pub(super) fn is_fall(&self, allowed: f64) -> bool {
        self.fall <= allowed
    }
}

impl Sampled<'_> {
    /// One standard error of the difference of first and last.
    pub(super) fn of_ends(&self) -> f64 {
        (self.track.grain() * self.exchange.both()).sqrt()
    }

    /// The change along the line, and one standard error of it.
    pub(super) fn of_line(&self, slope: f64, span: f64) -> (f64, f64) {
        let change = slope * span;
        let count = self.values.len() as f64;
        let renewed = 1.0 + (count - 1.0) * self.exchange.renewed;
        let sampling = 1.2 * change.abs() + averaged(renewed.max(2.0)) * self.exchange.churn();
        let mut rests: Vec<f64> =
            self.times.iter().zip(self.values).map(|(time, value)| value - slope * time).collect();
        let line = median(&mut rests);
        rests.iter_mut().for_each(|rest| *rest = (*rest - line).abs());
        let few = 1.0 + 45.0 / (count - 2.0).max(1.0).powi(2);
        let own = 1.4826 * median(&mut rests) * averaged(count).sqrt() * few;
        (change, (self.track.grain() * sampling).sqrt().hypot(own))
    }

    /// How far the last is above what was usual until shortly before, and one standard error of that: what rises only
    /// at the end of many is in no line and no median.
    pub(super) fn fresh(&self) -> Option<(f64, f64)> {
        let (last, before) = self.values.split_last()?;
        let mut usual = before.get(..before.len() - before.len() / 5)?.to_vec();
        let rise = last - median(&mut usual);
        let error = (self.track.grain() * (self.exchange.churn() + rise.abs())).sqrt().hypot(2.0 * self.jumps());
        (before.len() >= MANY && rise > 0.0).then_some((rise, error))
    }

    /// How far values jump from one snapshot to the next beside their usual step: one standard deviation.
    pub(super) fn jumps(&self) -> f64 {
        if self.values.len() < MANY {
            return 0.0;
        }
        let mut steps: Vec<f64> = self.values.windows(2).map(|pair| pair[1] - pair[0]).collect();
        let usual = median(&mut steps);
        steps.iter_mut().for_each(|step| *step = (*step - usual).abs());
        1.4826 * median(&mut steps) / std::f64::consts::SQRT_2
    }

    /// By the normal distribution, and by births against deaths where few samples stand behind it.
    pub(super) fn chance(&self, change: f64, error: f64) -> Chance {
        let sigmas = match error > 0.0 {
            true => change / error,
            false if change == 0.0 => 0.0,
            false => change.signum() * 1e3,
        };
        let (rise, fall) = (upper_tail(sigmas), upper_tail(-sigmas));
        let per_sample = self.track.per_sample().max(1.0);
        let (born, died) = match (self.exchange.born, self.exchange.died) {
            (Some(born), Some(died)) => (born, died),
            // At least what the change itself is.
            _ => (change.max(0.0), (-change).max(0.0)),
        };
        // Snapshots that rise one after the other are evidence, however few objects stand behind each.
        let by_coins = |more: f64, less: f64| match self.values.len() < MANY {
            true => births_by_chance(more / per_sample, less / per_sample),
            false => 0.0,
        };
        Chance { sigmas, rise: rise.max(by_coins(born, died)), fall: fall.max(by_coins(died, born)) }
    }
}
