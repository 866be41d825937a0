//! The guard: it marks a thread that is inside the profiler, and nested calls on that thread see it.
//!
//! Everything the profiler does may allocate, by accident or through libc; those calls must go straight
//! to jemalloc. The guard is a word of the thread block that holds the stack pointer of its owner.
//! A signal handler may jump out of an interrupted guard and never come back (siglongjmp); its word
//! would then lock the profiler for ever. So a word whose owner's frame is gone, because the stack
//! pointer now stands above it, counts as free. A handler on an alternate stack above the owner can
//! be let in by mistake: everything inside is safe against that, it only may lose a sample.

use super::os::tls::{self, ThreadBlock};

/// Holds this thread inside the profiler until it is dropped.
pub(crate) struct Guard {
    block: &'static ThreadBlock,
    before: usize,
}

impl Guard {
    /// Enters, unless this thread is inside already.
    #[inline]
    pub(crate) fn enter() -> Option<Guard> {
        let block = tls::thread();
        let marker = 0u8;
        let here = &raw const marker as usize;
        let before = block.guard.get();
        if before != 0 && here <= before {
            return None;
        }
        block.guard.set(here);
        Some(Guard { block, before: 0 })
    }

    /// The thread's block.
    pub(crate) fn thread(&self) -> &'static ThreadBlock {
        self.block
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.block.guard.set(self.before);
    }
}

#[cfg(test)]
mod tests {
    use super::Guard;

    #[inline(never)]
    fn nested(depth: u32) -> bool {
        if depth > 0 { nested(depth - 1) & (depth < 100) } else { Guard::enter().is_some() }
    }

    #[test]
    fn nested_calls_are_refused_until_the_guard_is_dropped() {
        let outer = Guard::enter();
        assert!(outer.is_some() && !nested(3));
        drop(outer);
        assert!(nested(3));
    }

    #[test]
    fn a_guard_whose_frame_is_gone_does_not_lock_the_thread() {
        #[inline(never)]
        fn jumped_out_of(depth: u32) {
            if depth > 0 {
                jumped_out_of(depth - 1);
                std::hint::black_box(depth);
            } else {
                std::mem::forget(Guard::enter());
            }
        }
        jumped_out_of(10);
        assert!(Guard::enter().is_some());
    }
}
