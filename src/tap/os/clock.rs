//! Clocks, through the vDSO: no system call where the kernel offers one.
//!
//! # Safety
//! `clock_gettime` writes one `timespec` and nothing else.
#![allow(unsafe_code)]

use super::optional::{self, OptionalCall};

fn now(clock: libc::clockid_t) -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `time` is a valid place for the answer; an unknown clock leaves it zero.
    unsafe { libc::clock_gettime(clock, &raw mut time) };
    (time.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(time.tv_nsec as u64)
}

/// Nanoseconds of CLOCK_MONOTONIC: for ages and intervals.
pub(crate) fn monotonic_ns() -> u64 {
    now(libc::CLOCK_MONOTONIC)
}

/// The same to the kernel's last tick, 1 to 10 ms ago, at a fifth of the price.
pub(crate) fn tick_ns() -> u64 {
    now(libc::CLOCK_MONOTONIC_COARSE)
}

/// Whether processor time can be asked for: it takes a system call, for which a filter of the program's may kill,
/// though all other clocks need none.
pub(crate) fn tells_processor_time() -> bool {
    !optional::is_deadly(OptionalCall::ProcessorTime)
}

/// CPU time that this process has used so far, nanoseconds; 0: it cannot be asked for. A system call.
pub(crate) fn process_cpu_ns() -> u64 {
    if tells_processor_time() { now(libc::CLOCK_PROCESS_CPUTIME_ID) } else { 0 }
}

/// Nanoseconds of processor time that this thread has used; where that cannot be asked for, of time. A system call.
pub(crate) fn thread_ns() -> u64 {
    if tells_processor_time() { now(libc::CLOCK_THREAD_CPUTIME_ID) } else { monotonic_ns() }
}

/// Nanoseconds since 1970: a label only, it may jump.
pub(crate) fn wall_ns() -> u64 {
    now(libc::CLOCK_REALTIME)
}

/// Sleeps about that long; less if a signal comes.
pub(crate) fn sleep_ns(nanoseconds: u64) {
    let time = libc::timespec {
        tv_sec: (nanoseconds / 1_000_000_000) as libc::time_t,
        tv_nsec: (nanoseconds % 1_000_000_000) as libc::c_long,
    };
    // SAFETY: reads one timespec. A raw call: nanosleep(3) is a cancellation point.
    unsafe { libc::syscall(libc::SYS_nanosleep, &raw const time, std::ptr::null_mut::<libc::timespec>()) };
}
