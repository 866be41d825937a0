//! Measures what the profiler costs application threads: one visit in seventeen, which stands for all.
//!
//! Two looks at the clock cost a fifth of a hot sample, so not every visit is measured. Seventeen, not
//! sixteen: in a loop that samples and frees in turn, an even number would measure only one of the two.

use crate::tap::os::clock;
use crate::tap::os::tls::ThreadBlock;
use crate::tap::store::Store;
use crate::wire::live::counters::Counter;

/// Visits that one measured visit stands for.
const ONE_IN: u32 = 17;
/// Which of them it is: not the first, which finds nothing in the caches and may open the region.
const MEASURED: u32 = 8;

/// One visit to the profiler; measured, or not.
pub(super) struct Stopwatch {
    start_ns: Option<u64>,
    is_check_due: bool,
}

impl Stopwatch {
    /// Begins a visit of this thread.
    #[inline]
    pub(super) fn start(thread: &ThreadBlock) -> Stopwatch {
        let number = thread.visits.get();
        thread.visits.set((number + 1) % ONE_IN);
        Stopwatch { start_ns: (number == MEASURED).then(clock::monotonic_ns), is_check_due: number == 0 }
    }

    /// True on a thread's first visit and then on one in seventeen.
    #[inline]
    pub(super) fn is_check_due(&self) -> bool {
        self.is_check_due
    }

    /// Ends it. What was measured is counted for the visits that were not; then it is this time, and so much
    /// was counted so far.
    #[inline]
    pub(super) fn stop(self, store: &Store) -> Option<(u64, u64)> {
        let start_ns = self.start_ns?;
        let now_ns = clock::monotonic_ns();
        let took_ns = now_ns.saturating_sub(start_ns);
        Some((now_ns, store.region().count(Counter::ProfilerNs, took_ns * u64::from(ONE_IN))))
    }
}
