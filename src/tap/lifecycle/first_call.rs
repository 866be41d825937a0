//! The first call of the process: reads the settings before jemalloc runs, and starts the profiler.
//!
//! In C++ programs malloc is called before any constructor of ours, so this hangs on the slow path that
//! the zeroed thread block leads to. Threads that come while it runs wait for it; a nested call of the
//! same thread does not get here (the guard).

use crate::tap::backend::Conf;
use crate::tap::guard::Guard;
use crate::tap::os::stderr;
use crate::tap::profiler::PROFILER;
use crate::tap::settings::Settings;
use std::sync::atomic::{AtomicU32, Ordering};

const NEW: u32 = 0;
const STARTING: u32 = 1;
const READY: u32 = 2;

static STATE: AtomicU32 = AtomicU32::new(NEW);

/// Makes sure that the profiler is set up.
pub(crate) fn ensure_started() {
    if STATE.load(Ordering::Acquire) != READY {
        start();
    }
}

#[cold]
fn start() {
    match STATE.compare_exchange(NEW, STARTING, Ordering::Acquire, Ordering::Acquire) {
        Ok(_) => {
            // Not every caller holds one, and jemalloc's boot may come back to us: with `background_thread:true`
            // it starts a thread, and pthread_create allocates.
            let _guard = Guard::enter();
            stderr::remember();
            // SAFETY: the exchange lets one thread in, once, and no export calls jemalloc before READY.
            #[allow(unsafe_code)]
            let conf = unsafe { Conf::begin() };
            PROFILER.start(Settings::read(conf));
            STATE.store(READY, Ordering::Release);
        }
        Err(_) => {
            while STATE.load(Ordering::Acquire) != READY {
                std::hint::spin_loop();
            }
        }
    }
}
