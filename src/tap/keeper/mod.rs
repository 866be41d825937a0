//! The keeper, the one helper thread. It writes dumps, so that no application thread must.
//!
//! It starts late, in processes that live for a second, hold much, or wait for connections; blocks all signals (they
//! are the program's); has an empty descriptor table and a schedule of its own. It gives way to `unshare` and
//! `setns`, which want a single thread, and to changes of a thread's rights, and starts again with a later sample.
//! Without it only dumps before the end are missing. Its knowledge belongs to the process: the next keeper goes on
//! where the last one ended (`post`).
//!
//! **The end of the last thread.** glibc counts the threads that it made, and the one that takes the count to zero
//! runs `exit(0)`: atexit handlers, stdio's buffers. That must be a thread of the program's: the keeper's descriptors
//! are not the program's. So the keeper runs only while a thread is known that is still to end (`os::known_threads`),
//! only such a thread may start it, and the last of them, in a destructor that glibc runs before it counts the thread
//! out, ends the keeper and waits until the kernel has forgotten it. Threads that the count does not know can only make
//! the keeper end early; the next known thread starts it again.
//!
//! # Safety
//! Calls of libc's thread functions with values of this file's own.
#![allow(unsafe_code)]

mod checkpoints;
mod control;
mod history;
mod look;
mod pace;
mod post;
mod rounds;
mod usage;

use crate::tap::backend::{self, OwnArena};
use crate::tap::errand::Errand;
use crate::tap::guard::Guard;
use crate::tap::os::libc_names::is_glibc;
use crate::tap::os::schedule::{self, Processors};
use crate::tap::os::{clock, exit_word, signals, spare_stack, sys, tls};
use crate::tap::profiler::{PROFILER, STOP};
use crate::tap::settings::Settings;
use crate::tap::visit::Visit;
use post::{Post, State};
pub(crate) use rounds::SIGNAL;
use rounds::{INTERVAL, MAXIMUM, Rounds, TRIM};
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::Ordering;

/// The thread that is the keeper.
static POST: Post = Post::new();
/// The processors that the keeper may run on.
static PROCESSORS: Processors = Processors::new();

/// Stack of the keeper: it formats text and keeps its data on the heap.
const STACK_BYTES: usize = 256 << 10;
/// Longest sleep: the pulse that the region shows, and how soon requests from outside are seen.
const SLEEP_NS: u64 = 1_000_000_000;
/// A process that lives that long gets a keeper, so that its region explains itself if it is killed before it
/// becomes significant. One that holds something by then gets it at once: it may serve from that and never ask for
/// memory again, and nobody would start the keeper later.
const SETTLED_NS: u64 = 1_000_000_000;
/// Longest wait for its end; it may be writing a dump.
const PATIENCE_NS: u64 = 5_000_000_000;
/// Pause between two tries to get an arena where there is no memory.
const ARENA_PAUSE_NS: u64 = 10_000_000;
/// Pause after a thread could not be made.
const REFUSED_NS: u64 = 10_000_000_000;
/// How long a program of one thread waits at most for its new keeper to have its arena, which takes a tenth of a
/// millisecond.
const SETTLING_NS: u64 = 50_000_000;
/// First and longest pause between two looks whether the keeper is gone.
const LOOK_NS: [u64; 2] = [10_000, 1_000_000];

/// Begins to count the threads that the keeper must not outlive. From the constructor, on the main thread.
pub(crate) fn register() {
    if PROFILER.settings().is_some_and(Settings::has_keepers) {
        PROFILER.threads.begin(tls::thread(), thread_ends);
        exit_word::note();
        PROCESSORS.note();
    }
}

/// Whether there is a keeper, or a thread is becoming one.
pub(crate) fn is_there() -> bool {
    matches!(POST.state(), State::Starting | State::Running(_))
}

/// Whether this process has just come of the age at which it gets a keeper, whatever it samples. Where dumps by the
/// clock are promised the keeper waits for that age itself: nobody else would come if the program never called malloc
/// again.
pub(crate) fn comes_of_age() -> bool {
    PROFILER.comes_of_age(if PROFILER.has_promised_time() { 0 } else { SETTLED_NS })
}

/// The program waits for connections (listen(2)): what does is no helper of a start script, and may serve for weeks
/// from what it has. It gets its keeper at once.
pub(crate) fn serve() {
    PROFILER.note_server();
    stay();
}

/// A process that serves, by itself or by what it was forked from, shows that it stays: it forks workers, or begins a
/// session of its own. A worker, which does neither, comes of age as others do.
pub(crate) fn stay() {
    if PROFILER.serves()
        && !is_there()
        && PROFILER.settings().is_some_and(Settings::has_keepers)
        && !PROFILER.may_not_open()
        && sys::process_id() == PROFILER.pid()
        && let Some(visit) = Visit::begin()
    {
        PROFILER.check_life(visit.thread());
        PROFILER.settle_down();
        notice(false, false);
    }
}

