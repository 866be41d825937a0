//! `setrlimit`, `prlimit` and `mlockall`: what counts address space, in which the tap has reserved a range.
//!
//! A reservation costs no memory, but a limit counts it. Limits that the process was born with are heeded when the
//! range is reserved; under one that comes later the program's next allocation would fail, so the range's
//! unused part is given back before. `mlockall` fails under a limit on locked memory for the same reason, and is
//! tried again without that part.
//!
//! # Safety
//! The calls are libc's own, passed on to the kernel as they are.
#![allow(unsafe_code)]

use crate::tap::os::{map, sys};
use crate::tap::profiler::PROFILER;
use crate::tap::{backend, lifecycle};
use std::ffi::{c_int, c_long};
use std::ptr;

/// Room for samples that remains under `mlockall`: each locked byte counts.
const KEPT_IF_LOCKED: usize = 1 << 20;

/// Gives the range's unused part back if this is a limit on address space for this process. A vfork child shares
/// its parent's memory, not its limits.
///
/// # Safety
/// `limit` is null or what a caller of setrlimit(2) passes.
unsafe fn heed(pid: c_int, resource: c_int, limit: *const libc::rlimit) {
    // SAFETY: passed on to the caller.
    let Some(limit) = (unsafe { limit.as_ref() }) else { return };
    if resource != libc::RLIMIT_AS as c_int || limit.rlim_cur == libc::RLIM_INFINITY {
        return;
    }
    lifecycle::ensure_started();
    let own = sys::process_id();
    if own == PROFILER.pid() && (pid == 0 || pid as u32 == own) {
        backend::stop_retaining();
        PROFILER.heap.give_back(map::most_reserved(Some(limit.rlim_cur as usize), None));
    }
}

/// prlimit(2).
unsafe fn set(pid: c_int, resource: c_int, new: *const libc::rlimit, old: *mut libc::rlimit) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { heed(pid, resource, new) };
    // SAFETY: the same.
    unsafe { libc::syscall(libc::SYS_prlimit64, c_long::from(pid), c_long::from(resource), new, old) as c_int }
}

/// Sets a limit (setrlimit(2)).
#[unsafe(no_mangle)]
unsafe extern "C" fn setrlimit(resource: c_int, limit: *const libc::rlimit) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { set(0, resource, limit, ptr::null_mut()) }
}

/// The same where `off_t` has 64 bits: always, here.
#[unsafe(no_mangle)]
unsafe extern "C" fn setrlimit64(resource: c_int, limit: *const libc::rlimit) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { set(0, resource, limit, ptr::null_mut()) }
}

/// Sets and gets a limit of a process (prlimit(2)).
#[unsafe(no_mangle)]
unsafe extern "C" fn prlimit(pid: c_int, resource: c_int, new: *const libc::rlimit, old: *mut libc::rlimit) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { set(pid, resource, new, old) }
}

/// The same where `off_t` has 64 bits: always, here.
#[unsafe(no_mangle)]
unsafe extern "C" fn prlimit64(pid: c_int, resource: c_int, new: *const libc::rlimit, old: *mut libc::rlimit) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { set(pid, resource, new, old) }
}

/// Locks all memory (mlockall(2)).
#[unsafe(no_mangle)]
extern "C" fn mlockall(flags: c_int) -> c_int {
    // SAFETY: takes a number.
    let lock = || unsafe { libc::syscall(libc::SYS_mlockall, c_long::from(flags)) as c_int };
    let before = sys::errno();
    let result = lock();
    if result == 0 || sys::errno() != libc::ENOMEM {
        return result;
    }
    PROFILER.heap.give_back(KEPT_IF_LOCKED);
    sys::set_errno(before);
    lock()
}
