//! Puts a profile together: what the parser of a dump and a live region both end in.
//!
//! A stack comes with the counts that stock jeprof reads; what is known of it more exactly, its ages and its past come
//! later and by its number, as they stand in a dump, and are given to it at the end.

use super::Profile;
use super::history::{Checkpoint, Event, History, Past, Refusal};
use super::location::{Location, LocationId};
use super::mapped as mapped_memory;
use super::mapped_stack::MappedStack;
use super::mapping::{self, Mapping};
use super::metadata::JavaName;
use super::sample::{Counts, Sample, ThreadCounts};
use super::thread::Thread;
use crate::wire::ages::{Ages, live_bin_start};
use crate::wire::heap_v2::Contents;
use crate::wire::heap_v2::failure::{self, FailureLine};
use crate::wire::heap_v2::lines::{EventLine, Exact, MomentLine, OtherLine, PastLine, Times};
use crate::wire::heap_v2::mapped::{self, MappedLine};
use crate::wire::live::history::{EventKind, MOST_ROW_MOMENTS, Moment};
use crate::wire::live::records::objects;
use crate::wire::live::totals::Totals;
use rustc_hash::FxHashMap;

/// Most moments by stack that are believed: each stack has that many sums.
const MOST_TIMES: usize = MOST_ROW_MOMENTS + 1;

/// A profile that is being put together.
#[derive(Default)]
pub(crate) struct Builder {
    /// What is there so far.
    pub(super) profile: Profile,
    known: FxHashMap<u64, LocationId>,
    /// Memory for [`Builder::stack`], used again and again.
    places: Vec<LocationId>,
    details: Details,
}

/// What belongs to stacks by number, and the history.
#[derive(Default)]
struct Details {
    ages: Vec<(usize, Ages)>,
    exact: Vec<Exact>,
    past: Vec<(usize, Vec<Totals>)>,
    times_ns: Vec<u64>,
    other: Vec<Totals>,
    timeline: Vec<(u64, Moment)>,
    events: Vec<(u64, EventKind, u64)>,
    since_ns: u64,
    failures: Vec<failure::Read>,
    mapped: Vec<mapped::Read>,
    mapped_past: Vec<(usize, Vec<Totals>)>,
}

/// The profile of a dump that was not written.
pub(crate) fn of_contents(contents: &Contents<'_>) -> Profile {
    let mut builder = Builder::default();
    builder.profile.period_bytes = contents.period;
    builder.add_threads(contents);
    builder.add_stacks(contents);
    let maps = contents.maps.split(|&byte| byte == b'\n');
    maps.for_each(|line| builder.mapping(String::from_utf8_lossy(line).trim()));
    builder.profile.metadata.version = Some(1);
    for (key, value) in &contents.metadata {
        if !builder.profile.metadata.take(key, value.trim()) {
            builder.profile.warnings.push(format!("damaged metadata `{key}` ignored"));
        }
    }
    builder.add_java(contents);
    let details = &mut builder.details;
    (details.times_ns, details.other) = (contents.times_ns.clone(), contents.other.clone());
    details.timeline.clone_from(&contents.timeline);
    details.events = contents.events.iter().map(|(wall, event)| (*wall, event.kind, event.value)).collect();
    details.since_ns = contents.since_ns;
    let failures = contents.failures.iter();
    details.failures = failures.map(|(wall, failure, frames)| (*wall, *failure, frames.to_vec())).collect();
    details.mapped = contents.mapped.iter().map(|row| (row.sums.clone(), row.frames.to_vec())).collect();
    let before = |past: &Option<Vec<Totals>>| Some(past.as_deref()?.split_last()?.1.to_vec());
    let past = contents.mapped.iter().enumerate().filter_map(|(number, row)| Some((number, before(&row.past)?)));
    details.mapped_past = past.collect();
    builder.finish()
}

