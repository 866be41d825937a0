//! The atomics of the lock-free protocols. The models in `tests/loom` compile those files with loom's in their place.

pub(crate) use std::sync::atomic::{AtomicU32, AtomicU64, Ordering, fence};
