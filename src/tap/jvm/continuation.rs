//! Virtual threads: where the frames of one that is mounted end, and those of its carrier begin.
//!
//! A virtual thread runs on the stack of a carrier thread, above the frame of `Continuation.enterSpecial`, the native
//! method by which the carrier entered it. When it is resumed, only its innermost frames are copied back ("thawed");
//! the oldest of them returns to a stub that thaws more. What is frozen lies in the heap and cannot be read safely; but
//! the oldest thawed frame lies directly on top of the frame of `enterSpecial`, so that the walk can go on there. Where
//! its code returns to is learned from the first stack that is mounted whole. (The frame pointer is of no use: the
//! oldest thawed frame restores the one of an earlier mount, perhaps on another carrier.)

use crate::tap::code_address::ReturnAddress;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Words between the oldest thawed frame and `enterSpecial`'s: alignment, and arguments passed on the stack.
const GAP_WORDS: usize = 6;

/// Facts learned about the entry of virtual threads. Relaxed: each word stands for itself.
#[derive(Debug)]
pub(super) struct Continuations {
    /// The `Method*` of `Continuation.enterSpecial`; 0: not seen.
    method: AtomicUsize,
    /// Where its only call returns to; 0: not seen.
    return_pc: AtomicUsize,
}

impl Continuations {
    pub(super) const fn new() -> Continuations {
        Continuations { method: AtomicUsize::new(0), return_pc: AtomicUsize::new(0) }
    }

    /// Takes note of a new native method, if it is the one.
    pub(super) fn note_method(&self, class: &[u8], name: &[u8], method: usize) {
        if class == b"jdk/internal/vm/Continuation" && name == b"enterSpecial" {
            self.method.store(method, Ordering::Relaxed);
        }
    }

    /// Takes note of the frame of a native method.
    #[inline]
    pub(super) fn note_frame(&self, method: usize, pc: ReturnAddress) {
        if method == self.method.load(Ordering::Relaxed) {
            self.return_pc.store(pc.address(), Ordering::Relaxed);
        }
    }

    /// Where `enterSpecial`'s call returns to, if that is known.
    pub(super) fn return_pc(&self) -> Option<ReturnAddress> {
        Some(ReturnAddress::new(self.return_pc.load(Ordering::Relaxed))).filter(|pc| !pc.is_zero())
    }

    /// Where the stack pointer of `enterSpecial`'s frame may be, given where the oldest thawed frame ends.
    pub(super) fn candidates(end: usize) -> impl Iterator<Item = usize> {
        (0..=GAP_WORDS).map(move |words| end.wrapping_add(8 * words))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_entry_is_known_once_its_frame_was_seen() {
        let continuations = Continuations::new();
        continuations.note_method(b"jdk/internal/vm/Continuation", b"run", 64);
        continuations.note_frame(64, ReturnAddress::new(4096));
        assert_eq!(continuations.return_pc(), None);
        continuations.note_method(b"jdk/internal/vm/Continuation", b"enterSpecial", 128);
        continuations.note_frame(64, ReturnAddress::new(4096));
        assert_eq!(continuations.return_pc(), None);
        continuations.note_frame(128, ReturnAddress::new(8192));
        assert_eq!(continuations.return_pc(), Some(ReturnAddress::new(8192)));
    }
}
