//! Measures what the profiler costs application threads: one visit in 255, which stands for all.
//!
//! Processor time, not the wall's: on a busy machine a thread is often interrupted, and what others did
//! meanwhile is not our cost. A look at that clock is a system call, as dear as a whole hot sample: what it costs is
//! measured, too, and few visits are, of a hundred pairs of sample and free less than one. A visit may be one of a kind
//! (it opens the region, reads a library's tables): what is beyond [`USUAL_NS`] stands for itself alone, or one such
//! visit would pass for hundreds. An odd number, because a loop that samples and frees in turn would else have only one
//! of the two measured. Which visit of a new thread is the first one to be measured is drawn: a program of many short
//! threads is measured like any other.

use crate::tap::os::clock;
use crate::tap::os::tls::ThreadBlock;
use crate::tap::store::Store;
use crate::wire::live::counters::Counter;

/// Visits that one measured visit stands for.
const ONE_IN: u32 = 255;
/// Longer than a visit takes that is repeated, even on a deep stack and with cold caches.
const USUAL_NS: u64 = 50_000;

/// One visit to the profiler; measured, or not.
pub(super) struct Stopwatch {
    begun: Option<Begun>,
    is_check_due: bool,
}

/// Of a visit that is measured.
struct Begun {
    start_ns: u64,
    /// Nanoseconds of one look at the clock.
    look_ns: u64,
}

impl Begun {
    fn now() -> Begun {
        let before_ns = clock::thread_ns();
        let start_ns = clock::thread_ns();
        Begun { start_ns, look_ns: start_ns.saturating_sub(before_ns) }
    }
}

/// The nanoseconds that a measured visit stands for.
fn all_like(took_ns: u64) -> u64 {
    let usual_ns = took_ns.min(USUAL_NS);
    usual_ns * u64::from(ONE_IN) + (took_ns - usual_ns)
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
        Stopwatch { begun: (left == 1 && clock::tells_processor_time()).then(Begun::now), is_check_due }
    }

    /// True on a thread's first visit and then on one in sixteen.
    #[inline]
    pub(super) fn is_check_due(&self) -> bool {
        self.is_check_due
    }

    /// Ends it. What was measured is counted for the visits that were not; then it is what was counted so far.
    #[inline]
    pub(super) fn stop(self, store: &Store) -> Option<u64> {
        let begun = self.begun?;
        let took_ns = clock::thread_ns().saturating_sub(begun.start_ns).saturating_sub(begun.look_ns);
        store.region().count(Counter::ProfilerNs, all_like(took_ns));
        Some(store.region().counter(Counter::ProfilerNs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_one_of_a_kind_stands_for_itself() {
        assert_eq!([0, 1000, 50_000, 51_000].map(all_like), [0, 255_000, 12_750_000, 12_751_000]);
    }
}
