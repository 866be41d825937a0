//! The region in memory: words that this process writes and other processes read at any instant.
//!
//! On tmpfs where there is one, so that it survives the process; else in anonymous memory. It is mapped whole and may
//! be touched only as far as it is *backed*: each section is given memory in steps, ahead of the records that need it.
//! Storing into a full tmpfs would be a SIGBUS; and `mlockall`, which makes resident whatever may be touched, finds no
//! more than what is in use, however the program comes to call it.
//!
//! # Safety
//! The region owns a mapping of as many words as its layout says, zeroed at first, never unmapped
//! while a reference exists. Every access is an atomic operation on a whole word inside it. Records are touched only by
//! numbers below what a [`SlotPool`](super::slots::SlotPool) has handed out, which backs them before.
#![allow(unsafe_code)]

use super::lane::Lane;
use super::publication;
use crate::tap::os::{clock, map, shared};
use crate::wire::identity::Identity;
use crate::wire::live::counters::{self, Counter};
use crate::wire::live::layout::{HEADER_WORDS, Head, Layout, MAGIC, MIN_BYTES, Section, SectionId};
use crate::wire::live::text::{self, Text};
use crate::wire::live::words::Words;
use crate::wire::stack_end::StackEnd;
use crate::wire::word;
use std::iter;
use std::path::PathBuf;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// Words that a section is given at a time: 16 KiB, some 3 us, or a page where that is larger. Larger steps would cost
/// each process up to half a MiB.
const STEP_WORDS: usize = 1 << 11;

/// How often a thread that leaves the region looks whether others still grow it, and the pause between two looks.
const MOST_LOOKS: u32 = 50;
const LOOK_NS: u64 = 20_000;

/// The word that stands for all words outside the region: reads find zero, and nothing reads what is stored.
static NOWHERE: AtomicU64 = AtomicU64::new(0);

/// The process that a new region is about.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Origin {
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
    /// Words of the kernel's pages, at which sections begin.
    page_words: usize,
    /// How far each section has memory, as a word index.
    backed: [AtomicUsize; SectionId::ALL.len()],
    /// Threads that are about to back more of it.
    growing: AtomicUsize,
    /// It is another process's, or another user's: no more of it is backed.
    is_left: AtomicBool,
    /// The file of a shared region: the user, and with it the directory, may change meanwhile.
    path: Option<shared::Path>,
}

// SAFETY: only atomics behind the pointer.
unsafe impl Send for Region {}
// SAFETY: the same.
unsafe impl Sync for Region {}

impl Region {
    /// A new region of at most `bytes` bytes: shared if that is possible, else anonymous. `is_again`: an opening for
    /// this life was given up, and its file, which nobody uses, may be in the way.
    pub(crate) fn open(is_again: bool, bytes: usize, origin: &Origin) -> Option<Region> {
        if let Some(left) = is_again.then(|| shared::Path::region(origin.pid, origin.token)).flatten() {
            shared::remove(&left);
        }
        Region::shared(bytes, origin).or_else(|| Region::anonymous(bytes, origin))
    }

    /// A new region of anonymous memory (touched page by page).
    pub(crate) fn anonymous(bytes: usize, origin: &Origin) -> Option<Region> {
        Region::anonymous_by_pages(bytes, page_words(), origin)
    }

    fn anonymous_by_pages(bytes: usize, page_words: usize, origin: &Origin) -> Option<Region> {
        let layout = Layout::for_pages(bytes, page_words);
        let words: NonNull<AtomicU64> = map::reserve(word::bytes_of(layout.words()))?.cast();
        // SAFETY: the header of the mapping made above.
        if !unsafe { map::allow(words.as_ptr().cast(), word::bytes_of(HEADER_WORDS), true) } {
            // SAFETY: the same mapping, known to nobody.
            unsafe { map::unmap(words.as_ptr().cast(), word::bytes_of(layout.words())) };
            return None;
        }
        Region::over(words, layout, page_words, None, origin)
    }

