//! One row of a report or a table: its judgement, and what it usually is.

use super::ages::AgeFacts;
use super::chance::{FALSE_ALARMS, allowance};
use super::culprits::{Culprit, Culprits, Kind};
use super::frames::Kinds;
use super::groups::{Group, What};
use super::moments::Moments;
use super::own::Owners;
use super::track::Track;
use super::trend::Trend;
use super::verdict::{Evidence, Judgement};
use crate::cli::profile::metric::Metric;
use crate::cli::profile::sample::Estimate;
use crate::cli::profile::series::Series;
use serde::Serialize;

/// A judged row.
#[derive(Clone, Debug)]
pub(super) struct Row {
    /// What it is about.
    pub(super) group: Group,
    /// What it held over the series.
    pub(super) trend: Trend,
    /// What it is.
    pub(super) judgement: Judgement,
    /// How old its objects are, where the last dump tells it.
    pub(super) ages: Option<AgeFacts>,
    /// What such a row usually is.
    pub(super) hint: Option<Hint>,
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
    /// When its dumps were written.
    pub(super) moments: Moments,
    culprits: Culprits,
    /// Which frames readers want to see, and whose they are.
    pub(super) kinds: Kinds,
    pub(super) owners: Owners,
    /// All live bytes over the series.
    pub(super) all: Track,
}

impl<'a> Judge<'a> {
    /// For a named series.
    pub(super) fn of(series: &'a Series) -> Judge<'a> {
        let moments = Moments::of(series);
        let all = Track::of_all(series, &moments);
        let kinds = Kinds::of(&series.profile);
        let owners = Owners::of(&series.profile, &kinds);
        Judge { series, moments, culprits: Culprits::of(&series.profile), kinds, owners, all }
    }

    /// The series' numbers as one row.
    pub(super) fn total(&self) -> Trend {
        Trend::of(&self.moments, &self.all, FALSE_ALARMS)
    }

    /// The ages of a track's objects in the last dump that is judged.
    fn ages(&self, track: &Track, trend: &Trend) -> Option<AgeFacts> {
        // Ages are of live bytes; where another measure is asked for they would not fit it.
        let is_fitting = self.moments.metric == Metric::InuseBytes;
        let (ages, window) = match trend.is_without_last(track.bytes.len()) {
            true => (&track.earlier_ages, self.moments.window.map(|window| window - self.gap())),
            false => (&track.ages, self.moments.window),
        };
        AgeFacts::of(ages, window, self.moments.period as u64).filter(|_| is_fitting)
    }

    /// Seconds from the last moment but one to the last: where ages are known of both, those are dumps.
    fn gap(&self) -> f64 {
        match self.moments.times.as_slice() {
            [.., before, last] if self.moments.has_times => last - before,
            _ => 0.0,
        }
    }

    /// Everything about a row of so many.
    pub(super) fn row(&self, group: Group, places: usize) -> Row {
        let track = &group.track;
        let most = |values: &[f64]| values.iter().copied().fold(0.0, f64::max);
        let (total, held) = (most(&self.all.bytes), most(&track.bytes));
        let allowed = allowance(held / total.max(1.0), places);
        let trend = Trend::of(&self.moments, track, allowed);
        let ages = self.ages(track, &trend);
        let culprit = self.culprit(&group);
        let span = self.moments.times.get(trend.moments.saturating_sub(1)).copied();
        let evidence = Evidence {
            trend: &trend,
            ages: ages.as_ref(),
            kind: culprit.map(|culprit| culprit.kind),
            span_seconds: span.filter(|span| self.moments.has_times && *span > 0.0),
            is_cut: trend.is_without_last(track.bytes.len()),
            window: self.moments.window,
            total,
            allowed,
            grain: track.grain(),
        };
        let judgement = evidence.judge();
        let hint = culprit.map(|Culprit { kind, title, advice, .. }| Hint { kind, title, advice });
        Row { group, trend, judgement, ages, hint }
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

/// The sampling distance in the unit of a measure: objects of a mean size are so many samples apart.
pub(super) fn period_of(series: &Series, last: Estimate) -> u64 {
    let profile = &series.profile;
    let period = profile.period_bytes;
    // Objects and bytes have changed places.
    let (objects, bytes) = (last.bytes, last.objects);
    match profile.metric.is_count() {
        true if bytes > 0.0 => (period as f64 * objects / bytes).ceil() as u64,
        _ => period,
    }
}
