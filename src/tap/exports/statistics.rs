//! Questions about the heap that programs and HotSpot ask, and how to make it smaller: `mallinfo` and its like.
//!
//! Where the process keeps its allocator (`prof_allocator:keep`), that one answers, and the pages of sampled blocks are
//! added. Else: left to glibc they would describe a heap that the program does not use. The embedded jemalloc keeps no
//! statistics of its own (they would cost instructions in every call); what it knows all the same is its pages: those
//! that blocks lie in and those that are free. So what these functions say is never less than what the program has, and
//! is right to a page for each size class; a sampled block of more than 16 KiB may count a page more.
//!
//! # Safety
//! As for the rest of the exports.
#![allow(unsafe_code)]

use crate::tap::backend::next::{self, Mallinfo, Mallinfo2};
use crate::tap::guard::Guard;
use crate::tap::os::sys;
use crate::tap::{backend, keeper, lifecycle, slow};
use std::ffi::{c_int, c_void};
use std::io::Write;
use std::ptr;
use tikv_jemalloc_sys as je;

/// Bytes in use and free bytes that are kept, in whole pages.
fn page_bytes() -> [usize; 2] {
    sys::keep_errno(|| {
        lifecycle::ensure_started();
        let _guard = Guard::enter();
        backend::page_bytes()
    })
}

/// Bytes in use and kept.
#[unsafe(no_mangle)]
extern "C" fn mallinfo2() -> Mallinfo2 {
    let [used, kept] = page_bytes();
    match next::mallinfo2() {
        None => {
            Mallinfo2 { arena: used + kept, uordblks: used, fordblks: kept, keepcost: kept, ..Mallinfo2::default() }
        }
        Some(of_next) => {
            let next = of_next();
            let (arena, uordblks, fordblks) = (next.arena + used + kept, next.uordblks + used, next.fordblks + kept);
            Mallinfo2 { arena, uordblks, fordblks, ..next }
        }
    }
}

/// Bytes in use and kept, as ints.
#[unsafe(no_mangle)]
extern "C" fn mallinfo() -> Mallinfo {
    let [used, kept] = page_bytes().map(|bytes| bytes as c_int);
    let sum = used.wrapping_add(kept);
    match next::mallinfo() {
        None => Mallinfo { arena: sum, uordblks: used, fordblks: kept, keepcost: kept, ..Mallinfo::default() },
        Some(of_next) => {
            let next = of_next();
            let (uordblks, fordblks) = (next.uordblks.wrapping_add(used), next.fordblks.wrapping_add(kept));
            Mallinfo { arena: next.arena.wrapping_add(sum), uordblks, fordblks, ..next }
        }
    }
}

/// Sets a parameter of glibc's malloc: where that does not serve, none of them exists, and none is refused.
#[unsafe(no_mangle)]
extern "C" fn mallopt(parameter: c_int, value: c_int) -> c_int {
    lifecycle::ensure_started();
    next::mallopt().map_or(1, |of_next| of_next(parameter, value))
}

/// Prints the allocator's view of itself on stderr.
#[unsafe(no_mangle)]
extern "C" fn malloc_stats() {
    match next::malloc_stats() {
        Some(of_next) => of_next(),
        // SAFETY: without a function it writes to stderr; no options.
        None => unsafe { je::malloc_stats_print(None, ptr::null_mut(), ptr::null()) },
    }
}

/// Writes an XML document (malloc_info(3)): 0, or -1 with EINVAL where options are given.
///
/// # Safety
/// `stream` is an open stream.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if let Some(of_next) = next::malloc_info() {
        // SAFETY: passed on to the caller.
        return unsafe { of_next(options, stream) };
    }
    if options != 0 || stream.is_null() {
        sys::set_errno(libc::EINVAL);
        return -1;
    }
    // On the stack: nothing of ours may fail for want of memory in the program's name.
    let mut text = [0u8; 320];
    let room = text.len();
    let mut rest = &mut text[..];
    let [used, kept] = page_bytes();
    let _ = write!(
        rest,
        "<malloc version=\"1\">\n<total type=\"rest\" count=\"0\" size=\"{kept}\"/>\n\
         <system type=\"current\" size=\"{0}\"/>\n<aspace type=\"total\" size=\"{0}\"/>\n</malloc>\n",
        used + kept,
    );
    let length = room - rest.len();
    // SAFETY: the text has that many bytes; the stream is the caller's.
    let written = unsafe { libc::fwrite(text.as_ptr().cast(), 1, length, stream) };
    if written == length { 0 } else { -1 }
}

/// Bytes that the program may use of a block.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_usable_size(block: *mut c_void) -> usize {
    slow::usable_size(block)
}

/// Gives unused memory back to the system; `jcmd System.trim_native_heap` comes here. Always 1: something
/// may have been given back.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_trim(pad: usize) -> c_int {
    sys::keep_errno(|| {
        lifecycle::ensure_started();
        let _guard = Guard::enter();
        let result = backend::next_stats::trim(pad);
        keeper::trimmed();
        result
    })
}
