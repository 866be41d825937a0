//! The dumps of one life of one process, in order: what may be compared, and must never be summed.
//!
//! A pid is not a name: containers give it again on the same volume. What tells lives apart is the
//! token of our own dumps; in stock dumps the addresses that the program and the loader lie at
//! (drawn anew at each start), and a number that comes twice.

use super::Profile;
use super::merge::Merger;
use super::metadata::Metadata;
use super::sample::{Estimate, Sample};
use super::timestamp;
use crate::wire::dump_name::DumpName;
use std::path::PathBuf;
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
pub(crate) enum Life {
    /// Our own dump: pid and token say it.
    Token(u32, String),
    /// A stock dump: prefix and pid of its name, and where program and loader lay in memory.
    Addresses(Option<(PathBuf, u32)>, Vec<(u64, String)>),
}

impl Life {
    /// Reads the identity off a dump.
    pub(crate) fn of(profile: &Profile, name: Option<&DumpName>) -> Life {
        if let Some(token) = &profile.metadata.token {
            return Life::Token(profile.metadata.pid.unwrap_or(0), token.clone());
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
        Life::Addresses(name.map(|name| (name.prefix.clone(), name.pid)), fixed)
    }
}

/// A process life: its dumps in order and, per stack, what it held in each.
#[derive(Debug, Default)]
pub(crate) struct Series {
    /// In order of time; never empty once built.
    pub(crate) dumps: Vec<Dump>,
    /// All stacks of all dumps; the values are those of the *last* dump.
    pub(crate) profile: Profile,
    /// Per sample of `profile`: (index of the dump, value there), only where it was not zero.
    pub(crate) history: Vec<Vec<(usize, Estimate)>>,
}

impl Series {
    /// Process id, from metadata or file name.
    pub(crate) fn pid(&self) -> Option<u32> {
        let dump = self.dumps.last()?;
        dump.metadata.pid.or(dump.name.as_ref().map(|name| name.pid))
    }

    /// The dump that a single-snapshot report shows.
    pub(crate) fn last(&self) -> Option<&Dump> {
        self.dumps.last()
    }

    /// Forgets the dumps that were written before a moment (seconds since 1970), but never the last; `false` if their
    /// times are not known.
    pub(crate) fn since(&mut self, moment: f64) -> bool {
        let Some(times) = self.dumps.iter().map(Dump::time).collect::<Option<Vec<f64>>>() else { return false };
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
    }

    /// The time of each dump in seconds from the first; `None` where times are unknown or do not
    /// ascend (copied files), so that only their order can be used.
    pub(crate) fn seconds(&self) -> Option<Vec<f64>> {
        let times: Vec<f64> = self.dumps.iter().map(Dump::time).collect::<Option<_>>()?;
        let first = times.first().copied()?;
        let ascends = times.windows(2).all(|pair| pair[1] > pair[0]);
        ascends.then(|| times.iter().map(|time| time - first).collect())
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
        profile.metadata.lost = all.iter().flat_map(|series| series.profile.metadata.lost.iter().cloned()).collect();
        let history = profile.samples.iter().map(|sample| vec![(0, sample.value)]).collect();
        let newest = all.iter().filter_map(Series::last).filter_map(Dump::time).max_by(f64::total_cmp);
        let (total, stacks, period_bytes) = (profile.total(), profile.samples.len(), profile.period_bytes);
        let modified = newest.and_then(timestamp::to_system);
        let dump = Dump { total, stacks, period_bytes, modified, ..Dump::default() };
        Series { dumps: vec![dump], profile, history }
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
    /// Column of the latest dump so far: its counts and threads are the series'.
    newest: Option<usize>,
}

impl SeriesBuilder {
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
        }
        if is_shown {
            self.show(profile, &places);
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

    /// Makes this dump's values the ones that the series shows.
    fn show(&mut self, profile: Profile, places: &[usize]) {
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
        let (mut profile, mut history) = match self.only {
            Some(only) => {
                let history = only.samples.iter().map(|sample| vec![(0, sample.value)]).collect();
                (only, history)
            }
            None => (self.merger.finish(), self.history),
        };
        for values in &mut history {
            values.iter_mut().for_each(|(at, _)| *at = place.get(*at).copied().unwrap_or(*at));
            values.sort_by_key(|(at, _)| *at);
        }
        let mut dumps = self.dumps;
        let ordered: Vec<Dump> = order.iter().map(|&old| std::mem::take(&mut dumps[old])).collect();
        if let Some(dump) = ordered.last() {
            let java = std::mem::take(&mut profile.metadata.java);
            profile.metadata = Metadata { java, ..dump.metadata.clone() };
            profile.period_bytes = dump.period_bytes;
        }
        Series { dumps: ordered, profile, history }
    }
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
            Life::of(&heap_v2::parse(text.as_bytes()).unwrap(), DumpName::parse("x.1.0.f.heap".as_ref()).as_ref())
        };
        assert_eq!(life(SMALL), life(&SMALL.replace("70: 1148205", "1: 5")));
        assert_ne!(life(SMALL), life(&SMALL.replace("556322277000-556322278000", "556322377000-556322378000")));
        let ours = format!("{SMALL}\n# heaptap 1\n# pid: 1\n# token: ab\n");
        assert_eq!(life(&ours), Life::Token(1, "ab".into()));
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
