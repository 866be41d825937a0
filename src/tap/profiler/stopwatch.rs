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

/// One visit to the profiler; measured, or not.
pub(super) struct Stopwatch {
    start_ns: Option<u64>,
}

impl Stopwatch {
    /// Begins a visit of this thread.
    #[inline]
    pub(super) fn start(thread: &ThreadBlock) -> Stopwatch {
        let left = thread.unmeasured.get();
        thread.unmeasured.set(left.checked_sub(1).unwrap_or(ONE_IN - 1));
        Stopwatch { start_ns: (left == 0).then(clock::monotonic_ns) }
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
            let took_ns = clock::monotonic_ns().saturating_sub(start_ns);
            store.region().count(Counter::ProfilerNs, took_ns * u64::from(ONE_IN));
        }
    }
}
