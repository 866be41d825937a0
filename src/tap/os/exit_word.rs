//! The word that the kernel clears, and wakes a waiter of, when a thread ends (set_tid_address(2)).
//!
//! musl registers one for all threads: the lock of its list of threads, which a thread takes at its end and the kernel
//! gives back. fork(2) leaves the child's first thread without such a word, and musl registers it anew only from 1.2.4
//! on. Before that the lock goes with that thread, if it ends before others do: those wait at their own end for ever.
//! So would the keeper. What the parent's thread had is registered again, as newer ones do.
//!
//! # Safety
//! The address is the kernel's own answer, of a word in libc, which stays.
#![allow(unsafe_code)]

use super::libc_names::is_glibc;
use super::sys;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};

/// Its address; 0: not known.
static WORD: AtomicUsize = AtomicUsize::new(0);
/// The process whose first thread has one.
static REGISTERED_IN: AtomicU32 = AtomicU32::new(0);

/// Asks what the calling thread has: libc's first, as the process starts. Kernels without checkpoints do not tell.
pub(crate) fn note() {
    if is_glibc() {
        return;
    }
    let mut word = 0usize;
    // SAFETY: the kernel writes one address.
    if unsafe { libc::syscall(libc::SYS_prctl, libc::PR_GET_TID_ADDRESS, &raw mut word) } == 0 {
        WORD.store(word, Ordering::Relaxed);
    }
    REGISTERED_IN.store(sys::process_id(), Ordering::Relaxed);
}

/// On the first thread of a fork's child: registers what its parent had.
pub(crate) fn renew() {
    let word = WORD.load(Ordering::Relaxed);
    REGISTERED_IN.store(0, Ordering::Relaxed);
    // SAFETY: see the head.
    if word != 0 && unsafe { libc::syscall(libc::SYS_set_tid_address, word) } > 0 {
        REGISTERED_IN.store(sys::process_id(), Ordering::Relaxed);
    }
}

/// Whether other threads of this process can end when its first one has. In a child by a bare clone(2), which ran no
/// handler of fork, that thread itself makes it so.
pub(crate) fn is_there(process: u32) -> bool {
    if is_glibc() || REGISTERED_IN.load(Ordering::Relaxed) == process {
        return true;
    }
    if sys::thread_id() == process {
        renew();
    }
    REGISTERED_IN.load(Ordering::Relaxed) == process
}
