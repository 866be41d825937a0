//! The reserved address range in which every sampled allocation lies.
//!
//! `free` must tell in a few instructions whether a pointer is sampled: it compares the upper bits of the
//! address with [`TAG`]. The range is at best one whole granule of 1 TiB, so that the comparison alone
//! decides; where less can be had (RLIMIT_AS, small address spaces, valgrind) it lies inside one granule
//! and [`Range::holds`] decides exactly, on the slow path. Memory is handed out once, upwards;
//! jemalloc's arenas reuse it among themselves. A program that limits its address space later on gets
//! the part back that was not handed out.
//!
//! # Safety
//! The range is a PROT_NONE mapping of our own; memory is put only under parts just taken from it.
#![allow(unsafe_code)]

use super::{clock, map};
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Addresses share a granule if they agree above this bit.
pub(crate) const GRANULE_SHIFT: u32 = 40;
const GRANULE: usize = 1 << GRANULE_SHIFT;
/// Below this a range is not worth having.
const SMALLEST: usize = 16 << 20;
/// What is reserved where each page of a reservation costs time: qemu-user keeps a table of them, 11 s and
/// 0.8 GiB of memory for each TiB.
const MOST_IF_SLOW: usize = 2 << 30;
/// What is reserved to find out, and far more than a kernel needs for it: it needs microseconds, qemu 11 ms.
const TRIAL: usize = 1 << 30;
const SLOW_NS: u64 = 1_000_000;

/// Upper bits of the range's addresses; as long as there is no range, bits that no address has.
/// A static of its own because the exported `free` compares with it directly.
pub(crate) static TAG: AtomicU32 = AtomicU32::new(u32::MAX);

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

    /// Reserves the range, at most `most` bytes of it. `false`: none can be had. Called once.
    pub(crate) fn reserve(&self, most: usize) -> bool {
        let most = if most > MOST_IF_SLOW && is_slow() { MOST_IF_SLOW } else { most };
        let whole = if most >= GRANULE { aligned_granule() } else { None };
        let Some((base, bytes)) = whole.or_else(|| part_of_granule(most.min(GRANULE / 2))) else { return false };
        self.next.store(base, Ordering::Relaxed);
        self.base.store(base, Ordering::Relaxed);
        // Release: whoever sees the end (holds) sees the base.
        self.end.store(base + bytes, Ordering::Release);
        TAG.store((base >> GRANULE_SHIFT) as u32, Ordering::Release);
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

/// One whole granule, at its natural alignment.
fn aligned_granule() -> Option<(usize, usize)> {
    let raw = map::reserve(2 * GRANULE)?.as_ptr();
    let before = (raw as usize).next_multiple_of(GRANULE) - raw as usize;
    let base = raw.wrapping_add(before);
    // SAFETY: the part before the aligned granule, which nobody knows yet.
    unsafe { map::unmap(raw, before) };
    // SAFETY: the part behind it.
    unsafe { map::unmap(base.wrapping_add(GRANULE), GRANULE - before) };
    Some((base as usize, GRANULE))
}

/// The largest piece, halving from `most`, that can be had within one granule.
fn part_of_granule(most: usize) -> Option<(usize, usize)> {
    let mut bytes = most & !(map::page_size() - 1);
    while bytes >= SMALLEST {
        if let Some(raw) = map::reserve(bytes) {
            return Some(within_granule(raw.as_ptr(), bytes));
        }
        bytes = (bytes / 2) & !(map::page_size() - 1);
    }
    None
}

/// Gives back the smaller side if the piece crosses a granule boundary.
fn within_granule(raw: *mut u8, bytes: usize) -> (usize, usize) {
    let boundary = (raw as usize + 1).next_multiple_of(GRANULE);
    let below = boundary.saturating_sub(raw as usize).min(bytes);
    let above = bytes - below;
    if below >= above {
        // SAFETY: the part above the boundary, which nobody knows yet.
        unsafe { map::unmap(raw.wrapping_add(below), above) };
        (raw as usize, below)
    } else {
        // SAFETY: the part below the boundary.
        unsafe { map::unmap(raw, below) };
        (boundary, above)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_lies_in_one_granule_and_hands_out_memory_once() {
        for most in [1 << 30, GRANULE] {
            let range = Range::new();
            assert!(!range.holds(0x1000) && range.reserve(most));
            let first = range.take(1 << 20, 1 << 21).unwrap();
            let second = range.take(1 << 20, 4096).unwrap();
            assert!((first as usize).is_multiple_of(1 << 21) && second as usize >= first as usize + (1 << 20));
            assert!(range.holds(first as usize) && range.holds(second as usize + (1 << 20) - 1));
            assert_eq!(first as usize >> GRANULE_SHIFT, second as usize >> GRANULE_SHIFT);
            // SAFETY: the range just put memory there.
            unsafe { first.write(1) };
            assert_eq!(range.take(2 * GRANULE, 4096), None);
        }
    }

    #[test]
    fn what_was_not_handed_out_is_given_back() {
        let range = Range::new();
        range.give_back(0);
        assert!(range.reserve(1 << 30));
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
