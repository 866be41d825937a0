//! The dumps of one life of one process, in order: what may be compared, and must never be summed.
//!
//! A pid is not a name: containers give it again on the same volume. What tells lives apart is the
//! token of our own dumps; in stock dumps the addresses that the program and the loader lie at
//! (drawn anew at each start), and a number that comes twice.

use super::Profile;
use super::history::{self, History, Past};
use super::merge::Merger;
use super::metadata::Metadata;
use super::sample::{Estimate, Sample};
use super::timestamp;
use crate::wire::ages::Ages;
use crate::wire::dump_name::DumpName;
use rustc_hash::FxHashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

/// One dump with what is known about the file it came from.
#[derive(Clone, Debug, Default)]
pub(crate) struct Dump {
    /// Where it was read.
    pub(crate) path: PathBuf,
    /// Its name taken apart, if it has a dump's name.
    pub(crate) name: Option<DumpName>,
    /// When the file was last written.
    pub(crate) modified: Option<SystemTime>,
    /// Sum of its samples.
    pub(crate) total: Estimate,
    /// Its number of stacks.
    pub(crate) stacks: usize,
    /// Sampling distance it was written with.
    pub(crate) period_bytes: u64,
    /// What the tap told; the Java names are moved to the series' profile.
    pub(crate) metadata: Metadata,
}

impl Dump {
    /// When it was written, in seconds since 1970: the tap's word, else the file's.
    pub(crate) fn time(&self) -> Option<f64> {
        let told = self.metadata.time.as_deref().and_then(timestamp::parse);
        told.or_else(|| self.modified.and_then(timestamp::of_file))
    }
}

/// Which life of which process a dump belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum SeriesKey {
    /// Our own dump: pid and token say it.
    Token(u32, String),
    /// A stock dump: prefix and pid of its name, and where program and loader lay in memory.
    Addresses(Option<(PathBuf, u32)>, Vec<(u64, String)>),
}

impl SeriesKey {
    /// Reads the identity off a dump.
    pub(crate) fn of(profile: &Profile, name: Option<&DumpName>) -> SeriesKey {
        if let Some(token) = &profile.metadata.token {
            return SeriesKey::Token(profile.metadata.pid.unwrap_or(0), token.clone());
        }
        let loader = profile.mappings.iter().find(|mapping| {
            let name = mapping.file_name();
            name.starts_with("ld-")
                || name.starts_with("ld64")
                || name.starts_with("libc.so")
                || name.starts_with("libc-")
        });
        let fixed = profile.program_mapping().into_iter().chain(loader);
        let fixed = fixed.map(|mapping| (mapping.start, mapping.path.clone())).collect();
        SeriesKey::Addresses(name.map(|name| (name.prefix.clone(), name.pid)), fixed)
    }
}

/// The ages that a stack's objects had: (index of the dump, ages there).
type AgesByDump = Vec<(usize, Box<Ages>)>;

/// A process life: its dumps in order and, per stack, what it held in each.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// In order of time; never empty once built.
    pub(crate) dumps: Vec<Dump>,
    /// All stacks of all dumps; the values are those of the *last* dump.
    pub(crate) profile: Profile,
    /// Per sample of `profile`: (index of the dump, value there), only where it was not zero.
    pub(crate) history: Vec<Vec<(usize, Estimate)>>,
    /// Per sample of `profile`: how old its objects were in the last dump but one, where that tells it.
    pub(crate) earlier_ages: Vec<Option<Box<Ages>>>,
    /// Per sample of `profile`: its ages; empty unless all ages are kept ([`SeriesBuilder::all_ages`]).
    pub(crate) ages: Vec<AgesByDump>,
    /// What was before this moment does not count; seconds since 1970.
    pub(crate) from: Option<f64>,
}

impl Series {
    /// Process id, from metadata or file name.
    pub(crate) fn pid(&self) -> Option<u32> {
        let dump = self.dumps.last()?;
        dump.metadata.pid.or(dump.name.as_ref().map(|name| name.pid))
    }

