//! Cancellation of threads (pthread_cancel(3)), kept off for a while: files are full of cancellation points, and a
//! thread that ended in one would keep for ever what it holds.
//!
//! # Safety
//! `pthread_setcancelstate` takes a number and gives the old one; it is async-signal-safe in glibc (one atomic
//! operation on the thread's own descriptor) and in musl. `pthread_setcanceltype` is the same for the other number.
#![allow(unsafe_code)]

use super::libc_names::is_glibc;
use std::ffi::c_int;
use std::ptr;

unsafe extern "C" {
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
    fn pthread_setcanceltype(kind: c_int, before: *mut c_int) -> c_int;
}

// Of both libcs' pthread.h.
const ENABLE: c_int = 0;
const DISABLE: c_int = 1;
const DEFERRED: c_int = 0;
const ASYNCHRONOUS: c_int = 1;

/// Runs `work` while this thread cannot be cancelled. What came meanwhile comes at the next cancellation point; at
/// once, where the program asked for asynchronous cancellation: then this does not return, and nothing may be held.
pub(crate) fn put_off<T>(work: impl FnOnce() -> T) -> T {
    let mut before = 0;
    // SAFETY: see the head.
    unsafe { pthread_setcancelstate(DISABLE, &raw mut before) };
    let result = work();
    // SAFETY: puts back what was found.
    unsafe { pthread_setcancelstate(before, ptr::null_mut()) };
    if before == ENABLE && !is_glibc() {
        act_on_pending();
    }
    result
}

/// musl forgets what came while a thread could not be cancelled, until the next cancellation point, even where the
/// program asked to be cancelled at any instruction. Setting that type anew makes it look.
#[cold]
fn act_on_pending() {
    let mut kind = DEFERRED;
    // SAFETY: see the head.
    unsafe { pthread_setcanceltype(DEFERRED, &raw mut kind) };
    if kind == ASYNCHRONOUS {
        // SAFETY: puts back what was found.
        unsafe { pthread_setcanceltype(ASYNCHRONOUS, ptr::null_mut()) };
    }
}
