//! How often libraries were opened: counted by the exported `dlopen`, looked at by the keeper.

use std::sync::atomic::{AtomicU32, Ordering};

/// A static of its own because the exported `dlopen` counts in it directly, from assembly.
pub(crate) static OPENED: AtomicU32 = AtomicU32::new(0);

/// Calls of `dlopen` so far.
pub(crate) fn count() -> u32 {
    OPENED.load(Ordering::Relaxed)
}
