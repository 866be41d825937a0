//! The region in memory: words that this process writes and anybody may read meanwhile.
//!
//! On tmpfs where there is one, so that it survives the process; else in anonymous memory. A shared region
//! is given memory in steps, ahead of the records that need it: storing into a full tmpfs would be a SIGBUS.
//!
//! # Safety
//! The region owns a mapping of as many words as its layout says, zeroed at first, never unmapped
//! while a reference exists. Every access is an atomic operation on a whole word inside it.
#![allow(unsafe_code)]

use crate::tap::os::{map, shared};
use crate::wire::life_name::LifeName;
use crate::wire::live::Words;
use crate::wire::live::counters::{self, Counter};
use crate::wire::live::layout::{Head, Layout, MAGIC, MIN_BYTES, Section, SectionId};
use crate::wire::live::state::{self, BUSY, FREE, LIVE};
use crate::wire::live::text;
use crate::wire::stack_end::StackEnd;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering, fence};

/// Words of a page: sections begin at pages.
const PAGE_WORDS: usize = 512;
/// Words that a section is given at a time: 16 KiB, some 3 us. Larger steps would cost each process up to half a MiB.
const STEP_WORDS: usize = 1 << 11;

/// What a word outside the region reads as, and swallows.
static NOWHERE: AtomicU64 = AtomicU64::new(0);

/// Who the region is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Identity {
    /// Process id as the process sees itself.
    pub(crate) pid: u32,
    /// Token of this life of the process.
    pub(crate) token: u64,
    /// Wall clock at the start, nanoseconds since 1970.
    pub(crate) wall_ns: u64,
    /// CLOCK_MONOTONIC at the start, nanoseconds.
    pub(crate) monotonic_ns: u64,
    /// Sampling period, bytes.
    pub(crate) period: u64,
    /// Inode of the pid namespace, 0: unknown.
    pub(crate) pid_namespace: u64,
}

/// A live region of this process.
pub(crate) struct Region {
    words: NonNull<AtomicU64>,
    layout: Layout,
    /// For a shared region: how far each section has memory, as a word index.
    backed: Option<[AtomicUsize; SectionId::ALL.len()]>,
    /// The file of a shared region: the user, and with it the directory, may change meanwhile.
    path: Option<shared::Path>,
}

// SAFETY: only atomics behind the pointer.
unsafe impl Send for Region {}
// SAFETY: the same.
unsafe impl Sync for Region {}

impl Region {
    /// A new region of at most `bytes` bytes: shared if that is possible, else anonymous.
    pub(crate) fn open(bytes: usize, identity: &Identity) -> Option<Region> {
        Region::shared(bytes, identity).or_else(|| Region::anonymous(bytes, identity))
    }

    /// A new region of anonymous memory (touched page by page).
    pub(crate) fn anonymous(bytes: usize, identity: &Identity) -> Option<Region> {
        let layout = Layout::for_bytes(bytes);
        let words = map::anonymous(layout.words() * 8)?.cast();
        let region = Region { words, layout, backed: None, path: None };
        region.begin(identity);
        Some(region)
    }

    /// A new region on tmpfs, at most as large as there is room.
    fn shared(bytes: usize, identity: &Identity) -> Option<Region> {
        let bytes = bytes.min(shared::room());
        if bytes < 2 * MIN_BYTES {
            return None;
        }
        // A layout is a little larger than asked for.
        let layout = Layout::for_bytes(bytes - MIN_BYTES);
        let path = shared::Path::region(identity.pid, identity.token);
        let words = shared::create(&path, layout.words() * 8, 0o400)?.cast();
        let backed = Some(SectionId::ALL.map(|id| AtomicUsize::new(layout.section(id).start)));
        let region = Region { words, layout, backed, path: Some(path) };
        if !region.back(SectionId::Counters, counters::WORDS as u32 - 1) {
            shared::remove(&path);
            return None;
        }
        region.begin(identity);
        Some(region)
    }

    /// Makes sure that a record of a section has memory. `false`: there is none to be had.
    #[inline]
    pub(crate) fn back(&self, id: SectionId, record: u32) -> bool {
        let Some(backed) = self.backed.as_ref().and_then(|backed| backed.get(id as usize)) else { return true };
        let section = self.section(id);
        let end = section.start + (record as usize + 1) * section.record_words;
        end <= backed.load(Ordering::Acquire) || self.back_until(section, end, backed)
    }