    /// What names the life among all: its token, or, of stock dumps, the path of its first dump.
    pub(crate) fn life(&self) -> String {
        let token = self.profile.metadata.token.clone();
        token.unwrap_or_else(|| self.dumps.first().map_or(String::new(), |dump| dump.path.display().to_string()))
    }

    /// The dump that a single-snapshot report shows.
    pub(crate) fn last(&self) -> Option<&Dump> {
        self.dumps.last()
    }

    /// Forgets the dumps that were written before a moment (seconds since 1970), but never the last; `false` if their
    /// times are not known.
    pub(crate) fn since(&mut self, moment: f64) -> bool {
        let Some(times) = self.dumps.iter().map(Dump::time).collect::<Option<Vec<f64>>>() else { return false };
        self.from = Some(moment);
        let before = times.iter().take_while(|time| **time < moment).count();
        self.forget(before.min(self.dumps.len().saturating_sub(1)));
        true
    }

    /// Forgets the first `count` dumps, but never the last two.
    pub(crate) fn drop_first(&mut self, count: usize) {
        self.forget(count.min(self.dumps.len().saturating_sub(2)));
    }

    fn forget(&mut self, count: usize) {
        self.dumps.drain(..count);
        for values in &mut self.history {
            values.retain(|(at, _)| *at >= count);
            values.iter_mut().for_each(|(at, _)| *at -= count);
        }
        for ages in &mut self.ages {
            ages.retain(|(at, _)| *at >= count);
            ages.iter_mut().for_each(|(at, _)| *at -= count);
        }
    }

    /// The time of each dump in seconds since 1970; `None` where times are unknown or do not ascend (copied files), so
    /// that only their order can be used.
    pub(crate) fn times(&self) -> Option<Vec<f64>> {
        let times: Vec<f64> = self.dumps.iter().map(Dump::time).collect::<Option<_>>()?;
        times.windows(2).all(|pair| pair[1] > pair[0]).then_some(times)
    }
}

impl Series {
    /// The last dumps of several named series as one profile. Its "series" is a single dump, as
    /// snapshots of different processes have no common time.
    pub(crate) fn sum_of(all: &[Series]) -> Series {
        let mut merger = Merger::default();
        for series in all {
            merger.add(&series.profile);
        }
        let mut profile = merger.finish();
        let unfollowed = all.iter().filter_map(|series| series.profile.metadata.unfollowed_bytes);
        profile.metadata.unfollowed_bytes = unfollowed.reduce(u64::saturating_add);
        profile.metadata.lost = all.iter().flat_map(|series| series.profile.metadata.lost.iter().cloned()).collect();
        let history = profile.samples.iter().map(|sample| vec![(0, sample.value)]).collect();
        let newest = all.iter().filter_map(Series::last).filter_map(Dump::time).max_by(f64::total_cmp);
        let (total, stacks, period_bytes) = (profile.total(), profile.samples.len(), profile.period_bytes);
        let modified = newest.and_then(timestamp::to_system);
        let dump = Dump { total, stacks, period_bytes, modified, ..Dump::default() };
        Series { dumps: vec![dump], profile, history, ..Series::default() }
    }

    /// Two named series, of whatever processes, as a series of two: the last dump of each.
    pub(crate) fn pair(before: Series, after: Series) -> Series {
        let mut builder = SeriesBuilder::default();
        let mut dumps = Vec::new();
        for mut series in [before, after] {
            dumps.extend(series.dumps.pop());
            // Stacks that were gone by the last dump hold nothing and tell nothing.
            series.profile.samples.retain(|sample| sample.value.bytes > 0.0 || sample.value.objects > 0.0);
            // The order is the user's, whatever the clocks say.
            series.profile.metadata.time = None;
            // Two states are compared, whatever was before either.
            series.profile.history.forget_rows();
            builder.add(PathBuf::new(), None, series.profile);
        }
        let mut pair = builder.finish_in_order(vec![0, 1]);
        pair.dumps = dumps;
        pair
    }
}