    /// A region over a fresh mapping of which the header is backed.
    fn over(
        words: NonNull<AtomicU64>,
        layout: Layout,
        page_words: usize,
        path: Option<shared::Path>,
        origin: &Origin,
    ) -> Option<Region> {
        let backed = SectionId::ALL.map(|id| AtomicUsize::new(layout.section(id).start));
        let (growing, is_left) = (AtomicUsize::new(0), AtomicBool::new(false));
        let region = Region { words, layout, page_words, backed, growing, is_left, path };
        if !region.back(SectionId::Counters, counters::WORDS as u32 - 1) {
            region.remove_own_file();
            return None;
        }
        region.begin(origin);
        Some(region)
    }

    /// A new region on tmpfs, at most as large as there is room.
    fn shared(bytes: usize, origin: &Origin) -> Option<Region> {
        let bytes = bytes.min(shared::room());
        if bytes < 2 * MIN_BYTES {
            return None;
        }
        // A layout is a little larger than asked for.
        let page_words = page_words();
        let layout = Layout::for_pages(bytes - MIN_BYTES, page_words);
        let path = shared::Path::region(origin.pid, origin.token)?;
        let words: NonNull<AtomicU64> = shared::create(&path, word::bytes_of(layout.words()), 0o400)?.cast();
        let header_words = HEADER_WORDS.next_multiple_of(page_words);
        // SAFETY: the words behind the header's pages lie inside the mapping made above.
        let sections = unsafe { words.add(header_words) };
        // SAFETY: the rest of that mapping, which nothing has touched yet. Where it fails it may be touched: no harm.
        unsafe { map::allow(sections.as_ptr().cast(), word::bytes_of(layout.words() - header_words), false) };
        Region::over(words, layout, page_words, Some(path), origin)
    }

    /// Makes sure that a record of a section has memory. `false`: there is none to be had.
    #[inline]
    pub(crate) fn back(&self, id: SectionId, record: u32) -> bool {
        let Some(backed) = self.backed.get(id as usize) else { return false };
        let section = self.section(id);
        let end = section.start + (record as usize + 1) * section.record_words;
        end <= backed.load(Ordering::Acquire) || self.back_until(section, end, backed)
    }

    #[cold]
    fn back_until(&self, section: Section, end: usize, backed: &AtomicUsize) -> bool {
        let from = backed.load(Ordering::Acquire);
        let whole = |words: usize| words.next_multiple_of(self.page_words);
        let last = whole(section.start + section.capacity * section.record_words);
        let until = (from + whole(STEP_WORDS)).max(whole(end)).min(last);
        if end > last || self.layout.words() < until {
            return false;
        }
        self.grow(backed, until, || self.allow(from, until) && self.populate(from, until))
    }

    /// Puts memory under a section by `work`, and notes until where, unless the region is being left.
    fn grow(&self, backed: &AtomicUsize, until: usize, work: impl FnOnce() -> bool) -> bool {
        // SeqCst here and in `leave`: either this thread sees that the region is left, or `leave` sees this thread.
        self.growing.fetch_add(1, Ordering::SeqCst);
        let done = !self.is_left.load(Ordering::SeqCst) && work();
        if done {
            backed.fetch_max(until, Ordering::Release);
        }
        self.growing.fetch_sub(1, Ordering::SeqCst);
        done
    }

    /// Lets these words be touched.
    fn allow(&self, from: usize, until: usize) -> bool {
        if from > until || until > self.layout.words() {
            return false;
        }
        // SAFETY: inside the mapping: checked above.
        let start = unsafe { self.words.add(from) };
        // SAFETY: pages of our own mapping, from now on to be touched.
        unsafe { map::allow(start.as_ptr().cast(), word::bytes_of(until - from), true) }
    }

    /// Makes sure that these words, which may be touched, have memory: anonymous ones get it when they are.
    fn populate(&self, from: usize, until: usize) -> bool {
        if self.path.is_none() {
            return true;
        }
        // SAFETY: inside the mapping: the caller has `allow`ed them.
        shared::populate(unsafe { self.words.add(from) }.cast(), word::bytes_of(until - from))
    }

