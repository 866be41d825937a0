//! The first call of the process: reads the settings before jemalloc runs, and starts the profiler.
//!
//! C++ programs call malloc before any constructor of ours runs, so the slow path does this: a zeroed thread block
//! leads there. Threads that come while it runs wait for it; a nested call of the same thread does not get here (the
//! guard) but is served from `boot_memory`.

use crate::tap::backend::Conf;
use crate::tap::guard::Guard;
use crate::tap::os::stderr;
use crate::tap::profiler::PROFILER;
use crate::tap::settings::Settings;
#[cfg(not(test))]
use crate::wire::options::values::Allocator;
use std::sync::atomic::{AtomicU32, Ordering};

/// How far the first call has come. The values of [`STATE`].
#[repr(u32)]
enum State {
    /// No call yet.
    New = 0,
    /// A thread makes it.
    Starting = 1,
    /// The profiler and jemalloc are set up.
    Ready = 2,
}

static STATE: AtomicU32 = AtomicU32::new(State::New as u32);

/// Makes sure that the profiler is set up.
pub(crate) fn ensure_started() {
    if STATE.load(Ordering::Acquire) != State::Ready as u32 {
        start();
    }
}

/// Whether the first call is under way.
pub(crate) fn is_starting() -> bool {
    STATE.load(Ordering::Relaxed) == State::Starting as u32
}

/// As [`ensure_started`], for the constructor, before which few programs allocate: a look before the exchange would be
/// one page fault more.
#[cold]
pub(super) fn start() {
    let (new, starting) = (State::New as u32, State::Starting as u32);
    match STATE.compare_exchange(new, starting, Ordering::Acquire, Ordering::Acquire) {
        Ok(_) => {
            // Not every caller holds one, and jemalloc's boot may come back to us: with `background_thread:true`
            // it starts a thread, and pthread_create allocates.
            let _guard = Guard::enter();
            stderr::remember();
            // SAFETY: the exchange lets one thread in, once, and no export calls jemalloc before `Ready`.
            #[allow(unsafe_code)]
            let conf = unsafe { Conf::begin() };
            let settings = Settings::read(conf);
            #[cfg(not(test))]
            if settings.options.prof_allocator == Allocator::Keep {
                // SAFETY: nothing was served but by the boot memory.
                #[allow(unsafe_code)]
                unsafe {
                    super::next_allocator::keep_next();
                }
            }
            PROFILER.start(settings);
            PROFILER.heap.settle();
            STATE.store(State::Ready as u32, Ordering::Release);
        }
        Err(_) => {
            while STATE.load(Ordering::Acquire) != State::Ready as u32 {
                // The thread that starts may have a lower priority.
                std::thread::yield_now();
            }
        }
    }
}
