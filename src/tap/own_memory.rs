//! The tap's own allocations. From jemalloc, below the exports; but during the final dump from
//! pages of its own.
//!
//! `exit` may be called by a signal handler that interrupted this very thread inside jemalloc, one of whose
//! locks it then holds for ever: a final dump that allocates there never ends (jemalloc's own hangs so).
//! The pages are handed out upwards and never taken back: the process ends. Where there is no memory, Rust would
//! end the process; the work that wanted it is given up instead, if it runs where it can be (`spare_stack`).
//!
//! # Safety
//! A block is either jemalloc's or lies in the reserved part, and goes back to where it came from.
#![allow(unsafe_code)]

use super::os::{map, spare_stack, tls};
use std::alloc::{GlobalAlloc, Layout};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicUsize, Ordering};
use tikv_jemallocator::Jemalloc;

/// Address space for the final dump: a snapshot of a large region, with its vectors on the way to their size.
const MOST: usize = 8 << 30;
/// Less is not worth trying.
const LEAST: usize = 16 << 20;
/// Memory is put under that many bytes at a time: under `mlockall` all of it is populated at once.
const STEP: usize = 1 << 20;

/// The tap's global allocator.
pub(crate) struct OwnMemory {
    base: AtomicUsize,
    end: AtomicUsize,
    next: AtomicUsize,
    backed: AtomicUsize,
}

/// Runs `work` with this thread's own allocations kept away from jemalloc. For the end of the process.
pub(crate) fn without_jemalloc<T>(work: impl FnOnce() -> T) -> T {
    let flag = &tls::thread().avoids_jemalloc;
    let before = flag.replace(true);
    let result = work();
    flag.set(before);
    result
}

impl OwnMemory {
    /// Nothing reserved yet.
    pub(crate) const fn new() -> OwnMemory {
        OwnMemory {
            base: AtomicUsize::new(0),
            end: AtomicUsize::new(0),
            next: AtomicUsize::new(0),
            backed: AtomicUsize::new(0),
        }
    }

    fn holds(&self, block: *mut u8) -> bool {
        (self.base.load(Ordering::Relaxed)..self.end.load(Ordering::Relaxed)).contains(&(block as usize))
    }

    /// A block from the pages. One thread at a time writes the final dump, so relaxed orders do; a second one
    /// (a vfork child has none, a fork child other memory) could not get here.
    fn take(&self, layout: Layout) -> *mut u8 {
        if self.base.load(Ordering::Relaxed) == 0 && !self.reserve() {
            return ptr::null_mut();
        }
        let start = self.next.load(Ordering::Relaxed).checked_next_multiple_of(layout.align());
        let range = start.and_then(|start| Some((start, start.checked_add(layout.size())?)));
        match range {
            Some((start, after)) if after <= self.end.load(Ordering::Relaxed) && self.back(after) => {
                self.next.store(after, Ordering::Relaxed);
                start as *mut u8
            }
            _ => ptr::null_mut(),
        }
    }

    fn reserve(&self) -> bool {
        let mut bytes = MOST;
        while bytes >= LEAST {
            if let Some(base) = map::reserve(bytes) {
                let base = base.as_ptr() as usize;
                self.next.store(base, Ordering::Relaxed);
                self.backed.store(base, Ordering::Relaxed);
                self.end.store(base + bytes, Ordering::Relaxed);
                self.base.store(base, Ordering::Relaxed);
                return true;
            }
            bytes /= 2;
        }
        false
    }

    /// Puts memory under everything below `after`.
    fn back(&self, after: usize) -> bool {
        let backed = self.backed.load(Ordering::Relaxed);
        if after <= backed {
            return true;
        }
        let bytes = (after - backed).next_multiple_of(STEP).min(self.end.load(Ordering::Relaxed) - backed);
        // SAFETY: the next part of our reservation, which nobody uses yet.
        let done = unsafe { map::renew(backed as *mut u8, bytes) };
        if done {
            self.backed.store(backed + bytes, Ordering::Relaxed);
        }
        done
    }