    /// Whether a word may be touched. For readers that follow what they read.
    fn is_backed(&self, index: usize) -> bool {
        let holds = |(id, backed): (SectionId, &AtomicUsize)| {
            (self.section(id).start..backed.load(Ordering::Acquire)).contains(&index)
        };
        index < HEADER_WORDS || SectionId::ALL.into_iter().zip(&self.backed).rev().any(holds)
    }

    /// Gives memory to so many words of a half of the text: the rest of the first half may be touched, and needs none.
    fn back_half(&self, from: usize, words: usize) -> bool {
        let (first, end) = (from - from % self.page_words, (from + words).next_multiple_of(self.page_words));
        let start = self.section(SectionId::Text).start;
        let Some(backed) = self.backed.get(SectionId::Text as usize) else { return false };
        self.grow(backed, end, || self.allow(start, end) && self.populate(first, end))
    }

    /// The text that it has.
    pub(crate) fn text(&self) -> Text {
        Text::read(self, &self.layout)
    }

    /// Gives the region a new text (see `wire::live::text`); one caller at a time. What does not fit is cut.
    pub(crate) fn set_text(&self, text: &[u8]) {
        let section = self.section(SectionId::Text);
        let state = self.at(Head::Text as usize);
        let generation = (state.load(Ordering::Relaxed) >> 32) + 1;
        let text = text.get(..text.len().min(word::bytes_of(section.capacity / 2))).unwrap_or(text);
        let half = text::half(generation << 32, section.capacity);
        if !self.back_half(section.start + half, text.len().div_ceil(word::BYTES)) {
            return;
        }
        for (n, bytes) in text.chunks(word::BYTES).enumerate() {
            let mut word = [0; 8];
            word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
            self.at(section.start + half + n).store(u64::from_le_bytes(word), Ordering::Relaxed);
        }
        // Release: a reader that sees this state sees that half.
        state.store(generation << 32 | text.len() as u64, Ordering::Release);
    }

    /// Says which sampling period is in force.
    pub(crate) fn set_period(&self, period: u64) {
        self.at(Head::Period as usize).store(period, Ordering::Relaxed);
    }

    /// Says since when samples are taken, or since when they were last forgotten (CLOCK_MONOTONIC).
    pub(crate) fn set_since(&self, since_ns: u64) {
        self.at(Head::SinceNs as usize).store(since_ns, Ordering::Relaxed);
    }

    /// Tells where the allocator's tree of pages lies.
    pub(crate) fn set_block_tree(&self, address: u64) {
        self.at(Head::BlockTree as usize).store(address, Ordering::Relaxed);
    }

    /// Says something that is 0 or 1 (`Guarded`, `Significant`, `Ending`).
    pub(crate) fn set_flag(&self, flag: Head, value: bool) {
        self.at(flag as usize).store(u64::from(value), Ordering::Release);
    }

