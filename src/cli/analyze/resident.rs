//! Resident memory over time, from the timeline that every snapshot holds, and what its change is made of.
//!
//! A dump of an older heaptap has no timeline with classes; then each dump of the series is a moment.

use super::kept::Kept;
use super::mapped::{MappedPlace, mapped};
use super::rss::{Account, Class};
use crate::cli::profile::Profile;
use crate::cli::profile::history::Checkpoint;
use crate::cli::profile::series::{Dump, Series};
use serde::Serialize;

/// A process that has run for ten times as long is compared with the end of this warm-up, not with its start.
const WARM_UP: f64 = 60.0;
/// Places of mapped memory that are told of a change.
const MOST_GROWN: usize = 3;
/// A change of less than so much of the memory, and of less than so many bytes, is none.
const NOISE: (f64, f64) = (0.02, 4e6);

/// The answer of `heaptap rss`. The JSON form is a promise like that of `report`.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Resident {
    /// Version of this form.
    pub(crate) schema: u32,
    /// Whose memory it is.
    pub(crate) pid: Option<u32>,
    /// Path of its program.
    pub(crate) exe: Option<String>,
    /// The program's name, with its main class, jar or script.
    pub(crate) title: Option<String>,
    /// Whether it is a Java VM.
    pub(crate) is_jvm: bool,
    /// Classes of it.
    #[serde(flatten)]
    pub(crate) account: Account,
    /// Live bytes of malloc, where the process is tapped.
    pub(crate) live_bytes: Option<u64>,
    /// What the control group uses.
    pub(crate) memory_used_bytes: Option<u64>,
    /// What it may use.
    pub(crate) memory_limit_bytes: Option<u64>,
    /// Libraries that bring an allocator of their own.
    pub(crate) allocators: Vec<Allocator>,
    /// The program's own allocator and what it keeps, where that serves (`prof_allocator:keep`).
    pub(crate) allocator: Option<Kept>,
    /// The same at earlier moments.
    pub(crate) past: Option<Past>,
}

/// A library that brings an allocator of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Allocator {
    /// Path of the library.
    pub(crate) library: String,
    /// Which allocator it is.
    pub(crate) allocator: &'static str,
}

/// A process's resident memory at some moments.
#[derive(Clone, Debug, Default, Serialize)]
pub(crate) struct Past {
    /// Oldest first.
    pub(crate) moments: Vec<Moment>,
    /// From the first that counts to the last; `None`: there is only one, or hardly any change.
    pub(crate) change: Option<Change>,
}

/// The process at one moment.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(crate) struct Moment {
    /// Seconds since 1970.
    pub(crate) time: f64,
    /// Classes of its resident memory.
    #[serde(flatten)]
    pub(crate) account: Account,
    /// Threads.
    pub(crate) threads: Option<u64>,
    /// Open descriptors.
    pub(crate) descriptors: Option<u64>,
    /// What the control group uses.
    pub(crate) group_used_bytes: Option<u64>,
    /// What it may use.
    pub(crate) group_limit_bytes: Option<u64>,
    /// Bytes in use of the Java heap.
    pub(crate) java_used_bytes: Option<u64>,
    /// Bytes committed to it.
    pub(crate) java_committed_bytes: Option<u64>,
}

/// What changed between two moments.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(crate) struct Change {
    /// When it begins, seconds since 1970.
    pub(crate) since: f64,
    /// How long it is, seconds.
    pub(crate) seconds: f64,
    /// Resident bytes more.
    pub(crate) bytes: f64,
    /// Of them, those of each class that changed, most first; they sum up to `bytes` but for what is noise.
    pub(crate) parts: Vec<Part>,
    /// Threads more.
    pub(crate) threads: Option<i64>,
    /// Open descriptors more.
    pub(crate) descriptors: Option<i64>,
    /// The places that started most of the threads that came, and mapped most of what was mapped since.
    pub(crate) mapped: Vec<MappedPlace>,
}

