//! Aligned allocations, in all the ways that C has for asking for them.
//!
//! # Safety
//! As for the rest of the exports.
#![allow(unsafe_code)]

use super::four::entry;
use crate::tap::backend::next;
use crate::tap::os::map::page_size;
use crate::tap::os::sys;
use crate::tap::profiler::Request;
use crate::tap::slow;
use std::ffi::{c_int, c_void};
use std::ptr;

/// The one way of all aligned allocations; `alignment` is a power of two.
fn aligned(alignment: usize, size: usize) -> *mut c_void {
    // SAFETY: the alignment is a power of two; sets errno itself.
    let plain = || unsafe { next::memalign(alignment, size) };
    if slow::is_due(size) {
        return slow::allocate(&Request { bytes: size, alignment, zeroed: false, entry: entry(), caller: None }, plain);
    }
    let block = plain();
    if block.is_null() {
        slow::uncount(size);
        slow::note_refusal(size, entry());
    }
    block
}

/// Allocates aligned memory; an alignment that is no power of two is rounded up, as glibc does, and one that cannot
/// be is EINVAL.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn memalign(alignment: usize, size: usize) -> *mut c_void {
    match alignment.max(1).checked_next_power_of_two() {
        Some(alignment) => aligned(alignment, size),
        None => invalid(),
    }
}

fn invalid() -> *mut c_void {
    sys::set_errno(libc::EINVAL);
    ptr::null_mut()
}

/// Allocates aligned memory.
#[unsafe(no_mangle)]
unsafe extern "C" fn aligned_alloc(alignment: usize, size: usize) -> *mut c_void {
    if alignment.is_power_of_two() { aligned(alignment, size) } else { invalid() }
}

/// Allocates aligned memory; returns an error number and leaves `errno` alone.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn posix_memalign(place: *mut *mut c_void, alignment: usize, size: usize) -> c_int {
    if !alignment.is_power_of_two() || alignment < size_of::<usize>() {
        return libc::EINVAL;
    }
    let block = sys::keep_errno(|| aligned(alignment, size));
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: the caller's place for the answer.
    unsafe { place.write(block) };
    0
}

/// Allocates memory at a page boundary.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn valloc(size: usize) -> *mut c_void {
    aligned(page_size(), size)
}

/// Allocates whole pages.
#[unsafe(no_mangle)]
pub(super) unsafe extern "C" fn pvalloc(size: usize) -> *mut c_void {
    let page = page_size();
    match size.max(1).checked_next_multiple_of(page) {
        Some(bytes) => aligned(page, bytes),
        None => slow::out_of_memory(),
    }
}