    /// The names of this life's files, without a prefix.
    pub(crate) fn life(&self) -> Identity {
        let (pid, token) = self.origin();
        Identity { prefix: PathBuf::new(), pid, token }
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
            shared::remove(&path.claim());
        }
    }

    /// Removes the file of a shared region that another one of this process will take the place of.
    pub(crate) fn remove_own_file(&self) {
        if let Some(path) = &self.path {
            shared::remove(path);
        }
    }

    fn origin(&self) -> (u32, u64) {
        let head = |head: Head| self.at(head as usize).load(Ordering::Relaxed);
        (head(Head::Pid) as u32, head(Head::Token))
    }

    /// Leaves the region to others: in a fork child to the parent, in a process that became another user to the user
    /// that it was. What still holds a reference to it (another thread; a handler that interrupted the profiler and
    /// forked) goes on in private memory, all zeros: each part that may be touched is replaced at once, by a part that
    /// may.
    pub(crate) fn leave(&self) {
        self.is_left.store(true, Ordering::SeqCst);
        // Of a fork child's parent a thread may have been growing it, which is gone: the wait has an end.
        let looks = (0..MOST_LOOKS).take_while(|_| self.growing.load(Ordering::SeqCst) != 0);
        looks.for_each(|_| clock::sleep_ns(LOOK_NS));
        let backed = SectionId::ALL.into_iter().zip(&self.backed);
        let backed = backed.map(|(id, backed)| (self.section(id).start, backed.load(Ordering::Acquire)));
        let mut end = 0;
        for (from, until) in iter::once((0, HEADER_WORDS.next_multiple_of(self.page_words))).chain(backed) {
            self.replace(end, from, map::renew_reserved);
            self.replace(from, until, map::renew);
            end = until.max(from);
        }
        self.replace(end, self.layout.words(), map::renew_reserved);
    }

    /// Puts other memory in the place of some words.
    fn replace(&self, from: usize, until: usize, by: unsafe fn(*mut u8, usize) -> bool) {
        if from < until && until <= self.layout.words() {
            // SAFETY: inside the mapping: checked above.
            let start = unsafe { self.words.add(from) };
            // SAFETY: a part of our mapping; words of zeros are an empty region, and all accesses are bounded by the
            // layout.
            unsafe { by(start.as_ptr().cast(), word::bytes_of(until - from)) };
        }
    }

    fn begin(&self, origin: &Origin) {
        for (index, value) in self.layout.header() {
            self.at(index).store(value, Ordering::Relaxed);
        }
        let head = [
            (Head::Pid, u64::from(origin.pid)),
            (Head::Token, origin.token),
            (Head::StartWallNs, origin.wall_ns),
            (Head::StartMonotonicNs, origin.monotonic_ns),
            (Head::Period, origin.period),
            (Head::PidNamespace, origin.pid_namespace),
            (Head::PulseNs, origin.monotonic_ns),
            (Head::SinceNs, origin.monotonic_ns),
        ];
        for (word, value) in head {
            self.at(word as usize).store(value, Ordering::Relaxed);
        }
        // Release: a reader that sees the magic sees the whole header.
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
    #[inline]
    pub(crate) fn section(&self, id: SectionId) -> Section {
        self.layout.section(id)
    }

    /// Tells readers that records below `count` of this section may be in use.
    pub(crate) fn note_used(&self, id: SectionId, count: u32) {
        self.at(Layout::used_word(id)).fetch_max(u64::from(count), Ordering::Release);
    }

    /// Adds to a counter (wrapping; subtract by adding the two's complement). What rarely happens.
    pub(crate) fn count(&self, counter: Counter, amount: u64) {
        self.count_in(None, counter, amount);
    }

    /// The same for what happens with each sample, in the set of a lane, if the caller has one. What this set has then.
    #[inline]
    pub(crate) fn count_in(&self, lane: Option<Lane>, counter: Counter, amount: u64) -> u64 {
        self.add_in(lane, counter as usize, amount)
    }

    /// A counter's value. All sets may be touched, as those who count do.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        counters::sum(self.counter_words(counter as usize).map(|word| word.load(Ordering::Acquire)))
    }

    /// Counts one stack that ended this way.
    #[inline]
    pub(crate) fn count_end(&self, lane: Option<Lane>, end: StackEnd) {
        self.add_in(lane, counters::stack_end_index(end), 1);
    }

    #[inline]
    fn add_in(&self, lane: Option<Lane>, index: usize, amount: u64) -> u64 {
        let Some(lane) = lane else {
            return self.counter_word(0, index).fetch_add(amount, Ordering::Relaxed).wrapping_add(amount);
        };
        // Nobody else writes it meanwhile.
        let word = self.counter_word(1 + lane.index(), index);
        let sum = word.load(Ordering::Relaxed).wrapping_add(amount);
        word.store(sum, Ordering::Relaxed);
        sum
    }

    fn counter_words(&self, index: usize) -> impl Iterator<Item = &AtomicU64> {
        (0..counters::SETS).map(move |set| self.counter_word(set, index))
    }

    #[inline]
    fn counter_word(&self, set: usize, index: usize) -> &AtomicU64 {
        self.at(self.section(SectionId::Counters).start + set * counters::SET_WORDS + index)
    }

    /// Writes a record so that a reader sees it whole or not at all. `at` is its state word, and the
    /// slot belongs to the caller.
    #[inline]
    pub(crate) fn publish<const N: usize>(&self, at: usize, record: &[u64; N]) {
        let Some(words) = self.record::<N>(at + 1) else { return };
        self.publish_with(at, || {
            words.iter().zip(record).for_each(|(word, value)| word.store(*value, Ordering::Relaxed))
        });
    }

    /// The same for a record that `write` stores, with relaxed stores.
    #[inline]
    pub(crate) fn publish_with(&self, at: usize, write: impl FnOnce()) {
        publication::publish(self.at(at), write);
    }

    /// Takes a record back: its words may be reused afterwards.
    pub(crate) fn withdraw(&self, at: usize) {
        publication::withdraw(self.at(at));
    }

    /// Takes a record back that another thread may take back as well; `word`: its state word when it was looked at.
    /// `false`: it is no longer that record.
    pub(crate) fn withdraw_if(&self, at: usize, word: u64) -> bool {
        publication::withdraw_if(self.at(at), word)
    }

    /// The state word of a record if it is live.
    pub(crate) fn live_word(&self, at: usize) -> Option<u64> {
        publication::live_word(self.at(at))
    }

    /// Sets the counter at an index of the sets of counters back to zero: what it has so far is taken off in the set
    /// that is everybody's, since the others have their writers.
    pub(crate) fn clear_counter(&self, index: usize) {
        let sum = self.counter_words(index).map(|word| word.load(Ordering::Relaxed)).fold(0, u64::wrapping_add);
        self.counter_word(0, index).fetch_sub(sum, Ordering::Relaxed);
    }

    /// Whether the record at `at` is live.
    pub(crate) fn is_live(&self, at: usize) -> bool {
        publication::is_live(self.at(at))
    }
}

