//! `unshare` and `setns`: some namespaces can only be entered by a process of a single thread, so the keeper gives way
//! first. What leads to other files is announced to the profiler, which notes names while it can. In another user
//! namespace the same user has another number, which is a change of users.
//!
//! # Safety
//! The calls take numbers, or a path that only the kernel looks at.
#![allow(unsafe_code)]

use crate::tap::keeper;
use crate::tap::lifecycle::credentials;
use crate::tap::os::sys;
use crate::tap::profiler::PROFILER;
use std::ffi::{c_char, c_int};

/// Namespaces that a thread leaves or enters without regard to others. The keeper stays: it needs none of these, and
/// after `unshare(CLONE_NEWPID)` none could be made.
const NO_MATTER: c_int = libc::CLONE_NEWNET
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWCGROUP
    | libc::CLONE_FILES
    | libc::CLONE_SYSVSEM;

/// Changes the root directory (chroot(2)): /proc, /dev/shm and the program's files may be out of reach afterwards.
///
/// # Safety
/// As for chroot(2); the path is the kernel's to judge.
#[unsafe(no_mangle)]
unsafe extern "C" fn chroot(path: *const c_char) -> c_int {
    sys::keep_errno(credentials::before_confinement);
    // SAFETY: passed on to the caller; libc's function is nothing but this call.
    let result = unsafe { libc::syscall(libc::SYS_chroot, path) as c_int };
    if result != 0 {
        sys::keep_errno(credentials::not_confined);
    }
    result
}

/// Leaves namespaces behind (unshare(2)).
#[unsafe(no_mangle)]
extern "C" fn unshare(flags: c_int) -> c_int {
    if flags & !NO_MATTER != 0 {
        let _ = sys::keep_errno(keeper::give_way);
    }
    // SAFETY: see the head; libc's function is nothing but this call.
    let result = unsafe { libc::syscall(libc::SYS_unshare, flags) as c_int };
    let _ = sys::keep_errno(credentials::changed);
    result
}

/// Enters a namespace (setns(2)).
#[unsafe(no_mangle)]
extern "C" fn setns(fd: c_int, kind: c_int) -> c_int {
    // No kind: the descriptor decides.
    if kind == 0 || kind & !NO_MATTER != 0 {
        let _ = sys::keep_errno(keeper::give_way);
    }
    if kind == 0 || kind & libc::CLONE_NEWNS != 0 {
        sys::keep_errno(|| PROFILER.settle_here());
    }
    // SAFETY: see the head.
    let result = unsafe { libc::syscall(libc::SYS_setns, fd, kind) as c_int };
    let _ = sys::keep_errno(credentials::changed);
    result
}
