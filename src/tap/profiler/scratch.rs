//! Scratch space for traces and walks: a small fixed pool, because a trace is too big for small stacks and for TLS.
//! With each place goes the store's lane of the same number.
//!
//! # Safety
//! A place is handed out only by the exchange of its word from free to taken, and given back when the loan is dropped;
//! so it has one user at a time. A sample that a signal handler jumps out of (siglongjmp) keeps its place; when all
//! places are taken, samples are lost and counted. In a fork child the places of threads that it does not have are
//! given back. The forking thread keeps its own: a signal handler may fork, and the sample that it interrupted goes on.
#![allow(unsafe_code)]

use crate::tap::os::tls;
use crate::tap::stack::StackTrace;
use crate::tap::store::Lane;
use crate::tap::unwind::{LastWalk, Windows};
use crate::wire::live::counters::LANES;
use std::cell::UnsafeCell;
use std::ops::{Deref, DerefMut};
use std::sync::atomic::{AtomicUsize, Ordering};

const PLACES: usize = LANES;

/// The pool. A static of its own, all zeros at first: 1.5 MiB, neither in the file nor in memory until used.
pub(crate) static SCRATCH: ScratchPool = ScratchPool::new();

struct Place {
    /// The thread that has it (`ThreadBlock::address`), 0: none.
    taken: AtomicUsize,
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
        Place { taken: AtomicUsize::new(0), scratch: UnsafeCell::new(scratch) }
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
        let mut loan = Loan { pass: self.pass(hint)? };
        loan.trace.reset(limit);
        loan.windows.begin();
        Some(loan)
    }

    /// A place of which only the lane is wanted.
    #[inline]
    pub(crate) fn pass(&self, hint: usize) -> Option<Pass<'_>> {
        let own = tls::thread().address();
        (0..PLACES).find_map(|step| {
            let number = (hint + step) % PLACES;
            let place = self.places.get(number)?;
            // Acquire: what the last user wrote came before.
            let free = place.taken.load(Ordering::Relaxed) == 0
                && place.taken.compare_exchange(0, own, Ordering::Acquire, Ordering::Relaxed).is_ok();
            // Made only then: one that is dropped gives the place back.
            free.then(|| Pass { place, lane: Lane::held(number) })
        })
    }

    /// Gives back what other threads had.
    ///
    /// # Safety
    /// In the child of a fork, on its only thread.
    pub(crate) unsafe fn give_back_others(&self) {
        let own = tls::thread().address();
        for place in &self.places {
            let holder = place.taken.load(Ordering::Relaxed);
            if holder != 0 && holder != own {
                // SAFETY: whose place it was does not exist in this process.
                let scratch = unsafe { &mut *place.scratch.get() };
                // It may have been half written; the rest is begun anew by `borrow`.
                scratch.last_walk.forget();
                place.taken.store(0, Ordering::Release);
            }
        }
    }
}

/// A place on loan, as far as its lane goes.
pub(crate) struct Pass<'a> {
    place: &'a Place,
    lane: Lane,
}

impl Pass<'_> {
    /// The lane of the store that goes with the place.
    pub(crate) fn lane(&self) -> Lane {
        self.lane
    }
}

impl Drop for Pass<'_> {
    fn drop(&mut self) {
        // Release: the next user sees what this one wrote.
        self.place.taken.store(0, Ordering::Release);
    }
}

/// A place on loan, with its scratch space.
pub(crate) struct Loan<'a> {
    pass: Pass<'a>,
}

impl Loan<'_> {
    /// The lane of the store that goes with the place.
    pub(crate) fn lane(&self) -> Lane {
        self.pass.lane
    }
}

impl Deref for Loan<'_> {
    type Target = Scratch;

    fn deref(&self) -> &Scratch {
        // SAFETY: this loan is the place's only user.
        unsafe { &*self.pass.place.scratch.get() }
    }
}

impl DerefMut for Loan<'_> {
    fn deref_mut(&mut self) -> &mut Scratch {
        // SAFETY: this loan is the place's only user.
        unsafe { &mut *self.pass.place.scratch.get() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn the_pool_lends_each_place_once() {
        static POOL: ScratchPool = ScratchPool::new();
        let loans: Vec<_> = (0..PLACES).map(|hint| POOL.borrow(hint * 3, 8).unwrap()).collect();
        assert!(POOL.borrow(0, 8).is_none() && POOL.pass(0).is_none());
        let lanes: HashSet<_> = loans.iter().map(|loan| loan.lane().index()).collect();
        assert_eq!(lanes.len(), PLACES);
        drop(loans);
        assert!(POOL.borrow(0, 8).is_some());
    }

    #[test]
    fn a_fork_child_keeps_what_its_own_thread_has_and_no_more() {
        static POOL: ScratchPool = ScratchPool::new();
        let own = POOL.borrow(5, 8).unwrap();
        let others = || (1..PLACES).for_each(|hint| std::mem::forget(POOL.borrow(hint, 8).unwrap()));
        std::thread::spawn(others).join().unwrap();
        assert!(POOL.borrow(0, 8).is_none());
        // SAFETY: the other thread has ended, and this test's pool has no other users.
        unsafe { POOL.give_back_others() };
        let loans: Vec<_> = (1..PLACES).map(|hint| POOL.borrow(hint, 8).unwrap()).collect();
        assert!(POOL.borrow(5, 8).is_none() && loans.iter().all(|loan| !std::ptr::eq(loan.pass.place, own.pass.place)));
    }
}
