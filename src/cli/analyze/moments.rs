//! The moments of a series: its dumps, and before and between them the looks that the last dump's history tells of.
//!
//! A look is a moment at which the keeper noted what every stack held (`profile::history`). It stands where the dumps
//! leave room: before the first and between two, not next to one. The first tenth of the time that was observed is
//! left out, as starting up is no leak.
//!
//! Stacks of which nothing lives any more have no row; a look knows only what they held together. Rows grow where
//! stacks are new, and what was there before in stacks that are gone is missing: traffic by ever new call paths would
//! look like growth from nothing. So what is in no row is given to the stacks that were not there yet, each by what it
//! holds now, and at most that much. Then all rows together grow by what the process grew by, not by more.

use super::sampling::Sampling;
use crate::cli::profile::Profile;
use crate::cli::profile::history::Past;
use crate::cli::profile::metric::Metric;
use crate::cli::profile::sample::{Estimate, Sample};
use crate::cli::profile::series::{Dump, Series};

/// Part of the observed time in which a process starts.
const START: f64 = 0.1;
/// A look is left out where a dump is nearer than this part of the distance of looks.
const NEAR: f64 = 0.5;

/// Where a moment's values stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Point {
    /// In the dump of that number.
    Dump(usize),
    /// In the history, at that place of its times.
    Look(usize),
}

/// What moments are for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Purpose {
    /// To judge what grows.
    Verdict,
    /// To be looked at.
    Picture,
}

/// The moments of a series.
#[derive(Clone, Debug, Default)]
pub(crate) struct Moments {
    /// Seconds from the first, or the dumps' numbers; ascending.
    pub(crate) times: Vec<f64>,
    /// Where the values of each stand.
    pub(crate) points: Vec<Point>,
    /// What all stacks held, those that are gone included.
    pub(crate) totals: Vec<Estimate>,
    /// Resident bytes, if they are known of each.
    pub(crate) resident: Option<Vec<f64>>,
    /// Whether `times` are seconds.
    pub(crate) has_times: bool,
    /// Whether the last was written while the process ended: it may have given back what it held.
    pub(crate) is_last_final: bool,
    /// For how long before the last births were recorded, seconds.
    pub(crate) window: Option<f64>,
    /// Mean distance of samples, bytes: the largest of all.
    pub(crate) period: f64,
    /// What was done to the sampling.
    pub(crate) sampling: Sampling,
    /// Seconds of `window` without sampling.
    pub(crate) off: f64,
    /// What stands in the place of bytes.
    pub(crate) metric: Metric,
    /// The last look that is not after the first moment: what was allocated since is known.
    pub(crate) first_look: Option<usize>,
    /// Of each look: which share of what a stack holds now stands for stacks that are gone, if it was not there yet.
    pub(super) gone: Vec<f64>,
}

impl Moments {
    /// Of a series, as verdicts rest on them: without its start, and without what its end may have freed.
    pub(crate) fn of(series: &Series) -> Moments {
        Moments::for_purpose(series, Purpose::Verdict)
    }

    /// All that are known, for pictures: from the start to the end. A stack held nothing before it was there: what is
    /// in no row is nobody's.
    pub(crate) fn whole(series: &Series) -> Moments {
        Moments::for_purpose(series, Purpose::Picture)
    }