/// Collects dumps of one life in any order.
#[derive(Default)]
pub(crate) struct SeriesBuilder {
    dumps: Vec<Dump>,
    /// The first dump, as it is: most series have no second, and need no tables to join it with.
    only: Option<Profile>,
    merger: Merger,
    history: Vec<Vec<(usize, Estimate)>>,
    earlier_ages: Vec<Option<Box<Ages>>>,
    /// Per place: ages in each dump, if they are kept.
    ages: Option<Vec<AgesByDump>>,
    /// Column of the latest dump so far: its counts and threads are the series'.
    newest: Option<usize>,
    /// The past of stacks by place, as the last dump tells it that they are in.
    rows: FxHashMap<usize, Rows>,
}

/// What a stack held at some times.
struct Rows {
    times_ns: Arc<[u64]>,
    past: Box<[Past]>,
}

impl Rows {
    /// What it held at other times: the latest that is known, and nothing after all that is.
    fn at(&self, times_ns: &[u64]) -> Box<[Past]> {
        let at = |time: &u64| {
            let after = self.times_ns.partition_point(|known| known <= time);
            let is_within = self.times_ns.last().is_some_and(|last| time <= last);
            let known = after.checked_sub(1).filter(|_| is_within).and_then(|last| self.past.get(last));
            known.copied().unwrap_or_default()
        };
        times_ns.iter().map(at).collect()
    }
}

impl SeriesBuilder {
    /// One that keeps the ages of every dump; else those of the last two are kept.
    pub(crate) fn all_ages() -> SeriesBuilder {
        SeriesBuilder { ages: Some(Vec::new()), ..SeriesBuilder::default() }
    }

    /// Adds a dump.
    pub(crate) fn add(&mut self, path: PathBuf, modified: Option<SystemTime>, mut profile: Profile) {
        let name = DumpName::parse(&path);
        let (total, stacks, period_bytes) = (profile.total(), profile.samples.len(), profile.period_bytes);
        let java = std::mem::take(&mut profile.metadata.java);
        let metadata = std::mem::take(&mut profile.metadata);
        profile.metadata.java = java;
        let dump = Dump { path, name, modified, total, stacks, period_bytes, metadata };
        let newest = self.newest.and_then(|newest| self.dumps.get(newest));
        let is_newest = newest.is_none_or(|newest| compare(newest, &dump).is_le());
        let column = self.dumps.len();
        self.dumps.push(dump);
        if is_newest {
            self.newest = Some(column);
        }
        if column == 0 {
            self.only = Some(profile);
            return;
        }
        if let Some(first) = self.only.take() {
            self.join(first, 0, true);
        }
        self.join(profile, column, is_newest);
    }

    /// Joins a dump's stacks with those that are there.
    fn join(&mut self, profile: Profile, column: usize, is_shown: bool) {
        let places = self.merger.place(&profile);
        for (sample, &place) in profile.samples.iter().zip(&places) {
            self.remember(place, column, sample.value);
            self.remember_ages(place, column, sample.ages.as_deref());
        }
        self.remember_rows(&profile, &places);
        if is_shown {
            self.show(profile, &places);
        }
    }

    /// Keeps what stacks held before, until a later dump tells more of it.
    fn remember_rows(&mut self, profile: &Profile, places: &[usize]) {
        let times_ns: Arc<[u64]> = profile.history.stack_times_ns.as_slice().into();
        for (sample, &place) in profile.samples.iter().zip(places).filter(|(sample, _)| !sample.past.is_empty()) {
            match self.rows.get_mut(&place) {
                Some(known) if known.times_ns == times_ns => history::add_rows(&mut known.past, &sample.past),
                Some(known) if known.times_ns.last() > times_ns.last() => {}
                _ => {
                    self.rows.insert(place, Rows { times_ns: times_ns.clone(), past: sample.past.clone() });
                }
            }
        }
    }

