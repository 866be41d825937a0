//! jemalloc's extended API (jemalloc(3), "Non-standard API"), under its own names.
//!
//! Programs linked to libjemalloc (Debian's redis) call these; without them they would mix two jemallocs. A
//! request that names an arena or a thread cache of its own is not sampled: it gets what it asked for.
//!
//! # Safety
//! As for the rest of the exports.
#![allow(unsafe_code)]

use super::four::entry;
use crate::tap::backend::{keep, next};
use crate::tap::profiler::{PROFILER, Request};
use crate::tap::slow;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::NonNull;
use tikv_jemalloc_sys as je;

/// The bits from here on are the index of an arena plus one (MALLOCX_ARENA).
const ARENA_SHIFT: u32 = 20;

/// Flags without an arena that is for sampled blocks: a program that goes through all arenas comes upon those, too.
/// Those of another jemalloc that is kept have numbers of their own.
fn without_own_arena(flags: c_int) -> c_int {
    let is_own = |index| PROFILER.heap.has_arena(index) && !keep::is_next_kept();
    match (flags as u32 >> ARENA_SHIFT).checked_sub(1) {
        Some(index) if is_own(index) => flags & ((1 << ARENA_SHIFT) - 1),
        _ => flags,
    }
}

/// The sampling request of these flags; `None` if they ask for more than alignment, zeros and no thread cache
/// (sampled blocks have none). Only what may be sampled is counted: the count's end must not be passed over.
fn request(size: usize, flags: c_int) -> Option<Request> {
    let plain = flags & !(next::LG_ALIGN | je::MALLOCX_ZERO | je::MALLOCX_TCACHE_NONE) == 0 && size > 0;
    plain.then(|| any_request(size, flags))
}

/// The same without regard to arena and thread cache.
fn any_request(bytes: usize, flags: c_int) -> Request {
    let alignment = next::alignment(flags);
    Request { bytes, alignment, zeroed: flags & je::MALLOCX_ZERO != 0, entry: entry(), caller: None }
}

/// The size that is asked for in the place of another one. Where another jemalloc is kept its classes may be larger
/// than those of sampled blocks, and what `nallocx` promises holds for both.
fn promised(size: usize, flags: c_int) -> usize {
    if size == 0 || !keep::is_next_kept() {
        return size;
    }
    // SAFETY: computes from numbers; the size is not zero.
    size.max(unsafe { next::nallocx(size, flags) })
}

/// Allocates.
#[unsafe(no_mangle)]
unsafe extern "C" fn mallocx(size: usize, flags: c_int) -> *mut c_void {
    let flags = without_own_arena(flags);
    let size = promised(size, flags);
    // SAFETY: passed on to the caller.
    let plain = || unsafe { next::mallocx(size, flags) };
    let Some(request) = request(size, flags) else { return noted(plain(), size) };
    if slow::is_due(size) {
        return slow::allocate(&request, plain);
    }
    let block = plain();
    if block.is_null() {
        slow::uncount(size);
    }
    noted(block, size)
}

/// The answer to a request; one that was refused is noted.
fn noted(block: *mut c_void, size: usize) -> *mut c_void {
    if block.is_null() {
        slow::note_refusal(size, entry());
    }
    block
}

/// Changes the size of a block.
#[unsafe(no_mangle)]
unsafe extern "C" fn rallocx(block: *mut c_void, size: usize, flags: c_int) -> *mut c_void {
    let flags = without_own_arena(flags);
    let size = promised(size, flags);
    let (Some(old), Some(request)) = (NonNull::new(block), request(size, flags)) else {
        // SAFETY: passed on to the caller.
        return unsafe { rallocx_to(block, size, flags) };
    };
    let due = slow::is_due(size);
    if due || slow::is_sampled(block) {
        // SAFETY: passed on to the caller.
        return unsafe { slow::reallocate(old, &request, due) };
    }
    // SAFETY: passed on to the caller.
    let fresh = unsafe { next::rallocx(block, size, flags) };
    if fresh.is_null() {
        slow::uncount(size);
    }
    noted(fresh, size)
}

/// The same with an arena or a thread cache of the program's own: a sampled block moves there.
///
/// # Safety
/// As for `rallocx`.
unsafe fn rallocx_to(block: *mut c_void, size: usize, flags: c_int) -> *mut c_void {
    let Some(old) = NonNull::new(block).filter(|_| slow::is_sampled(block)) else {
        // SAFETY: passed on to the caller.
        return noted(unsafe { next::rallocx(block, size, flags) }, size);
    };
    // SAFETY: a fresh block as asked for, arena and all.
    let fresh = unsafe { next::mallocx(size.max(1), flags) };
    if let Some(fresh) = NonNull::new(fresh) {
        // SAFETY: the caller's block, given up now.
        unsafe { slow::replace(old, fresh, slow::usable_size(fresh.as_ptr())) };
    }
    noted(fresh, size)
}

/// Changes the size of a block in place as far as it goes, and returns the size that it has then.
///
/// As under jemalloc's profiler, one that would have to become a sampled block stays as it is: the caller's next step
/// is `rallocx`, which samples it.
#[unsafe(no_mangle)]
unsafe extern "C" fn xallocx(block: *mut c_void, size: usize, extra: usize, flags: c_int) -> usize {
    if let Some(sampled) = NonNull::new(block).filter(|_| slow::is_sampled(block)) {
        // SAFETY: passed on to the caller.
        return unsafe { slow::resize_in_place(sampled, &any_request(size, flags), extra) };
    }
    let before = slow::usable_size(block);
    if slow::is_due(size) {
        slow::uncount(size);
        return before;
    }
    // SAFETY: passed on to the caller.
    let after = unsafe { next::xallocx(block, size, extra, flags) };
    if after == before {
        slow::uncount(size);
    }
    after
}

/// Usable size of a block.
#[unsafe(no_mangle)]
unsafe extern "C" fn sallocx(block: *const c_void, flags: c_int) -> usize {
    if slow::is_sampled(block) {
        return slow::usable_size(block.cast_mut());
    }
    // SAFETY: passed on to the caller.
    unsafe { next::sallocx(block, flags) }
}

/// Frees a block.
#[unsafe(no_mangle)]
unsafe extern "C" fn dallocx(block: *mut c_void, flags: c_int) {
    if slow::is_sampled(block) {
        // SAFETY: passed on to the caller.
        return unsafe { slow::free(block) };
    }
    // SAFETY: passed on to the caller.
    unsafe { next::dallocx(block, flags) }
}

/// Frees a block whose size the caller knows.
#[unsafe(no_mangle)]
unsafe extern "C" fn sdallocx(block: *mut c_void, size: usize, flags: c_int) {
    if slow::is_sampled(block) {
        // SAFETY: passed on to the caller.
        return unsafe { slow::free(block) };
    }
    // SAFETY: passed on to the caller.
    unsafe { next::sdallocx(block, size, flags) }
}

/// The size that a request would get.
#[unsafe(no_mangle)]
unsafe extern "C" fn nallocx(size: usize, flags: c_int) -> usize {
    // SAFETY: passed on to the caller.
    unsafe { next::nallocx(size, flags) }
}

/// Prints statistics.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_stats_print(
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_char)>,
    argument: *mut c_void,
    options: *const c_char,
) {
    // SAFETY: passed on to the caller.
    unsafe { next::malloc_stats_print(write, argument, options) }
}
