//! `mallctl` and its kin: controls of the profiler go to `prof_controls`, all others to jemalloc.
//!
//! The guard is held across jemalloc's own controls: jemalloc starts threads with its locks held (`background_thread`),
//! and what pthread_create allocates must not come back to it.
//!
//! # Safety
//! As for the rest of the exports.
#![allow(unsafe_code)]

use crate::tap::backend::{keep, next};
use crate::tap::guard::Guard;
use crate::tap::lifecycle;
use crate::tap::prof_controls::{self, Exchange};
use crate::tap::profiler::PROFILER;
use crate::tap::slow;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::ptr;

/// First part of the numbers of our controls; jemalloc's are small.
const OURS: usize = usize::MAX / 7;

/// The number of our control of that name.
///
/// # Safety
/// `name` is null or a C string.
unsafe fn ours(name: *const c_char) -> Option<usize> {
    if name.is_null() {
        return None;
    }
    // SAFETY: passed on to the caller.
    prof_controls::find(unsafe { CStr::from_ptr(name) }.to_bytes())
}

/// A value that was written may be this thread's arena (`thread.arena`), and that one of sampled blocks.
fn keep_out(new: *const c_void) {
    if !new.is_null() {
        PROFILER.heap.send_away();
    }
}

/// Whether another jemalloc that is kept is asked for the arena of a sampled block, of which it knows nothing: it would
/// follow the pointer.
///
/// # Safety
/// `name` is null or a C string; `new` null, or of the type that the control takes.
unsafe fn asks_for_foreign(name: *const c_char, new: *const c_void) -> bool {
    if !keep::is_next_kept() || name.is_null() || new.is_null() {
        return false;
    }
    // SAFETY: the caller's name; this control takes a pointer.
    unsafe { CStr::from_ptr(name) == c"arenas.lookup" && slow::is_sampled(new.cast::<*const c_void>().read()) }
}

/// Reads or writes a control.
#[unsafe(no_mangle)]
unsafe extern "C" fn mallctl(
    name: *const c_char,
    old: *mut c_void,
    old_len: *mut usize,
    new: *mut c_void,
    new_len: usize,
) -> c_int {
    // SAFETY: the caller's name.
    if let Some(number) = unsafe { ours(name) } {
        return prof_controls::call(number, &Exchange { old, old_len, new, new_len });
    }
    lifecycle::ensure_started();
    // SAFETY: the caller's name and value.
    if unsafe { asks_for_foreign(name, new) } {
        return libc::EINVAL;
    }
    let _guard = Guard::enter();
    // SAFETY: passed on to the caller.
    let result = unsafe { next::mallctl(name, old, old_len, new, new_len) };
    keep_out(new);
    result
}

/// Looks a control's number up: as many words as its name has parts.
#[unsafe(no_mangle)]
unsafe extern "C" fn mallctlnametomib(name: *const c_char, mib: *mut usize, len: *mut usize) -> c_int {
    lifecycle::ensure_started();
    // SAFETY: the caller's name.
    let Some(number) = (unsafe { ours(name) }) else {
        let _guard = Guard::enter();
        // SAFETY: passed on to the caller.
        return unsafe { next::mallctlnametomib(name, mib, len) };
    };
    let depth = prof_controls::depth(number);
    // SAFETY: the caller's place for a length.
    let room = unsafe { len.read() };
    if room < 2 {
        return libc::ENOENT;
    }
    let words = [OURS, number, 0];
    // SAFETY: the caller has `room` words there.
    unsafe { ptr::copy_nonoverlapping(words.as_ptr(), mib, depth.min(room)) };
    // SAFETY: the caller's place for a length.
    unsafe { len.write(depth.min(room)) };
    0
}

/// Reads or writes a control by number.
#[unsafe(no_mangle)]
unsafe extern "C" fn mallctlbymib(
    mib: *const usize,
    len: usize,
    old: *mut c_void,
    old_len: *mut usize,
    new: *mut c_void,
    new_len: usize,
) -> c_int {
    // SAFETY: the caller has `len` words there.
    if len >= 2 && unsafe { mib.read() } == OURS {
        // SAFETY: as above.
        let number = unsafe { mib.add(1).read() };
        return prof_controls::call(number, &Exchange { old, old_len, new, new_len });
    }
    let _guard = Guard::enter();
    // SAFETY: passed on to the caller.
    let result = unsafe { next::mallctlbymib(mib, len, old, old_len, new, new_len) };
    keep_out(new);
    result
}
