//! Which record has which addresses: disjoint ranges in the order of their addresses.
//!
//! One thread at a time uses it (`mappings`). It may be left in the middle of a change for ever; then it is filled anew
//! from the records, so nothing here may fail because an entry is wrong.

use super::entries::Entries;
use std::sync::atomic::{AtomicUsize, Ordering};

const WORDS: usize = 4;

/// A range and its record.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Entry {
    /// First address.
    pub(super) start: u64,
    /// One past the last.
    pub(super) end: u64,
    /// Number of the record.
    pub(super) slot: u32,
}

/// The ranges.
pub(super) struct Ranges {
    words: Entries,
    count: AtomicUsize,
    capacity: usize,
}

impl Ranges {
    /// None, with room for so many. `None`: there is no memory.
    pub(super) fn new(capacity: usize) -> Option<Ranges> {
        Some(Ranges { words: Entries::new(capacity * WORDS)?, count: AtomicUsize::new(0), capacity })
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed).min(self.capacity)
    }

    /// The one at a place.
    pub(super) fn get(&self, at: usize) -> Option<Entry> {
        (at < self.count()).then(|| self.read(at))
    }

    /// The place of the first one that ends behind an address.
    pub(super) fn first_behind(&self, address: u64) -> usize {
        let (mut low, mut high) = (0, self.count());
        while low < high {
            let middle = low + (high - low) / 2;
            if self.read(middle).end <= address {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        low
    }

    /// Puts another one in a place.
    pub(super) fn set(&self, at: usize, entry: Entry) {
        let words = [entry.start, entry.end, u64::from(entry.slot)];
        (0..).zip(words).for_each(|(n, word)| self.words.at(at * WORDS + n).store(word, Ordering::Relaxed));
    }

    /// Makes room at a place for another one. `false`: all is full.
    pub(super) fn insert(&self, at: usize, entry: Entry) -> bool {
        let count = self.count();
        if count >= self.capacity {
            return false;
        }
        (at..count).rev().for_each(|n| self.set(n + 1, self.read(n)));
        self.set(at.min(count), entry);
        self.count.store(count + 1, Ordering::Relaxed);
        true
    }

    /// Takes the one at a place away.
    pub(super) fn remove(&self, at: usize) {
        let count = self.count();
        if at < count {
            (at + 1..count).for_each(|n| self.set(n - 1, self.read(n)));
            self.count.store(count - 1, Ordering::Relaxed);
        }
    }

    /// Takes all away.
    pub(super) fn clear(&self) {
        self.count.store(0, Ordering::Relaxed);
    }

    fn read(&self, at: usize) -> Entry {
        let word = |n| self.words.at(at * WORDS + n).load(Ordering::Relaxed);
        Entry { start: word(0), end: word(1), slot: word(2) as u32 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_stay_in_order() {
        let ranges = Ranges::new(4).unwrap();
        let entry = |start, end, slot| Entry { start, end, slot };
        for (start, end) in [(30, 40), (10, 20), (50, 60), (20, 30)] {
            assert!(ranges.insert(ranges.first_behind(start), entry(start, end, start as u32)));
        }
        assert!(!ranges.insert(0, entry(0, 1, 0)));
        let starts = |ranges: &Ranges| -> Vec<u64> { (0..).map_while(|n| Some(ranges.get(n)?.start)).collect() };
        assert_eq!(starts(&ranges), [10, 20, 30, 50]);
        assert_eq!([0, 10, 19, 20, 39, 40, 59, 60].map(|at| ranges.first_behind(at)), [0, 0, 0, 1, 2, 3, 3, 4]);
        ranges.remove(1);
        ranges.remove(7);
        assert_eq!(starts(&ranges), [10, 30, 50]);
        assert_eq!(ranges.get(1), Some(entry(30, 40, 30)));
        ranges.clear();
        assert_eq!((ranges.count(), ranges.get(0)), (0, None));
    }
}
