//! The reserved address range in which every sampled allocation lies.
//!
//! `free` must tell in a few instructions whether a pointer is sampled. So the range lies below everything that
//! jemalloc otherwise hands out (the kernel places mappings from the top down, or from a third of the address
//! space up), and `free` compares with its end, [`LIMIT`]: one comparison, and what is above is plain. What is
//! below [`Range::holds`] decides exactly, on the slow path. Where no such place can be had (valgrind), the range lies
//! anywhere, and many plain blocks take the slow path; nothing else changes. Memory is handed out once, upwards;
//! jemalloc's arenas reuse it among themselves. A program that limits its address space later on gets the part back
//! that was not handed out.
//!
//! # Safety
//! The range is a PROT_NONE mapping of our own; memory is put only under parts just taken from it.
#![allow(unsafe_code)]

use super::{clock, map};
use std::sync::atomic::{AtomicUsize, Ordering};

/// Bytes of the range where there is room for it.
const LARGEST: usize = 1 << 40;
/// Below this a range is not worth having.
const SMALLEST: usize = 16 << 20;
/// The range begins at a multiple of this.
const ALIGNMENT: usize = 2 << 20;
/// What is reserved where each page of a reservation costs time: qemu-user keeps a table of them, 11 s and
/// 0.8 GiB of memory for each TiB.
const MOST_IF_SLOW: usize = 2 << 30;
/// What is reserved to find out, and far more than a kernel needs for it: it needs microseconds, qemu 11 ms.
const TRIAL: usize = 1 << 30;
const SLOW_NS: u64 = 1_000_000;

/// Where to look for room, as (lowest start, bytes that the start is drawn from, largest range). The first lies between
/// ZGC's usual heaps and a third of 47 bits, where the kernel begins without a limit on stacks; the second is for the
/// small address spaces of some aarch64 kernels.
const PLACES: [(usize, usize, usize); 2] = [(32 << 40, 6 << 40, LARGEST), (128 << 30, 32 << 30, 64 << 30)];

/// End of the range, which lies below all other blocks; as long as there is no range, zero, which no address is below.
/// A static of its own because the exported `free` compares with it directly.
pub(crate) static LIMIT: AtomicUsize = AtomicUsize::new(0);

/// The range: set once by [`reserve`](Range::reserve), then only `next` moves.
pub(crate) struct Range {
    base: AtomicUsize,
    end: AtomicUsize,
    next: AtomicUsize,
}

impl Range {
    /// No range yet.
    pub(crate) const fn new() -> Range {
        Range { base: AtomicUsize::new(0), end: AtomicUsize::new(0), next: AtomicUsize::new(0) }
    }

    /// Reserves the range, at most `most` bytes of it, at an address that `random` decides. `false`: none can be had.
    /// Called once.
    pub(crate) fn reserve(&self, most: usize, random: u64) -> bool {
        let most = if most > MOST_IF_SLOW && is_slow() { MOST_IF_SLOW } else { most };
        let low = PLACES.iter().find_map(|&(start, room, largest)| {
            let start = start + ((random as usize % room) & !(ALIGNMENT - 1));
            largest_of(most.min(largest), |bytes| map::reserve_at(start as *mut u8, bytes))
        });
        let Some((base, bytes)) = low.or_else(|| largest_of(most.min(LARGEST), map::reserve)) else { return false };
        self.next.store(base, Ordering::Relaxed);
        self.base.store(base, Ordering::Relaxed);
        // Release: whoever sees the end (holds) sees the base.
        self.end.store(base + bytes, Ordering::Release);
        LIMIT.store(base + bytes, Ordering::Release);
        true
    }

    /// Whether there is no range.
    pub(crate) fn is_empty(&self) -> bool {
        self.end.load(Ordering::Acquire) == 0
    }

    /// Whether an address lies in the range.
    #[inline]
    pub(crate) fn holds(&self, address: usize) -> bool {
        address < self.end.load(Ordering::Acquire) && address >= self.base.load(Ordering::Relaxed)
    }

    /// Gives the part back that was not handed out, but for `keep` bytes.
    ///
    /// The whole rest is claimed first, as [`take`](Range::take) claims; then the end is lowered, so that nobody takes
    /// foreign addresses for ours; then the kept part is offered again. Whoever reads that offer sees the new end.
    pub(crate) fn give_back(&self, keep: usize) {
        let end = self.end.load(Ordering::Acquire);
        let next = self.next.swap(end, Ordering::AcqRel);
        let kept = next.saturating_add(keep).next_multiple_of(map::page_size());
        if next == 0 || kept >= end {
            self.next.store(next, Ordering::Release);
            return;
        }
        self.end.store(kept, Ordering::Release);
        LIMIT.store(kept, Ordering::Release);
        self.next.store(next, Ordering::Release);
        // SAFETY: addresses of our reservation that nobody was given, nor will be.
        unsafe { map::unmap(kept as *mut u8, end - kept) };
    }