impl Builder {
    fn add_threads(&mut self, contents: &Contents<'_>) {
        for (thread, uid) in contents.threads.iter().zip(0..) {
            let printable = |&byte: &u8| if byte.is_ascii_control() { b'?' } else { byte };
            let name: Option<Vec<u8>> = thread.name.map(|name| name.iter().map(printable).collect());
            let name =
                name.map(|name| String::from_utf8_lossy(&name).trim().to_owned()).filter(|name| !name.is_empty());
            self.profile.threads.push(Thread { uid, name });
        }
    }

    fn add_stacks(&mut self, contents: &Contents<'_>) {
        self.profile.metadata.aged_stacks = Some(contents.stacks.len());
        for (number, row) in contents.stacks.iter().enumerate() {
            let stack = self.stack(row.frames.iter().map(|pc| Some(*pc))).unwrap_or_default();
            let counts = Counts {
                objects: row.raw.objects,
                bytes: row.raw.bytes,
                accum_objects: row.raw_ever.objects,
                accum_bytes: row.raw_ever.bytes,
            };
            let parts = row.threads.iter().filter(|part| part.raw != Default::default());
            let threads = parts.map(|part| {
                let counts = Counts { objects: part.raw.objects, bytes: part.raw.bytes, ..Counts::default() };
                (part.thread as u64, counts)
            });
            self.sample(stack, counts, threads.collect());
            if !row.ages.is_empty() {
                self.details.ages.push((number, row.ages.clone()));
            }
            self.details.exact.push(Exact::of(number, row));
            if let Some((_, before)) = row.past.as_deref().and_then(<[_]>::split_last) {
                self.details.past.push((number, before.to_vec()));
            }
        }
    }

    fn add_java(&mut self, contents: &Contents<'_>) {
        self.profile.metadata.java.extend(contents.java.iter().map(|frame| JavaName {
            pc: frame.pc,
            class: String::from_utf8_lossy(frame.class).replace('/', "."),
            method: String::from_utf8_lossy(frame.method).into_owned(),
            line: frame.line,
        }));
    }

    /// The places of return addresses, leaf first; `None`: one is damaged.
    pub(super) fn stack(&mut self, addresses: impl Iterator<Item = Option<u64>>) -> Option<Box<[LocationId]>> {
        let mut places = std::mem::take(&mut self.places);
        places.clear();
        for address in addresses {
            places.push(self.location(places.len(), address?));
        }
        let stack = places.as_slice().into();
        self.places = places;
        Some(stack)
    }

    /// The place of a return address; the leaf's address is taken as it stands.
    pub(super) fn location(&mut self, depth: usize, address: u64) -> LocationId {
        let address = if depth == 0 { address } else { address.saturating_sub(1) };
        if let Some(&known) = self.known.get(&address) {
            return known;
        }
        let locations = &mut self.profile.locations;
        *self.known.entry(address).or_insert_with(|| {
            locations.push(Location { address, ..Location::default() });
            LocationId(u32::try_from(locations.len() - 1).unwrap_or(u32::MAX))
        })
    }

    /// Adds a stack with its counts, and those of its threads.
    pub(super) fn sample(&mut self, stack: Box<[LocationId]>, counts: Counts, threads: Vec<(u64, Counts)>) {
        let period = self.profile.period_bytes;
        let thread = |(uid, counts): (u64, Counts)| ThreadCounts { uid, counts, value: counts.unbiased(period) };
        let threads = threads.into_iter().map(thread).collect();
        let value = counts.unbiased(period);
        self.profile.samples.push(Sample { stack, counts, value, threads, ..Sample::default() });
    }

    /// Adds a line of maps; others are no mappings.
    pub(super) fn mapping(&mut self, line: &str) {
        self.profile.mappings.extend(Mapping::parse(line));
    }

    /// Takes a line of ours behind the maps; `false`: it makes no sense.
    pub(super) fn line(&mut self, line: &str) -> bool {
        let key_value = line.strip_prefix('#').and_then(|text| text.split_once(':'));
        let known = key_value.and_then(|(key, value)| self.details.take(key.trim(), value.trim()));
        known.unwrap_or_else(|| self.profile.metadata.take_line(line))
    }

