//! What the protocols use of the outside world.

/// loom's atomics, in the place of the tap's.
pub(crate) mod atomic {
    pub(crate) use loom::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};
}

#[path = "../../src/tap/os/range_end.rs"]
mod range_end;
#[path = "os_models.rs"]
mod range_end_models;
