//! Floor 6: the slow path of the exports, taken when a thread's wait is over or a block is a sampled one.
//!
//! Every function here preserves `errno` unless the memory is really not there, and falls back to plain
//! jemalloc whenever the profiler has no say.
//!
//! # Safety
//! Blocks are what the program passes to `free` and `realloc`: live blocks of ours, by the contract of those.
#![allow(unsafe_code)]

use super::guard::Guard;
use super::os::sys::keep_errno;
use super::os::tls::{self, ThreadBlock};
use super::profiler::{PROFILER, Request, Wait};
use super::{keeper, lifecycle};
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use std::sync::atomic::{Ordering, compiler_fence};
use tikv_jemalloc_sys as je;

/// A wait that no thread gets to the end of: profiling is off for good.
const NEVER: u64 = 1 << 62;

/// Whether the wait of this thread ends within `size` more bytes.
#[inline(always)]
pub(crate) fn is_due(size: usize) -> bool {
    let left = &tls::thread().bytes_left;
    let (rest, borrow) = left.get().overflowing_sub(size as u64);
    left.set(rest);
    borrow || rest == 0
}

/// Whether a block is sampled.
#[inline(always)]
pub(crate) fn is_sampled(block: *const c_void) -> bool {
    PROFILER.heap.holds(block)
}

/// Samples a request whose thread's wait is over. `None`: allocate it plainly.
#[cold]
#[inline(never)]
pub(crate) fn sample(request: &Request) -> Option<NonNull<c_void>> {
    keep_errno(|| {
        let Some(guard) = Guard::enter() else {
            // Nested: libc allocates for the profiler, or a signal handler interrupted it. The wait is used up
            // all the same, and would come round only after 2^64 bytes.
            wait_again(tls::thread());
            return None;
        };
        lifecycle::ensure_started();
        let thread = guard.thread();
        PROFILER.check_life(thread);
        if !is_turn(request.size, thread) {
            return None;
        }
        let wait = Wait::of(thread);
        // Before the sampling, so that whoever jumps out of it (siglongjmp) leaves a wait behind.
        PROFILER.draw(thread);
        let taken = PROFILER.sample(request, thread, wait);
        if taken.interval_over || taken.is_check_due || !PROFILER.keeper_started.load(Ordering::Relaxed) {
            keeper::notice(taken.interval_over, PROFILER.is_new_maximum());
        }
        taken.block
    })
}

/// Draws a wait for a thread whose own is used up; one that has not been set up shall come again.
fn wait_again(thread: &ThreadBlock) {
    if thread.drawn.get() == 0 {
        thread.bytes_left.set(0);
    } else {
        PROFILER.draw(thread);
    }
}

/// The first call of a thread comes here without having drawn: it draws now, and may well not be due.
fn is_turn(size: usize, thread: &ThreadBlock) -> bool {
    if PROFILER.settings().is_none_or(|settings| !settings.options.prof) {
        thread.bytes_left.set(NEVER);
        return false;
    }
    thread.drawn.get() != 0 || {
        PROFILER.draw(thread);
        is_due(size)
    }
}

/// Frees a block that lies below the end of the range.
///
/// # Safety
/// As for `free(3)`.
#[cold]
#[inline(never)]
pub(crate) unsafe fn free(block: *mut c_void) {
    match NonNull::new(block).filter(|block| is_sampled(block.as_ptr())) {
        // SAFETY: passed on to the caller.
        Some(block) => unsafe { free_sampled(block) },
        // SAFETY: passed on to the caller; it only lies below.
        None => unsafe { je::free(block) },
    }
}

/// # Safety
/// `block` is a live sampled block.
unsafe fn free_sampled(block: NonNull<c_void>) {
    keep_errno(|| {
        // Nested or not, the record must go, or it would stay as a phantom; taking it back is lock-free.
        let _guard = Guard::enter();
        let thread = tls::thread();
        PROFILER.check_life(thread);
        if thread.bytes_left.get() > thread.drawn.get() {
            // Somebody jumped out of malloc between the count and the draw (siglongjmp).
            wait_again(thread);
        }
        let block = PROFILER.heap.block(block);
        PROFILER.retire(&block, thread);
        // SAFETY: passed on to the caller.
        unsafe { PROFILER.heap.free(block, thread.tid.get() as usize) };
        compiler_fence(Ordering::SeqCst);
    });
}

/// Usable bytes of a block that may be sampled.
pub(crate) fn usable_size(block: *mut c_void) -> usize {
    match NonNull::new(block) {
        Some(sampled) if is_sampled(block) => PROFILER.heap.block(sampled).usable(),
        // SAFETY: null or a live block of jemalloc, by the contract of malloc_usable_size(3).
        _ => unsafe { je::malloc_usable_size(block) },
    }
}

/// An unsampled block, aligned as asked (`rallocx` may ask for that).
fn plain_malloc(request: &Request) -> *mut c_void {
    match request.alignment {
        // SAFETY: any size may be asked for.
        1 => unsafe { je::malloc(request.size) },
        // SAFETY: the alignment is a power of two.
        alignment => unsafe { je::mallocx(request.size, je::MALLOCX_ALIGN(alignment)) },
    }
}

/// # Safety
/// As for `realloc(3)`; `block` is not sampled.
unsafe fn plain_realloc(block: NonNull<c_void>, request: &Request) -> *mut c_void {
    match request.alignment {
        // SAFETY: passed on to the caller.
        1 => unsafe { je::realloc(block.as_ptr(), request.size) },
        // SAFETY: passed on to the caller; the alignment is a power of two.
        alignment => unsafe { je::rallocx(block.as_ptr(), request.size, je::MALLOCX_ALIGN(alignment)) },
    }
}

/// `realloc` where the old block is sampled or the new one is due to be.
///
/// # Safety
/// As for `realloc(3)`; `block` is not null and `request.size` not zero.
#[cold]
#[inline(never)]
pub(crate) unsafe fn reallocate(block: NonNull<c_void>, request: &Request, due: bool) -> *mut c_void {
    let size = request.size;
    let sampled = if due { sample(request) } else { None };
    let fresh = match sampled {
        Some(fresh) => fresh.as_ptr(),
        // SAFETY: passed on to the caller.
        None if !is_sampled(block.as_ptr()) => return unsafe { plain_realloc(block, request) },
        None => plain_malloc(request),
    };
    if fresh.is_null() {
        return ptr::null_mut();
    }
    let kept = usable_size(block.as_ptr()).min(size);
    // SAFETY: both blocks have that many bytes and are different blocks.
    unsafe { ptr::copy_nonoverlapping(block.as_ptr().cast::<u8>(), fresh.cast::<u8>(), kept) };
    // SAFETY: the caller's block, given up now.
    unsafe { free(block.as_ptr()) };
    fresh
}