    fn for_purpose(series: &Series, purpose: Purpose) -> Moments {
        let times = series.times();
        let has_times = times.is_some();
        let dumps = times.unwrap_or_else(|| (0..series.dumps.len()).map(|n| n as f64).collect());
        let is_last_final = series.last().is_some_and(is_final);
        let mut all: Vec<(f64, Point)> =
            (0..).map(Point::Dump).zip(&dumps).map(|(point, time)| (*time, point)).collect();
        let times = if has_times { look_times(series, &dumps) } else { Vec::new() };
        let is_picture = purpose == Purpose::Picture;
        let start = if is_picture { 0.0 } else { START };
        all.extend(looks(series, &dumps, &times, (start, is_last_final && !is_picture)));
        all.sort_by(|a, b| a.0.total_cmp(&b.0));
        let first = all.first().map_or(0.0, |(time, _)| *time);
        let periods = series.dumps.iter().map(|dump| dump.period_bytes);
        let (sampling, window) = (Sampling::of(&series.profile.history), window(&series.profile));
        let now = series.profile.history.stack_times_ns.last().map(|now| *now as f64 / 1e9);
        let now = now.or_else(|| series.last()?.time()).unwrap_or(0.0);
        let mut moments = Moments {
            times: all.iter().map(|(time, _)| time - first).collect(),
            points: all.iter().map(|(_, point)| *point).collect(),
            has_times,
            first_look: times.partition_point(|time| *time <= first).checked_sub(1),
            is_last_final: is_last_final && all.len() > 1,
            off: sampling.off_seconds(now - window.unwrap_or(0.0), now),
            sampling,
            window,
            period: periods.max().unwrap_or(0) as f64,
            metric: series.profile.metric,
            ..Moments::default()
        };
        moments.sum(series);
        if is_picture {
            moments.gone.fill(0.0);
        }
        moments
    }

    /// When they were: seconds since 1970, or the dumps' numbers where times are not known.
    pub(crate) fn clock(&self, series: &Series) -> Vec<f64> {
        let last = series.last().and_then(Dump::time).filter(|_| self.has_times);
        let shift = last.zip(self.times.last()).map_or(0.0, |(clock, last)| clock - last);
        self.times.iter().map(|time| time + shift).collect()
    }

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.points.len()
    }

    /// Of values at each moment, those of the dumps.
    pub(crate) fn of_dumps(&self, values: &[f64]) -> Vec<f64> {
        let is_dump = |point: &Point| matches!(point, Point::Dump(_));
        values.iter().zip(&self.points).filter(|(_, point)| is_dump(point)).map(|(value, _)| *value).collect()
    }

    /// The looks among them: place, and number in the history.
    pub(crate) fn looks(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        (0..).zip(&self.points).filter_map(|(at, point)| match point {
            Point::Look(look) => Some((at, *look)),
            Point::Dump(_) => None,
        })
    }

    /// What a stack may have allocated since the first moment of what it holds now, at most.
    pub(crate) fn born(&self, sample: &Sample) -> f64 {
        let before = self.first_look.and_then(|look| sample.past.get(look)).map(|past| past.allocated_bytes);
        let now = sample.past.last().map(|past| past.allocated_bytes);
        now.zip(before).map_or(sample.value.bytes, |(now, before)| (now - before).clamp(0.0, sample.value.bytes))
    }

    /// What a stack held at a look, bytes and objects.
    pub(crate) fn held(&self, sample: &Sample, look: usize) -> (f64, f64) {
        match sample.past.get(look) {
            Some(past) if !past.is_new() => (past.live_bytes, past.live_objects),
            _ => {
                let share = self.gone.get(look).copied().unwrap_or(0.0);
                (sample.value.bytes * share, sample.value.objects * share)
            }
        }
    }

    /// Adds up what all stacks held, and works out how much of it is in no row.
    fn sum(&mut self, series: &Series) {
        let history = &series.profile.history;
        let looks = history.other.len();
        let (mut known, mut new) = (vec![Past::default(); looks], vec![0.0; looks]);
        if self.looks().next().is_some() {
            new = series.profile.new_bytes();
            for sample in &series.profile.samples {
                let was = sample.past.iter().zip(&mut known).filter(|(past, _)| !past.is_new());
                was.for_each(|(past, sum)| *sum += *past);
            }
        }
        let share =
            |(other, new): (&Past, &f64)| if *new > 0.0 { (other.live_bytes / new).clamp(0.0, 1.0) } else { 0.0 };
        self.gone = history.other.iter().zip(&new).map(share).collect();
        let total = |point: &Point| match point {
            Point::Dump(dump) => series.dumps.get(*dump).map(|dump| dump.total).unwrap_or_default(),
            Point::Look(look) => {
                let mut sum = known.get(*look).copied().unwrap_or_default();
                sum += history.other.get(*look).copied().unwrap_or_default();
                Estimate { bytes: sum.live_bytes, objects: sum.live_objects, ..Estimate::default() }
            }
        };
        self.totals = self.points.iter().map(total).collect();
        let resident = |point: &Point| match point {
            Point::Dump(dump) => series.dumps.get(*dump)?.metadata.rss_bytes.map(|bytes| bytes as f64),
            Point::Look(look) => {
                let time = history.stack_times_ns.get(*look)?;
                let at = history.timeline.binary_search_by(|moment| moment.wall_ns.cmp(time)).ok()?;
                history.timeline.get(at)?.resident_bytes.map(|bytes| bytes as f64)
            }
        };
        self.resident = self.points.iter().map(resident).collect();
        // What was seen with a longer period weighs more.
        let since = history.stack_times_ns.get(self.looks().next().map_or(usize::MAX, |(_, look)| look));
        let periods = history.timeline.iter().filter(|moment| since.is_some_and(|since| moment.wall_ns >= *since));
        self.period = periods.map(|moment| moment.period_bytes as f64).fold(self.period, f64::max);
    }
}

