//! Blocks for requests that come while the process's first call is under way, on the very thread that makes it.
//!
//! Whatever libc runs for that call may allocate: a function that another preloaded library stands in front of, the
//! loader. jemalloc may be half booted then, and would wait for itself. So these requests are served from a small
//! mapping, upwards, never to be used again. It lies below everything that jemalloc hands out, as sampled blocks do,
//! so that `free` goes the slow way with them and leaves them alone.
//!
//! # Safety
//! The mapping is ours; each byte of it is given once.
#![allow(unsafe_code)]

use super::environment::Environment;
use super::map;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Address space for them; no memory until it is touched.
const BYTES: usize = 4 << 20;
/// Bytes before each block, which hold its size.
const HEADER: usize = 16;
/// Where to look for room: the lowest start, and how far it is drawn from there. Both lie below the places of
/// `range`.
const PLACES: [(usize, usize); 2] = [(31 << 40, 1 << 40), (96 << 30, 16 << 30)];

/// The process's.
pub(crate) static BOOT_MEMORY: BootMemory = BootMemory::new();

/// The mapping, and how far it is used. The words change during the first call only.
pub(crate) struct BootMemory {
    base: AtomicUsize,
    end: AtomicUsize,
    next: AtomicUsize,
}

impl BootMemory {
    const fn new() -> BootMemory {
        BootMemory { base: AtomicUsize::new(0), end: AtomicUsize::new(0), next: AtomicUsize::new(0) }
    }

    /// A zeroed block; `None`: no room is left. For one thread at a time.
    pub(crate) fn allocate(&self, size: usize, alignment: usize) -> Option<NonNull<c_void>> {
        if self.base.load(Ordering::Relaxed) == 0 {
            self.map()?;
        }
        let usable = size.max(1).checked_next_multiple_of(HEADER)?;
        let alignment = alignment.max(HEADER);
        let mut block = 0;
        let step = |next: usize| {
            block = next.checked_add(HEADER)?.checked_next_multiple_of(alignment)?;
            block.checked_add(usable).filter(|&after| after <= self.end.load(Ordering::Relaxed))
        };
        // One exchange, because a signal handler may come in between.
        self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).ok()?;
        let header = (block - HEADER) as *mut usize;
        // SAFETY: the header lies before the block and behind the one before; both were given to nobody yet.
        unsafe { header.write(usable) };
        NonNull::new(block as *mut c_void)
    }

    /// Whether a block is one of these.
    #[inline]
    pub(crate) fn holds(&self, block: *const c_void) -> bool {
        (block as usize) < self.end.load(Ordering::Relaxed) && block as usize >= self.base.load(Ordering::Relaxed)
    }

    /// Bytes that the program may use of a block.
    pub(crate) fn usable(&self, block: NonNull<c_void>) -> usize {
        // SAFETY: `allocate` made the block, by our caller's `holds`, and wrote this before it.
        unsafe { block.as_ptr().wrapping_byte_sub(HEADER).cast::<usize>().read() }
    }

    /// One past the last address, 0 where there is no block.
    pub(crate) fn end(&self) -> usize {
        self.end.load(Ordering::Relaxed)
    }

    fn map(&self) -> Option<()> {
        let random = Environment::initial().map_or(0, |found| found.random()[1]) as usize;
        let low = PLACES.iter().find_map(|&(start, room)| {
            let start = start + ((random % (room - BYTES)) & !(map::page_size() - 1));
            let place = map::reserve_at(start as *mut u8, BYTES)?;
            // SAFETY: reserved just now.
            unsafe { map::renew(place.as_ptr(), BYTES) }.then_some(place)
        });
        let base = low.or_else(|| map::anonymous(BYTES))?.as_ptr() as usize;
        self.next.store(base, Ordering::Relaxed);
        self.base.store(base, Ordering::Relaxed);
        self.end.store(base + BYTES, Ordering::Relaxed);
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zeroed_aligned_and_apart() {
        let memory = BootMemory::new();
        assert!(!memory.holds(8 as *const c_void) && memory.end() == 0);
        let mut last = 0;
        for (size, alignment) in [(0, 1), (1, 1), (100, 16), (5000, 4096), (8, 64)] {
            let block = memory.allocate(size, alignment).unwrap();
            let start = block.as_ptr() as usize;
            assert!(start > last && start.is_multiple_of(alignment.max(16)) && memory.holds(block.as_ptr()));
            let usable = memory.usable(block);
            assert!(usable >= size && usable < size + 17);
            // SAFETY: the block has so many bytes.
            let bytes = unsafe { std::slice::from_raw_parts_mut(block.as_ptr().cast::<u8>(), usable) };
            assert!(bytes.iter().all(|&byte| byte == 0));
            bytes.fill(0xff);
            last = start + usable - 1;
        }
        assert_eq!(memory.allocate(BYTES, 1), None);
        assert_eq!(memory.allocate(usize::MAX, 1), None);
        assert!(memory.end() > last && !memory.holds(memory.end() as *const c_void));
    }
}
