//! A program with a malloc of its own (linked in: tcmalloc, jemalloc, mimalloc): ours is never called.
//!
//! The dynamic linker asks the program first, so everything in the process uses the program's. Nothing is
//! profiled then, and that is said, rather than leaving an empty profile to wonder about. Whether it is so is tried
//! and not looked up: addresses of functions lie in programs at fixed addresses, which have stubs of their own.
//!
//! # Safety
//! Calls `malloc` and `free` as the whole process does.
#![allow(unsafe_code)]

use crate::tap::os::{stderr, tls};
use crate::tap::profiler::PROFILER;
use std::ffi::{CStr, c_void};

/// A wait that no thread has.
const MARK: u64 = 1 << 60;

/// Steps back if the program has its own. From the constructor: earlier the linker cannot be asked.
pub(super) fn yield_to() {
    let profiling = PROFILER.settings().is_some_and(|settings| settings.options.prof);
    if profiling && !reaches_us() {
        PROFILER.forbid(true, true);
        stderr::say(&[b"heaptap: this program has a malloc of its own, so nothing is profiled"]);
    }
}

/// Whether a `malloc` of the process counts down this thread's wait.
fn reaches_us() -> bool {
    let (Some(malloc), Some(free)) = (find(c"malloc"), find(c"free")) else { return true };
    // SAFETY: the functions of these names have these types.
    let malloc: extern "C" fn(usize) -> *mut c_void = unsafe { std::mem::transmute(malloc) };
    // SAFETY: as above.
    let free: unsafe extern "C" fn(*mut c_void) = unsafe { std::mem::transmute(free) };
    let left = &tls::thread().bytes_left;
    let before = left.replace(MARK);
    let block = malloc(1);
    let is_counted = left.get() != MARK;
    left.set(before);
    // SAFETY: from the malloc beside it.
    unsafe { free(block) };
    is_counted
}

/// The function that the process calls by this name.
fn find(name: &CStr) -> Option<*mut c_void> {
    // SAFETY: looks a NUL-terminated name up.
    let found = unsafe { libc::dlsym(libc::RTLD_DEFAULT, name.as_ptr()) };
    (!found.is_null()).then_some(found)
}