    #[cold]
    fn back_until(&self, section: Section, end: usize, backed: &AtomicUsize) -> bool {
        let from = backed.load(Ordering::Acquire);
        let last = (section.start + section.capacity * section.record_words).next_multiple_of(PAGE_WORDS);
        let until = (from + STEP_WORDS).max(end.next_multiple_of(PAGE_WORDS)).min(last);
        if end > last || self.layout.words() < until {
            return false;
        }
        // SAFETY: inside the mapping: checked above.
        let start = unsafe { self.words.add(from) };
        let done = shared::populate(start.cast(), (until - from) * 8);
        if done {
            backed.fetch_max(until, Ordering::Release);
        }
        done
    }

    /// Gives memory to so many words of a half of the text: the rest of the first half needs none.
    fn back_half(&self, from: usize, words: usize) -> bool {
        let (first, end) = (from - from % PAGE_WORDS, (from + words).next_multiple_of(PAGE_WORDS));
        if self.backed.is_none() {
            return true;
        }
        // SAFETY: inside the mapping: checked before.
        end <= self.layout.words() && shared::populate(unsafe { self.words.add(first) }.cast(), (end - first) * 8)
    }

    /// Gives the region a new text (see `wire::live::text`); one caller at a time. What does not fit is cut.
    pub(crate) fn set_text(&self, text: &[u8]) {
        let section = self.section(SectionId::Text);
        let state = self.at(Head::Text as usize);
        let generation = (state.load(Ordering::Relaxed) >> 32) + 1;
        let text = text.get(..text.len().min(section.capacity / 2 * 8)).unwrap_or(text);
        let half = text::half(generation << 32, section.capacity);
        if !self.back_half(section.start + half, text.len().div_ceil(8)) {
            return;
        }
        for (n, bytes) in text.chunks(8).enumerate() {
            let mut word = [0; 8];
            word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            self.at(section.start + half + n).store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        // Release: whoever sees this state sees that half.
        state.store(generation << 32 | text.len() as u64, Ordering::Release);
    }

    /// Says which sampling period is in force.
    pub(crate) fn set_period(&self, period: u64) {
        self.at(Head::Period as usize).store(period, Ordering::Relaxed);
    }

    /// Says something that is 0 or 1 (`Guarded`, `Significant`, `Ending`).
    pub(crate) fn set_flag(&self, flag: Head, value: bool) {
        self.at(flag as usize).store(u64::from(value), Ordering::Release);
    }

    /// The names of this life's files, without a prefix.
    pub(crate) fn life(&self) -> LifeName {
        let (pid, token) = self.identity();
        LifeName { prefix: PathBuf::new(), pid, token }
    }

    /// The file of a shared region.
    pub(crate) fn path(&self) -> Option<&shared::Path> {
        self.path.as_ref()
    }

    /// Says that the process lives.
    pub(crate) fn beat(&self, now_ns: u64) {
        self.at(Head::PulseNs as usize).store(now_ns, Ordering::Relaxed);
    }

    /// Removes the files of a shared region; the process goes on with the memory.
    pub(crate) fn remove_files(&self) {
        if let Some(path) = &self.path {
            shared::remove(path);
            shared::remove(&path.control());
        }
    }

    /// Removes the file of a shared region that another one of this process will take the place of.
    pub(crate) fn remove_own_file(&self) {
        if let Some(path) = &self.path {
            shared::remove(path);
        }
    }

    fn identity(&self) -> (u32, u64) {
        let head = |head: Head| self.at(head as usize).load(Ordering::Relaxed);
        (head(Head::Pid) as u32, head(Head::Token))
    }

    /// In a fork child: leaves the region to the parent. Whoever still holds a reference to it, such as a
    /// handler that interrupted the profiler and forked, goes on in memory of its own, all zeros.
    pub(crate) fn leave(&self) {
        // SAFETY: our mapping; words of zeros are an empty region, and all accesses are bounded by the layout.
        unsafe { map::renew(self.words.as_ptr().cast(), self.layout.words() * 8) };
    }

    fn begin(&self, identity: &Identity) {
        for (index, value) in self.layout.header() {
            self.at(index).store(value, Ordering::Relaxed);
        }
        let head = [
            (Head::Pid, u64::from(identity.pid)),
            (Head::Token, identity.token),
            (Head::StartWallNs, identity.wall_ns),
            (Head::StartMonotonicNs, identity.monotonic_ns),
            (Head::Period, identity.period),
            (Head::PidNamespace, identity.pid_namespace),
            (Head::PulseNs, identity.monotonic_ns),
        ];
        for (word, value) in head {
            self.at(word as usize).store(value, Ordering::Relaxed);
        }
        // Release: whoever sees the magic sees the whole header.
        self.at(Head::Magic as usize).store(MAGIC, Ordering::Release);
    }

    /// The word at an index.
    #[inline]
    pub(crate) fn at(&self, index: usize) -> &AtomicU64 {
        if index >= self.layout.words() {
            return &NOWHERE;
        }
        // SAFETY: inside the mapping, which is aligned to pages and lives as long as `self`.
        unsafe { self.words.add(index).as_ref() }
    }

    /// The `N` words from an index on, under one check: for records that are read or written as a whole.
    #[inline]
    pub(crate) fn record<const N: usize>(&self, index: usize) -> Option<&[AtomicU64; N]> {
        index.checked_add(N).filter(|&end| end <= self.layout.words())?;
        // SAFETY: inside the mapping, which is aligned to pages and lives as long as `self`.
        Some(unsafe { self.words.add(index).cast().as_ref() })
    }

    /// Where a section lies.
    pub(crate) fn section(&self, id: SectionId) -> Section {
        self.layout.section(id)
    }

    /// Tells readers that records below `count` of this section may be in use.
    pub(crate) fn note_used(&self, id: SectionId, count: u32) {
        self.at(Layout::used_word(id)).fetch_max(u64::from(count), Ordering::Release);
    }

    /// Adds to a counter (wrapping; subtract by adding the two's complement). What rarely happens.
    pub(crate) fn count(&self, counter: Counter, amount: u64) {
        self.count_apart(0, counter, amount);
    }

    /// The same for what happens with each sample; `hint` spreads threads. What this set of counters has then.
    #[inline]
    pub(crate) fn count_apart(&self, hint: usize, counter: Counter, amount: u64) -> u64 {
        self.counter_word(hint, counter as usize).fetch_add(amount, Ordering::Relaxed).wrapping_add(amount)
    }

    /// A counter's value.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        counters::sum(self, &self.layout, counter as usize)
    }

