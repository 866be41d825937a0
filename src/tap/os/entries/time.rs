//! Clocks.
//!
//! # Safety
//! As for the rest of the entries.
#![allow(unsafe_code)]

use super::vdso;
use std::ffi::{c_int, c_void};

/// clock_gettime(2).
pub(super) unsafe extern "C" fn clock_gettime(clock: libc::clockid_t, place: *mut libc::timespec) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { vdso::clock_gettime(clock, place) }
}

/// gettimeofday(2); the zone, which Linux does not know, stays as it is.
pub(super) unsafe extern "C" fn gettimeofday(place: *mut libc::timeval, _zone: *mut c_void) -> c_int {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: a place for the time.
    let result = unsafe { vdso::clock_gettime(libc::CLOCK_REALTIME, &raw mut now) };
    let time = libc::timeval { tv_sec: now.tv_sec, tv_usec: now.tv_nsec / 1000 };
    // SAFETY: the caller's place for the time.
    unsafe { place.write(time) };
    result
}
