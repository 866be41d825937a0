//! Pivots: numbers from the middle of unwind tables that searches have seen, so that the next search need not look.
//!
//! A look into a table that may go away is a system call (`windows`), and every search of a table begins at the same
//! places. A pivot is one word, read and written whole: half of it says of which table, place and generation of rules
//! it is, as a hash, and half is what stands there. Another place with the same hash (one in 2^32) leads a search to an
//! entry that is not around its pc, which is refused. No lock, no allocation; safe in signal handlers and after fork.

use crate::tap::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Pivots that are kept: a JVM's table has some 300.
const KEPT: usize = 512;

static PIVOTS: [AtomicU64; KEPT] = [const { AtomicU64::new(0) }; KEPT];

/// The pivots of one table, in one generation of rules.
#[derive(Clone, Copy)]
pub(super) struct Pivots {
    of: Hash,
}

impl Pivots {
    /// Those of the table at this address. Another table that comes to lie there is of another generation.
    pub(super) fn of(table: usize, generation: u64) -> Pivots {
        Pivots { of: Hash::new().with(table as u64).with(generation) }
    }

    /// What stands at a place of the table, if that was seen.
    pub(super) fn get(self, place: usize) -> Option<i32> {
        let (kept, tag) = self.kept(place);
        let word = kept.load(Relaxed);
        (word >> 32 == tag).then_some(word as u32 as i32)
    }

    /// Keeps what stands at a place, over what was kept there.
    pub(super) fn put(self, place: usize, number: i32) {
        let (kept, tag) = self.kept(place);
        kept.store(tag << 32 | u64::from(number as u32), Relaxed);
    }

    /// Where a place is kept, and the half of the word that says so; never 0, which is empty.
    fn kept(self, place: usize) -> (&'static AtomicU64, u64) {
        let hash = self.of.with(place as u64).finish();
        // The remainder is below the length: the compiler drops the check.
        (&PIVOTS[hash as usize % KEPT], hash >> 32 | 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pivot_is_of_its_table_its_place_and_its_generation() {
        let pivots = Pivots::of(0x7f00_0000_1000, 1 << 40);
        assert_eq!(pivots.get(7), None);
        pivots.put(7, -9);
        assert_eq!(pivots.get(7), Some(-9));
        for others in [Pivots::of(0x7f00_0000_1000, 1 << 41), Pivots::of(0x7f00_0000_2000, 1 << 40)] {
            assert_eq!(others.get(7), None);
        }
        assert_eq!(pivots.get(8), None);
    }
}