/// A class's part of a change.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Part {
    /// Which class.
    pub(crate) class: Class,
    /// Bytes more.
    pub(crate) bytes: f64,
}

impl Moment {
    fn of(checkpoint: &Checkpoint) -> Option<Moment> {
        Some(Moment {
            time: checkpoint.wall_ns as f64 / 1e9,
            account: Account::of_checkpoint(&checkpoint.classes)?.with_live(checkpoint.live_bytes),
            threads: checkpoint.threads,
            descriptors: checkpoint.descriptors,
            group_used_bytes: checkpoint.group_used_bytes,
            group_limit_bytes: checkpoint.group_limit_bytes,
            java_used_bytes: checkpoint.java_used_bytes,
            java_committed_bytes: checkpoint.java_committed_bytes,
        })
    }

    /// What a dump says of its own moment.
    fn of_dump(dump: &Dump) -> Option<Moment> {
        let metadata = &dump.metadata;
        Some(Moment {
            time: dump.time()?,
            account: Account::of_metadata(&metadata.rss_classes)?.with_live(dump.total.bytes),
            group_used_bytes: metadata.memory_used_bytes,
            group_limit_bytes: metadata.memory_limit_bytes,
            ..Moment::default()
        })
    }
}

impl Past {
    /// That of a series; no moments: it tells none.
    pub(crate) fn of(series: &Series) -> Past {
        let timeline = &series.profile.history.timeline;
        let mut moments: Vec<Moment> = timeline.iter().filter_map(Moment::of).collect();
        let last = moments.last().map_or(f64::MIN, |last| last.time);
        let mut later: Vec<Moment> = series.dumps.iter().filter_map(Moment::of_dump).collect();
        later.retain(|moment| moment.time > last);
        later.sort_by(|a, b| a.time.total_cmp(&b.time));
        // What /proc says now of a living process has neither threads nor descriptors: those of its last checkpoint.
        if let (Some(now), Some(last)) = (later.last_mut(), timeline.last()) {
            (now.threads, now.descriptors) = (last.threads, last.descriptors);
            (now.java_used_bytes, now.java_committed_bytes) = (last.java_used_bytes, last.java_committed_bytes);
        }
        moments.extend(later);
        let mut change = change(&moments);
        if let Some(change) = &mut change {
            change.mapped = grown(&series.profile, change.since);
        }
        Past { moments, change }
    }

    /// At most so many moments, evenly chosen; the first and the last are among them.
    pub(crate) fn some(&self, most: usize) -> Vec<&Moment> {
        let (count, most) = (self.moments.len(), most.max(2));
        if count <= most {
            return self.moments.iter().collect();
        }
        (0..most).filter_map(|n| self.moments.get(n * (count - 1) / (most - 1))).collect()
    }

    /// The classes that are of some size at some moment, in the order of the last moment's size.
    pub(crate) fn classes(&self, most: usize) -> Vec<Class> {
        let mut sizes: Vec<(Class, u64)> = Vec::new();
        for share in self.moments.iter().flat_map(|moment| &moment.account.classes) {
            match sizes.iter_mut().find(|(class, _)| *class == share.class) {
                Some((_, size)) => *size = (*size).max(share.bytes),
                None => sizes.push((share.class, share.bytes)),
            }
        }
        sizes.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
        sizes.into_iter().take(most).map(|(class, _)| class).collect()
    }
}

/// Mapped memory that grew since that time, what grew most first. Of a profile with names.
fn grown(profile: &Profile, since: f64) -> Vec<MappedPlace> {
    let places = mapped(profile, Some(since)).map(|mapped| mapped.places).unwrap_or_default();
    let more = |place: &MappedPlace| place.grown_bytes.unwrap_or(0.0);
    let mut grown: Vec<MappedPlace> = places.into_iter().filter(|place| more(place) > 0.0).collect();
    grown.sort_by(|a, b| more(b).total_cmp(&more(a)));
    grown.truncate(MOST_GROWN);
    grown
}