/// When the looks of the history were, by the dumps' clock. The tap's is that of its start; the last dump tells how far
/// they are apart.
fn look_times(series: &Series, dumps: &[f64]) -> Vec<f64> {
    let times_ns = series.profile.history.stack_times_ns.as_slice();
    let ([before @ .., now], Some(last)) = (times_ns, dumps.last()) else { return Vec::new() };
    before.iter().map(|time| last - now.saturating_sub(*time) as f64 / 1e9).collect()
}

/// The looks that stand where no dump is near: time and number.
fn looks(series: &Series, dumps: &[f64], times: &[f64], (start, is_last_final): (f64, bool)) -> Vec<(f64, Point)> {
    let history = &series.profile.history;
    let (Some(now), Some(last)) = (history.stack_times_ns.last(), dumps.last()) else { return Vec::new() };
    let mut steps: Vec<f64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
    steps.sort_by(f64::total_cmp);
    let step = steps.get(steps.len() / 2).copied().unwrap_or(0.0);
    let since = match history.observed_since_ns {
        0 => times.first().copied().unwrap_or(*last),
        since => last - now.saturating_sub(since) as f64 / 1e9,
    };
    let from = series.from.unwrap_or(f64::MIN).max(since + start * (last - since));
    // What a process frees as it ends is in no row of its last dump: then the dump before that has the last word.
    let until = dumps.len().checked_sub(2).and_then(|before| dumps.get(before)).filter(|_| is_last_final);
    let is_free = |time: &f64| dumps.iter().all(|dump| (dump - time).abs() > NEAR * step);
    let is_within = |time: &f64| *time >= from && *time < *until.unwrap_or(last);
    let numbered = times.iter().zip(0..).filter(|(time, _)| is_within(time) && is_free(time));
    numbered.map(|(time, look)| (*time, Point::Look(look))).collect()
}

/// Whether a dump is one that a process writes when it ends by itself.
fn is_final(dump: &Dump) -> bool {
    let by_name = || dump.name.as_ref().is_some_and(|name| name.kind.to_string() == "f");
    match dump.metadata.reason.as_deref() {
        Some(reason) => reason == "final",
        None => by_name(),
    }
}