    /// The profile.
    pub(super) fn finish(mut self) -> Profile {
        self.profile.mappings.sort_by_key(|mapping| mapping.start);
        self.add_failures();
        self.add_mapped();
        name_build_ids(&mut self.profile);
        self.give_details();
        let mut profile = self.profile;
        for location in &mut profile.locations {
            location.mapping = mapping::find(&profile.mappings, location.address);
        }
        mapped_memory::classify(&mut profile);
        profile
    }

    fn add_failures(&mut self) {
        for (wall_ns, failure, frames) in std::mem::take(&mut self.details.failures) {
            let stack = self.stack(frames.into_iter().map(Some)).unwrap_or_default();
            self.profile.failures.push(Refusal { wall_ns, failure, stack });
        }
    }

    fn add_mapped(&mut self) {
        let mut pasts: FxHashMap<usize, Vec<Totals>> =
            std::mem::take(&mut self.details.mapped_past).into_iter().collect();
        for (number, (sums, frames)) in std::mem::take(&mut self.details.mapped).into_iter().enumerate() {
            let stack = self.stack(frames.into_iter().map(Some)).unwrap_or_default();
            let now = Past {
                live_bytes: sums.bytes as f64,
                live_objects: sums.ranges as f64,
                allocated_bytes: sums.ever_bytes as f64,
                allocated_objects: sums.ever_ranges as f64,
            };
            let before = pasts.remove(&number);
            let past = before.map(|before| before.iter().map(past).chain([now]).collect()).unwrap_or_default();
            self.profile.mapped.push(MappedStack { stack, sums, past, class: None });
        }
    }

    /// Gives the stacks what belongs to them. What a file tells that lost a stack would go to the wrong ones.
    fn give_details(&mut self) {
        let (details, profile) = (std::mem::take(&mut self.details), &mut self.profile);
        profile.history = History {
            timeline: details.timeline.iter().map(checkpoint).collect(),
            events: details.events.iter().map(|&(wall_ns, kind, value)| Event { wall_ns, kind, value }).collect(),
            observed_since_ns: details.since_ns,
            ..History::default()
        };
        if profile.metadata.aged_stacks.is_none_or(|stacks| stacks != profile.samples.len()) {
            if !details.ages.is_empty() {
                profile.warnings.push("ages, exact sums and history of stacks are ignored: stacks are missing");
            }
            return;
        }
        let oldest = details.ages.iter().filter_map(|(_, ages)| ages.live.last()).map(|bin| bin.bin).max();
        profile.metadata.oldest_ns = oldest.map(live_bin_start);
        for (number, ages) in details.ages {
            profile.samples.get_mut(number).into_iter().for_each(|sample| sample.ages = Some(Box::new(ages.clone())));
        }
        if details.other.len() == details.times_ns.len() && !details.times_ns.is_empty() {
            for (number, before) in &details.past {
                let now = details.exact.get(*number).filter(|exact| exact.stack == *number);
                if let (Some(sample), Some(exact)) = (profile.samples.get_mut(*number), now) {
                    sample.past = before.iter().chain([&exact.totals]).map(past).collect();
                }
            }
            profile.history.other = details.other.iter().map(past).collect();
            // The moment of the snapshot comes from another clock than the looks before it.
            let mut latest = 0;
            let ascending = details.times_ns.iter().map(|&time| {
                latest = latest.max(time);
                latest
            });
            profile.history.stack_times_ns = ascending.collect();
        }
        let is_accumulated = profile.samples.iter().any(|sample| sample.counts.accum_objects > 0);
        for exact in &details.exact {
            if let Some(sample) = profile.samples.get_mut(exact.stack) {
                give_exact(sample, exact, is_accumulated);
            }
        }
    }
}

