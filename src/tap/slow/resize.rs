//! `realloc` and its kin, where the old block is sampled or the new one is due to be.
//!
//! A resize is a free and an allocation, as for jemalloc's profiler: the record goes, and the new block has one if the
//! thread's wait ends with the request.
//!
//! # Safety
//! Blocks are what the program passes to `realloc`: live blocks of ours, by its contract.
#![allow(unsafe_code)]

use super::allocate::sample;
use super::counted::{CountedRequest, notice};
use super::free::{free, is_sampled, usable_size};
use super::plain::{early, note_refusal, out_of_memory, plain_malloc, plain_realloc};
use super::wait;
use crate::tap::backend::{keep, next};
use crate::tap::heap::{Block, ZeroRealloc};
use crate::tap::lifecycle;
use crate::tap::os::sys::keep_errno;
use crate::tap::profiler::{PROFILER, Request, Taken};
use crate::tap::visit::Visit;
use std::ffi::c_void;
use std::ptr::{self, NonNull};

/// More bytes than any range has: no block grows in place beyond them.
const MOST_IN_PLACE: usize = 1 << 46;

/// `realloc` where the old block is sampled or the new one is due to be. The bytes of the request were counted.
///
/// # Safety
/// As for `realloc(3)`; `block` is not null and `request.bytes` not zero.
#[cold]
#[inline(never)]
pub(crate) unsafe fn reallocate(block: NonNull<c_void>, request: &Request, due: bool) -> *mut c_void {
    if is_sampled(block.as_ptr()) {
        // SAFETY: passed on to the caller.
        return unsafe { resize(block, request, due) };
    }
    if !due {
        // SAFETY: passed on to the caller.
        return unsafe { plain_realloc(block, request) };
    }
    match sample(request) {
        Ok(fresh) => {
            // SAFETY: passed on to the caller.
            unsafe { replace(block, fresh.start(), fresh.usable()) };
            fresh.start().as_ptr()
        }
        Err(counted) => {
            if let Some(early) = early(request) {
                // SAFETY: passed on to the caller.
                unsafe { replace(block, early, request.bytes) };
                return early.as_ptr();
            }
            // SAFETY: passed on to the caller.
            let fresh = unsafe { plain_realloc(block, request) };
            if fresh.is_null() {
                note_refusal(request.bytes, request.entry);
            }
            if let Some(counted) = counted {
                counted.settle(request, !fresh.is_null());
            }
            fresh
        }
    }
}

/// `realloc` of a block in the range.
///
/// # Safety
/// As for [`reallocate`].
unsafe fn resize(start: NonNull<c_void>, request: &Request, due: bool) -> *mut c_void {
    // SAFETY: passed on to the caller.
    match unsafe { resize_there(start, request, due) } {
        Ok(block) => block.start().as_ptr(),
        Err(counted) => {
            let fresh = match early(request) {
                Some(early) => early.as_ptr(),
                // The header is written over and the record is not found: no memory is better than lost contents.
                None if usable_size(start.as_ptr()) == 0 => out_of_memory(),
                None => moved(request),
            };
            let usable = if fresh.is_null() { 0 } else { usable_size(fresh) };
            if let Some(fresh) = NonNull::new(fresh) {
                // SAFETY: passed on to the caller.
                unsafe { replace(start, fresh, usable) };
            }
            counted.settle(request, !fresh.is_null());
            fresh
        }
    }
}

/// A plain block to move to.
fn moved(request: &Request) -> *mut c_void {
    let fresh = plain_malloc(request);
    if fresh.is_null() {
        note_refusal(request.bytes, request.entry);
    }
    fresh
}

/// Resizes a block within the range. An error: a plain block is to replace it, and the request is settled then.
///
/// # Safety
/// As for [`reallocate`].
unsafe fn resize_there(start: NonNull<c_void>, request: &Request, due: bool) -> Result<Block, CountedRequest> {
    let (visit, is_nested) = visit();
    let thread = visit.thread();
    PROFILER.check_life(thread);
    let mut counted = CountedRequest::begin(thread);
    let Some(shape) = request.shape() else { return Err(counted) };
    // A wait that is over ends here even if the resize fails: it would else come round only after 2^64 bytes.
    let wait = match is_nested {
        _ if !due => None,
        true => {
            wait::draw_anew(thread);
            None
        }
        false => counted.ends_wait(shape.size, thread).then(|| counted.end_wait(thread)),
    };
    let Some(block) = PROFILER.heap.find(start) else { return Err(counted) };
    // SAFETY: passed on to the caller.
    let taken = unsafe { PROFILER.resize(block, &visit, request, &shape, wait) };
    settle_resize(taken, counted)
}