    /// Grows the block that was handed out last where it is.
    fn grow(&self, block: NonNull<u8>, old: usize, new: usize) -> bool {
        let start = block.as_ptr() as usize;
        let is_last = self.next.load(Ordering::Relaxed) == start + old;
        let after = start.checked_add(new).filter(|&after| after <= self.end.load(Ordering::Relaxed));
        match after {
            Some(after) if is_last && self.back(after) => {
                self.next.store(after, Ordering::Relaxed);
                true
            }
            _ => false,
        }
    }
}

// SAFETY: blocks of `take` are disjoint, aligned, and never handed out again; all others are jemalloc's.
unsafe impl GlobalAlloc for OwnMemory {
    #[inline]
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if tls::thread().avoids_jemalloc.get() {
            return or_give_up(self.take(layout));
        }
        // SAFETY: passed on to the caller.
        or_give_up(unsafe { Jemalloc.alloc(layout) })
    }

    #[inline]
    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        if tls::thread().avoids_jemalloc.get() {
            // Fresh pages are zeroed, and no block is handed out twice.
            return or_give_up(self.take(layout));
        }
        // SAFETY: passed on to the caller.
        or_give_up(unsafe { Jemalloc.alloc_zeroed(layout) })
    }

    #[inline]
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // Memory that jemalloc gave before the end stays: giving it back would call jemalloc, too.
        if !self.holds(block) && !tls::thread().avoids_jemalloc.get() {
            // SAFETY: passed on to the caller.
            unsafe { Jemalloc.dealloc(block, layout) };
        }
    }

    #[inline]
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        let old = NonNull::new(block);
        match old {
            Some(old) if self.holds(block) || tls::thread().avoids_jemalloc.get() => {
                if self.holds(block) && self.grow(old, layout.size(), new_size) {
                    return block;
                }
                let Ok(wanted) = Layout::from_size_align(new_size, layout.align()) else { return ptr::null_mut() };
                let fresh = or_give_up(self.take(wanted));
                if !fresh.is_null() {
                    // SAFETY: two blocks of at least that many bytes, one of them fresh.
                    unsafe { ptr::copy_nonoverlapping(block, fresh, layout.size().min(new_size)) };
                }
                fresh
            }
            // SAFETY: passed on to the caller.
            _ => or_give_up(unsafe { Jemalloc.realloc(block, layout, new_size) }),
        }
    }
}

/// Does not come back without a block where the work can be given up.
#[inline]
fn or_give_up(block: *mut u8) -> *mut u8 {
    if block.is_null() {
        spare_stack::give_up();
    }
    block
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_jemalloc_blocks_come_from_pages_and_keep_their_contents() {
        static MEMORY: OwnMemory = OwnMemory::new();
        let layout = |size| Layout::from_size_align(size, 64).unwrap();
        without_jemalloc(|| {
            // SAFETY: the layouts are those of the blocks.
            unsafe {
                let first = MEMORY.alloc(layout(100));
                let second = MEMORY.alloc_zeroed(layout(3 << 20));
                assert!(MEMORY.holds(first) && MEMORY.holds(second) && (second as usize).is_multiple_of(64));
                assert!((0..3 << 20).all(|at| *second.add(at) == 0));
                first.write_bytes(7, 100);
                let grown = MEMORY.realloc(second, layout(3 << 20), 5 << 20);
                assert_eq!(grown, second, "the last block grows in place");
                let moved = MEMORY.realloc(first, layout(100), 200);
                assert!(moved != first && (0..100).all(|at| *moved.add(at) == 7));
                MEMORY.dealloc(moved, layout(200));
                assert!(MEMORY.alloc(layout(1 << 40)).is_null());
            }
        });
        // SAFETY: as above.
        let outside = unsafe { MEMORY.alloc(layout(100)) };
        assert!(!MEMORY.holds(outside));
        // SAFETY: as above.
        unsafe { MEMORY.dealloc(outside, layout(100)) };
    }

    #[test]
    fn vectors_and_maps_work_without_jemalloc() {
        let found = without_jemalloc(|| {
            let map: std::collections::HashMap<u32, Vec<u8>> = (0..1000).map(|n| (n, vec![n as u8; 300])).collect();
            map.values().map(|value| value.iter().map(|&byte| u64::from(byte)).sum::<u64>()).sum::<u64>()
        });
        assert_eq!(found, (0..1000u64).map(|n| n % 256 * 300).sum::<u64>());
    }
}