impl Details {
    /// Takes a line that is one of its; `Some(false)`: it makes no sense, `None`: it is another's.
    fn take(&mut self, key: &str, value: &str) -> Option<bool> {
        fn push<T>(all: &mut Vec<T>, one: Option<T>) -> bool {
            let is_sound = one.is_some();
            all.extend(one);
            is_sound
        }
        fn set<T>(place: &mut T, value: Option<T>) -> bool {
            let is_sound = value.is_some();
            value.into_iter().for_each(|value| *place = value);
            is_sound
        }
        let age = |value: &str| {
            let (number, ages) = value.split_once(' ')?;
            Some((number.parse().ok()?, Ages::parse(ages)?))
        };
        Some(match key {
            "age" => push(&mut self.ages, age(value)),
            "exact" => push(&mut self.exact, Exact::parse(value)),
            "past" => push(&mut self.past, PastLine::parse(value, self.times_ns.len().saturating_sub(1))),
            "past_times" => set(&mut self.times_ns, Times::parse(value).filter(|times| times.len() <= MOST_TIMES)),
            "past_other" => set(&mut self.other, OtherLine::parse(value)),
            "moment" => push(&mut self.timeline, MomentLine::parse(value)),
            "event" => push(&mut self.events, EventLine::parse(value)),
            "mapped" => push(&mut self.mapped, MappedLine::parse(value)),
            "mapped_past" => push(&mut self.mapped_past, PastLine::parse(value, self.times_ns.len().saturating_sub(1))),
            "failure" => push(&mut self.failures, FailureLine::parse(value)),
            "observed_since" => set(&mut self.since_ns, value.parse().ok()),
            _ => return None,
        })
    }
}

fn give_exact(sample: &mut Sample, exact: &Exact, is_accumulated: bool) {
    (sample.value.objects, sample.value.bytes) = (objects(exact.totals.live_objects), exact.totals.live_bytes as f64);
    if is_accumulated {
        sample.value.accum_objects = objects(exact.totals.ever_objects);
        sample.value.accum_bytes = exact.totals.ever_bytes as f64;
    }
    let mut threads = std::mem::take(&mut sample.threads).into_vec();
    for &(uid, live_objects, live_bytes) in &exact.threads {
        let known = threads.iter().position(|thread| thread.uid == uid).unwrap_or_else(|| {
            threads.push(ThreadCounts { uid, ..ThreadCounts::default() });
            threads.len() - 1
        });
        if let Some(thread) = threads.get_mut(known) {
            (thread.value.objects, thread.value.bytes) = (objects(live_objects), live_bytes as f64);
        }
    }
    sample.threads = threads.into();
}

fn past(totals: &Totals) -> Past {
    Past {
        live_bytes: totals.live_bytes as f64,
        live_objects: objects(totals.live_objects),
        allocated_bytes: totals.ever_bytes as f64,
        allocated_objects: objects(totals.ever_objects),
    }
}

fn checkpoint((wall_ns, moment): &(u64, Moment)) -> Checkpoint {
    Checkpoint {
        wall_ns: *wall_ns,
        live_bytes: moment.live_bytes as f64,
        live_objects: objects(moment.live_objects),
        allocated_bytes: moment.allocated_bytes as f64,
        period_bytes: moment.period,
        resident_bytes: moment.resident_bytes,
        anonymous_bytes: moment.anonymous_bytes,
        file_bytes: moment.file_bytes,
        shared_bytes: moment.shared_bytes,
        malloc_bytes: moment.malloc_bytes,
        classes: moment.classes,
        group_used_bytes: moment.group_used_bytes,
        group_limit_bytes: moment.group_limit_bytes,
        threads: moment.threads,
        descriptors: moment.descriptors,
        java_used_bytes: moment.java_used_bytes,
        java_committed_bytes: moment.java_committed_bytes,
    }
}