    /// Takes `bytes` at a multiple of `alignment` (a power of two) and puts memory there.
    pub(crate) fn take(&self, bytes: usize, alignment: usize) -> Option<*mut u8> {
        let mut start = 0;
        let step = |next: usize| {
            start = next.checked_next_multiple_of(alignment)?;
            start.checked_add(bytes).filter(|&after| after <= self.end.load(Ordering::Acquire))
        };
        // The counter decides who gets which addresses. Acquire: see `give_back`.
        self.next.fetch_update(Ordering::Acquire, Ordering::Acquire, step).ok()?;
        if start + bytes > self.end.load(Ordering::Acquire) {
            return None;
        }
        let start = start as *mut u8;
        // SAFETY: these addresses lie in our reservation and were given to nobody before.
        unsafe { map::renew(start, bytes) }.then_some(start)
    }
}

/// Whether reserving address space takes time here: the fastest of three small tries.
fn is_slow() -> bool {
    (0..3).all(|_| {
        let start = clock::monotonic_ns();
        if let Some(raw) = map::reserve(TRIAL) {
            // SAFETY: reserved above.
            unsafe { map::unmap(raw.as_ptr(), TRIAL) };
        }
        clock::monotonic_ns().wrapping_sub(start) > SLOW_NS
    })
}

/// The largest piece, halving from `most`, that `reserve` has: its address, and its bytes.
fn largest_of(most: usize, reserve: impl Fn(usize) -> Option<std::ptr::NonNull<u8>>) -> Option<(usize, usize)> {
    let sizes = std::iter::successors(Some(most), |bytes| Some(bytes / 2)).map(|bytes| bytes & !(map::page_size() - 1));
    let mut sizes = sizes.take_while(|&bytes| bytes >= SMALLEST);
    sizes.find_map(|bytes| Some((reserve(bytes)?.as_ptr() as usize, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_below_other_mappings_and_hands_out_memory_once() {
        let other = map::anonymous(1 << 20).unwrap().as_ptr() as usize;
        for (most, random) in [(1 << 30, 7 << 30), (usize::MAX, 0x1234_5678_9abc_def0), (1 << 30, 7 << 30)] {
            let range = Range::new();
            assert!(!range.holds(0x1000) && range.reserve(most, random));
            let first = range.take(1 << 20, 1 << 21).unwrap();
            let second = range.take(1 << 20, 4096).unwrap();
            assert!((first as usize).is_multiple_of(1 << 21) && second as usize >= first as usize + (1 << 20));
            assert!(range.holds(first as usize) && range.holds(second as usize + (1 << 20) - 1));
            assert!(!range.holds(other) && !range.holds(range.end.load(Ordering::Relaxed)));
            assert_eq!((second as usize) < other, cfg!(target_pointer_width = "64"), "{first:?}");
            // SAFETY: the range just put memory there.
            unsafe { first.write(1) };
            assert_eq!(range.take(2 * LARGEST, 4096), None);
        }
    }

    #[test]
    fn sizes_are_halved_until_one_is_to_be_had() {
        let at = std::ptr::NonNull::<u8>::dangling();
        let tried = std::cell::RefCell::new(Vec::new());
        let found = largest_of(100 << 20, |bytes| {
            tried.borrow_mut().push(bytes >> 20);
            (bytes <= 25 << 20).then_some(at)
        });
        assert_eq!((found.map(|(_, bytes)| bytes >> 20), tried.take()), (Some(25), vec![100, 50, 25]));
        assert_eq!(largest_of(100 << 20, |_| None), None);
    }

    #[test]
    fn what_was_not_handed_out_is_given_back() {
        let range = Range::new();
        range.give_back(0);
        assert!(range.reserve(1 << 30, 3 << 40));
        let first = range.take(1 << 20, 4096).unwrap() as usize;
        range.give_back(2 << 20);
        let second = range.take(1 << 20, 4096).unwrap() as usize;
        assert!(range.holds(first) && range.holds(second + (1 << 20) - 1) && !range.holds(second + (2 << 20)));
        assert_eq!(range.take(2 << 20, 4096), None);
        range.give_back(0);
        assert_eq!(range.take(1, 1), None);
        assert!(range.holds(first) && range.holds(second) && !range.holds(second + (1 << 20)));
        // SAFETY: handed out above.
        unsafe { (second as *mut u8).write(1) };
    }
}