fn change(moments: &[Moment]) -> Option<Change> {
    let (start, last) = (moments.first()?, moments.last()?);
    let is_old = last.time - start.time > 10.0 * WARM_UP;
    let warm = moments.iter().find(|moment| moment.time >= start.time + WARM_UP);
    // Of dumps that are far apart the first one counts.
    let first = warm.filter(|moment| is_old && moment.time <= start.time + 2.0 * WARM_UP).unwrap_or(start);
    let seconds = last.time - first.time;
    let bytes = last.account.rss_bytes as f64 - first.account.rss_bytes as f64;
    let noise = (NOISE.0 * first.account.rss_bytes as f64).max(NOISE.1);
    let mut parts: Vec<Part> = Vec::new();
    for class in last.account.classes.iter().chain(&first.account.classes).map(|share| share.class) {
        let bytes = last.account.bytes(class) as f64 - first.account.bytes(class) as f64;
        if bytes.abs() > noise / 8.0 && parts.iter().all(|part| part.class != class) {
            parts.push(Part { class, bytes });
        }
    }
    parts.sort_by(|a, b| b.bytes.abs().total_cmp(&a.bytes.abs()));
    let is_change = bytes.abs() > noise || parts.first().is_some_and(|part| part.bytes.abs() > noise);
    let more = |of: fn(&Moment) -> Option<u64>| Some(of(last)? as i64 - of(first)? as i64);
    (seconds > 0.0 && is_change).then(|| Change {
        since: first.time,
        seconds,
        bytes,
        parts,
        threads: more(|moment| moment.threads),
        descriptors: more(|moment| moment.descriptors),
        mapped: Vec::new(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    fn moment(time: f64, threads: u64, classes: &[(Class, u64)]) -> Moment {
        let mut lines: Vec<(String, u64)> = vec![];
        lines.extend(classes.iter().map(|(class, mib)| (class.word().to_owned(), mib * MIB)));
        Moment { time, account: Account::of_metadata(&lines).unwrap(), threads: Some(threads), ..Moment::default() }
    }

    #[test]
    fn a_change_is_the_sum_of_its_classes() {
        let moments = [
            moment(0.0, 10, &[(Class::Malloc, 100), (Class::ThreadStacks, 10), (Class::MappedFiles, 50)]),
            moment(100.0, 320, &[(Class::Malloc, 400), (Class::ThreadStacks, 310), (Class::MappedFiles, 50)]),
        ];
        let change = change(&moments).unwrap();
        assert_eq!((change.bytes, change.threads, change.seconds), (600.0 * MIB as f64, Some(310), 100.0));
        let parts: Vec<(Class, f64)> = change.parts.iter().map(|part| (part.class, part.bytes / MIB as f64)).collect();
        assert_eq!(parts, [(Class::Malloc, 300.0), (Class::ThreadStacks, 300.0)]);
    }

    #[test]
    fn a_start_is_no_change_of_an_old_process_and_noise_is_none() {
        let small = moment(0.0, 1, &[(Class::Malloc, 1)]);
        let (early, late) = (moment(70.0, 1, &[(Class::Malloc, 100)]), moment(5000.0, 1, &[(Class::Malloc, 101)]));
        assert_eq!(change(&[small.clone(), early.clone(), late]), None);
        assert!(change(&[small.clone(), early]).is_some());
        assert_eq!((change(&[small]), change(&[])), (None, None));
    }

    #[test]
    fn a_long_past_is_shown_by_some_of_its_moments() {
        let moments = (0..100).map(|n| moment(f64::from(n), 1, &[(Class::Malloc, 1)])).collect();
        let past = Past { moments, change: None };
        let times: Vec<f64> = past.some(4).iter().map(|moment| moment.time).collect();
        assert_eq!(times, [0.0, 33.0, 66.0, 99.0]);
        assert_eq!(past.classes(5), [Class::Malloc]);
    }
}