/// Whether nothing shows yet that the process is more than a helper.
fn is_too_young() -> bool {
    !PROFILER.has_settled()
        && PROFILER.uptime_ns() < SETTLED_NS
        && !PROFILER.holds_something()
        && !PROFILER.is_significant()
}

/// After a sample: starts the keeper once the process is worth one, and tells it when a dump is due.
pub(crate) fn notice(interval_over: bool, new_maximum: bool) {
    let started = is_there();
    if started && !interval_over && !new_maximum {
        return;
    }
    let Some(settings) = PROFILER.settings() else { return };
    // First what is known without looking: where no keeper may start, every sample comes here.
    if !settings.options.prof_keeper || PROFILER.may_not_open() {
        return;
    }
    if is_too_young() && !PROFILER.has_promised_time() {
        return;
    }
    let wanted = (u32::from(interval_over) * INTERVAL) | (u32::from(new_maximum) * MAXIMUM);
    if wanted != 0 && PROFILER.is_significant() && !settings.prefix().is_empty() {
        PROFILER.triggers.fetch_or(wanted, Ordering::Release);
        sys::futex_wake(&PROFILER.triggers);
    }
    // A thread that has passed its destructors could not wait for a keeper that it starts. A child of vfork has our
    // memory and another pid: a thread of its own would be gone with its exec.
    if !started && PROFILER.threads.knows(tls::thread()) && sys::process_id() == PROFILER.pid() {
        start();
    }
}