/// Moves the build ids of the metadata to their mappings.
fn name_build_ids(profile: &mut Profile) {
    let ids: FxHashMap<&str, &str> = profile
        .metadata
        .build_ids
        .iter()
        .map(|(id, path)| (path.trim_end_matches(" (deleted)"), id.as_str()))
        .collect();
    for mapping in &mut profile.mappings {
        mapping.build_id = ids.get(mapping.path.as_str()).map(|&id| id.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::heap_v2;
    use crate::wire::heap_v2::{Surroundings, write};
    use crate::wire::live::history::{Entry, Incident, RowRecord};
    use crate::wire::live::layout::{Head, Layout, MAGIC, MIN_BYTES, SectionId};
    use crate::wire::live::records::{JavaMethodRecord, SampleRecord, StackRecord, ThreadRecord};
    use crate::wire::live::snapshot::Snapshot;
    use crate::wire::live::state::{LIVE, word};

    /// Puts records into a region as a keeper and a program would.
    struct Region(Vec<u64>, Layout);

    impl Region {
        fn new() -> Region {
            let layout = Layout::for_bytes(MIN_BYTES);
            let mut words = vec![0; layout.words()];
            words[Head::Magic as usize] = MAGIC;
            layout.header().for_each(|(index, value)| words[index] = value);
            Region(words, layout)
        }

        fn put(&mut self, id: SectionId, index: u32, record: &[u64]) {
            let at = self.1.section(id).record(index).unwrap();
            self.0[at] = word(LIVE, 1);
            self.0[at + 1..at + 1 + record.len()].copy_from_slice(record);
            let used = &mut self.0[Layout::used_word(id)];
            *used = (*used).max(u64::from(index) + 1);
        }

        fn stack(&mut self, index: u32, frames: &[u64], samples: u64) {
            let at = self.1.section(SectionId::Chunks).record(index).unwrap();
            self.0[at + 1..at + 1 + frames.len()].copy_from_slice(frames);
            let record = StackRecord {
                depth: frames.len() as u16,
                first_chunk: index,
                samples,
                scaled_objects: samples << 18,
                bytes: samples * 4000,
                freed_objects: 1 << 18,
                freed_bytes: 4000,
                ..StackRecord::default()
            };
            self.put(SectionId::Stacks, index, &record.pack());
        }
    }

    fn snapshot() -> Snapshot {
        let mut region = Region::new();
        let head = [
            (Head::Pid, 7),
            (Head::Token, 8),
            (Head::StartWallNs, 1_764_367_385_000_000_000),
            (Head::StartMonotonicNs, 1_000_000_000),
            (Head::PulseNs, 9_000_000_000),
            (Head::Period, 1 << 20),
            (Head::SinceNs, 1_000_000_000),
        ];
        head.into_iter().for_each(|(word, value)| region.0[word as usize] = value);
        region.stack(0, &[0x1000, 0x2000, 1 << 47 | 5], 3);
        region.stack(1, &[0x1000, 0x2100], 9);
        region.stack(2, &[0x1000, 0x2000, 1 << 47 | 5], 2);
        let thread = |tid, name: &[u8; 16]| ThreadRecord { tid, name: *name }.pack();
        region.put(SectionId::Threads, 0, &thread(1, b"main\0\0\0\0\0\0\0\0\0\0\0\0"));
        region.put(SectionId::Threads, 2, &thread(3, b"worker 1 \n\0\0\0\0\0\0"));
        let names = region.1.section(SectionId::Names).record(0).unwrap();
        region.0[names + 1] = u64::from_le_bytes(*b"a/B<init");
        region.0[names + 2] = u64::from_le_bytes(*b">\0\0\0\0\0\0\0");
        let method = JavaMethodRecord { first_chunk: 0, class_len: 3, method_len: 6 };
        region.put(SectionId::JavaMethods, 0, &[method.pack()]);
        for (n, (stack, thread, usable)) in
            [(0, 0, 100), (1, 2, 3_000_000), (2, 2, 48), (1, 0, 2048)].into_iter().enumerate()
        {
            let sample = SampleRecord {
                address: n as u64,
                usable,
                requested: usable,
                birth_ns: 2_000_000_000 * n as u64,
                weight_bytes: usable.max(131_072) + 77,
                stack,
                thread,
                period: 131_072,
            };
            region.put(SectionId::Samples, n as u32, &sample.pack());
        }
        let totals = |n: u64| Totals {
            live_objects: n << 17,
            live_bytes: n * 3000,
            ever_objects: n << 18,
            ever_bytes: n * 4000,
        };
        for (n, has_rows) in [(0, true), (1, false), (2, true)] {
            let at_ns = 2_000_000_000 + u64::from(n) * 1_000_000_000;
            let moment = Moment { tick: n, has_rows, at_ns, period: 131_072, totals: totals(9), ..Moment::default() };
            region.put(SectionId::Timeline, n, &moment.pack());
        }
        let event = Incident { at_ns: 3_000_000_000, kind: EventKind::Rate, value: 1 << 20 };
        region.put(SectionId::Events, 0, &event.pack());
        for (n, (stack, tick)) in [(0, 0), (1, 2)].into_iter().enumerate() {
            let entries = [Some(Entry { tick, totals: totals(2) }), None, None];
            let row = RowRecord { stack, generation: 1, previous: None, entries };
            region.put(SectionId::Rows, n as u32, &row.pack());
        }
        Snapshot::take(region.0.as_slice()).unwrap()
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn a_region_and_its_dump_are_one_profile() {
        let mut snapshot = snapshot();
        snapshot.set("exe", "/bin/a b");
        snapshot.set("time", "2025-11-28T22:03:14Z");
        let maps = b"1000-3000 r-xp 00000000 fe:00 7  /bin/a b\n4000-5000 r-xp 00000000 fe:00 8  /lib/x.so (deleted)\n";
        for accumulated in [false, true] {
            let around = Surroundings { maps, metadata: &snapshot.text.metadata, accumulated };
            let mut text = Vec::new();
            write(&snapshot, &around, &mut text).unwrap();
            let (parsed, direct) =
                (heap_v2::parse(text.as_slice()).unwrap(), of_contents(&Contents::of(&snapshot, &around)));
            assert_eq!(parsed.warnings.lines().count(), 0, "{:?}\n{}", parsed.warnings, String::from_utf8_lossy(&text));
            assert_eq!(format!("{direct:#?}"), format!("{parsed:#?}"), "{}", String::from_utf8_lossy(&text));
            assert_eq!((parsed.samples.len(), parsed.history.timeline.len(), parsed.history.events.len()), (2, 3, 1));
        }
    }

    #[test]
    fn rows_and_what_is_in_none_are_the_process() {
        let snapshot = snapshot();
        let profile = of_contents(&Contents::of(&snapshot, &Surroundings::default()));
        assert_eq!(profile.history.stack_times_ns.len(), 3);
        assert_eq!(profile.history.observed_since_ns, 1_764_367_385_000_000_000);
        let total = |at: usize| {
            let rows = profile.samples.iter().filter_map(|sample| sample.past.get(at));
            rows.chain(profile.history.other.get(at)).fold(Past::default(), |mut sum, past| {
                sum += *past;
                sum
            })
        };
        for at in [0, 1] {
            assert_eq!((total(at).live_bytes, total(at).allocated_bytes), (27_000.0, 36_000.0));
        }
        assert_eq!(total(2).live_bytes, profile.total().bytes);
        // The exact sums, whatever jeprof is told.
        let weights: u64 = snapshot.samples.iter().map(|sample| sample.weight_bytes).sum();
        assert_eq!(profile.total().bytes, weights as f64);
        let held: Vec<f64> = profile.samples.iter().map(|sample| sample.past[0].live_bytes).collect();
        assert_eq!(held, [6000.0, 0.0]);
    }
}
