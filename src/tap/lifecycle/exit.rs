//! The end of the process: the final dump, on the exiting thread.
//!
//! From `atexit`, registered so early that it runs after nearly everybody else's handlers (an interposed
//! `exit` would call static objects leaks), from `quick_exit`'s handlers, and from the `_exit` family. At
//! most once. It is the last errand: `exit` may come from a signal handler that interrupted this thread anywhere, or
//! while other threads are stopped for good, holding any lock: so it allocates elsewhere than in jemalloc, asks
//! neither the loader nor stdio, and waits for a dump that is being written, two seconds at most. A second thread that
//! calls `_exit` meanwhile waits as long, or it would cut the dump off.
//!
//! # Safety
//! Registers handlers that live as long as the process.
#![allow(unsafe_code)]

use super::leak;
use crate::tap::dump::Reason;
use crate::tap::errand::{self, Errand};
use crate::tap::os::deadline::Deadline;
use crate::tap::os::{clock, handlers, sys};
use crate::tap::profiler::PROFILER;
use crate::wire::live::layout::Head;
use std::ffi::{c_int, c_void};
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};

unsafe extern "C" {
    fn __cxa_atexit(handler: unsafe extern "C" fn(*mut c_void), argument: *mut c_void, library: *mut c_void) -> c_int;
}

/// The process that has begun its last errand (its pid), and the thread that is on it; 0: it is done.
static FINISHED: AtomicU64 = AtomicU64::new(0);

/// Registers the handlers.
pub(crate) fn register() {
    // SAFETY: see the head.
    unsafe { __cxa_atexit(at_exit, ptr::null_mut(), ptr::null_mut()) };
    // SAFETY: see the head.
    unsafe { handlers::at_quick_exit(at_exit) };
}

unsafe extern "C" fn at_exit(_: *mut c_void) {
    finish();
}

/// The last thing that is done: the final dump, if one is wanted and this process is worth it. Then the region goes,
/// which is for processes that end otherwise; a dump that could not be written is one of those ends.
pub(crate) fn finish() {
    if PROFILER.may_not_open() {
        return; // what this process leaves, its region, is adopted by the next one
    }
    let (pid, thread) = (sys::process_id(), sys::thread_id());
    // A vfork child shares our memory and must not act for its parent.
    if pid != PROFILER.pid() {
        return;
    }
    let of = |thread: u32| u64::from(pid) << 32 | u64::from(thread);
    let begun = FINISHED.fetch_update(Ordering::AcqRel, Ordering::Acquire, |state| {
        (state >> 32 != u64::from(pid)).then_some(of(thread))
    });
    match begun {
        Ok(_) => end(),
        Err(state) => return wait_for(pid, state as u32),
    }
    FINISHED.store(of(0), Ordering::Release);
}

fn end() {
    let began_ns = clock::monotonic_ns();
    if !wants_final_dump() {
        // Most processes end here, within a millisecond and without a store: there is nothing to leave or to tell.
        if PROFILER.store().is_some() {
            Errand::last(began_ns, |errand| {
                PROFILER.leave_nothing(errand);
                PROFILER.tell_why_none(errand);
            });
        }
        return;
    }
    mark_ending();
    if Errand::last(began_ns, |errand| PROFILER.dump_on(errand, Reason::Final)).is_some_and(|written| written.is_ok()) {
        Errand::last(began_ns, |errand| PROFILER.leave_nothing(errand));
    }
    Errand::last(began_ns, leak::report);
}

/// Waits for the thread that is on the last errand, as long as an errand waits, unless that is the caller: a handler
/// has interrupted it.
fn wait_for(process: u32, thread: u32) {
    if thread != 0 && thread != sys::thread_id() {
        let is_done = || FINISHED.load(Ordering::Acquire) as u32 != thread || sys::has_ended(process, thread);
        let _ = Deadline::after(clock::monotonic_ns(), errand::PATIENCE_NS).wait_until(is_done);
    }
}

/// Marks the region: a process that finds it knows that this one ended by itself.
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