/// For how long births were recorded, seconds: as the tap says; else as long as the process lives, but not before
/// sampling was switched on or reset, which the oldest object of all tells.
fn window(profile: &Profile) -> Option<f64> {
    let history = &profile.history;
    if let (Some(now), since @ 1..) = (history.stack_times_ns.last(), history.observed_since_ns) {
        return Some(now.saturating_sub(since) as f64 / 1e9);
    }
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
    use crate::cli::analyze::track::Track;
    use crate::cli::profile::heap_v2;
    use crate::cli::profile::metadata::Metadata;
    use crate::cli::profile::series::SeriesBuilder;
    use std::fmt::Write;

    /// 2026-11-25 22:00 UTC.
    const TEN: u64 = 1_795_644_000;
    const MIB: f64 = 1048576.0;

    /// A dump at so many minutes past ten. Stacks: what each holds now and held at each look, MiB (`None`: it was not
    /// there yet); and what is in no row.
    fn dump(minute: u64, looks: &[u64], stacks: &[(u64, u64, &[Option<u64>])], other: &[u64], more: &str) -> Profile {
        let mut text = String::from("heap_v2/1\n  t*: 0: 0 [0: 0]\n");
        let mut lines = format!("# observed_since: {TEN}000000000\n# ages: {}\n", stacks.len());
        let times = looks.iter().chain([&minute]).map(|minute| format!(" {}000000000", TEN + 60 * minute));
        writeln!(lines, "# past_times:{}", times.collect::<String>()).unwrap();
        let other = other.iter().map(|mib| format!(" 65536/{}/65536/{}", mib << 20, mib << 20));
        writeln!(lines, "# past_other:{}", other.collect::<String>()).unwrap();
        for (number, (frame, now, past)) in stacks.iter().enumerate() {
            writeln!(text, "@ 0x1000 {frame:#x}\n  t*: {now}: {} [0: 0]", now << 20).unwrap();
            writeln!(lines, "# exact: {number} {} {2} {} {2}", now << 16, now << 16, now << 20).unwrap();
            write!(lines, "# past: {number}").unwrap();
            let mut before = 0;
            for (at, mib) in past.iter().enumerate().filter_map(|(at, mib)| Some((at, (*mib)?))) {
                let born = mib - before;
                writeln!(&mut lines, " {at}/{}/{}/0/0", born << 16, born << 20).unwrap();
                lines.pop();
                before = mib;
            }
            lines.push('\n');
        }
        text += "\nMAPPED_LIBRARIES:\n\n# heaptap 1\n# pid: 7\n# token: ab\n";
        text += &format!("# time: 2026-11-25T22:{minute:02}:00Z\n{more}{lines}");
        let profile = heap_v2::parse(text.as_bytes()).unwrap();
        assert_eq!(profile.warnings.lines().count(), 0, "{text}");
        profile
    }

    fn series(dumps: impl IntoIterator<Item = Profile>) -> Series {
        let mut builder = SeriesBuilder::default();
        (0..).zip(dumps).for_each(|(n, dump)| builder.add(format!("x.7.{n}.i{n}.heap").into(), None, dump));
        builder.finish()
    }

    /// What each stack held at each moment, MiB; and all of them together.
    fn courses(series: &Series) -> (Vec<Vec<f64>>, Vec<f64>) {
        let moments = Moments::of(series);
        let course = |index: usize| {
            let mut track = Track::new(&moments);
            track.add(series, &moments, index);
            track.bytes.iter().map(|bytes| bytes / MIB).collect()
        };
        let all = Track::of_all(series, &moments).bytes.iter().map(|bytes| bytes / MIB).collect();
        ((0..series.profile.samples.len()).map(course).collect(), all)
    }

    #[test]
    fn one_dump_tells_the_time_before_it_but_for_the_start() {
        let past = [Some(1), Some(4), Some(5), Some(6)];
        let one = series([dump(40, &[1, 10, 20, 30], &[(2, 7, &past)], &[0; 5], "")]);
        let moments = Moments::of(&one);
        assert_eq!(moments.times, [0.0, 600.0, 1200.0, 1800.0]);
        assert_eq!((moments.window, moments.has_times, moments.is_last_final), (Some(2400.0), true, false));
        assert_eq!(courses(&one).0, [[4.0, 5.0, 6.0, 7.0]]);
        // A picture begins at the start.
        assert_eq!(Moments::whole(&one).times, [0.0, 540.0, 1140.0, 1740.0, 2340.0]);
        assert_eq!(Moments::whole(&one).clock(&one)[0], (TEN + 60) as f64);
        // Also in another measure, and not before what the user asks for.
        let mut late = series([dump(40, &[1, 10, 20, 30], &[(2, 7, &past)], &[0; 5], "")]);
        assert!(late.since((TEN + 15 * 60) as f64));
        assert_eq!(courses(&late).0, [[5.0, 6.0, 7.0]]);
    }

    #[test]
    fn dumps_and_looks_stand_in_order_and_not_side_by_side() {
        let before = dump(21, &[10, 20], &[(2, 5, &[Some(3), Some(4)])], &[0; 3], "");
        let last = dump(40, &[10, 20, 30], &[(2, 7, &[Some(3), Some(4), Some(6)])], &[0; 4], "");
        let both = series([before, last]);
        let points = [Point::Look(0), Point::Dump(0), Point::Look(2), Point::Dump(1)];
        assert_eq!(Moments::of(&both).points, points);
        assert_eq!(courses(&both), (vec![vec![3.0, 5.0, 6.0, 7.0]], vec![3.0, 5.0, 6.0, 7.0]));
        assert_eq!(Moments::of(&both).of_dumps(&[3.0, 5.0, 6.0, 7.0]), [5.0, 7.0]);
    }

    #[test]
    fn what_stacks_held_that_are_gone_makes_no_growth() {
        // Traffic of 20 MiB by ever new call paths, a table of 10: nothing grows.
        let stacks: [(u64, u64, &[Option<u64>]); 3] = [(2, 10, &[Some(10), Some(10)]), (3, 15, &[]), (4, 5, &[])];
        let one = series([dump(40, &[10, 20], &stacks, &[20, 20, 0], "")]);
        assert_eq!(courses(&one), (vec![vec![10.0; 3], vec![15.0; 3], vec![5.0; 3]], vec![30.0; 3]));
        // What is new and more than that is growth.
        let one = series([dump(40, &[10, 20], &stacks, &[10, 5, 0], "")]);
        assert_eq!(courses(&one).0, [vec![10.0; 3], vec![7.5, 3.75, 15.0], vec![2.5, 1.25, 5.0]]);
        // In a picture nobody held it.
        let whole = Moments::whole(&one);
        let mut track = Track::new(&whole);
        track.add(&one, &whole, 1);
        assert_eq!(track.bytes.iter().map(|bytes| bytes / MIB).collect::<Vec<_>>(), [0.0, 0.0, 15.0]);
    }

    #[test]
    fn a_stack_that_is_gone_has_the_past_that_earlier_dumps_tell() {
        let before = dump(21, &[10, 20], &[(2, 5, &[Some(3), Some(4)]), (3, 9, &[Some(8), Some(9)])], &[0; 3], "");
        let last = dump(40, &[10, 20, 30], &[(2, 7, &[Some(3), Some(4), Some(6)])], &[8, 9, 0, 0], "");
        let both = series([before, last]);
        assert_eq!(
            courses(&both),
            (vec![vec![3.0, 5.0, 6.0, 7.0], vec![8.0, 9.0, 0.0, 0.0]], vec![11.0, 14.0, 6.0, 7.0])
        );
    }

    #[test]
    fn looks_after_the_last_dump_but_one_do_not_speak_for_what_an_end_freed() {
        let before = dump(21, &[10, 20], &[(2, 5, &[Some(3), Some(4)])], &[0; 3], "");
        let last = dump(40, &[10, 20, 30], &[(3, 1, &[])], &[3, 4, 6, 0], "# reason: final\n");
        let both = series([before, last]);
        assert_eq!(Moments::of(&both).points, [Point::Look(0), Point::Dump(0), Point::Dump(1)]);
        assert!(Moments::of(&both).is_last_final);
        // A picture shows them: the sums are right, and what is gone is nobody's.
        let whole = Moments::whole(&both);
        assert_eq!(whole.points, [Point::Look(0), Point::Dump(0), Point::Look(2), Point::Dump(1)]);
        assert_eq!(whole.totals.iter().map(|total| total.bytes / MIB).collect::<Vec<_>>(), [3.0, 5.0, 6.0, 1.0]);
    }

    #[test]
    fn resident_bytes_and_periods_come_from_the_timeline() {
        let moments: String = [(10, 1, 300), (20, 4, 400), (30, 2, 500)]
            .map(|(at, period, rss)| {
                format!("# moment: {}000000000 0 0 0 {period} {} - - - - - -\n", TEN + 60 * at, rss << 20)
            })
            .concat();
        let last = dump(40, &[10, 20, 30], &[(2, 7, &[Some(3)])], &[0; 4], &format!("{moments}# rss_bytes: 600\n"));
        let one = series([last]);
        let moments = Moments::of(&one);
        assert_eq!(moments.resident.unwrap(), [300.0 * MIB, 400.0 * MIB, 500.0 * MIB, 600.0]);
        assert_eq!(moments.period, 4.0);
    }

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
