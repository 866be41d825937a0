//! A snapshot: everything that a region holds, copied out while its writer goes on.
//!
//! Referrers are read before what they refer to, and samples are looked at once more at the end: a
//! sample that is still live then has kept its stack, and the stack its frames, all the while.
//! What is half written or refers to nowhere is left out and counted; nothing read here is trusted
//! further than to be a number. Tables are trees: a hash map wants random bytes from the kernel, which a
//! sandbox may refuse.

use super::counters::{self, Counter};
use super::failures::{FAILURE_WORDS, FAILURES_AT, Failure, MOST_FAILURES, WHOLE};
use super::history::{Entry, Incident, Moment, RowRecord};
use super::layout::{Head, Layout, LayoutError, MIRROR, MOST_RANGES, OTHER_USER, RANGES_AT, Section, SectionId};
use super::mapped::MappingRecord;
use super::records::{CHUNK_BYTES, CHUNK_FRAMES, JavaMethodRecord, SampleRecord, StackRecord, ThreadRecord};
use super::state::{self, Reading};
use super::text::Text;
use super::words::Words;
use crate::wire::identity::Identity;
use crate::wire::resident::known::Known;
use crate::wire::word;
use crate::wire::{java_pc, order};
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::Path;

/// Most bytes that are read of a method's names.
const MAX_NAMES: usize = 4096;
/// Most frames that are read of one stack.
const MAX_DEPTH: usize = 1024;

/// A stack of a snapshot.
#[derive(Clone, Debug)]
pub(crate) struct Stack {
    /// Its counts and its shape.
    pub(crate) record: StackRecord,
    /// What it held from which tick on, oldest first; `None`: that is not known, as it was being written.
    pub(crate) row: Option<Vec<Entry>>,
    /// Low half of its record's generation.
    generation: u32,
    frames: Range<usize>,
}

/// A Java method of a snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JavaMethod {
    /// Class in internal form; empty for a pseudo frame.
    pub(crate) class: Vec<u8>,
    /// Method name.
    pub(crate) method: Vec<u8>,
}

/// The contents of a region at one instant (or nearly: see the head of this file).
#[derive(Debug, Default)]
pub(crate) struct Snapshot {
    /// Process id as the process saw itself.
    pub(crate) pid: u32,
    /// Token of that life of the process.
    pub(crate) token: u64,
    /// Wall clock at its start, nanoseconds since 1970.
    pub(crate) start_wall_ns: u64,
    /// CLOCK_MONOTONIC at its start, nanoseconds.
    pub(crate) start_monotonic_ns: u64,
    /// Sampling period in force, bytes.
    pub(crate) period: u64,
    /// Live samples.
    pub(crate) samples: Vec<SampleRecord>,
    /// Memory that is not malloc's, in the order of its addresses.
    pub(crate) mappings: Vec<MappingRecord>,
    /// Stacks by index.
    pub(crate) stacks: BTreeMap<u32, Stack>,
    /// Threads by index.
    pub(crate) threads: BTreeMap<u32, ThreadRecord>,
    /// Java methods by number (see [`java_pc`](crate::wire::java_pc)).
    pub(crate) java_methods: BTreeMap<u64, JavaMethod>,
    /// Checkpoints of the process, oldest first.
    pub(crate) timeline: Vec<Moment>,
    /// What happened, oldest first.
    pub(crate) events: Vec<Incident>,
    /// CLOCK_MONOTONIC since when samples are taken, or since they were last forgotten, nanoseconds; 0: unknown.
    pub(crate) since_ns: u64,
    /// How often they were forgotten.
    pub(crate) resets: u64,
    /// Address of the embedded jemalloc's tree of pages; 0: not told.
    pub(crate) block_tree: u64,
    /// What failed first.
    pub(crate) failures: Vec<Failure>,
    /// What the process knows of its memory, for who looks at its mappings.
    pub(crate) known: Known,
    /// Code mappings and metadata, as the keeper last wrote them.
    pub(crate) text: Text,
    /// Pid namespace of the pid, by inode; 0: unknown.
    pub(crate) pid_namespace: u64,
    /// CLOCK_MONOTONIC when the process was last known to live, nanoseconds.
    pub(crate) pulse_ns: u64,
    /// Records that were being written, or referred to nowhere.
    pub(crate) torn: u64,
    /// Whether this is what a mirror holds, not the region itself.
    pub(crate) is_mirror: bool,
    /// Whether a lock on the file tells that the process lives.
    pub(crate) is_guarded: bool,
    /// Whether the process is worth a file.
    pub(crate) is_significant: bool,
    /// Whether the process began to end without having written its final dump.
    pub(crate) is_ending: bool,
    /// Whether the process lives on as another user, in another life.
    pub(crate) is_other_user: bool,
    /// Whether sampling is switched off.
    pub(crate) is_paused: bool,
    frames: Vec<u64>,
    counters: Vec<u64>,
}

