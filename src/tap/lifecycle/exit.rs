//! The end of the process: the final dump, on the exiting thread.
//!
//! From `atexit`, registered so early that it runs after nearly everybody else's handlers (an interposed
//! `exit` would call static objects leaks), from `quick_exit`'s handlers, and from the `_exit` family. At
//! most once. `exit` may come from a signal handler that interrupted this thread anywhere: inside jemalloc,
//! so the dump allocates elsewhere (`own_memory`); inside the profiler, whose data a reader may see at any
//! instant; inside a dump that this thread was writing, which then does not end within two seconds and
//! is the last. Signals wait meanwhile, and those that writing raises are taken away.
//!
//! # Safety
//! Registers handlers that live as long as the process.
#![allow(unsafe_code)]

use super::leak;
use crate::tap::dump::Reason;
use crate::tap::guard::Guard;
use crate::tap::keeper;
use crate::tap::os::sys;
use crate::tap::own_memory;
use crate::tap::profiler::PROFILER;
use crate::wire::live::layout::Head;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

unsafe extern "C" {
    fn __cxa_atexit(handler: unsafe extern "C" fn(*mut c_void), argument: *mut c_void, library: *mut c_void) -> c_int;
    fn __cxa_at_quick_exit(handler: unsafe extern "C" fn(*mut c_void), library: *mut c_void) -> c_int;
    fn pthread_setcancelstate(state: c_int, before: *mut c_int) -> c_int;
}

/// `PTHREAD_CANCEL_DISABLE` of glibc's pthread.h.
const CANCEL_DISABLE: c_int = 1;

/// Pid of the process that has written its final dump.
static FINISHED: AtomicU32 = AtomicU32::new(0);

/// Registers the handlers, and the one that ends the keeper with the main thread.
pub(crate) fn register() {
    // SAFETY: see the head.
    unsafe { __cxa_atexit(at_exit, ptr::null_mut(), ptr::null_mut()) };
    // SAFETY: see the head.
    unsafe { __cxa_at_quick_exit(at_exit, ptr::null_mut()) };
    let mut key = 0;
    // SAFETY: the destructor lives as long as the process.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(main_thread_ends)) } == 0 {
        // SAFETY: the constructor runs on the main thread. The value is never followed.
        unsafe { libc::pthread_setspecific(key, ptr::dangling()) };
    }
}

unsafe extern "C" fn at_exit(_: *mut c_void) {
    finish();
}

unsafe extern "C" fn main_thread_ends(_: *mut c_void) {
    keeper::stop();
}

/// The last thing that is done: the final dump, if one is wanted and this process is worth it. Then the region goes,
/// which is for processes that end otherwise; a dump that could not be written is one of those ends.
pub(crate) fn finish() {
    if PROFILER.may_not_open() {
        return; // what this process leaves, its region, is adopted by the next one
    }
    let pid = sys::process_id();
    // A vfork child shares our memory and must not act for its parent.
    if pid != PROFILER.pid() || FINISHED.swap(pid, Ordering::Relaxed) == pid {
        return;
    }
    let _guard = Guard::enter();
    if !wants_final_dump() {
        return own_memory::without_jemalloc(|| PROFILER.leave_nothing());
    }
    let mut before = 0;
    // SAFETY: writing files is a cancellation point, and this thread may have been cancelled.
    unsafe { pthread_setcancelstate(CANCEL_DISABLE, &raw mut before) };
    mark_ending();
    own_memory::without_jemalloc(|| {
        if PROFILER.dump(Reason::Final).is_some() {
            PROFILER.leave_nothing();
        }
        leak::report();
    });
    // SAFETY: puts back what was found.
    unsafe { pthread_setcancelstate(before, ptr::null_mut()) };
}

/// Whoever finds the region knows that the process ended by itself.
fn mark_ending() {
    if let Some(store) = PROFILER.store() {
        store.region().set_flag(Head::Ending, true);
    }
}

fn wants_final_dump() -> bool {
    PROFILER.settings().is_some_and(|settings| {
        let options = &settings.options;
        options.prof && options.prof_final && !settings.prefix().is_empty() && PROFILER.is_significant()
    })
}
