//! The region in memory: words that this process writes and anybody may read meanwhile.
//!
//! # Safety
//! The region owns a mapping of as many words as its layout says, zeroed at first, never unmapped
//! while a reference exists. Every access is an atomic operation on a whole word inside it.
#![allow(unsafe_code)]

use crate::tap::os::map;
use crate::wire::live::Words;
use crate::wire::live::counters::{self, Counter};
use crate::wire::live::layout::{Head, Layout, MAGIC, Section, SectionId};
use crate::wire::live::state::{self, BUSY, FREE, LIVE};
use crate::wire::stack_end::StackEnd;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering, fence};

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
}

/// A live region of this process.
pub(crate) struct Region {
    words: NonNull<AtomicU64>,
    layout: Layout,
}

// SAFETY: only atomics behind the pointer.
unsafe impl Send for Region {}
// SAFETY: the same.
unsafe impl Sync for Region {}

impl Region {
    /// A new region of about `bytes` bytes of anonymous memory (touched page by page).
    pub(crate) fn anonymous(bytes: usize, identity: &Identity) -> Option<Region> {
        let layout = Layout::for_bytes(bytes);
        let words = map::anonymous(layout.words() * 8)?.cast();
        let region = Region { words, layout };
        region.begin(identity);
        Some(region)
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

    /// Where a section lies.
    pub(crate) fn section(&self, id: SectionId) -> Section {
        self.layout.section(id)
    }

    /// Tells readers that records below `count` of this section may be in use.
    pub(crate) fn note_used(&self, id: SectionId, count: u32) {
        self.at(Layout::used_word(id)).fetch_max(u64::from(count), Ordering::Release);
    }

    /// Adds to a counter (wrapping; subtract by adding the two's complement).
    #[inline]
    pub(crate) fn count(&self, counter: Counter, amount: u64) -> u64 {
        self.counter_word(counter as usize).fetch_add(amount, Ordering::Relaxed).wrapping_add(amount)
    }

    /// A counter's value.
    pub(crate) fn counter(&self, counter: Counter) -> u64 {
        self.counter_word(counter as usize).load(Ordering::Relaxed)
    }

    /// Counts one stack that ended this way.
    pub(crate) fn count_end(&self, end: StackEnd) {
        self.counter_word(counters::stack_end_index(end)).fetch_add(1, Ordering::Relaxed);
    }

    fn counter_word(&self, index: usize) -> &AtomicU64 {
        self.at(self.section(SectionId::Counters).start + index)
    }

    /// Writes a record so that a reader sees it whole or not at all. `at` is its state word, and the
    /// slot belongs to the caller.
    pub(crate) fn publish(&self, at: usize, record: &[u64]) {
        self.publish_with(at, || {
            for (offset, value) in record.iter().enumerate() {
                self.at(at + 1 + offset).store(*value, Ordering::Relaxed);
            }
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
