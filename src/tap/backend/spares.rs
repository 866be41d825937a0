//! Freed sampled blocks kept for the next sample: at most one of each size class up to 32 KiB in each shard.
//!
//! Sampled blocks are few, so the arenas of their own often hold a single block of a class; freeing it would give
//! its slab back, and the next sample would make one anew: some 2,500 instructions each time, against two
//! exchanges here. No lock: a place is emptied and filled by one exchange each, so a signal handler or a
//! fork child finds a block or none. The blocks of a shard are 208 KiB at most, and keep a slab each in memory.

use super::size_class::{CLASSES, SizeClass};
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

/// Threads are spread over so many shards.
const SHARDS: usize = 4;

/// One shard: a place for each class. Shards begin at cache lines of their own.
#[repr(align(64))]
struct Shard([AtomicPtr<c_void>; CLASSES]);

/// The places.
pub(super) struct Spares {
    shards: [Shard; SHARDS],
}

impl Spares {
    /// All places empty.
    pub(super) const fn new() -> Spares {
        Spares { shards: [const { Shard([const { AtomicPtr::new(ptr::null_mut()) }; CLASSES]) }; SHARDS] }
    }

    /// A block of this class, if one was kept. `hint` spreads threads.
    #[inline]
    pub(super) fn take(&self, class: SizeClass, hint: usize) -> Option<NonNull<c_void>> {
        let place = self.place(class, hint)?;
        // Looked at first: an exchange costs more than a miss. Acquire: the last owner's writes came before.
        let kept = !place.load(Ordering::Relaxed).is_null();
        if kept { NonNull::new(place.swap(ptr::null_mut(), Ordering::Acquire)) } else { None }
    }

    /// Keeps a block of this class. What must be freed instead: the block kept before, or this one.
    #[inline]
    pub(super) fn put(&self, class: SizeClass, hint: usize, block: NonNull<c_void>) -> Option<NonNull<c_void>> {
        match self.place(class, hint) {
            // Release: the next owner sees what was written before.
            Some(place) => NonNull::new(place.swap(block.as_ptr(), Ordering::AcqRel)),
            None => Some(block),
        }
    }

    #[inline]
    fn place(&self, class: SizeClass, hint: usize) -> Option<&AtomicPtr<c_void>> {
        self.shards.get(hint % SHARDS)?.0.get(class.index)
    }
}

#[cfg(test)]
mod tests {
    use super::super::size_class;
    use super::*;

    #[test]
    fn a_place_keeps_the_newest_block_and_gives_it_once() {
        let spares = Spares::new();
        let class = size_class::of(100).unwrap();
        let [first, second] = [0x1000, 0x2000].map(|address| NonNull::new(address as *mut c_void).unwrap());
        assert_eq!(spares.take(class, 3), None);
        assert_eq!(spares.put(class, 3, first), None);
        assert_eq!(spares.put(class, 3, second), Some(first));
        assert_eq!((spares.take(class, 4), spares.take(class, 3)), (None, Some(second)));
        assert_eq!(spares.take(class, 3), None);
    }
}
