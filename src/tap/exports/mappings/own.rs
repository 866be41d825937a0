//! The calls of the tap and of its jemalloc: to the kernel directly, and nobody's mappings.
//!
//! jemalloc that gets no memory is about to refuse a request, which the fast path of `malloc` would not see. So the
//! thread's next request is made due: it takes the slow path, and is noted if it fails, too (`slow/allocate`).
//!
//! # Safety
//! The calls are libc's own, passed on as they are.
#![allow(unsafe_code)]

use crate::tap::os::{map, tls};
use std::ffi::{c_int, c_void};

/// mmap(2) of the tap and of jemalloc.
pub(super) unsafe extern "C" fn map_own(
    address: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    // SAFETY: passed on to the caller.
    let result = unsafe { map::raw_mmap(address, bytes, protection, flags, fd, offset) };
    if result == libc::MAP_FAILED {
        tls::thread().make_due();
    }
    result
}
