//! A free of a block that lies below the range's end, and the size of such a block.
//!
//! ```text
//! below the end → in the range? no  → jemalloc
//!                               yes → header → profiler: its record is taken back → heap: its memory goes back
//! ```
//!
//! # Safety
//! Blocks are what the program passes to `free` and `malloc_usable_size`: live blocks of ours, by their contract.
#![allow(unsafe_code)]

use super::wait;
use crate::tap::backend::next;
use crate::tap::os::boot_memory::BOOT_MEMORY;
use crate::tap::profiler::PROFILER;
use crate::tap::visit::Visit;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{Ordering, compiler_fence};

/// Whether a block is sampled, or comes from the boot memory: jemalloc does not know its size.
#[inline(always)]
pub(crate) fn is_sampled(block: *const c_void) -> bool {
    PROFILER.heap.holds(block) || BOOT_MEMORY.holds(block)
}

/// Frees a block that lies below the end of the range.
///
/// # Safety
/// As for `free(3)`.
#[cold]
#[inline(never)]
pub(crate) unsafe fn free(block: *mut c_void) {
    match NonNull::new(block).filter(|block| is_sampled(block.as_ptr())) {
        // Boot memory is never used again.
        Some(block) if BOOT_MEMORY.holds(block.as_ptr()) => (),
        // SAFETY: passed on to the caller.
        Some(block) => unsafe { free_sampled(block) },
        // SAFETY: passed on to the caller; it only lies below.
        None => unsafe { next::free(block) },
    }
}

/// Frees a block in the range. The thread may be ending: nothing here makes jemalloc set up a state for it.
///
/// # Safety
/// The program gives `start` up.
unsafe fn free_sampled(start: NonNull<c_void>) {
    let visit = Visit::begin_nested();
    let thread = visit.thread();
    PROFILER.check_life(thread);
    if thread.bytes_left.get() > thread.drawn.get() {
        // A signal handler jumped out of malloc (siglongjmp) between the count and the draw.
        wait::draw_anew(thread);
    }
    match PROFILER.heap.find(start) {
        Some(block) => {
            PROFILER.retire(&visit, block.record().load(Ordering::Relaxed), start);
            // SAFETY: passed on to the caller.
            unsafe { PROFILER.heap.free(block, thread.hint()) };
        }
        // The program wrote over the header, or frees the block twice: its memory is not found, and stays.
        None => PROFILER.retire_unnamed(&visit, start),
    }
    compiler_fence(Ordering::SeqCst);
}

/// Usable bytes of a block that may be sampled.
pub(crate) fn usable_size(block: *mut c_void) -> usize {
    if let Some(early) = NonNull::new(block).filter(|_| BOOT_MEMORY.holds(block)) {
        return BOOT_MEMORY.usable(early);
    }
    match NonNull::new(block).filter(|block| is_sampled(block.as_ptr())) {
        Some(start) => match PROFILER.heap.find(start) {
            Some(block) => block.usable(),
            None => PROFILER.recorded_usable(start).unwrap_or(0),
        },
        // SAFETY: null or a live block of jemalloc, by the contract of malloc_usable_size(3).
        None => unsafe { next::malloc_usable_size(block) },
    }
}
