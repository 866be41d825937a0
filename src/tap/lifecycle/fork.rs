//! fork: no deadlock, and a child that knows what it is.
//!
//! glibc's fork runs the prepare handlers first and takes stdio's list lock afterwards, while another thread
//! may hold a stream and wait for a malloc that waits for jemalloc's fork locks: stock jemalloc hangs
//! here. Handlers run in reverse order of registration, so one registered after jemalloc's that takes
//! stdio's lock first puts the order right. The lock is recursive; glibc exports it since 2.2.5.
//!
//! # Safety
//! The functions are glibc's own, called around fork as glibc itself calls them.
#![allow(unsafe_code)]

use crate::tap::os::loader_list;
use crate::tap::profiler::PROFILER;
use std::ffi::{c_int, c_void};
use std::ptr;

unsafe extern "C" {
    fn _IO_list_lock();
    fn _IO_list_unlock();
    fn _IO_list_resetlock();
    fn __register_atfork(
        prepare: Option<unsafe extern "C" fn()>,
        parent: Option<unsafe extern "C" fn()>,
        child: Option<unsafe extern "C" fn()>,
        library: *mut c_void,
    ) -> c_int;
}

/// Registers the handlers. Must follow jemalloc's boot.
pub(crate) fn register() {
    // SAFETY: the handlers live as long as the process; a null library means that none unregisters them.
    unsafe { __register_atfork(Some(prepare), Some(parent), Some(child), ptr::null_mut()) };
}

unsafe extern "C" fn prepare() {
    // Before any lock is taken: who is waited for here may allocate.
    loader_list::before_fork();
    // SAFETY: see the head.
    unsafe { _IO_list_lock() };
}

unsafe extern "C" fn parent() {
    // SAFETY: taken by `prepare`.
    unsafe { _IO_list_unlock() };
    loader_list::after_fork();
}

unsafe extern "C" fn child() {
    // SAFETY: the lock was taken by `prepare` in the parent; the child has one thread.
    unsafe { _IO_list_resetlock() };
    loader_list::begin_anew();
    PROFILER.begin_life();
}
