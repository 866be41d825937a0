//! A snapshot: everything that a region holds, copied out while its writer goes on.
//!
//! Referrers are read before what they refer to, and samples are looked at once more at the end: a
//! sample that is still live then has kept its stack, and the stack its frames, all the while.
//! What is half written or refers to nowhere is left out and counted; nothing read here is trusted
//! further than to be a number. Tables are trees: a hash map wants random bytes from the kernel, which a
//! sandbox may refuse.

use super::counters::{self, Counter};
use super::layout::{Head, Layout, LayoutError, Section, SectionId};
use super::records::{CHUNK_BYTES, CHUNK_FRAMES, JavaMethodRecord, SampleRecord, StackRecord, ThreadRecord};
use super::state::{self, LIVE};
use super::text::Text;
use super::{Words, mirror};
use crate::wire::life_name::LifeName;
use crate::wire::options::Options;
use crate::wire::{java_pc, time};
use std::collections::BTreeMap;
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

/// What a region held at one instant (or nearly: see the head of this file).
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
    /// Stacks by index.
    pub(crate) stacks: BTreeMap<u32, Stack>,
    /// Threads by index.
    pub(crate) threads: BTreeMap<u32, ThreadRecord>,
    /// Java methods by number (see [`java_pc`](crate::wire::java_pc)).
    pub(crate) java_methods: BTreeMap<u64, JavaMethod>,
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
        let live = reader.samples();
        reader.stacks();
        reader.threads();
        reader.java_methods();
        reader.keep_settled(live);
        Ok(reader.snapshot)
    }

    /// Says in the metadata why there is this dump, and of what instant (CLOCK_MONOTONIC) it is: for dumps
    /// that the process did not write itself.
    pub(crate) fn tell(&mut self, reason: &str, at_ns: u64) {
        let uptime_ns = at_ns.saturating_sub(self.start_monotonic_ns);
        self.pulse_ns = at_ns;
        self.set("reason", reason);
        self.set("uptime_ns", &uptime_ns.to_string());
        self.set("time", &time::rfc3339(self.start_wall_ns.saturating_add(uptime_ns)));
    }

    /// The same for a process that is dead: how it ended, as far as it can be told, and from what that is known.
    pub(crate) fn tell_death(&mut self) {
        let reason = if self.is_ending { "ended" } else { "killed" };
        self.tell(reason, self.pulse_ns);
        self.set("source", if self.is_mirror { "mirror" } else { "region" });
    }

    /// Whether the process would have left a file at its end: it said so, or it held much when it was killed before it
    /// could.
    pub(crate) fn is_worth_a_file(&self) -> bool {
        self.is_significant || self.counter(Counter::LiveBytes) >= Options::DEFAULT.prof_min_bytes
    }

    /// Wall clock of the last sign of life, nanoseconds since 1970: of a mirror, when it was written.
    pub(crate) fn wall_ns(&self) -> u64 {
        self.start_wall_ns.saturating_add(self.pulse_ns.saturating_sub(self.start_monotonic_ns))
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
    pub(crate) fn life(&self, prefix: &Path) -> LifeName {
        LifeName { prefix: prefix.to_path_buf(), pid: self.pid, token: self.token }
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

/// A sample as first read: its record, where its state word lies, and what that was.
type Live = (SampleRecord, usize, u64);

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
        self.snapshot.is_mirror = mirror::is_mirror(self.words);
        self.snapshot.is_guarded = head(Head::Guarded) != 0;
        self.snapshot.is_significant = head(Head::Significant) != 0;
        self.snapshot.is_ending = head(Head::Ending) != 0;
        self.snapshot.is_paused = head(Head::Paused) != 0;
        self.snapshot.text = Text::read(self.words, &self.layout);
        let sum = |index| counters::sum(self.words, &self.layout, index);
        self.snapshot.counters = (0..counters::SHARD_WORDS).map(sum).collect();
    }

    /// Indices that may hold a record of this section, with the word each begins at.
    fn slots(&self, id: SectionId) -> impl Iterator<Item = (u32, usize)> + use<W> {
        let section = self.layout.section(id);
        let used = self.words.word(Layout::used_word(id)).min(section.capacity as u64) as u32;
        (0..used).filter_map(move |index| Some((index, section.record(index)?)))
    }

    /// Reads a record of `N` words after its state word, if it is live and whole.
    fn record<const N: usize>(&mut self, at: usize) -> Option<([u64; N], u64)> {
        let before = self.words.word(at);
        if state::state(before) != LIVE {
            self.snapshot.torn += u64::from(state::state(before) != state::FREE);
            return None;
        }
        let mut record = [0; N];
        for (offset, word) in record.iter_mut().enumerate() {
            *word = self.words.word(at + 1 + offset);
        }
        if self.words.word_again(at) != before {
            self.snapshot.torn += 1;
            return None;
        }
        Some((record, before))
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
            self.snapshot.stacks.insert(index, Stack { record, frames });
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
            let byte = |n: usize| (self.words.word(at + 1 + n / 8) >> (8 * (n % 8))) as u8;
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