    /// Counts one stack that ended this way.
    pub(crate) fn count_end(&self, hint: usize, end: StackEnd) {
        self.counter_word(hint, counters::stack_end_index(end)).fetch_add(1, Ordering::Relaxed);
    }

    fn counter_word(&self, hint: usize, index: usize) -> &AtomicU64 {
        let shard = hint % counters::SHARDS * counters::SHARD_WORDS;
        self.at(self.section(SectionId::Counters).start + shard + index)
    }

    /// Writes a record so that a reader sees it whole or not at all. `at` is its state word, and the
    /// slot belongs to the caller.
    pub(crate) fn publish<const N: usize>(&self, at: usize, record: &[u64; N]) {
        let Some(words) = self.record::<N>(at + 1) else { return };
        self.publish_with(at, || {
            words.iter().zip(record).for_each(|(word, value)| word.store(*value, Ordering::Relaxed))
        });
    }

    /// The same for a record that `write` stores, with relaxed stores.
    pub(crate) fn publish_with(&self, at: usize, write: impl FnOnce()) {
        let state_word = self.at(at);
        let generation = state::generation(state_word.load(Ordering::Relaxed)) + 1;
        state_word.store(state::word(BUSY, generation), Ordering::Relaxed);
        // A reader that sees any of the stores below also sees BUSY when it looks at the state again.
        fence(Ordering::Release);
        write();
        state_word.store(state::word(LIVE, generation), Ordering::Release);
    }

    /// Takes a record back: its words may be reused afterwards.
    pub(crate) fn withdraw(&self, at: usize) {
        let state_word = self.at(at);
        let generation = state::generation(state_word.load(Ordering::Relaxed));
        state_word.store(state::word(FREE, generation), Ordering::Relaxed);
        fence(Ordering::Release);
    }

    /// Whether the record at `at` is live.
    pub(crate) fn is_live(&self, at: usize) -> bool {
        state::state(self.at(at).load(Ordering::Acquire)) == LIVE
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody can hold a reference into it any more.
        unsafe { map::unmap(self.words.as_ptr().cast(), self.layout.words() * 8) };
    }
}

impl Words for Region {
    fn len(&self) -> usize {
        self.layout.words()
    }

    fn word(&self, index: usize) -> u64 {
        self.at(index).load(Ordering::Acquire)
    }
}