/// Words of a page of this kernel.
fn page_words() -> usize {
    map::page_size() / word::BYTES
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: the mapping is ours and nobody can hold a reference into it any more.
        unsafe { map::unmap(self.words.as_ptr().cast(), word::bytes_of(self.layout.words())) };
    }
}

impl Words for Region {
    fn len(&self) -> usize {
        self.layout.words()
    }

    fn word(&self, index: usize) -> u64 {
        if self.is_backed(index) { self.at(index).load(Ordering::Acquire) } else { 0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_comes_in_whole_pages_whatever_their_size() {
        let origin = Origin { pid: 7, token: 8, wall_ns: 9, monotonic_ns: 10, period: 1024, pid_namespace: 0 };
        for page_words in [512, 2048, 8192] {
            let region = Region::anonymous_by_pages(4 << 20, page_words, &origin).unwrap();
            let are_whole = || region.backed.iter().all(|end| end.load(Ordering::Relaxed).is_multiple_of(page_words));
            assert!(are_whole());
            for id in [SectionId::Samples, SectionId::Stacks, SectionId::Names, SectionId::Mappings] {
                let capacity = region.section(id).capacity as u32;
                for record in (0..capacity).step_by(100).chain([capacity - 1]) {
                    assert!(region.back(id, record) && are_whole(), "{id:?} {record}");
                    let at = region.section(id).record(record).unwrap();
                    region.at(at).store(1, Ordering::Relaxed);
                }
                assert!(!region.back(id, capacity + page_words as u32));
            }
            region.set_text(&[b'x'; 3000]);
            assert!(region.back_half(region.section(SectionId::Text).start, 1));
            region.leave();
            assert_eq!(region.at(region.section(SectionId::Samples).start).load(Ordering::Relaxed), 0);
        }
    }
}
