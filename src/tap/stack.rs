//! One captured call stack, and where in it unwinding stands.
//!
//! Plain data for `unwind` and `jvm`, which fill it, and for `store`, which interns it.
//! Nothing here allocates, locks or reads foreign memory.

use super::code_address::ReturnAddress;
use crate::wire::stack_end::StackEnd;

/// Frames that a trace can hold; `prof_bt_max` can only lower it.
pub(crate) const MAX_FRAMES: usize = 512;

/// The three registers that unwind rules need, at one point of a stack.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Registers {
    /// Instruction pointer (x86-64 rip, aarch64 pc): where the frame goes on.
    pub(crate) pc: ReturnAddress,
    /// Stack pointer.
    pub(crate) sp: usize,
    /// Frame pointer (x86-64 rbp, aarch64 x29), or any other value that the code keeps in that register.
    pub(crate) fp: usize,
}

/// The bytes `low..high` of the thread's own stack, all readable as long as it runs there: what a walk may look at
/// plainly. None at all (`FOREIGN`) where the thread runs on another stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct StackBounds {
    /// Lowest readable address, at or below the current stack pointer.
    pub(crate) low: usize,
    /// One past the highest readable address.
    pub(crate) high: usize,
}

impl StackBounds {
    /// No bounds: a walk reads such a stack through the kernel.
    pub(crate) const FOREIGN: StackBounds = StackBounds { low: 0, high: 0 };

    /// Whether it is the thread's own stack.
    pub(crate) fn is_own(&self) -> bool {
        self.high != 0
    }

    /// Whether an aligned word can be read at `address`.
    pub(crate) fn holds_word(&self, address: usize) -> bool {
        address >= self.low
            && address < self.high
            && self.high - address >= size_of::<usize>()
            && address.is_multiple_of(size_of::<usize>())
    }
}

/// A call stack, leaf first: return addresses of native frames, and fake pcs of Java frames.
///
/// Fake pcs are `wire::java_pc`'s and lie above all user memory; the region holds a Java frame's class and method.
pub(crate) struct StackTrace {
    pcs: [u64; MAX_FRAMES],
    depth: usize,
    limit: usize,
    end: StackEnd,
}

impl StackTrace {
    /// An empty trace that takes at most `limit` frames (clipped to [`MAX_FRAMES`]).
    #[cfg(test)]
    pub(crate) const fn new(limit: usize) -> StackTrace {
        let limit = if limit < MAX_FRAMES { limit } else { MAX_FRAMES };
        StackTrace { pcs: [0; MAX_FRAMES], depth: 0, limit, end: StackEnd::NotWalked }
    }

    /// A trace that must be [`reset`](Self::reset) before it takes frames. All its bits are zero.
    pub(crate) const fn blank() -> StackTrace {
        StackTrace { pcs: [0; MAX_FRAMES], depth: 0, limit: 0, end: StackEnd::Root }
    }

    /// Makes the trace empty again, with a new limit.
    pub(crate) fn reset(&mut self, limit: usize) {
        self.depth = 0;
        self.limit = limit.min(MAX_FRAMES);
        self.end = StackEnd::NotWalked;
    }

    /// Adds the next outer frame. `false`: the trace is full, and marked as cut.
    #[must_use]
    #[inline]
    pub(crate) fn push(&mut self, pc: u64) -> bool {
        match self.pcs.get_mut(self.depth) {
            Some(frame) if self.depth < self.limit => {
                *frame = pc;
                self.depth += 1;
                true
            }
            _ => {
                self.end = StackEnd::TooDeep;
                false
            }
        }
    }

    /// Adds outer frames as long as there is room; how many were added.
    pub(crate) fn push_all(&mut self, pcs: impl Iterator<Item = u64>) -> usize {
        self.push_while(pcs, Some)
    }

    /// Adds outer frames as long as there is room and `pc_of` knows them; how many were added.
    #[inline]
    pub(crate) fn push_while<T>(&mut self, frames: impl Iterator<Item = T>, pc_of: impl Fn(T) -> Option<u64>) -> usize {
        let room = self.pcs.get_mut(self.depth..self.limit).unwrap_or(&mut []);
        let mut added = 0;
        for (place, frame) in room.iter_mut().zip(frames) {
            let Some(pc) = pc_of(frame) else { break };
            *place = pc;
            added += 1;
        }
        self.depth += added;
        added
    }

    /// Puts a frame right above the leaf. A trace that is full is left as it is.
    pub(crate) fn put_above_leaf(&mut self, pc: u64) {
        if self.depth == 0 || self.depth >= self.limit {
            return;
        }
        if let Some(frames) = self.pcs.get_mut(1..=self.depth) {
            frames.rotate_right(1);
            frames.iter_mut().take(1).for_each(|frame| *frame = pc);
            self.depth += 1;
        }
    }

    /// Takes the outermost frames back, down to so many.
    pub(crate) fn cut(&mut self, depth: usize) {
        self.depth = self.depth.min(depth);
    }

    /// Records why the walk stopped.
    pub(crate) fn set_end(&mut self, end: StackEnd) {
        self.end = end;
    }

    /// Why the walk stopped.
    pub(crate) fn end(&self) -> StackEnd {
        self.end
    }

    /// The frames, leaf first.
    pub(crate) fn pcs(&self) -> &[u64] {
        self.pcs.get(..self.depth).unwrap_or(&[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_trace_is_cut_at_the_root_end_and_says_so() {
        let mut trace = StackTrace::new(2);
        assert!(trace.push(1) && trace.push(2));
        assert!(!trace.push(3));
        assert_eq!((trace.pcs(), trace.end()), (&[1, 2][..], StackEnd::TooDeep));
        trace.reset(4);
        trace.put_above_leaf(9);
        assert!(trace.push(1));
        trace.put_above_leaf(9);
        assert_eq!(trace.pcs(), [1, 9]);
        trace.reset(4);
        assert!(trace.push(1));
        assert_eq!((trace.push_all(2..4), trace.push_all(4..9), trace.pcs()), (2, 1, &[1, 2, 3, 4][..]));
        trace.put_above_leaf(9);
        assert_eq!(trace.pcs(), [1, 2, 3, 4]);
        trace.cut(1);
        assert_eq!(trace.pcs(), [1]);
    }

    #[test]
    fn bounds_admit_whole_aligned_words_only() {
        let bounds = StackBounds { low: 64, high: 128 };
        assert!(bounds.holds_word(64) && bounds.holds_word(120));
        assert!(![56, 65, 124, 128, usize::MAX].iter().any(|&address| bounds.holds_word(address)));
    }
}
