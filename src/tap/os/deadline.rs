//! How long may be waited: looks now and then whether something is so, until the time is over.

use super::clock;

/// Between two looks.
const STEP_NS: u64 = 1_000_000;

/// An instant of CLOCK_MONOTONIC.
pub(crate) struct Deadline(u64);

impl Deadline {
    /// So many nanoseconds after an instant.
    pub(crate) fn after(began_ns: u64, patience_ns: u64) -> Deadline {
        Deadline(began_ns.saturating_add(patience_ns))
    }

    /// Waits until something is so. `false`: the deadline has come first.
    pub(crate) fn wait_until(&self, mut is_so: impl FnMut() -> bool) -> bool {
        while !is_so() {
            if clock::monotonic_ns() >= self.0 {
                return false;
            }
            clock::sleep_ns(STEP_NS);
        }
        true
    }
}
