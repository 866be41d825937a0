//! A request that was counted in its thread's wait: the wait is undone where jemalloc refuses the request.

use super::wait;
use crate::tap::heap::Size;
use crate::tap::keeper;
use crate::tap::os::tls::{self, ThreadBlock};
use crate::tap::profiler::{PROFILER, Request, Wait, is_look_due};
use crate::tap::visit::Visit;

/// A request that is being served, and the thread's wait before the request was counted.
pub(super) struct CountedRequest {
    /// Bytes of the wait as it was drawn.
    drawn: u64,
    /// The wait's period, and the bytes used of it, the request included.
    pub(super) wait: Wait,
    /// A piece of the wait was over, and perhaps no more than that.
    at_piece: bool,
    /// The wait ended with the request, and the next one was drawn.
    pub(super) is_over: bool,
    /// The range had no room for the sample: the request is counted all the same.
    pub(super) is_lost: bool,
}

impl CountedRequest {
    /// A request whose bytes the export counted just now.
    #[inline]
    pub(super) fn begin(thread: &ThreadBlock) -> CountedRequest {
        let at_piece = PROFILER.join_pieces(thread);
        CountedRequest { drawn: thread.drawn.get(), wait: Wait::of(thread), at_piece, is_over: false, is_lost: false }
    }

    /// Whether the wait ends with the request: of a young process only a piece of it may be over.
    #[inline]
    pub(super) fn ends_wait(&self, size: Size, thread: &ThreadBlock) -> bool {
        if self.at_piece { PROFILER.is_wait_over(thread) } else { wait::is_over(size, thread) }
    }

    /// At the end of a piece: starts the keeper once the process is old enough for one, whatever it samples.
    #[inline]
    pub(super) fn look_at_age(&self) {
        if self.at_piece && keeper::comes_of_age() {
            keeper::notice(false, false);
        }
    }

    /// Ends the wait and draws the next one. This comes before the sampling: a signal handler that jumps out of the
    /// sampling (siglongjmp) then leaves a drawn wait behind.
    #[inline]
    pub(super) fn end_wait(&mut self, thread: &ThreadBlock) -> Wait {
        self.drawn = thread.drawn.get();
        self.wait = Wait::of(thread);
        self.is_over = true;
        PROFILER.draw(thread);
        self.wait
    }

    /// Gives the thread the wait back that it had before these bytes were counted.
    pub(super) fn undo(&self, bytes: usize) {
        let thread = tls::thread();
        let left = self.drawn.wrapping_sub(self.wait.used).wrapping_add(bytes as u64);
        thread.bytes_left.set(left);
        thread.bytes_beyond.set(0);
        thread.drawn.set(self.drawn);
        thread.period.set(self.wait.period);
    }

    /// Ends a request that jemalloc served or refused. Not inlined: its frame would lie below jemalloc's, and sampling
    /// needs the stack.
    #[cold]
    #[inline(never)]
    pub(super) fn settle(&self, request: &Request, is_served: bool) {
        if !is_served {
            self.undo(request.bytes);
        } else if self.is_lost
            && let Some(visit) = Visit::begin()
        {
            notice(PROFILER.lose(&visit, request, self.wait), true, self.wait);
        }
    }
}

/// Tells the keeper of a sample: an interval that is over, a check that is due. Where there is no keeper, a thread
/// looks now and then whether the process is worth one.
#[inline(always)]
pub(super) fn notice(interval_over: bool, is_check_due: bool, wait: Wait) {
    if interval_over || is_check_due || !keeper::is_there() && is_look_due(tls::thread(), wait.used) {
        keeper::notice(interval_over, PROFILER.is_new_maximum());
    }
}
