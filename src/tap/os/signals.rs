//! Signals that our own work must not raise, and that must not interrupt it.
//!
//! A write of ours may raise SIGPIPE (stderr is a pipe without a reader) or SIGXFSZ (RLIMIT_FSIZE), whose
//! default is the end of the program. They are blocked meanwhile, and what our work made pending is taken
//! away before the mask is put back.
//!
//! # Safety
//! System calls on sets that live in this frame; raw ones, so that nothing is a cancellation point.
#![allow(unsafe_code)]

use super::libc_names::is_glibc;
use super::optional::{self, OptionalCall};
use std::ptr;

/// The kernel's signal set on the processors that we support.
type Set = u64;
const SET_BYTES: usize = size_of::<Set>();

const fn bit(signal: i32) -> Set {
    1 << (signal - 1)
}

/// Signals that writing can raise.
const OURS: Set = bit(libc::SIGPIPE) | bit(libc::SIGXFSZ);
/// Signals of faults of an instruction.
const FAULTS: Set = bit(libc::SIGSEGV)
    | bit(libc::SIGBUS)
    | bit(libc::SIGFPE)
    | bit(libc::SIGILL)
    | bit(libc::SIGTRAP)
    | bit(libc::SIGABRT);

/// Signals that libc sends between its threads, and which no program sees: for cancellation and for changes of users.
/// musl has one more (34), which is a program's own under glibc.
pub(super) fn of_libc() -> Set {
    let glibcs = bit(32) | bit(33);
    if is_glibc() { glibcs } else { glibcs | bit(34) }
}

/// Runs `work` while no signal can interrupt it, and takes away what it raised.
pub(crate) fn shielded<T>(work: impl FnOnce() -> T) -> T {
    let before = change_mask(libc::SIG_BLOCK, !(FAULTS | of_libc()));
    let pending_before = pending();
    let result = work();
    let raised = pending() & !pending_before & OURS;
    if raised != 0 {
        take(raised);
    }
    change_mask(libc::SIG_SETMASK, before);
    result
}

/// Runs `work` with every signal blocked but those that libc sends between threads: for the start of a thread that
/// shall get none. What was blocked stays so afterwards, libc's own signals included, which pthread_sigmask(3) drops.
pub(crate) fn all_held_back<T>(work: impl FnOnce() -> T) -> T {
    let before = change_mask(libc::SIG_BLOCK, !of_libc());
    let result = work();
    change_mask(libc::SIG_SETMASK, before);
    result
}

fn change_mask(operation: i32, set: Set) -> Set {
    let mut before: Set = 0;
    // SAFETY: reads one set, writes the other.
    unsafe { libc::syscall(libc::SYS_rt_sigprocmask, operation, &raw const set, &raw mut before, SET_BYTES) };
    before
}

/// Those that are pending; none where that cannot be asked: then files cannot be opened either, and nothing is raised.
fn pending() -> Set {
    if optional::is_deadly(OptionalCall::Pending) {
        return 0;
    }
    let mut set: Set = 0;
    // SAFETY: writes one set.
    unsafe { libc::syscall(libc::SYS_rt_sigpending, &raw mut set, SET_BYTES) };
    set
}

/// Takes pending signals of this set away, without waiting.
fn take(set: Set) {
    let now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    let none = ptr::null_mut::<libc::siginfo_t>();
    for _ in 0..set.count_ones() {
        // SAFETY: reads the set and the time; asks for no details.
        unsafe { libc::syscall(libc::SYS_rt_sigtimedwait, &raw const set, none, &raw const now, SET_BYTES) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_our_work_raises_does_not_reach_the_program() {
        // Would end the test by its default action.
        let raise = |signal: i32| {
            let (pid, tid) = (std::process::id(), crate::tap::os::sys::thread_id());
            // SAFETY: sends a signal to this thread.
            unsafe { libc::syscall(libc::SYS_tgkill, pid, tid, signal) }
        };
        assert_eq!(shielded(|| raise(libc::SIGPIPE) + raise(libc::SIGXFSZ)), 0);
        assert_eq!(pending() & OURS, 0);
        assert_eq!(change_mask(libc::SIG_BLOCK, 0) & OURS, 0);
    }
}