impl Snapshot {
    /// Copies a region out.
    pub(crate) fn take(words: &(impl Words + ?Sized)) -> Result<Snapshot, LayoutError> {
        let layout = Layout::read(words)?;
        let mut reader = Reader { words, layout, snapshot: Snapshot::default() };
        reader.head();
        // Before the rows, and once more after them: see `history`.
        let moments = reader.moments();
        reader.events();
        let rows = reader.rows();
        let live = reader.samples();
        let mapped = reader.mappings();
        reader.stacks();
        reader.threads();
        reader.java_methods();
        reader.keep_settled(live);
        reader.keep_mappings(mapped);
        reader.keep_rows(rows);
        reader.keep_moments(moments);
        reader.ranges();
        reader.failures();
        Ok(reader.snapshot)
    }

    /// The same, compiled once for all sources: the tap shall be small, and reads seldom.
    #[inline(never)]
    pub(crate) fn of(words: &dyn Words) -> Result<Snapshot, LayoutError> {
        Snapshot::take(words)
    }

    /// Wall clock of the last sign of life, nanoseconds since 1970: of a mirror, when it was written.
    pub(crate) fn wall_ns(&self) -> u64 {
        self.wall_of(self.pulse_ns)
    }

    /// Wall clock at an instant of CLOCK_MONOTONIC, nanoseconds since 1970, as the process's start knew it.
    pub(crate) fn wall_of(&self, at_ns: u64) -> u64 {
        self.start_wall_ns.saturating_add(at_ns.saturating_sub(self.start_monotonic_ns))
    }

    /// A line of the metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<&str> {
        self.text.metadata.iter().find(|(known, _)| known == key).map(|(_, value)| value.as_str())
    }

    /// First part of the names of the process's files, if it was noted.
    pub(crate) fn prefix(&self) -> Option<&Path> {
        self.metadata("prefix").map(Path::new)
    }

    /// The names of this life's files, with that prefix.
    pub(crate) fn life(&self, prefix: &Path) -> Identity {
        Identity { prefix: prefix.to_path_buf(), pid: self.pid, token: self.token }
    }

    /// Sets one line of the metadata.
    pub(crate) fn set(&mut self, key: &str, value: &str) {
        match self.text.metadata.iter_mut().find(|(known, _)| known == key) {
            Some((_, old)) => *old = value.into(),
            None => self.text.metadata.push((key.into(), value.into())),
        }
    }

    /// CLOCK_MONOTONIC of the instant that it shows, nanoseconds: ages count from here.
    pub(crate) fn now_ns(&self) -> u64 {
        self.pulse_ns
    }

    /// The frames of a stack, leaf first.
    pub(crate) fn frames(&self, stack: &Stack) -> &[u64] {
        self.frames.get(stack.frames.clone()).unwrap_or(&[])
    }

    /// A counter's value.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        self.counter_at(counter as usize)
    }

    /// How many counters a copy must hold.
    pub(crate) fn counters_in_use(&self) -> usize {
        self.counters.iter().rposition(|&value| value != 0).map_or(0, |last| last + 1)
    }

    /// The counter at an index of the sets of counters.
    pub(crate) fn counter_at(&self, index: usize) -> u64 {
        self.counters.get(index).copied().unwrap_or(0)
    }
}

/// A record as first read, where its state word lies, and what that was.
type Placed<T> = (T, usize, u64);
/// A sample as first read.
type Live = Placed<SampleRecord>;

struct Reader<'a, W: ?Sized> {
    words: &'a W,
    layout: Layout,
    snapshot: Snapshot,
}

