//! How the end of the range moves, and with it the limit that `free` compares with.
//!
//! The limit is never below the end: else what another thread takes of a new part, and frees before this one has come
//! to the limit, would pass for a plain block.

use crate::tap::os::atomic::{AtomicUsize, Ordering};

/// Moves both: the end to `to`, and the limit to that or to `least`, whichever is higher. One thread at a time.
///
/// Release: a thread that sees the end sees the limit that was raised before it.
pub(super) fn move_end(end: &AtomicUsize, limit: &AtomicUsize, to: usize, least: usize) {
    if to > end.load(Ordering::Relaxed) {
        limit.store(to.max(least), Ordering::Release);
        end.store(to, Ordering::Release);
    } else {
        end.store(to, Ordering::Release);
        limit.store(to.max(least), Ordering::Release);
    }
}
