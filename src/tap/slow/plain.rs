//! Requests that are not sampled: jemalloc serves them, or during the first call the boot memory.
//!
//! # Safety
//! Any size may be asked of jemalloc; an alignment is a power of two, by the exports.
#![allow(unsafe_code)]

use crate::tap::backend::next;
use crate::tap::lifecycle;
use crate::tap::os::boot_memory::BOOT_MEMORY;
use crate::tap::os::sys::{self, keep_errno};
use crate::tap::profiler::{PROFILER, Request};
use crate::wire::live::failures::Wish;
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use tikv_jemalloc_sys as je;

/// A block of the boot memory, on the thread that makes the first call: jemalloc may be half booted then.
#[cold]
#[inline(never)]
pub(super) fn early(request: &Request) -> Option<NonNull<c_void>> {
    lifecycle::is_starting().then(|| keep_errno(|| BOOT_MEMORY.allocate(request.bytes, request.alignment))).flatten()
}

/// The flags of `mallocx` and `rallocx` for a request.
fn flags(request: &Request) -> i32 {
    let zero = if request.zeroed { je::MALLOCX_ZERO } else { 0 };
    zero | if request.alignment > 1 { je::MALLOCX_ALIGN(request.alignment) } else { 0 }
}

/// An unsampled block.
pub(super) fn plain_malloc(request: &Request) -> *mut c_void {
    match flags(request) {
        // SAFETY: any size may be asked for.
        0 => unsafe { next::malloc(request.bytes) },
        // SAFETY: the size is not zero, the alignment a power of two.
        flags => unsafe { next::mallocx(request.bytes, flags) },
    }
}

/// # Safety
/// As for `realloc(3)`; `block` is not sampled.
pub(super) unsafe fn plain_realloc(block: NonNull<c_void>, request: &Request) -> *mut c_void {
    match flags(request) {
        // SAFETY: passed on to the caller.
        0 => unsafe { next::realloc(block.as_ptr(), request.bytes) },
        // SAFETY: passed on to the caller; the alignment is a power of two.
        flags => unsafe { next::rallocx(block.as_ptr(), request.bytes, flags) },
    }
}

/// Errno and null, where a request fails before jemalloc sees it: its size is a product that overflows, or contents
/// would be lost. There may be memory enough.
pub(crate) fn out_of_memory() -> *mut c_void {
    sys::set_errno(libc::ENOMEM);
    ptr::null_mut()
}

/// Notes that the program did not get a block. No memory has room for sizes beyond `PTRDIFF_MAX`: who asks for one
/// tries the limits out, or has computed it wrong.
#[cold]
#[inline(never)]
pub(crate) fn note_refusal(bytes: usize, entry: usize) {
    if bytes <= isize::MAX.cast_unsigned() {
        keep_errno(|| PROFILER.note_failure(Wish::Memory, libc::ENOMEM, bytes, entry));
    }
}
