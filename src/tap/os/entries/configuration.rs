//! jemalloc's configuration from outside: none. Its options come from us alone (`backend/conf.rs`).
//!
//! It would take more from the variable `_RJEM_MALLOC_CONF` and from the text of the link `/etc/_rjem_malloc.conf`; one
//! `abort_conf:true` there ends every process that the tap is loaded into.
//!
//! # Safety
//! As for the rest of the entries.
#![allow(unsafe_code)]

use super::raw;
use crate::tap::os::sys;
use std::ffi::{CStr, c_char, c_int};
use std::ptr;

/// The link whose text jemalloc takes for options.
const LINK: &CStr = c"/etc/_rjem_malloc.conf";

/// secure_getenv(3) for jemalloc, which alone calls it: no variable is set.
pub(super) extern "C" fn secure_getenv(_name: *const c_char) -> *mut c_char {
    ptr::null_mut()
}

/// readlink(2), but for jemalloc's link.
pub(super) unsafe extern "C" fn readlink(path: *const c_char, place: *mut c_char, bytes: usize) -> isize {
    // SAFETY: the caller's path is a C string.
    if !path.is_null() && unsafe { CStr::from_ptr(path) } == LINK {
        sys::set_errno(libc::ENOENT);
        return -1;
    }
    let arguments = [libc::AT_FDCWD as usize, path as usize, place as usize, bytes, 0, 0];
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_readlinkat, arguments) }
}

/// strerror_r(3) in GNU's form, for jemalloc's messages: libc would translate the text, and may allocate for it.
pub(super) unsafe extern "C" fn strerror_r(error: c_int, place: *mut c_char, bytes: usize) -> *mut c_char {
    let mut text = *b"error 0000\0";
    for (at, digit) in text.iter_mut().skip(6).take(4).enumerate() {
        *digit = b'0' + (error.unsigned_abs() / 10u32.pow(3 - at as u32) % 10) as u8;
    }
    let kept = text.len().min(bytes);
    // SAFETY: the caller's place has so many bytes.
    unsafe { ptr::copy_nonoverlapping(text.as_ptr(), place.cast(), kept) };
    if let Some(last) = kept.checked_sub(1) {
        // SAFETY: as above; a text that was cut is ended.
        unsafe { place.add(last).write(0) };
    }
    place
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_jemallocs_link_is_refused() {
        let mut place = [0 as c_char; 64];
        // SAFETY: C strings, and a place of that size.
        assert_eq!(unsafe { readlink(LINK.as_ptr(), place.as_mut_ptr(), 64) }, -1);
        assert_eq!(sys::errno(), libc::ENOENT);
        // SAFETY: as above.
        assert!(unsafe { readlink(c"/proc/self".as_ptr(), place.as_mut_ptr(), 64) } > 0);
    }

    #[test]
    fn an_error_is_its_number() {
        let mut place = [1 as c_char; 16];
        for (bytes, expected) in [(16, c"error 0012"), (8, c"error 0")] {
            // SAFETY: a place of that size.
            let text = unsafe { strerror_r(12, place.as_mut_ptr(), bytes) };
            // SAFETY: the text is ended.
            assert_eq!(unsafe { CStr::from_ptr(text) }, expected);
        }
    }
}
