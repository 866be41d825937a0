//! A private hash index: from 64-bit hashes to record numbers, without a lock.
//!
//! Open addressing, one word an entry: upper half of the hash, number + 1; 0 when empty. What finds no room
//! near by is not indexed, so it may be recorded twice; users allow that.

use super::entries::Entries;
use crate::tap::os::atomic::{AtomicU64, Ordering};

/// An entry whose record is gone.
const TOMBSTONE: u64 = u32::MAX as u64;
/// Entries that a look-up visits at most.
const PROBES: usize = 64;

/// The index.
pub(crate) struct Index {
    entries: Entries,
}

impl Index {
    /// An empty index for about half of `capacity` entries.
    pub(crate) fn new(capacity: usize) -> Option<Index> {
        Some(Index { entries: Entries::new(capacity)? })
    }

    /// The first record of this hash that `accept`s to be it.
    #[inline]
    pub(crate) fn find(&self, hash: u64, mut accept: impl FnMut(u32) -> bool) -> Option<u32> {
        for entry in self.probes(hash) {
            // Acquire: the record's words were written before its entry.
            let entry = entry.load(Ordering::Acquire);
            if entry == 0 {
                return None;
            }
            let record = (entry as u32).wrapping_sub(1);
            if entry >> 32 == hash >> 32 && entry != TOMBSTONE && accept(record) {
                return Some(record);
            }
        }
        None
    }

    /// Adds a record.
    pub(crate) fn insert(&self, hash: u64, record: u32) {
        let entry = entry(hash, record);
        for slot in self.probes(hash) {
            let now = slot.load(Ordering::Relaxed);
            let free = now == 0 || now == TOMBSTONE;
            if free && slot.compare_exchange(now, entry, Ordering::Release, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// Takes a record out.
    pub(crate) fn remove(&self, hash: u64, record: u32) {
        let entry = entry(hash, record);
        for slot in self.probes(hash) {
            if slot.compare_exchange(entry, TOMBSTONE, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
                return;
            }
        }
    }

    /// The entries that a hash may stand in.
    #[inline]
    fn probes(&self, hash: u64) -> impl Iterator<Item = &AtomicU64> {
        (0..PROBES).map(move |step| self.entries.at((hash as usize).wrapping_add(step)))
    }
}

fn entry(hash: u64, record: u32) -> u64 {
    hash >> 32 << 32 | (u64::from(record) + 1)
}
