//! How a process without a keeper notices that it is worth one: its threads' waits come in pieces, at whose ends they
//! look at the clock, whether or not they sample anything; and those that sample look, now and then, at what it holds.

use super::profiler::Profiler;
use crate::tap::os::clock;
use crate::tap::os::tls::ThreadBlock;
use std::sync::atomic::Ordering;

/// Bytes of a piece: nothing to a program that allocates; and at most, in one that allocates so fast that looks would
/// cost something. The latter is as much as may go by unseen in a program that then falls silent.
const PIECE_BYTES: u32 = 4096;
const MOST_PIECE_BYTES: u32 = 64 << 10;
/// A program that has begun to idle looks at the very next bytes.
const IDLE_NS: u64 = 20_000_000;
/// What is noted again and again by all threads would go to and fro between processors.
const STEP_NS: u64 = 1_000_000;
/// A thread looks at what the process holds with so many bytes of its own: a small part of what is something.
const LOOK_BYTES: u64 = 1 << 20;

impl Profiler {
    /// So many bytes are left of a thread's wait.
    pub(super) fn put_wait(&self, thread: &ThreadBlock, left: u64) {
        let piece = if self.is_young.load(Ordering::Relaxed) { left.min(self.piece(thread)) } else { left };
        thread.bytes_beyond.set(left - piece);
        thread.bytes_left.set(piece);
    }

    /// Bytes until a thread of a young process looks at the clock again.
    #[cold]
    fn piece(&self, thread: &ThreadBlock) -> u64 {
        let now = clock::tick_ns();
        let since = now.saturating_sub(self.looked_ns.load(Ordering::Relaxed));
        if since > STEP_NS {
            self.looked_ns.store(now, Ordering::Relaxed);
        }
        let is_same_tick = thread.piece_tick.replace(now) == now;
        thread.piece.set(next_piece(thread.piece.get(), is_same_tick));
        if since > IDLE_NS { 1 } else { u64::from(thread.piece.get()) }
    }

    /// The end of a piece is no end of the wait: the thread goes on with all that is left of it. `true`: it was one.
    #[inline]
    pub(crate) fn join_pieces(&self, thread: &ThreadBlock) -> bool {
        let beyond = thread.bytes_beyond.replace(0);
        if beyond != 0 {
            // Counted below zero as the exports count: what a request took of the next piece is taken off.
            thread.bytes_left.set(thread.bytes_left.get().wrapping_add(beyond));
        }
        beyond != 0
    }

    /// After the end of a piece: whether the wait is over with it. Otherwise its next piece begins.
    #[cold]
    pub(crate) fn is_wait_over(&'static self, thread: &ThreadBlock) -> bool {
        self.make_wanted_store();
        let left = thread.bytes_left.get().cast_signed();
        if left > 0 {
            self.put_wait(thread, left.cast_unsigned());
        }
        left <= 0
    }

    /// Whether this process is old enough for a keeper and has had none: told once, with the end of a piece.
    #[cold]
    pub(crate) fn comes_of_age(&self, age_ns: u64) -> bool {
        self.is_young.load(Ordering::Relaxed)
            && self.uptime_ns() >= age_ns
            && self.is_young.swap(false, Ordering::Relaxed)
    }
}

/// Whether a thread that samples shall look at what its process holds, after a wait of so many bytes: to look is to add
/// up counters of all threads.
pub(crate) fn is_look_due(thread: &ThreadBlock, used: u64) -> bool {
    let unseen = u64::from(thread.unseen_bytes.get()).saturating_add(used);
    let is_due = unseen >= LOOK_BYTES;
    thread.unseen_bytes.set(if is_due { 0 } else { unseen as u32 });
    is_due
}

/// The bytes of a thread's next piece: twice the last one's while one tick of the clock lasts.
fn next_piece(last: u32, is_same_tick: bool) -> u32 {
    if is_same_tick { (last * 2).clamp(PIECE_BYTES, MOST_PIECE_BYTES) } else { PIECE_BYTES }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::os::tls;

    #[test]
    fn pieces_grow_within_a_tick_and_begin_small_in_the_next_one() {
        let ticks = [false, true, true, true, true, true, false, true];
        let mut last = 0;
        let pieces = ticks.map(|is_same_tick| {
            last = next_piece(last, is_same_tick);
            last >> 10
        });
        assert_eq!(pieces, [4, 8, 16, 32, 64, 64, 4, 8]);
    }

    #[test]
    fn a_thread_looks_with_each_mebibyte() {
        let thread = tls::thread();
        let due = |used| is_look_due(thread, used);
        assert!(!due(600 << 10) && due(600 << 10) && !due(1 << 10), "the sum counts, and begins anew");
        assert!(due(u64::MAX) && !due((1 << 20) - 1) && due(1));
    }
}
