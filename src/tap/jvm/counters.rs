//! Counters of the walks of Java stacks: how they ended, and the ones that cost more than usual.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::stack_end::StackEnd;

/// Counters of all walks; each is only ever added to.
#[derive(Debug, Default)]
pub(super) struct Counters {
    ends: [AtomicU64; StackEnd::ALL.len()],
    /// Runs of Java frames, about.
    pub(super) walks: Counter,
    /// Methods, or points in them, whose names were read.
    pub(super) named: Counter,
    /// Frames whose name could not be kept.
    pub(super) unnamed: Counter,
    /// Compiled frames that were not in the cache.
    pub(super) decoded: Counter,
    /// Stacks picked up again at a frame that the machine had noted.
    pub(super) recovered: Counter,
}

/// One counter. Relaxed: it is read for reports only.
#[derive(Debug, Default)]
pub(super) struct Counter(AtomicU64);

impl Counter {
    pub(super) const fn new() -> Counter {
        Counter(AtomicU64::new(0))
    }

    pub(super) fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// The same for what each sample counts: of two threads that add at once one may add in vain. A locked addition
    /// to a line that all threads share would cost more than a frame.
    pub(super) fn add_about(&self, count: u64) {
        self.0.store(self.get().wrapping_add(count), Ordering::Relaxed);
    }

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) const fn new() -> Counters {
        Counters {
            ends: [const { AtomicU64::new(0) }; StackEnd::ALL.len()],
            walks: Counter::new(),
            named: Counter::new(),
            unnamed: Counter::new(),
            decoded: Counter::new(),
            recovered: Counter::new(),
        }
    }

    /// Counts a walk that stopped for good.
    pub(super) fn count_end(&self, end: StackEnd) {
        if let Some(counter) = self.ends.get(end as usize) {
            counter.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Walks that stopped for this reason.
    pub(super) fn ended(&self, end: StackEnd) -> u64 {
        self.ends.get(end as usize).map_or(0, |counter| counter.load(Ordering::Relaxed))
    }
}

impl fmt::Display for Counters {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [walks, named, unnamed] = [&self.walks, &self.named, &self.unnamed].map(Counter::get);
        let [decoded, recovered] = [&self.decoded, &self.recovered].map(Counter::get);
        write!(out, "{walks} walks, {named} points named, {unnamed} frames unnamed, ")?;
        write!(out, "{decoded} compiled frames decoded, {recovered} recovered")
    }
}
