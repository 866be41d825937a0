//! How the walks of Java stacks ended, and what they cost beyond the ordinary.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::wire::stack_end::StackEnd;

/// Counters of all walks; each is only ever added to.
#[derive(Debug, Default)]
pub(super) struct Counters {
    ends: [AtomicU64; StackEnd::ALL.len()],
    pub(super) walks: Counter,
    pub(super) frames: Counter,
    pub(super) new_methods: Counter,
    pub(super) unnamed: Counter,
    pub(super) decoded: Counter,
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

    pub(super) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Counters {
    pub(super) const fn new() -> Counters {
        Counters {
            ends: [const { AtomicU64::new(0) }; StackEnd::ALL.len()],
            walks: Counter::new(),
            frames: Counter::new(),
            new_methods: Counter::new(),
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
