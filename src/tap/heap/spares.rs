//! Freed sampled blocks kept for the next sample: a few of each size class up to 32 KiB in each shard.
//!
//! Sampled blocks are few, so the arenas of their own often hold a single block of a class; freeing it would give
//! its slab back, and the next sample would make one anew: some 2,500 instructions each time, against two
//! exchanges here. No lock: a place is emptied and filled by one exchange each, so a signal handler or a
//! fork child finds a block or none.
//!
//! How many: where blocks of a class are born and die in no order, the number kept wanders between none and all, so
//! that `n` places serve n of n + 1 samples. A shard keeps 8 blocks of the classes up to 4 KiB and 3 of the larger
//! ones: 770 KiB at most, where all classes are in use.

use super::size_class::{CLASSES, SizeClass};
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Threads are spread over so many shards.
const SHARDS: usize = 4;
/// Blocks of one class that a shard can keep: a cache line of pointers.
const PLACES: usize = 8;
/// Blocks of a large class that it does keep, because they cost memory.
const LARGE_PLACES: usize = 3;
/// Largest block that is not large, bytes.
const SMALL: usize = 4096;

/// The places of one class in one shard.
#[repr(align(64))]
struct Places([AtomicPtr<c_void>; PLACES]);

#[expect(clippy::declare_interior_mutable_const, reason = "it is what each of an array begins as")]
const NONE: Places = Places([const { AtomicPtr::new(ptr::null_mut()) }; PLACES]);

/// One shard.
struct Shard([Places; CLASSES]);

/// The places.
pub(super) struct Spares {
    shards: [Shard; SHARDS],
}

impl Spares {
    /// All places empty.
    pub(super) const fn new() -> Spares {
        Spares { shards: [const { Shard([NONE; CLASSES]) }; SHARDS] }
    }

    /// A block of this class, if one was kept. `hint` spreads threads.
    #[inline]
    pub(super) fn take(&self, class: SizeClass, hint: usize) -> Option<NonNull<c_void>> {
        // Looked at first: an exchange costs more than a miss. Acquire: the last owner's writes came before.
        let full = |place: &&AtomicPtr<c_void>| !place.load(Ordering::Relaxed).is_null();
        let mut full = self.places(class, hint).iter().filter(full);
        full.find_map(|place| NonNull::new(place.swap(ptr::null_mut(), Ordering::Acquire)))
    }

    /// Keeps a block of this class. What must be freed instead: another one that was kept, or none.
    #[inline]
    pub(super) fn put(&self, class: SizeClass, hint: usize, block: NonNull<c_void>) -> Option<NonNull<c_void>> {
        let places = self.places(class, hint);
        let empty = places.iter().find(|place| place.load(Ordering::Relaxed).is_null());
        match empty.or(places.first()) {
            // Release: the next owner sees what was written before.
            Some(place) => NonNull::new(place.swap(block.as_ptr(), Ordering::AcqRel)),
            None => Some(block),
        }
    }

    #[inline]
    fn places(&self, class: SizeClass, hint: usize) -> &[AtomicPtr<c_void>] {
        let places = self.shards.get(hint % SHARDS).and_then(|shard| shard.0.get(class.index));
        let kept = if class.bytes <= SMALL { PLACES } else { LARGE_PLACES };
        places.and_then(|places| places.0.get(..kept)).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::super::size_class;
    use super::*;

    #[test]
    fn a_few_blocks_are_kept_and_each_is_given_once() {
        let spares = Spares::new();
        let class = size_class::of(100).unwrap();
        let block = |n: usize| NonNull::new((n * 0x1000) as *mut c_void).unwrap();
        assert_eq!(spares.take(class, 3), None);
        for n in 1..=PLACES {
            assert_eq!(spares.put(class, 3, block(n)), None);
        }
        assert_eq!(spares.put(class, 3, block(9)), Some(block(1)));
        assert_eq!((spares.take(class, 4), spares.take(size_class::of(200).unwrap(), 3)), (None, None));
        let mut given: Vec<_> = std::iter::from_fn(|| spares.take(class, 3)).collect();
        given.sort();
        assert_eq!(given, [2, 3, 4, 5, 6, 7, 8, 9].map(block));
        let large = size_class::of(20_000).unwrap();
        let refused = (1..=PLACES).filter(|&n| spares.put(large, 3, block(n)).is_some()).count();
        assert_eq!(refused, PLACES - LARGE_PLACES);
    }
}
