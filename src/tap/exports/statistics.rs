//! glibc's questions about its heap, which programs and HotSpot ask: `mallinfo` and its like.
//!
//! Left to glibc they would describe a heap that nobody uses. The embedded jemalloc keeps no statistics of
//! its own (they would cost instructions in every call); what is known is the live profile's estimate of
//! the bytes in use, and zero where nothing is profiled.
//!
//! # Safety
//! As for the rest of the exports.
#![allow(unsafe_code)]

use crate::tap::profiler::PROFILER;
use crate::wire::live::counters::Counter;
use std::ffi::c_int;
use std::io::Write;
use std::ptr;
use tikv_jemalloc_sys as je;

/// `struct mallinfo2` of glibc's malloc.h.
#[repr(C)]
#[derive(Default)]
struct Mallinfo2 {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

/// The same with ints, which wrap around (mallinfo(3), BUGS).
#[repr(C)]
#[derive(Default)]
struct Mallinfo {
    arena: c_int,
    ordblks: c_int,
    smblks: c_int,
    hblks: c_int,
    hblkhd: c_int,
    usmblks: c_int,
    fsmblks: c_int,
    uordblks: c_int,
    fordblks: c_int,
    keepcost: c_int,
}

fn live_bytes() -> usize {
    PROFILER.store().map_or(0, |store| store.region().counter(Counter::LiveBytes) as usize)
}

/// Bytes in use, estimated.
#[unsafe(no_mangle)]
extern "C" fn mallinfo2() -> Mallinfo2 {
    Mallinfo2 { arena: live_bytes(), uordblks: live_bytes(), ..Mallinfo2::default() }
}

/// Bytes in use, estimated, as an int.
#[unsafe(no_mangle)]
extern "C" fn mallinfo() -> Mallinfo {
    Mallinfo { arena: live_bytes() as c_int, uordblks: live_bytes() as c_int, ..Mallinfo::default() }
}

/// Sets a parameter of glibc's malloc: none of them exists here, and none is refused.
#[unsafe(no_mangle)]
extern "C" fn mallopt(_parameter: c_int, _value: c_int) -> c_int {
    1
}

/// Prints jemalloc's view of itself on stderr.
#[unsafe(no_mangle)]
extern "C" fn malloc_stats() {
    // SAFETY: without a function it writes to stderr; no options.
    unsafe { je::malloc_stats_print(None, ptr::null_mut(), ptr::null()) }
}

/// Writes an XML document (malloc_info(3)): 0, or -1 with EINVAL where options are given.
///
/// # Safety
/// `stream` is an open stream.
#[unsafe(no_mangle)]
unsafe extern "C" fn malloc_info(options: c_int, stream: *mut libc::FILE) -> c_int {
    if options != 0 || stream.is_null() {
        crate::tap::os::sys::set_errno(libc::EINVAL);
        return -1;
    }
    // On the stack: nothing of ours may fail for want of memory in the program's name.
    let mut text = [0u8; 128];
    let room = text.len();
    let mut rest = &mut text[..];
    let _ = write!(rest, "<malloc version=\"1\">\n<system type=\"current\" size=\"{}\"/>\n</malloc>\n", live_bytes());
    let length = room - rest.len();
    // SAFETY: the text has that many bytes; the stream is the caller's.
    let written = unsafe { libc::fwrite(text.as_ptr().cast(), 1, length, stream) };
    if written == length { 0 } else { -1 }
}
