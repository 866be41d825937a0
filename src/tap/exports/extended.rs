//! jemalloc's extended API (jemalloc(3), "Non-standard API"), under its own names.
//!
//! Programs linked to libjemalloc (Debian's redis) call these; without them they would mix two jemallocs. A
//! request that names an arena or a thread cache of its own is not sampled: it gets what it asked for.
//!
//! # Safety
//! As for the rest of the exports.
#![allow(unsafe_code)]

use super::entry;
use crate::tap::profiler::Request;
use crate::tap::slow;
use std::ffi::{c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use tikv_jemalloc_sys as je;

/// Bits of the flags that are the binary logarithm of the alignment.
const LG_ALIGN: c_int = 0x3f;

/// The sampling request of these flags; `None` if they ask for more than alignment, zeros and no thread cache
/// (sampled blocks have none). Only what may be sampled is counted: the count's end must not be passed over.
fn request(size: usize, flags: c_int) -> Option<Request> {
    let plain = flags & !(LG_ALIGN | je::MALLOCX_ZERO | je::MALLOCX_TCACHE_NONE) == 0 && size > 0;
    let alignment = 1usize.checked_shl((flags & LG_ALIGN) as u32)?;
    plain.then_some(Request { size, alignment, zeroed: flags & je::MALLOCX_ZERO != 0, entry: entry(), caller: None })
}

/// Allocates.
#[unsafe(no_mangle)]
unsafe extern "C" fn mallocx(size: usize, flags: c_int) -> *mut c_void {
    if let Some(request) = request(size, flags)
        && slow::is_due(size)
        && let Some(block) = slow::sample(&request)
    {
        return block.as_ptr();
    }
    // SAFETY: passed on to the caller.
    unsafe { je::mallocx(size, flags) }
}

/// Changes the size of a block.
#[unsafe(no_mangle)]
unsafe extern "C" fn rallocx(block: *mut c_void, size: usize, flags: c_int) -> *mut c_void {
    let sampled = slow::is_sampled(block);
    let request = request(size, flags & !je::MALLOCX_ZERO);
    let due = request.is_some() && slow::is_due(size);
    match (NonNull::new(block), request) {
        (Some(old), Some(request)) if due || sampled => {
            let before = slow::usable_size(block);
            // SAFETY: passed on to the caller.
            let fresh = unsafe { slow::reallocate(old, &request, due) };
            let after = slow::usable_size(fresh);
            if flags & je::MALLOCX_ZERO != 0 && after > before {
                // SAFETY: the new block has so many bytes; those beyond the old ones are to be zero.
                unsafe { ptr::write_bytes(fresh.cast::<u8>().add(before), 0, after - before) };
            }
            fresh
        }
        (Some(old), None) if sampled => {
            // SAFETY: a fresh block as asked for, arena and all.
            let fresh = unsafe { je::mallocx(size.max(1), flags) };
            if !fresh.is_null() {
                let kept = slow::usable_size(block).min(size);
                // SAFETY: both blocks have that many bytes.
                unsafe { ptr::copy_nonoverlapping(block.cast::<u8>(), fresh.cast::<u8>(), kept) };
                // SAFETY: the caller's block, given up now.
                unsafe { slow::free(old.as_ptr()) };
            }
            fresh
        }
        // SAFETY: passed on to the caller.
        _ => unsafe { je::rallocx(block, size, flags) },
    }
}

/// Changes the size of a block in place as far as it goes, and returns the size that it has then. Sampled
/// blocks stay as they are.
#[unsafe(no_mangle)]
unsafe extern "C" fn xallocx(block: *mut c_void, size: usize, extra: usize, flags: c_int) -> usize {
    if slow::is_sampled(block) {
        return slow::usable_size(block);
    }
    // SAFETY: passed on to the caller.
    unsafe { je::xallocx(block, size, extra, flags) }
}

/// Usable size of a block.
#[unsafe(no_mangle)]
unsafe extern "C" fn sallocx(block: *const c_void, flags: c_int) -> usize {
    if slow::is_sampled(block) {
        return slow::usable_size(block.cast_mut());
    }
    // SAFETY: passed on to the caller.
    unsafe { je::sallocx(block, flags) }
}

/// Frees a block.
#[unsafe(no_mangle)]
unsafe extern "C" fn dallocx(block: *mut c_void, flags: c_int) {
    if slow::is_sampled(block) {
        // SAFETY: passed on to the caller.
        return unsafe { slow::free(block) };
    }
    // SAFETY: passed on to the caller.
    unsafe { je::dallocx(block, flags) }
}

/// Frees a block whose size the caller knows.
#[unsafe(no_mangle)]
unsafe extern "C" fn sdallocx(block: *mut c_void, size: usize, flags: c_int) {
    if slow::is_sampled(block) {
        // SAFETY: passed on to the caller.
        return unsafe { slow::free(block) };
    }
    // SAFETY: passed on to the caller.
    unsafe { je::sdallocx(block, size, flags) }
}

/// The size that a request would get.
#[unsafe(no_mangle)]
unsafe extern "C" fn nallocx(size: usize, flags: c_int) -> usize {
    // SAFETY: passed on to the caller.
    unsafe { je::nallocx(size, flags) }
}

/// Prints statistics.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_stats_print(
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_char)>,
    argument: *mut c_void,
    options: *const c_char,
) {
    // SAFETY: passed on to the caller.
    unsafe { je::malloc_stats_print(write, argument, options) }
}
