//! The wait of a thread: the bytes that it may still allocate before it takes its next sample.
//!
//! The exports count it down in `ThreadBlock::bytes_left`. A thread that starts has zero bytes left, so its first call
//! is due: that call draws the thread's first wait.

use crate::tap::heap::Size;
use crate::tap::os::tls::{self, ThreadBlock};
use crate::tap::profiler::PROFILER;

/// A wait that no thread uses up: profiling is off for good.
const NEVER: u64 = 1 << 62;

/// Whether the wait of this thread ends within `bytes` more bytes.
#[inline(always)]
pub(crate) fn is_due(bytes: usize) -> bool {
    let left = &tls::thread().bytes_left;
    let (rest, borrow) = left.get().overflowing_sub(bytes as u64);
    left.set(rest);
    borrow || rest == 0
}

/// Gives the wait the bytes back that [`is_due`] counted for a request that failed.
pub(crate) fn uncount(bytes: usize) {
    let left = &tls::thread().bytes_left;
    left.set(left.get().wrapping_add(bytes as u64));
}

/// Draws a wait for a thread that has used its own up. A thread without a first wait stays due.
pub(super) fn draw_anew(thread: &ThreadBlock) {
    if thread.drawn.get() == 0 {
        thread.bytes_left.set(0);
    } else {
        PROFILER.draw(thread);
    }
}

/// Whether a wait that is due is over. A thread that has not drawn yet draws its first wait here, and counts the
/// request in it. A thread of a process without profiling gets a wait that never ends.
pub(super) fn is_over(size: Size, thread: &ThreadBlock) -> bool {
    if PROFILER.settings().is_none_or(|settings| !settings.options.prof) {
        thread.bytes_left.set(NEVER);
        return false;
    }
    thread.drawn.get() != 0 || {
        PROFILER.draw(thread);
        is_due(size.bytes()) && {
            // Perhaps it was no more than a piece of the wait.
            PROFILER.join_pieces(thread);
            PROFILER.is_wait_over(thread)
        }
    }
}
