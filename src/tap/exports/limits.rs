//! `setrlimit`, `prlimit` and `mlockall`: what counts address space, in which the tap has reserved a range.
//!
//! A reservation costs no memory, but a limit counts it. Limits that the process was born with are heeded when the
//! range is reserved; under one that comes later the program's next allocation would fail, so the range's unused part
//! is given back. The kernel is asked first: a call that it refuses changes nothing here, and the caller's pointers are
//! the kernel's to look at; what is in force afterwards is read back from it.
//!
//! `mlockall` fails under a limit on locked memory that counts the reservation. It is tried again without that, and
//! where it fails all the same the reservation is put back. Where it succeeds the range grows by what each block needs.
//!
//! # Safety
//! The calls are libc's own, passed on to the kernel as they are.
#![allow(unsafe_code)]

use crate::tap::os::{map, sys};
use crate::tap::profiler::PROFILER;
use std::ffi::{c_int, c_long};
use std::ptr;

/// prlimit(2). A vfork child shares its parent's memory, not its limits.
unsafe fn set(pid: c_int, resource: c_int, new: *const libc::rlimit, old: *mut libc::rlimit) -> c_int {
    // SAFETY: passed on to the kernel, which checks the pointers.
    let result =
        unsafe { libc::syscall(libc::SYS_prlimit64, c_long::from(pid), c_long::from(resource), new, old) as c_int };
    // Where `old` is wild the kernel says EFAULT, and has set the limit.
    if resource == libc::RLIMIT_AS as c_int && !new.is_null() {
        sys::keep_errno(|| {
            let own = sys::known_process_id();
            if own == Some(PROFILER.pid()) && (pid == 0 || Some(pid as u32) == own) {
                PROFILER.heed_limits();
            }
        });
    }
    result
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
    if result == 0 || sys::errno() != libc::ENOMEM || sys::keep_errno(map::locked_memory_limit).is_none() {
        return result;
    }
    let given_back = sys::keep_errno(|| PROFILER.heap.give_back(0));
    if given_back == 0 {
        return result;
    }
    sys::set_errno(before);
    let again = lock();
    if again != 0 {
        sys::keep_errno(|| PROFILER.heap.restore(given_back));
    }
    again
}