    /// Gives stacks that the newest dump has not their past of earlier ones. Its history has it in no row.
    fn give_rows(rows: &FxHashMap<usize, Rows>, profile: &mut Profile) {
        let History { stack_times_ns, other, .. } = &mut profile.history;
        let Some((_, before)) = stack_times_ns.split_last() else { return };
        let is_gone = |sample: &&mut Sample| sample.past.is_empty() && sample.value.bytes <= 0.0;
        for (place, rows) in rows {
            let Some(sample) = profile.samples.get_mut(*place).filter(is_gone) else { continue };
            let mut past = rows.at(before).into_vec();
            // Never more than no row has: all rows together are the process.
            past.iter_mut().zip(&mut *other).for_each(|(past, other)| *past = other.take(*past));
            past.push(Past::default());
            sample.past = past.into();
        }
    }

    fn remember(&mut self, place: usize, column: usize, value: Estimate) {
        if place >= self.history.len() {
            self.history.resize_with(place + 1, Vec::new);
        }
        let Some(values) = self.history.get_mut(place) else { return };
        match values.last_mut().filter(|(at, _)| *at == column) {
            Some((_, sum)) => *sum += value,
            None => values.push((column, value)),
        }
    }

    fn remember_ages(&mut self, place: usize, column: usize, ages: Option<&Ages>) {
        let (Some(all), Some(ages)) = (&mut self.ages, ages) else { return };
        if place >= all.len() {
            all.resize_with(place + 1, Vec::new);
        }
        let Some(known) = all.get_mut(place) else { return };
        match known.last_mut().filter(|(at, _)| *at == column) {
            Some((_, sum)) => sum.add(ages),
            None => known.push((column, Box::new(ages.clone()))),
        }
    }

    /// Makes this dump's values the ones that the series shows.
    fn show(&mut self, profile: Profile, places: &[usize]) {
        self.earlier_ages = self.merger.samples_mut().iter_mut().map(|sample| sample.ages.take()).collect();
        self.merger.tell(profile.history);
        for sample in self.merger.samples_mut() {
            *sample = Sample { stack: std::mem::take(&mut sample.stack), ..Sample::default() };
        }
        for (sample, &place) in profile.samples.into_iter().zip(places) {
            self.merger.sample_mut(place).into_iter().for_each(|shown| shown.add(&sample));
        }
    }

    /// Whether a dump with this number is there already: then another life wrote it.
    pub(crate) fn holds(&self, name: Option<&DumpName>) -> bool {
        let seq = name.map(|name| name.seq);
        seq.is_some() && self.dumps.iter().any(|dump| dump.name.as_ref().map(|name| name.seq) == seq)
    }

    /// Brings the dumps in order of time.
    pub(crate) fn finish(self) -> Series {
        let mut order: Vec<usize> = (0..self.dumps.len()).collect();
        order.sort_by(|&a, &b| compare(&self.dumps[a], &self.dumps[b]));
        self.finish_in_order(order)
    }

    fn finish_in_order(self, order: Vec<usize>) -> Series {
        let mut place = vec![0; order.len()];
        order.iter().enumerate().for_each(|(new, &old)| place[old] = new);
        let (mut profile, mut history, mut ages) = match self.only {
            Some(only) => {
                let history = only.samples.iter().map(|sample| vec![(0, sample.value)]).collect();
                let of = |sample: &Sample| sample.ages.iter().map(|ages| (0, ages.clone())).collect();
                let ages = self.ages.map_or_else(Vec::new, |_| only.samples.iter().map(of).collect());
                (only, history, ages)
            }
            None => {
                let mut profile = self.merger.finish();
                SeriesBuilder::give_rows(&self.rows, &mut profile);
                (profile, self.history, self.ages.unwrap_or_default())
            }
        };
        history.iter_mut().for_each(|values| in_order(values, &place));
        ages.iter_mut().for_each(|ages| in_order(ages, &place));
        let mut dumps = self.dumps;
        let ordered: Vec<Dump> = order.iter().map(|&old| std::mem::take(&mut dumps[old])).collect();
        if let Some(dump) = ordered.last() {
            let java = std::mem::take(&mut profile.metadata.java);
            profile.metadata = Metadata { java, ..dump.metadata.clone() };
            profile.period_bytes = dump.period_bytes;
        }
        Series { dumps: ordered, profile, history, earlier_ages: self.earlier_ages, ages, from: None }
    }
}

