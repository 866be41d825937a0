//! Measures what the profiler costs application threads: one visit in seventeen, which stands for all.
//!
//! A look at the clock of the thread's processor time is a system call, so not every visit is measured. (Not the
//! clock on the wall: a thread that loses its processor meanwhile would count as ours.) Seventeen, not sixteen:
//! in a loop that samples and frees in turn, an even number would measure only one of the two. Each thread
//! begins somewhere in between, or every first visit, which sets the thread up, would count seventeen times.

use crate::tap::os::clock;
use crate::tap::os::tls::ThreadBlock;
use crate::tap::store::Store;
use crate::wire::live::counters::Counter;

/// Visits that one measured visit stands for.
const ONE_IN: u32 = 17;

/// One visit to the profiler; measured, or not.
pub(super) struct Stopwatch {
    start_ns: Option<u64>,
}

impl Stopwatch {
    /// Begins a visit of this thread.
    #[inline]
    pub(super) fn start(thread: &ThreadBlock) -> Stopwatch {
        let left = match thread.unmeasured.get() {
            // A new thread: its random numbers were just seeded.
            0 => 1 + (thread.random.get() >> 33) as u32 % ONE_IN,
            left => left,
        };
        thread.unmeasured.set(if left == 1 { ONE_IN } else { left - 1 });
        Stopwatch { start_ns: (left == 1).then(clock::thread_ns) }
    }

    /// Whether this visit is the one in seventeen.
    #[inline]
    pub(super) fn is_running(&self) -> bool {
        self.start_ns.is_some()
    }

    /// Ends it. What was measured is counted for the visits that were not.
    #[inline]
    pub(super) fn stop(self, store: &Store) {
        if let Some(start_ns) = self.start_ns {
            let took_ns = clock::thread_ns().saturating_sub(start_ns);
            store.region().count(Counter::ProfilerNs, took_ns * u64::from(ONE_IN));
        }
    }
}
