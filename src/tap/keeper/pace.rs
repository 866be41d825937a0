//! Work of the keeper's that is done rarely enough: what it cost decides when it comes again.

use crate::tap::os::clock;

/// When a piece of work may come next, and what share of a processor's time it may cost.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pace {
    /// One part in so many.
    share: u64,
    next_ns: u64,
}

impl Pace {
    /// Due at once; `share`: it may cost one part in so many of a processor's time.
    pub(super) const fn new(share: u64) -> Pace {
        Pace { share, next_ns: 0 }
    }

    /// Whether it may come now.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        now_ns >= self.next_ns
    }

    /// Does the work, and says what it took of the thread's own processor time: how long it was kept waiting says
    /// nothing of what it costs.
    pub(super) fn spend<T>(&mut self, now_ns: u64, work: impl FnOnce() -> T) -> (T, u64) {
        let before_ns = clock::thread_ns();
        let done = work();
        let took_ns = clock::thread_ns().saturating_sub(before_ns);
        self.next_ns = now_ns.saturating_add(took_ns.saturating_mul(self.share));
        (done, took_ns)
    }
}