/// Numbers the dumps of what a stack had in them anew.
fn in_order<T>(values: &mut [(usize, T)], place: &[usize]) {
    values.iter_mut().for_each(|(at, _)| *at = place.get(*at).copied().unwrap_or(*at));
    values.sort_by_key(|(at, _)| *at);
}

/// Our time stamp if both have one, else the number in the name, else the file's age.
fn compare(a: &Dump, b: &Dump) -> std::cmp::Ordering {
    let by_seq = || a.name.as_ref().map(|name| name.seq).cmp(&b.name.as_ref().map(|name| name.seq));
    let by_time = match (&a.metadata.time, &b.metadata.time) {
        (Some(a), Some(b)) => a.cmp(b),
        _ => std::cmp::Ordering::Equal,
    };
    by_time.then_with(by_seq).then_with(|| a.modified.cmp(&b.modified)).then_with(|| a.path.cmp(&b.path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;

    const SMALL: &str = include_str!("../../../tests/dumps/small.heap");

    #[test]
    fn dumps_come_in_order_whatever_order_they_were_read_in() {
        let grown = SMALL.replace("70: 1148205", "140: 2296410");
        let mut builder = SeriesBuilder::default();
        builder.add("x.7.10.f.heap".into(), None, heap_v2::parse(grown.as_bytes()).unwrap());
        builder.add("x.7.2.i2.heap".into(), None, heap_v2::parse(SMALL.as_bytes()).unwrap());
        let series = builder.finish();
        let names: Vec<_> = series.dumps.iter().map(|dump| dump.path.to_str().unwrap()).collect();
        assert_eq!(names, ["x.7.2.i2.heap", "x.7.10.f.heap"]);
        let [(0, first), (1, last)] = series.history[1][..] else { panic!("{:?}", series.history[1]) };
        assert!((last.objects / first.objects - 2.0).abs() < 1e-9, "{first:?} {last:?}");
        assert_eq!(series.profile.samples[1].value, last);
        assert!((series.profile.total().bytes - series.dumps[1].total.bytes).abs() < 1e-6);
    }

    #[test]
    fn another_start_of_the_same_pid_is_another_life() {
        let life = |text: &str| {
            SeriesKey::of(&heap_v2::parse(text.as_bytes()).unwrap(), DumpName::parse("x.1.0.f.heap".as_ref()).as_ref())
        };
        assert_eq!(life(SMALL), life(&SMALL.replace("70: 1148205", "1: 5")));
        assert_ne!(life(SMALL), life(&SMALL.replace("556322277000-556322278000", "556322377000-556322378000")));
        let ours = format!("{SMALL}\n# heaptap 1\n# pid: 1\n# token: ab\n");
        assert_eq!(life(&ours), SeriesKey::Token(1, "ab".into()));
    }

    #[test]
    fn a_pair_holds_the_last_dump_of_each() {
        let one = |text: &str, name: &str| {
            let mut builder = SeriesBuilder::default();
            builder.add(name.into(), None, heap_v2::parse(text.as_bytes()).unwrap());
            builder.finish()
        };
        let (before, after) = (one(SMALL, "a.heap"), one(&SMALL.replace("70: 1148205", "7: 114820"), "b.heap"));
        let totals = [before.dumps[0].total.bytes, after.dumps[0].total.bytes];
        let pair = Series::pair(before, after);
        assert_eq!(pair.dumps.iter().map(|dump| dump.total.bytes).collect::<Vec<_>>(), totals);
        assert!((pair.profile.total().bytes - totals[1]).abs() < 1e-6);
        assert_eq!(pair.history[1].len(), 2);
    }
}
