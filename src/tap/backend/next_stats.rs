//! What an allocator that is kept says of itself, bytes in use and bytes that it keeps for later; and how it gives the
//! latter back.
//!
//! glibc is asked by `mallinfo2`. tcmalloc's `mallinfo` counts memory that it has given back, in ints; so it is asked
//! for its numbers by name. jemalloc has controls. Others (mimalloc) do not tell blocks from pages.
//!
//! # Safety
//! The functions have the types that their names have in C; places for answers outlive the calls.
#![allow(unsafe_code)]

use super::{keep, mallctl, next};
use std::ffi::{CStr, c_int};
use std::ptr;

/// Bytes in use, those that were mapped one by one included, and bytes that are kept. `None`: it does not tell.
pub(crate) fn bytes() -> Option<[u64; 2]> {
    if is_jemalloc() {
        return of_jemalloc();
    }
    of_tcmalloc().or_else(of_mallinfo)
}

/// Whether anybody would answer.
pub(crate) fn can_tell() -> bool {
    next::mallinfo2().is_some() || next::mallinfo().is_some() || is_jemalloc()
}

/// Gives back what the allocators keep unused; the kept one as its `malloc_trim` says, which is returned.
pub(crate) fn trim(pad: usize) -> c_int {
    mallctl::purge();
    if let Some(release) = next::release() {
        release(true);
    }
    if is_jemalloc() {
        // SAFETY: the control takes and gives nothing; 4096 stands for all arenas (MALLCTL_ARENAS_ALL).
        unsafe { next::mallctl(c"arena.4096.purge".as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
    }
    next::malloc_trim().map_or(1, |of_next| of_next(pad))
}

/// Whether another jemalloc serves.
fn is_jemalloc() -> bool {
    keep::next_name().is_some_and(|name| name.contains("jemalloc"))
}

fn of_jemalloc() -> Option<[u64; 2]> {
    let mut epoch = 1_u64;
    // SAFETY: the control takes a `uint64_t`; any value refreshes what is read below.
    unsafe {
        let (new, length) = ((&raw mut epoch).cast(), size_of::<u64>());
        next::mallctl(c"epoch".as_ptr(), ptr::null_mut(), ptr::null_mut(), new, length)
    };
    let stat = |name: &CStr| {
        let (mut bytes, mut length) = (0_usize, size_of::<usize>());
        // SAFETY: the controls give a `size_t`.
        let failed =
            unsafe { next::mallctl(name.as_ptr(), (&raw mut bytes).cast(), &raw mut length, ptr::null_mut(), 0) };
        (failed == 0).then_some(bytes as u64)
    };
    let in_use = stat(c"stats.allocated")?;
    Some([in_use, stat(c"stats.resident")?.saturating_sub(in_use)])
}

fn of_tcmalloc() -> Option<[u64; 2]> {
    let ask = next::numeric_property()?;
    let property = |name: &CStr| {
        let mut bytes = 0_usize;
        // SAFETY: a name, and the place of a `size_t`.
        let is_told = unsafe { ask(name.as_ptr(), &raw mut bytes) } != 0;
        is_told.then_some(bytes as u64)
    };
    let in_use = property(c"generic.current_allocated_bytes")?;
    let given_back = property(c"tcmalloc.pageheap_unmapped_bytes").unwrap_or(0);
    let all = property(c"generic.heap_size")?.saturating_sub(given_back);
    Some([in_use, all.saturating_sub(in_use)])
}

fn of_mallinfo() -> Option<[u64; 2]> {
    if let Some(mallinfo2) = next::mallinfo2() {
        let told = mallinfo2();
        return Some([told.uordblks as u64 + told.hblkhd as u64, told.fordblks as u64]);
    }
    let told = next::mallinfo()?();
    // Ints that wrap around: below 4 GiB in all they can be read.
    let wide = |number: c_int| u64::from(number.cast_unsigned());
    Some([wide(told.uordblks) + wide(told.hblkhd), wide(told.fordblks)])
}
