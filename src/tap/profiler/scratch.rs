//! Scratch space for traces and walks: a small fixed pool, because a trace is too big for small stacks and for TLS.
//!
//! # Safety
//! A place is handed out only by the swap of its flag from free to taken, and given back when the loan is dropped; so
//! it has one user at a time. A sample that a signal handler jumps out of (siglongjmp) keeps its place; when all places
//! are taken, samples are lost and counted.
#![allow(unsafe_code)]

use crate::tap::stack::StackTrace;
use crate::tap::unwind::{LastWalk, Windows};
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicBool, Ordering};

const PLACES: usize = 32;

/// The pool. A static of its own, all zeros at first: 1.5 MiB, neither in the file nor in memory until used.
pub(crate) static SCRATCH: ScratchPool = ScratchPool::new();

struct Place {
    taken: AtomicBool,
    scratch: UnsafeCell<Scratch>,
}

/// The contents of a place.
pub(crate) struct Scratch {
    /// The trace of the sample that is being taken.
    pub(crate) trace: StackTrace,
    /// The walk of the sample before, likely of the same thread.
    pub(crate) last_walk: LastWalk,
    /// Memory that the walk reads through the kernel.
    pub(crate) windows: Windows,
}

impl Place {
    const fn new() -> Place {
        let scratch = Scratch { trace: StackTrace::blank(), last_walk: LastWalk::new(), windows: Windows::new() };
        Place { taken: AtomicBool::new(false), scratch: UnsafeCell::new(scratch) }
    }
}

/// The pool.
pub(crate) struct ScratchPool {
    places: [Place; PLACES],
}

// SAFETY: `scratch` is reached only through a loan, of which there is one at a time.
unsafe impl Sync for ScratchPool {}

impl ScratchPool {
    /// A pool with all places free.
    const fn new() -> ScratchPool {
        ScratchPool { places: [const { Place::new() }; PLACES] }
    }

    /// An empty trace of at most `limit` frames. `hint` spreads threads.
    pub(crate) fn borrow(&self, hint: usize, limit: usize) -> Option<Loan<'_>> {
        let place = (0..PLACES).find_map(|step| {
            let place = self.places.get((hint + step) % PLACES)?;
            // Acquire: the last user's writes to the trace came before.
            let free = !place.taken.load(Ordering::Relaxed) && !place.taken.swap(true, Ordering::Acquire);
            free.then_some(place)
        })?;
        let mut loan = Loan { place };
        loan.trace.reset(limit);
        loan.windows.begin();
        Some(loan)
    }
}

/// A place on loan.
pub(crate) struct Loan<'a> {
    place: &'a Place,
}

impl Deref for Loan<'_> {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        // SAFETY: this loan is the place's only user.
        unsafe { &*self.place.scratch.get() }
    }
}

impl DerefMut for Loan<'_> {
    fn deref_mut(&mut self) -> &mut Scratch {
        // SAFETY: this loan is the place's only user.
        unsafe { &mut *self.place.scratch.get() }
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        self.place.taken.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_lends_each_place_once() {
        static POOL: ScratchPool = ScratchPool::new();
        let loans: Vec<_> = (0..PLACES).map(|hint| POOL.borrow(hint * 3, 8).unwrap()).collect();
        assert!(POOL.borrow(0, 8).is_none());
        drop(loans);
        assert!(POOL.borrow(0, 8).is_some());
    }
}
