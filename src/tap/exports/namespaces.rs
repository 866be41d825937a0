//! `unshare` and `setns`: some namespaces can only be entered by a process of a single thread, so the keeper
//! gives way first.
//!
//! # Safety
//! The calls take numbers only.
#![allow(unsafe_code)]

use crate::tap::keeper;
use crate::tap::os::sys;
use std::ffi::c_int;

/// Leaves namespaces behind (unshare(2)).
#[unsafe(no_mangle)]
extern "C" fn unshare(flags: c_int) -> c_int {
    sys::keep_errno(keeper::give_way);
    // SAFETY: see the head; libc's function is nothing but this call.
    unsafe { libc::syscall(libc::SYS_unshare, flags) as c_int }
}

/// Enters a namespace (setns(2)).
#[unsafe(no_mangle)]
extern "C" fn setns(fd: c_int, kind: c_int) -> c_int {
    sys::keep_errno(keeper::give_way);
    // SAFETY: see the head.
    unsafe { libc::syscall(libc::SYS_setns, fd, kind) as c_int }
}
