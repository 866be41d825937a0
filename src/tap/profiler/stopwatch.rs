//! Measures what the profiler costs application threads: one visit in 251, which stands for all.
//!
//! Processor time, not the wall's: on a busy machine a thread is often interrupted, and what others did
//! meanwhile is not our cost. Two looks at that clock are two system calls, as dear as a whole hot sample, so
//! few visits are measured. An odd number, because a loop that samples and frees in turn would else have only one of
//! the two measured. Which visit of a new thread is the first one to be measured is drawn: a program of many
//! short threads is measured like any other.

use crate::tap::os::clock;
use crate::tap::os::tls::ThreadBlock;
use crate::tap::store::Store;
use crate::wire::live::counters::Counter;

/// Visits that one measured visit stands for.
const ONE_IN: u32 = 251;

/// One visit to the profiler; measured, or not.
pub(super) struct Stopwatch {
    start_ns: Option<u64>,
    is_check_due: bool,
}

impl Stopwatch {
    /// Begins a visit of this thread.
    #[inline]
    pub(super) fn start(thread: &ThreadBlock) -> Stopwatch {
        let (left, is_new) = match thread.unmeasured.get() {
            // A new thread: its random numbers were just seeded.
            0 => (1 + (thread.random.get() >> 33) as u32 % ONE_IN, true),
            left => (left, false),
        };
        thread.unmeasured.set(if left == 1 { ONE_IN } else { left - 1 });
        // Now and then, so that it is cheap, what else need not be looked at each time: the first time, too.
        let is_check_due = is_new || left.is_multiple_of(16);
        Stopwatch { start_ns: (left == 1).then(clock::thread_ns), is_check_due }
    }

    /// True on a thread's first visit and then on one in sixteen.
    #[inline]
    pub(super) fn is_check_due(&self) -> bool {
        self.is_check_due
    }

    /// Ends it. What was measured is counted for the visits that were not; then it is what was counted so far.
    #[inline]
    pub(super) fn stop(self, store: &Store) -> Option<u64> {
        let start_ns = self.start_ns?;
        let took_ns = clock::thread_ns().saturating_sub(start_ns);
        store.region().count(Counter::ProfilerNs, took_ns * u64::from(ONE_IN));
        Some(store.region().counter(Counter::ProfilerNs))
    }
}
