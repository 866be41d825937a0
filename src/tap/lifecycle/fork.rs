//! fork: it does not deadlock, and its child begins a life of its own.
//!
//! glibc's fork runs the prepare handlers first and takes stdio's list lock afterwards, while another thread
//! may hold a stream and wait for a malloc that waits for jemalloc's fork locks: stock jemalloc hangs
//! here. Handlers run in reverse order of registration, so one registered after jemalloc's that takes
//! stdio's lock first puts the order right. The lock is recursive; glibc exports it since 2.2.5.
//!
//! Likewise it waits, with a bound, for a thread that changes the end of the sampled blocks' range; what other threads
//! had of the profiler's is given back in the child.
//!
//! musl's fork has the same order, and keeps its lock to itself. There a fork waits for ever if at that moment one
//! thread is in `fflush(NULL)`, waits there for a stream, and that stream's thread is in `getline` and allocates. So it
//! does with every malloc that has locks and is not musl's own; an own `fflush` in front of libc's could keep the
//! two apart, but would stand in the way of each flush of each program.
//!
//! # Safety
//! The functions are glibc's own, called around fork as glibc itself calls them.
#![allow(unsafe_code)]

use crate::tap::keeper;
use crate::tap::os::handlers;
use crate::tap::os::libc_names::weak_address;
use crate::tap::profiler::{PROFILER, SCRATCH};
use std::mem;

/// Registers the handlers. Must follow jemalloc's boot.
pub(crate) fn register() {
    // SAFETY: the handlers live as long as the process.
    unsafe { handlers::at_fork(Some(prepare), Some(parent), Some(child)) };
}

/// Calls one of glibc's functions around stdio's list.
///
/// # Safety
/// In the order in which glibc's fork calls them.
unsafe fn call(function: usize) {
    if function != 0 {
        // SAFETY: glibc's three take nothing and return nothing.
        let function = unsafe { mem::transmute::<usize, unsafe extern "C" fn()>(function) };
        // SAFETY: passed on to the caller.
        unsafe { function() };
    }
}

unsafe extern "C" fn prepare() {
    let function = weak_address!("_IO_list_lock");
    // SAFETY: see the head.
    unsafe { call(function) };
    PROFILER.heap.hold_end();
}

unsafe extern "C" fn parent() {
    PROFILER.heap.let_end_go();
    let function = weak_address!("_IO_list_unlock");
    // SAFETY: taken by `prepare`.
    unsafe { call(function) };
    keeper::stay();
}

unsafe extern "C" fn child() {
    let function = weak_address!("_IO_list_resetlock");
    // SAFETY: the lock was taken by `prepare` in the parent; the child has one thread.
    unsafe { call(function) };
    PROFILER.heap.let_end_go_in_child();
    // SAFETY: the child has one thread.
    unsafe { SCRATCH.give_back_others() };
    PROFILER.begin_life();
    keeper::forked();
}