/// Asks for a dump from wherever a program may be, a signal handler included. Without a keeper, and in a process that
/// is not worth a file, nothing comes of it.
pub(crate) fn ask(trigger: u32) {
    let profiling = PROFILER.settings().is_some_and(|settings| settings.options.prof && !settings.prefix().is_empty());
    if profiling && is_there() && PROFILER.is_significant() {
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

/// In a child of `fork`: what its parent's keepers were given serves its own, and they can end as its parent's could.
pub(crate) fn forked() {
    POST.inherit_arena();
    if !is_glibc() && PROFILER.settings().is_some_and(Settings::has_keepers) && !PROFILER.may_not_open() {
        exit_word::renew();
    }
}

/// Ends the keeper and waits until the kernel has forgotten it, so that the caller may be the only thread. A later
/// sample starts the next one. `false`: it is still there after [`PATIENCE_NS`], in a dump to a device that does not
/// answer; it ends as soon as it can.
pub(crate) fn give_way() -> bool {
    if sys::known_process_id() != Some(PROFILER.pid()) {
        return true; // a sandbox, or a child of vfork: they have no keeper
    }
    let deadline = clock::monotonic_ns().saturating_add(PATIENCE_NS);
    let [mut pause, longest] = LOOK_NS;
    loop {
        match POST.state() {
            State::Absent => return true,
            State::Ended(thread) if !sys::is_thread(PROFILER.pid(), thread) => return true,
            State::Ended(_) => {}
            State::Starting | State::Running(_) => stop(),
        }
        if clock::monotonic_ns() > deadline {
            return false;
        }
        clock::sleep_ns(pause);
        pause = (pause * 2).min(longest);
    }
}

fn stop() {
    PROFILER.triggers.fetch_or(STOP, Ordering::Release);
    sys::futex_wake(&PROFILER.triggers);
}

/// The destructor of a known thread.
unsafe extern "C" fn thread_ends(_: *mut c_void) {
    if PROFILER.threads.leave(tls::thread()) {
        sys::keep_errno(last_thread_ends);
    }
}

/// Of the known threads the last one ends. Where the keeper does not go, it would be the one to run `exit(0)`; if there
/// is no third thread, this one does so in its place, a few destructors early.
fn last_thread_ends() {
    unsafe extern "C" {
        fn exit(status: c_int) -> !;
    }
    if !give_way() && sys::living_threads().is_some_and(|living| living <= 2) {
        // SAFETY: ends the process, as glibc is about to.
        unsafe { exit(0) };
    }
}

/// Starts the thread. What fails is tried again later: dumps wait.
fn start() {
    let now = clock::monotonic_ns();
    if !exit_word::is_there(PROFILER.pid()) || !POST.claim(now) {
        return;
    }
    // Meant for another keeper.
    PROFILER.triggers.fetch_and(!STOP, Ordering::Relaxed);
    let made = Errand::run(|_| {
        signals::all_held_back(|| {
            let is_made = create_thread();
            // The new thread takes locks of jemalloc's for its arena. A program of one thread may clone itself by the
            // bare system call at any time, and rightly: the child must not find a lock taken by a thread that it
            // does not have.
            if is_made && sys::living_threads().is_some_and(|living| living <= 2) {
                POST.await_settled(SETTLING_NS);
            }
            is_made
        })
    });
    if made != Some(true) {
        POST.give_up(now, REFUSED_NS);
    }
}

/// Makes the thread, which has all signals blocked as its maker has.
fn create_thread() -> bool {
    let mut attributes = MaybeUninit::<libc::pthread_attr_t>::uninit();
    // SAFETY: initialises the attributes.
    if unsafe { libc::pthread_attr_init(attributes.as_mut_ptr()) } != 0 {
        return false;
    }
    // SAFETY: initialised above.
    unsafe { libc::pthread_attr_setstacksize(attributes.as_mut_ptr(), STACK_BYTES) };
    // SAFETY: initialised above.
    unsafe { libc::pthread_attr_setdetachstate(attributes.as_mut_ptr(), libc::PTHREAD_CREATE_DETACHED) };
    let mut thread = MaybeUninit::<libc::pthread_t>::uninit();
    // SAFETY: `run` is a thread function and needs no argument.
    let failed = unsafe { libc::pthread_create(thread.as_mut_ptr(), attributes.as_ptr(), run, ptr::null_mut()) };
    // SAFETY: initialised above, not used any more.
    unsafe { libc::pthread_attr_destroy(attributes.as_mut_ptr()) };
    failed == 0
}

extern "C" fn run(_: *mut c_void) -> *mut c_void {
    // Held for life: what this thread allocates is not the program's.
    let _guard = Guard::enter();
    POST.arrive();
    // SAFETY: a NUL-terminated name of at most 16 bytes.
    unsafe { libc::prctl(libc::PR_SET_NAME, c"heaptap".as_ptr()) };
    schedule::become_plain(&PROCESSORS, PROFILER.pid());
    // SAFETY: only this thread's own, unshared table is emptied; where the kernel cannot unshare (before 5.9)
    // nothing is closed.
    let closed = unsafe { libc::syscall(libc::SYS_close_range, 0, u32::MAX, libc::CLOSE_RANGE_UNSHARE) };
    tls::thread().has_own_descriptors.set(closed == 0);
    let arena = OwnArena::settle(POST.arena());
    if let Some(index) = arena.index() {
        POST.keep_arena(index);
    }
    POST.settle();
    sleep_while_young();
    let inherited = POST.inherited().map(Rounds::resumed);
    // Where there is no memory even for that, a later sample starts the next keeper.
    let Some(mut rounds) = inherited.or_else(|| spare_stack::with_room(Rounds::new)) else {
        POST.leave_nothing();
        wait_for_an_arena();
        return ptr::null_mut();
    };
    // Where there is no memory Rust would end the process: what the round began is given up instead.
    let _ = spare_stack::with_room(|| rounds.begin());
    loop {
        let triggers = PROFILER.triggers.swap(0, Ordering::Acquire);
        if triggers & STOP != 0 || is_alone() {
            // The next keeper writes the dumps that are due.
            PROFILER.triggers.fetch_or(triggers & !STOP, Ordering::Relaxed);
            rounds.pause();
            POST.leave(rounds);
            wait_for_an_arena();
            return ptr::null_mut();
        }
        let _ = spare_stack::with_room(|| rounds.go_round(triggers));
        arena.purge();
        sys::futex_wait(&PROFILER.triggers, 0, SLEEP_NS);
    }
}

/// jemalloc makes the state of a thread also where it has no memory for an arena, and follows the missing arena's
/// address when the thread ends (`tcache_destroy`). So this one ends once there is memory; the process's end does not
/// wait for it.
fn wait_for_an_arena() {
    while !backend::has_arena() {
        sys::futex_wait(&PROFILER.triggers, PROFILER.triggers.load(Ordering::Relaxed), ARENA_PAUSE_NS);
    }
}

/// A keeper that was started for a promise in time leaves no trace until its process is worth one.
fn sleep_while_young() {
    while PROFILER.triggers.load(Ordering::Relaxed) == 0 && is_too_young() {
        sys::futex_wait(&PROFILER.triggers, 0, SETTLED_NS.saturating_sub(PROFILER.uptime_ns()));
    }
}

/// Whether the program's threads have all ended without their destructors, by the bare system call: the process ends
/// with its last thread, which must not be this one. The main thread is looked at first: it nearly always lives.
fn is_alone() -> bool {
    !sys::main_thread_lives() && sys::living_threads() == Some(1)
}
