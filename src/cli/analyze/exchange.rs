//! What was born and what died between two moments: all that can make a change of a sampled sum err.
//!
//! The ages of the last snapshot tell what was born since the first and lives; the rows of its history bound it
//! exactly. What is missing then has died.

use super::moments::Moments;
use super::track::Track;
use crate::cli::profile::metric::Metric;
use crate::wire::ages::{Ages, live_bin_start};

/// What was born and what died between first and last.
#[derive(Clone, Copy, Debug)]
pub(super) struct Exchange {
    /// Bytes of the last moment that were born since the first; `None`: nobody knows.
    pub(super) born: Option<f64>,
    /// Bytes of the first moment that died since.
    pub(super) died: Option<f64>,
    first: f64,
    last: f64,
    /// How often what comes and goes is renewed from one snapshot to the next, at most 1.
    pub(super) renewed: f64,
}

impl Exchange {
    /// Of a track between its first and its last moment that is judged; these are the ages at the latter.
    pub(super) fn of(moments: &Moments, track: &Track, ages: &Ages, first: f64, last: f64, span: f64) -> Exchange {
        let unknown = Exchange { born: None, died: None, first, last, renewed: 1.0 };
        let is_fitting = moments.has_times && moments.metric == Metric::InuseBytes;
        if ages.live.is_empty() || !is_fitting || span <= 0.0 || last <= 0.0 {
            // None lives: all of it died.
            return if last <= 0.0 { Exchange { born: Some(0.0), died: Some(first), ..unknown } } else { unknown };
        }
        let steps = track.bytes.len().saturating_sub(1).max(1) as f64;
        let scale = last / ages.live.iter().map(|bin| bin.bytes).sum::<f64>().max(1.0);
        // Rows of the history are exact; ages are bins, and a start may lie in the bin of the first moment.
        let is_last = std::ptr::eq(ages, &track.ages);
        let most = if is_last { track.born } else { f64::INFINITY };
        let born = (younger(ages, span) * scale).min(most).clamp((last - first).max(0.0), last);
        let young = younger(ages, span / steps) * scale;
        let died = (first + born - last).max(0.0);
        Exchange { born: Some(born), died: Some(died), first, last, renewed: (young / last).clamp(0.0, 1.0) }
    }

    /// What came and went.
    pub(super) fn churn(&self) -> f64 {
        match (self.born, self.died) {
            (Some(born), Some(died)) => born.min(died),
            _ => self.first.min(self.last),
        }
    }

    /// Births and deaths together.
    pub(super) fn both(&self) -> f64 {
        match (self.born, self.died) {
            (Some(born), Some(died)) => born + died,
            _ => self.first + self.last,
        }
    }
}

/// Bytes of live objects that are younger than this; a bin across the bound counts in part.
pub(super) fn younger(ages: &Ages, seconds: f64) -> f64 {
    let of = |bin: u8| live_bin_start(bin) as f64 / 1e9;
    let part = |bin: u8| ((seconds - of(bin)) / (of(bin.saturating_add(1)) - of(bin))).clamp(0.0, 1.0);
    ages.live.iter().map(|bin| bin.bytes * part(bin.bin)).sum()
}
