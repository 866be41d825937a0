//! Visits, the one way from an export into the profiler: taking a sample, and taking one back.
//!
//! A visit happens on the program's thread, in the middle of an allocation, wherever the program stands: in a signal
//! handler, below generated code, on a coroutine's stack of some KiB, with any lock of its own or of libc's held. So on
//! a visit
//! - the guard is held: what is allocated meanwhile goes straight to jemalloc;
//! - `errno` stays what it was;
//! - no cancellation point is passed, no lock of the loader or of libc is taken, and nothing is waited for: of libc
//!   only what `tests/tidy/visit.txt` lists is called;
//! - the stack that it takes is bounded: 2.75 KiB with all that it calls, the first one below generated code
//!   included (`tests/host/stack_use.c` measures it; jemalloc's own `realloc` takes as much where it moves a block). A
//!   Java method that is met for the first time may take a KiB more, on a thread that has room for Java frames.
//!
//! Work that needs more is an errand (`errand`). A `Visit` cannot be made elsewhere: what belongs to a visit takes
//! `&Visit`, and is given the thread by it.

use super::guard::Guard;
use super::os::sys::KeptErrno;
use super::os::tls::{self, ThreadBlock};

/// Proof that this is a visit, until it is dropped.
pub(crate) struct Visit {
    thread: &'static ThreadBlock,
    _errno: KeptErrno,
    _guard: Option<Guard>,
}

impl Visit {
    /// Begins one; `None`: this thread is inside the profiler already.
    #[inline]
    pub(crate) fn begin() -> Option<Visit> {
        let errno = KeptErrno::now();
        let guard = Guard::enter()?;
        Some(Visit { thread: guard.thread(), _errno: errno, _guard: Some(guard) })
    }

    /// Begins one even inside of another: a record that is not taken back would be a phantom for ever, and taking it
    /// back is lock-free.
    #[inline]
    pub(crate) fn begin_nested() -> Visit {
        let errno = KeptErrno::now();
        Visit { thread: tls::thread(), _errno: errno, _guard: Guard::enter() }
    }

    /// The visiting thread's block.
    #[inline]
    pub(crate) fn thread(&self) -> &'static ThreadBlock {
        self.thread
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::os::sys;

    /// As from a function that a visit calls.
    #[inline(never)]
    fn is_refused(depth: u32) -> bool {
        if depth > 0 { is_refused(depth - 1) & (depth < 100) } else { Visit::begin().is_none() }
    }

    #[inline(never)]
    fn nested(depth: u32) -> &'static ThreadBlock {
        if depth > 0 { std::hint::black_box(nested(depth - 1)) } else { Visit::begin_nested().thread() }
    }

    #[test]
    fn a_visit_keeps_errno_and_refuses_nested_ones_but_those_that_must_be() {
        sys::set_errno(5);
        let visit = Visit::begin().unwrap();
        assert!(is_refused(3));
        assert!(std::ptr::eq(nested(3), visit.thread()));
        assert!(is_refused(3));
        sys::set_errno(6);
        drop(visit);
        assert_eq!(sys::errno(), 5);
        assert!(Visit::begin().is_some());
    }
}
