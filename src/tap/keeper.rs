//! Floor 6: the keeper, the one helper thread. It writes dumps, so that no application thread must.
//!
//! It starts late, in processes that live for a second or hold much; blocks all signals (they are
//! the program's); has an empty descriptor table of its own; and ends when the main thread ends by
//! `pthread_exit`, so that a program whose other threads are done can end. It gives way to `unshare` and
//! `setns`, which want a single thread, and to changes of a thread's rights, and starts again later. Without it nothing but dumps before
//! the end is missing.
//!
//! # Safety
//! Calls of libc's thread functions with values of this file's own.
#![allow(unsafe_code)]

use super::backend::OwnArena;
use super::guard::Guard;
use super::os::{clock, spare_stack, sys, tls};
use super::profiler::{PROFILER, STOP};
use super::rounds::{INTERVAL, MAXIMUM, Rounds, TRIM};
use std::ffi::c_void;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering;

/// Stack of the keeper: it formats text and keeps its data on the heap.
const STACK_BYTES: usize = 256 << 10;
/// Longest sleep: the pulse that the region shows, and how soon requests from outside are seen.
const SLEEP_NS: u64 = 1_000_000_000;
/// A process that lives that long gets a keeper, so that its region explains itself if it is killed before it
/// becomes significant.
const SETTLED_NS: u64 = 1_000_000_000;
/// Longest wait for its end; it may be writing a dump.
const PATIENCE_NS: u64 = 5_000_000_000;

/// Stands for a keeper that could not be started: no thread has this id.
const NO_THREAD: u32 = i32::MAX as u32;

/// After a sample: starts the keeper once the process is worth one, and tells it when a dump is due.
pub(crate) fn notice(interval_over: bool, new_maximum: bool) {
    let started = PROFILER.keeper_started.load(Ordering::Relaxed);
    if started && !interval_over && !new_maximum {
        return;
    }
    let Some(settings) = PROFILER.settings() else { return };
    // First what is known without looking: where no keeper may start, every sample comes here.
    if !settings.options.prof_keeper || PROFILER.may_not_open() {
        return;
    }
    let is_significant = PROFILER.is_significant();
    if !is_significant && PROFILER.uptime_ns() < SETTLED_NS {
        return;
    }
    let wanted = (u32::from(interval_over) * INTERVAL) | (u32::from(new_maximum) * MAXIMUM);
    if wanted != 0 && is_significant && !settings.prefix().is_empty() {
        PROFILER.triggers.fetch_or(wanted, Ordering::Release);
        sys::futex_wake(&PROFILER.triggers);
    }
    // A child of vfork has our memory and another pid: a thread of its own would be gone with its exec.
    let may_start = !started && sys::process_id() == PROFILER.pid();
    if may_start && !PROFILER.keeper_started.swap(true, Ordering::Relaxed) {
        let _ = spare_stack::with_room(start);
    }
}

/// Asks for a dump from wherever a program may be, a signal handler included. Without a keeper, and in a process that
/// is not worth a file, nothing comes of it.
pub(crate) fn ask(trigger: u32) {
    let profiling = PROFILER.settings().is_some_and(|settings| settings.options.prof && !settings.prefix().is_empty());
    if profiling && PROFILER.keeper_started.load(Ordering::Relaxed) && PROFILER.is_significant() {
        PROFILER.triggers.fetch_or(trigger, Ordering::Release);
        sys::futex_wake(&PROFILER.triggers);
    }
}

/// The program had its memory trimmed: a dump, if that is wanted (`prof_dump_trim`).
pub(crate) fn trimmed() {
    if PROFILER.settings().is_some_and(|settings| settings.options.prof_dump_trim) {
        ask(TRIM);
    }
}

/// Lets the keeper end.
pub(crate) fn stop() {
    PROFILER.triggers.fetch_or(STOP, Ordering::Release);
    sys::futex_wake(&PROFILER.triggers);
}

/// Ends the keeper and waits until the kernel has forgotten it, so that the caller may be the only thread.
/// The next interval starts it again.
pub(crate) fn give_way() {
    let running = PROFILER.keeper_started.load(Ordering::Relaxed) && sys::process_id() == PROFILER.pid();
    if !running {
        return;
    }
    stop();
    let deadline = clock::monotonic_ns() + PATIENCE_NS;
    loop {
        let thread = PROFILER.keeper_thread.load(Ordering::Acquire);
        if thread != 0 && !sys::is_thread(PROFILER.pid(), thread) {
            break;
        }
        if clock::monotonic_ns() > deadline {
            return;
        }
        clock::sleep_ns(100_000);
    }
    PROFILER.keeper_thread.store(0, Ordering::Relaxed);
    PROFILER.keeper_started.store(false, Ordering::Relaxed);
}

/// Starts the thread, all signals blocked in it. What fails stays undone: dumps wait for the end.
fn start() {
    let mut all = MaybeUninit::<libc::sigset_t>::uninit();
    let mut before = MaybeUninit::<libc::sigset_t>::uninit();
    // SAFETY: fills the set.
    unsafe { libc::sigfillset(all.as_mut_ptr()) };
    // SAFETY: the set is filled; `before` gets the old mask.
    unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, all.as_ptr(), before.as_mut_ptr()) };
    create_thread();
    // SAFETY: `before` was filled by the call above.
    unsafe { libc::pthread_sigmask(libc::SIG_SETMASK, before.as_ptr(), ptr::null_mut()) };
}

fn create_thread() {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attributes.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return;
    }
    // SAFETY: initialised above.
    unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK_BYTES) };
    // SAFETY: initialised above.
    unsafe { libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED) };
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: `run` is a thread function and needs no argument.
    let failed = unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run, ptr::null_mut()) };
    if failed != 0 {
        PROFILER.keeper_thread.store(NO_THREAD, Ordering::Release);
    }
    // SAFETY: initialised above, not used any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
}

extern "C" fn run(_: *mut c_void) -> *mut c_void {
    // Held for life: what this thread allocates is not the program's.
    let _guard = Guard::enter();
    PROFILER.keeper_thread.store(sys::thread_id(), Ordering::Release);
    // SAFETY: a NUL-terminated name of at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"heaptap".as_ptr()) };
    // SAFETY: only this thread's own, unshared table is emptied; where the kernel cannot unshare (before 5.9)
    // nothing is closed.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, libc::CLOSE_RANGE_UNSHARE) };
    tls::thread().has_own_descriptors.set(closed == 0);
    let arena = OwnArena::settle();
    let mut rounds = Rounds::begin();
    loop {
        let triggers = PROFILER.triggers.swap(0, Ordering::Acquire);
        if triggers & STOP != 0 {
            rounds.end();
            return ptr::null_mut();
        }
        rounds.turn(triggers);
        arena.purge();
        sys::futex_wait(&PROFILER.triggers, 0, SLEEP_NS);
    }
}
