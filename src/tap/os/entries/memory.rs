//! Mappings.
//!
//! # Safety
//! As for the rest of the entries.
#![allow(unsafe_code)]

use super::raw;
use std::ffi::{c_int, c_void};

/// mmap(2).
pub(crate) unsafe extern "C" fn mmap(
    address: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    let arguments = [address as usize, bytes, protection as usize, flags as usize, fd as usize, offset as usize];
    // SAFETY: passed on to the caller. MAP_FAILED is -1, too.
    unsafe { raw::asked(libc::SYS_mmap, arguments) as *mut c_void }
}

/// munmap(2).
pub(crate) unsafe extern "C" fn munmap(address: *mut c_void, bytes: usize) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_munmap, [address as usize, bytes, 0, 0, 0, 0]) as c_int }
}

/// mremap(2), with all five arguments.
pub(crate) unsafe extern "C" fn mremap(
    address: *mut c_void,
    bytes: usize,
    new_bytes: usize,
    flags: c_int,
    new_address: *mut c_void,
) -> *mut c_void {
    let arguments = [address as usize, bytes, new_bytes, flags as usize, new_address as usize, 0];
    // SAFETY: passed on to the caller. MAP_FAILED is -1, too.
    unsafe { raw::asked(libc::SYS_mremap, arguments) as *mut c_void }
}

/// mprotect(2).
pub(super) unsafe extern "C" fn mprotect(address: *mut c_void, bytes: usize, protection: c_int) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_mprotect, [address as usize, bytes, protection as usize, 0, 0, 0]) as c_int }
}

/// madvise(2).
pub(super) unsafe extern "C" fn madvise(address: *mut c_void, bytes: usize, advice: c_int) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_madvise, [address as usize, bytes, advice as usize, 0, 0, 0]) as c_int }
}
