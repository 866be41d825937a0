//! One row of a report or a table: its judgement, and what it usually is.

use super::ages::AgeFacts;
use super::culprits::{Culprit, Culprits, Kind};
use super::groups::{Group, What};
use super::trend::Trend;
use super::verdict::{Evidence, Judgement};
use crate::cli::profile::Profile;
use crate::cli::profile::sample::Estimate;
use crate::cli::profile::series::Series;
use crate::cli::profile::shape::Metric;
use serde::Serialize;

/// What is known about a row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What it is.
    pub(crate) judgement: Judgement,
    /// How old its objects are, where the last dump tells it.
    pub(crate) ages: Option<AgeFacts>,
    /// What such a row usually is.
    pub(crate) hint: Option<Hint>,
}

/// A known cause.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Hint {
    /// How it behaves.
    pub(crate) kind: Kind,
    /// What it is.
    pub(crate) title: &'static str,
    /// What to do.
    pub(crate) advice: &'static str,
}

/// Judges the rows of one series.
pub(super) struct Judge<'a> {
    series: &'a Series,
    /// Seconds from the first dump, or the dumps' numbers.
    times: Vec<f64>,
    culprits: Culprits,
    /// Whether `times` are seconds.
    pub(super) has_times: bool,
}

impl<'a> Judge<'a> {
    /// For a named series.
    pub(super) fn of(series: &'a Series) -> Judge<'a> {
        let seconds = series.seconds();
        let has_times = seconds.is_some();
        let times = seconds.unwrap_or_else(|| (0..series.dumps.len()).map(|n| n as f64).collect());
        Judge { series, times, culprits: Culprits::of(&series.profile), has_times }
    }

    /// A row's numbers over the series.
    pub(super) fn trend(&self, values: &[f64], last: Estimate) -> Trend {
        Trend::of(&self.times, values, self.period(last))
    }

    /// The sampling distance in the unit of the metric: objects of a mean size are so many samples apart.
    pub(super) fn period(&self, last: Estimate) -> u64 {
        let profile = &self.series.profile;
        let period = profile.period_bytes;
        // Objects and bytes have changed places.
        let (objects, bytes) = (last.bytes, last.objects);
        match profile.metric.is_count() {
            true if bytes > 0.0 => (period as f64 * objects / bytes).ceil() as u64,
            _ => period,
        }
    }

    /// Everything about a row whose trend is known.
    pub(super) fn row(&self, group: &Group, trend: &Trend) -> Row {
        let profile = &self.series.profile;
        let window = window(profile);
        // Ages are of live bytes; where another measure is asked for they would not fit it.
        let is_fitting = profile.metric == Metric::InuseBytes;
        let ages = AgeFacts::of(&group.ages, window, profile.period_bytes).filter(|_| is_fitting);
        let culprit = self.culprit(group);
        let evidence = Evidence {
            trend,
            ages: ages.as_ref(),
            kind: culprit.map(|culprit| culprit.kind),
            dumps: self.times.len(),
            span_seconds: self.times.last().copied().filter(|span| self.has_times && *span > 0.0),
        };
        let judgement = evidence.judge();
        let hint = culprit.map(|Culprit { kind, title, advice, .. }| Hint { kind, title, advice });
        Row { judgement, ages, hint }
    }

    /// By the frames that make the row, else by the whole of its biggest stack: compilers are recognised far from their
    /// allocations.
    fn culprit(&self, group: &Group) -> Option<Culprit> {
        match &group.what {
            What::Name(name) => self.culprits.of_name(name),
            What::Site(site) => {
                let by_frames = self.culprits.recognise(site.frames.iter().map(|line| line.function));
                by_frames.or_else(|| {
                    let profile = &self.series.profile;
                    let stack = &profile.samples.get(site.biggest)?.stack;
                    let lines = stack.iter().flat_map(|id| &profile.location(*id).lines);
                    self.culprits.recognise(lines.map(|line| line.function))
                })
            }
        }
    }
}

/// For how long births were recorded, seconds: as long as the process lives, but not before sampling was switched on or
/// reset, which the oldest object of all tells.
fn window(profile: &Profile) -> Option<f64> {
    let seconds = |ns: u64| ns as f64 / 1e9;
    let uptime = profile.metadata.uptime_ns.map(seconds);
    // The oldest bin is a quarter wide.
    let recorded = profile.metadata.oldest_ns.map(|oldest| 1.25 * seconds(oldest));
    match (uptime, recorded) {
        (Some(uptime), Some(recorded)) => Some(uptime.min(recorded)),
        (uptime, recorded) => uptime.or(recorded),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::metadata::Metadata;

    #[test]
    fn births_before_recording_began_are_not_missed() {
        let of = |uptime_ns, oldest_ns| {
            window(&Profile {
                metadata: Metadata { uptime_ns, oldest_ns, ..Metadata::default() },
                ..Profile::default()
            })
        };
        let second = 1_000_000_000;
        // Reset ten minutes ago.
        assert_eq!(of(Some(7200 * second), Some(600 * second)), Some(750.0));
        assert_eq!(of(Some(700 * second), Some(600 * second)), Some(700.0));
        assert_eq!((of(None, Some(4 * second)), of(Some(second), None), of(None, None)), (Some(5.0), Some(1.0), None));
    }
}
