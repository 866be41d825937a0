//! Processors, threads and limits: the thread's number, the processors it may run on, resource limits.
//!
//! # Safety
//! As for the rest of the entries.
#![allow(unsafe_code)]

use super::{raw, vdso};
use std::ffi::{c_int, c_long, c_void};
use std::ptr;

/// getpid(2).
pub(super) extern "C" fn getpid() -> libc::pid_t {
    // SAFETY: takes nothing, cannot fail.
    unsafe { raw::call(libc::SYS_getpid, [0; 6]) as libc::pid_t }
}

/// gettid(2).
pub(super) extern "C" fn gettid() -> libc::pid_t {
    // SAFETY: takes nothing, cannot fail.
    unsafe { raw::call(libc::SYS_gettid, [0; 6]) as libc::pid_t }
}

/// sched_yield(2).
pub(super) extern "C" fn sched_yield() -> c_int {
    // SAFETY: takes nothing, cannot fail.
    unsafe { raw::call(libc::SYS_sched_yield, [0; 6]) as c_int }
}

/// sched_getaffinity(2). The kernel writes as many bytes as it has; the rest is zeroed.
pub(super) unsafe extern "C" fn sched_getaffinity(pid: libc::pid_t, bytes: usize, set: *mut c_void) -> c_int {
    let most = bytes.min(i32::MAX as usize);
    // SAFETY: passed on to the caller.
    let written = unsafe { raw::asked(libc::SYS_sched_getaffinity, [pid as usize, most, set as usize, 0, 0, 0]) };
    let Ok(written) = usize::try_from(written) else { return -1 };
    // SAFETY: the caller's set has so many bytes.
    unsafe { ptr::write_bytes(set.cast::<u8>().wrapping_add(written), 0, bytes.saturating_sub(written)) };
    0
}

/// sched_setaffinity(2).
pub(super) unsafe extern "C" fn sched_setaffinity(pid: libc::pid_t, bytes: usize, set: *const c_void) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(libc::SYS_sched_setaffinity, [pid as usize, bytes, set as usize, 0, 0, 0]) as c_int }
}

/// `CPU_COUNT` of sched.h: processors in a set.
pub(super) unsafe extern "C" fn sched_cpucount(bytes: usize, set: *const c_void) -> c_int {
    let words = set.cast::<u64>();
    // SAFETY: a `cpu_set_t` is an array of words, and the caller's has so many bytes.
    (0..bytes / 8).map(|at| unsafe { words.add(at).read() }.count_ones()).sum::<u32>() as c_int
}

/// sched_getcpu(3).
pub(super) extern "C" fn sched_getcpu() -> c_int {
    vdso::processor().map_or(-1, |processor| processor as c_int)
}

/// getrlimit(2), by the call that both architectures have.
pub(super) unsafe extern "C" fn getrlimit(resource: c_int, limit: *mut libc::rlimit) -> c_int {
    let number: c_long = libc::SYS_prlimit64;
    // SAFETY: passed on to the caller.
    unsafe { raw::asked(number, [0, resource as usize, 0, limit as usize, 0, 0]) as c_int }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_those_that_libc_finds() {
        let bytes = size_of::<libc::cpu_set_t>();
        // SAFETY: all bit patterns are valid.
        let [mut ours, mut libcs]: [libc::cpu_set_t; 2] = unsafe { std::mem::zeroed() };
        // SAFETY: a set of that size.
        assert_eq!(unsafe { sched_getaffinity(0, bytes, (&raw mut ours).cast()) }, 0);
        // SAFETY: as above.
        assert_eq!(unsafe { libc::sched_getaffinity(0, bytes, &raw mut libcs) }, 0);
        // SAFETY: as above.
        let count = unsafe { sched_cpucount(bytes, (&raw const ours).cast()) };
        // SAFETY: as above.
        assert_eq!(count, unsafe { libc::CPU_COUNT(&libcs) });
        let processor = sched_getcpu();
        assert!((0..libc::CPU_SETSIZE).contains(&processor), "{processor}");
    }

    #[test]
    fn limits_are_those_that_libc_finds() {
        let mut ours = libc::rlimit { rlim_cur: 1, rlim_max: 1 };
        let mut libcs = ours;
        // SAFETY: each writes one rlimit.
        unsafe { getrlimit(libc::RLIMIT_NOFILE as c_int, &raw mut ours) };
        // SAFETY: as above.
        unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut libcs) };
        assert_eq!((ours.rlim_cur, ours.rlim_max), (libcs.rlim_cur, libcs.rlim_max));
    }
}