/// Tells the keeper of a resize that was sampled, and notes one that found no room. Inlined: what it takes and returns
/// would go through memory, which takes half as long again as the resize.
#[inline(always)]
fn settle_resize(taken: Taken, mut counted: CountedRequest) -> Result<Block, CountedRequest> {
    counted.is_lost = taken.is_lost;
    if taken.block.is_some() && counted.is_over {
        notice(taken.interval_over, taken.is_check_due, counted.wait);
    }
    taken.block.ok_or(counted)
}

/// Changes the size of a block in place, to `request.bytes` or up to `extra` more. The size that it has then.
///
/// # Safety
/// As for `xallocx` of jemalloc(3).
#[cold]
pub(crate) unsafe fn resize_in_place(start: NonNull<c_void>, request: &Request, extra: usize) -> usize {
    let due = wait::is_due(request.bytes);
    let (visit, is_nested) = visit();
    let thread = visit.thread();
    PROFILER.check_life(thread);
    let mut counted = CountedRequest::begin(thread);
    let most = request.bytes.saturating_add(extra).min(MOST_IN_PLACE.max(request.bytes));
    let most = Request { bytes: most, ..*request };
    let (Some(block), Some(least), Some(most)) = (PROFILER.heap.find(start), request.shape(), most.shape()) else {
        counted.undo(request.bytes);
        return usable_size(start.as_ptr());
    };
    let ends_wait = due && !is_nested && counted.ends_wait(least.size, thread);
    let wait = ends_wait.then(|| counted.end_wait(thread));
    // SAFETY: passed on to the caller.
    let taken = unsafe { PROFILER.resize_in_place(block, &visit, request, [&least, &most], wait) };
    match settle_resize(taken, counted) {
        Ok(resized) => resized.usable(),
        Err(counted) => {
            counted.undo(request.bytes);
            block.usable()
        }
    }
}

/// `realloc(p, 0)` of any block, as the option `zero_realloc` says.
///
/// # Safety
/// As for `realloc(3)`.
#[cold]
pub(crate) unsafe fn reallocate_to_nothing(block: NonNull<c_void>, request: &Request) -> *mut c_void {
    if !is_sampled(block.as_ptr()) {
        // SAFETY: passed on to the caller.
        return unsafe { next::realloc(block.as_ptr(), 0) };
    }
    if lifecycle::is_starting() {
        return ptr::null_mut(); // a block of the first call, which is never used again
    }
    if keep::is_next_kept() {
        // What the process's own allocator does: a block of its own shows it.
        // SAFETY: passed on to the caller; a fresh block.
        return unsafe {
            free(block.as_ptr());
            next::realloc(next::malloc(1), 0)
        };
    }
    match keep_errno(|| PROFILER.heap.zero_realloc()) {
        ZeroRealloc::Free => {
            // SAFETY: passed on to the caller.
            unsafe { free(block.as_ptr()) };
            ptr::null_mut()
        }
        ZeroRealloc::Alloc => {
            let due = wait::is_due(1);
            // SAFETY: passed on to the caller.
            unsafe { reallocate(block, &Request { bytes: 1, ..*request }, due) }
        }
        // jemalloc says why, and ends the process.
        // SAFETY: a block of its own.
        ZeroRealloc::Abort => unsafe { next::realloc(next::malloc(1), 0) },
    }
}

/// Copies the contents of a block to another one, and frees the first.
///
/// # Safety
/// The program gives `block` up; `fresh` is another block, with `usable` bytes.
pub(crate) unsafe fn replace(block: NonNull<c_void>, fresh: NonNull<c_void>, usable: usize) {
    let kept = usable_size(block.as_ptr()).min(usable);
    // SAFETY: both blocks have that many bytes and are different blocks.
    unsafe { ptr::copy_nonoverlapping(block.as_ptr().cast::<u8>(), fresh.as_ptr().cast::<u8>(), kept) };
    // SAFETY: passed on to the caller.
    unsafe { free(block.as_ptr()) };
}

/// A visit, and whether it is nested in another.
fn visit() -> (Visit, bool) {
    match Visit::begin() {
        Some(visit) => (visit, false),
        None => (Visit::begin_nested(), true),
    }
}
