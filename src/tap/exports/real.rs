//! The functions behind the exports that are called in their turn: those of libc, or of whoever stands before it.
//!
//! # Safety
//! Looks names up.
#![allow(unsafe_code)]

use crate::tap::os::sys;
use std::ffi::{CStr, c_int};
use std::sync::atomic::{AtomicUsize, Ordering};

/// The function of that name behind this library, looked up once; 0: there is none.
pub(super) fn real(place: &AtomicUsize, name: &CStr) -> usize {
    let known = place.load(Ordering::Relaxed);
    if known != 0 {
        return known;
    }
    // SAFETY: looks a NUL-terminated name up.
    let found = unsafe { libc::dlsym(libc::RTLD_NEXT, name.as_ptr()) } as usize;
    // Release: `dlopen` reads its place with Acquire, and then what was written before.
    place.store(found, Ordering::Release);
    found
}

/// What a call answers whose function is not there.
pub(super) fn missing() -> c_int {
    sys::set_errno(libc::ENOSYS);
    -1
}