impl<W: Words + ?Sized> Reader<'_, W> {
    fn head(&mut self) {
        let head = |head: Head| self.words.word(head as usize);
        self.snapshot.pid = head(Head::Pid) as u32;
        self.snapshot.token = head(Head::Token);
        self.snapshot.start_wall_ns = head(Head::StartWallNs);
        self.snapshot.start_monotonic_ns = head(Head::StartMonotonicNs);
        self.snapshot.period = head(Head::Period).max(1);
        self.snapshot.pid_namespace = head(Head::PidNamespace);
        self.snapshot.pulse_ns = head(Head::PulseNs);
        self.snapshot.torn = head(Head::Torn);
        self.snapshot.is_mirror = head(Head::Kind) == MIRROR;
        self.snapshot.is_guarded = head(Head::Guarded) != 0;
        self.snapshot.is_significant = head(Head::Significant) != 0;
        self.snapshot.is_ending = head(Head::Ending) == 1;
        self.snapshot.is_other_user = head(Head::Ending) == OTHER_USER;
        self.snapshot.is_paused = head(Head::Paused) != 0;
        self.snapshot.since_ns = head(Head::SinceNs);
        self.snapshot.resets = head(Head::Resets);
        self.snapshot.block_tree = head(Head::BlockTree);
        self.snapshot.text = Text::read(self.words, &self.layout);
        let sum = |index| self.layout.counter(self.words, index);
        self.snapshot.counters = (0..counters::SET_WORDS).map(sum).collect();
    }

    fn failures(&mut self) {
        let places = (0..MOST_FAILURES).map(|n| FAILURES_AT + n * FAILURE_WORDS);
        let whole = places.filter(|&at| self.words.word(at) == WHOLE);
        let words = whole.map(|at| std::array::from_fn(|n| self.words.word(at + 1 + n)));
        self.snapshot.failures = words.filter_map(|words| Failure::unpack(&words)).collect();
        order::by_number(&mut self.snapshot.failures, |failure| failure.at_ns);
    }

    fn ranges(&mut self) {
        let words = (RANGES_AT..).step_by(2).take(MOST_RANGES);
        let pairs = words.map(|at| [self.words.word(at), self.words.word(at + 1)]);
        let known = &mut self.snapshot.known;
        known.ranges = pairs.take_while(|[start, _]| *start != 0).filter_map(Known::unpack).collect();
        known.malloc_bytes = self.snapshot.timeline.iter().rev().find_map(|moment| moment.malloc_bytes);
    }

    /// Indices that may hold a record of this section, with the word each begins at.
    fn slots(&self, id: SectionId) -> impl Iterator<Item = (u32, usize)> + use<W> {
        let section = self.layout.section(id);
        let used = self.words.word(Layout::used_word(id)).min(section.capacity as u64) as u32;
        (0..used).filter_map(move |index| Some((index, section.record(index)?)))
    }

    /// Reads a record of `N` words after its state word, if it is live and whole.
    fn record<const N: usize>(&mut self, at: usize) -> Option<([u64; N], u64)> {
        match state::read(self.words, at) {
            Reading::Whole(record, before) => Some((record, before)),
            Reading::Free => None,
            Reading::Torn => {
                self.snapshot.torn += 1;
                None
            }
        }
    }

    fn samples(&mut self) -> Vec<Live> {
        let mut live = Vec::new();
        for (_, at) in self.slots(SectionId::Samples) {
            if let Some((record, word)) = self.record(at) {
                live.push((SampleRecord::unpack(record), at, word));
            }
        }
        live
    }

    fn mappings(&mut self) -> Vec<Placed<MappingRecord>> {
        let mut mapped = Vec::new();
        for (_, at) in self.slots(SectionId::Mappings) {
            if let Some((record, word)) = self.record(at) {
                mapped.push((MappingRecord::unpack(record), at, word));
            }
        }
        mapped
    }

    /// Keeps the mappings that are still the same ones and whose stack was read.
    fn keep_mappings(&mut self, mapped: Vec<Placed<MappingRecord>>) {
        for (record, at, word) in mapped {
            if self.words.word_again(at) != word {
                continue;
            }
            match self.snapshot.stacks.contains_key(&record.stack) {
                true => self.snapshot.mappings.push(record),
                false => self.snapshot.torn += 1,
            }
        }
        order::by_number(&mut self.snapshot.mappings, |mapping| mapping.start);
    }

    fn stacks(&mut self) {
        let chunks = self.layout.section(SectionId::Chunks);
        for (index, at) in self.slots(SectionId::Stacks) {
            let Some((words, before)) = self.record::<31>(at) else { continue };
            let word = |n: usize| words.get(n.wrapping_sub(1)).copied().unwrap_or(0);
            let record = StackRecord::unpack(word);
            let frames = self.chunk_frames(&record, chunks);
            if self.words.word_again(at) != before {
                self.snapshot.torn += 1;
                continue;
            }
            let (row, generation) = (None, state::generation(before) as u32);
            self.snapshot.stacks.insert(index, Stack { record, row, generation, frames });
        }
    }

    fn chunk_frames(&mut self, record: &StackRecord, chunks: Section) -> Range<usize> {
        let start = self.snapshot.frames.len();
        let depth = usize::from(record.depth).min(MAX_DEPTH);
        let mut chunk = record.first_chunk;
        let mut left = depth;
        while left > 0 {
            let Some(at) = chunks.record(chunk) else { break };
            let here = left.min(CHUNK_FRAMES);
            self.snapshot.frames.extend((0..here).map(|n| self.words.word(at + 1 + n)));
            left -= here;
            let next = self.words.word(at) as u32;
            if next == 0 {
                break;
            }
            chunk = next - 1;
        }
        start..self.snapshot.frames.len()
    }

    fn moments(&mut self) -> Vec<Placed<Moment>> {
        let mut moments = Vec::new();
        for (_, at) in self.slots(SectionId::Timeline) {
            if let Some((record, word)) = self.record(at) {
                moments.push((Moment::unpack(&record), at, word));
            }
        }
        moments
    }

    /// Keeps the moments that are still the same ones, but for those of before a reset as to rows.
    fn keep_moments(&mut self, moments: Vec<Placed<Moment>>) {
        let settled = moments.into_iter().filter(|(_, at, word)| self.words.word_again(*at) == *word);
        let resets = self.snapshot.resets as u32;
        self.snapshot.timeline = settled
            .map(|(moment, ..)| Moment { has_rows: moment.has_rows && moment.resets == resets, ..moment })
            .collect();
        order::by_number(&mut self.snapshot.timeline, |moment| moment.tick.into());
    }

    fn events(&mut self) {
        for (_, at) in self.slots(SectionId::Events) {
            if let Some((record, _)) = self.record(at) {
                self.snapshot.events.extend(Incident::unpack(record));
            }
        }
        order::by_number(&mut self.snapshot.events, |event| event.at_ns);
    }

    /// The records of the rows. One that is being written still says whose it is: without it that row would lack
    /// entries.
    fn rows(&mut self) -> Vec<Placed<RowRecord>> {
        let mut rows = Vec::new();
        for (_, at) in self.slots(SectionId::Rows) {
            match state::read(self.words, at) {
                Reading::Whole(record, word) => rows.push((RowRecord::unpack(&record), at, word)),
                Reading::Torn => {
                    let stack = self.words.word(at + 1) as u32;
                    rows.push((RowRecord { stack, ..RowRecord::default() }, at, state::word(state::BUSY, 0)));
                }
                Reading::Free => {}
            }
        }
        rows
    }

    /// Gives the stacks their rows. Nothing is known of a row that was being written, and of one that is said to be
    /// unknown by a record without entries; a stack that has none is younger than the last look at all.
    fn keep_rows(&mut self, rows: Vec<Placed<RowRecord>>) {
        let mut unknown = BTreeSet::new();
        let mut entries: BTreeMap<u32, Vec<Entry>> = BTreeMap::new();
        for (record, at, word) in rows {
            let Some(stack) = self.snapshot.stacks.get(&record.stack) else { continue };
            if self.words.word_again(at) != word || state::state(word) != state::LIVE {
                unknown.insert(record.stack);
            } else if stack.generation == record.generation {
                if record.entries.iter().all(Option::is_none) {
                    unknown.insert(record.stack);
                }
                entries.entry(record.stack).or_default().extend(record.entries.into_iter().flatten());
            }
        }
        for (number, stack) in &mut self.snapshot.stacks {
            let mut row = entries.remove(number).unwrap_or_default();
            order::by_number(&mut row, |entry| entry.tick.into());
            stack.row = Some(row).filter(|_| !unknown.contains(number));
        }
    }

    fn threads(&mut self) {
        for (index, at) in self.slots(SectionId::Threads) {
            if let Some((record, _)) = self.record(at) {
                self.snapshot.threads.insert(index, ThreadRecord::unpack(record));
            }
        }
    }

    fn java_methods(&mut self) {
        for (index, at) in self.slots(SectionId::JavaMethods) {
            let Some(([word], before)) = self.record(at) else { continue };
            let record = JavaMethodRecord::unpack(word);
            let mut class = self.names(&record);
            let method = class.split_off(usize::from(record.class_len).min(class.len()));
            if self.words.word_again(at) != before {
                self.snapshot.torn += 1;
                continue;
            }
            if let Some(number) = java_pc::number(index, state::generation(before)) {
                self.snapshot.java_methods.insert(number, JavaMethod { class, method });
            }
        }
    }

    /// The names of a method, one behind the other.
    fn names(&self, record: &JavaMethodRecord) -> Vec<u8> {
        let section = self.layout.section(SectionId::Names);
        let len = (usize::from(record.class_len) + usize::from(record.method_len)).min(MAX_NAMES);
        let mut names = Vec::with_capacity(len);
        let mut chunk = Some(record.first_chunk);
        while let Some(at) = chunk.filter(|_| names.len() < len).and_then(|chunk| section.record(chunk)) {
            let here = (len - names.len()).min(CHUNK_BYTES);
            let byte = |n: usize| {
                let (word, shift) = word::place_of(n);
                (self.words.word(at + 1 + word) >> shift) as u8
            };
            names.extend((0..here).map(byte));
            chunk = (self.words.word(at) as u32).checked_sub(1);
        }
        names
    }

    /// Keeps the samples that are still the same ones and whose stack was read.
    fn keep_settled(&mut self, live: Vec<Live>) {
        for (record, at, word) in live {
            if self.words.word_again(at) != word {
                continue;
            }
            if self.snapshot.stacks.contains_key(&record.stack) {
                self.snapshot.samples.push(record);
            } else {
                self.snapshot.torn += 1;
            }
        }
    }
}
