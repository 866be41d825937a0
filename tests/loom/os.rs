//! What the protocols use of the outside world.

/// loom's atomics, in the place of the tap's.
pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
}
