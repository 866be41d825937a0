//! How the keeper is scheduled: as a plain thread of the process, whatever the thread that starts it is.
//!
//! A thread inherits policy, processors and niceness of its maker, which may be a real-time thread on a processor of
//! its own. The keeper takes SCHED_OTHER instead, the processors that the process was born with (`taskset` holds for
//! it, too), and a niceness above the main thread's: where processors are scarce the program goes first.
//! Settings that the kernel refuses stay as they are.
//!
//! # Safety
//! Raw system calls on numbers and on a set of this file's own.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU64, Ordering};

/// Words of a set of processors: 1024 of them. Where there are more, the kernel refuses to fill it.
const WORDS: usize = 16;
/// So much nicer than the main thread: under load a third of a plain thread's share.
const NICER: i64 = 5;
/// The highest niceness.
const NICEST: i64 = 19;
/// getpriority(2) returns 20 less the niceness.
const RAW_BASE: i64 = 20;
/// Policies that go before all plain threads: SCHED_FIFO, SCHED_RR and SCHED_DEADLINE of linux/sched.h.
const REAL_TIME: [i64; 3] = [1, 2, 6];
/// SCHED_RESET_ON_FORK, which sched_getscheduler(2) returns with the policy.
const RESET_ON_FORK: i64 = 0x4000_0000;

/// The processors that the process may use; zeros: not looked up.
pub(crate) struct Processors([AtomicU64; WORDS]);

impl Processors {
    /// Not looked up.
    pub(crate) const fn new() -> Processors {
        Processors([const { AtomicU64::new(0) }; WORDS])
    }

    /// Remembers those of the calling thread. For the main thread, before the program runs.
    pub(crate) fn note(&self) {
        let mut set = [0u64; WORDS];
        // SAFETY: the kernel fills at most the set's length.
        unsafe { libc::syscall(libc::SYS_sched_getaffinity, 0, size_of_val(&set), set.as_mut_ptr()) };
        self.0.iter().zip(set).for_each(|(word, bits)| word.store(bits, Ordering::Relaxed));
    }

    /// Gives them to the calling thread: all there are where none are known. The kernel leaves out what the process's
    /// cpuset does not have.
    fn take(&self) {
        let mut set = [0u64; WORDS];
        set.iter_mut().zip(&self.0).for_each(|(bits, word)| *bits = word.load(Ordering::Relaxed));
        if set == [0; WORDS] {
            set = [u64::MAX; WORDS];
        }
        // SAFETY: the kernel reads the set.
        unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&set), set.as_ptr()) };
    }
}

/// Makes the calling thread a plain one of the process `pid`.
pub(crate) fn become_plain(processors: &Processors, pid: u32) {
    // SAFETY: numbers only.
    let policy = unsafe { libc::syscall(libc::SYS_sched_getscheduler, 0) } & !RESET_ON_FORK;
    if REAL_TIME.contains(&policy) {
        let priority = 0i32;
        // SAFETY: reads one sched_param, which is its priority.
        unsafe { libc::syscall(libc::SYS_sched_setscheduler, 0, libc::SCHED_OTHER, &raw const priority) };
    }
    processors.take();
    // SAFETY: numbers only.
    let mains = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, pid) };
    if mains > 0 {
        let niceness = (RAW_BASE - mains + NICER).min(NICEST);
        // SAFETY: numbers only.
        unsafe { libc::syscall(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, niceness) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_thread_takes_processors_and_niceness_of_its_process() {
        static PROCESSORS: Processors = Processors::new();
        PROCESSORS.note();
        let before = std::thread::available_parallelism().unwrap();
        let pid = crate::tap::os::sys::process_id();
        // SAFETY: numbers only.
        let mains = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, pid) };
        std::thread::spawn(move || {
            let one = 1u64 << PROCESSORS.0[0].load(Ordering::Relaxed).trailing_zeros();
            // SAFETY: reads one word.
            unsafe { libc::syscall(libc::SYS_sched_setaffinity, 0, size_of_val(&one), &raw const one) };
            become_plain(&PROCESSORS, pid);
            assert_eq!(std::thread::available_parallelism().unwrap(), before);
            // SAFETY: numbers only.
            let own = unsafe { libc::syscall(libc::SYS_getpriority, libc::PRIO_PROCESS, 0) };
            assert_eq!(own, (mains - NICER).max(RAW_BASE - NICEST));
        })
        .join()
        .unwrap();
    }
}
