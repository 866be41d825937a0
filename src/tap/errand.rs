//! Errands, the one way to what a visit may not do: files, threads, and the end of the process.
//!
//! ```text
//! Errand::run   guard held · errno kept · cancellation off · signals wait · spare stack above a guard page · deadline
//! Errand::last  the same, and the tap's own allocations stay away from jemalloc: the process ends
//! ```
//!
//! A visit (`visit`) runs on the program's thread, wherever the program stands; it must be short, and stop nowhere.
//! What is done once or seldom (open the region, look for a Java VM, start the keeper) and what writes files (dumps,
//! mirror, controls) is an errand: it may need much stack, call what a thread can be cancelled in, and wait, at most
//! until its deadline. It never takes the loader's lock, nor any other that the program holds for as long as it likes.
//!
//! An `Errand` cannot be made elsewhere. What may only be done on one takes `&Errand` as its witness.
//!
//! A [`Turn`] is a lock that cannot be lost. An errand waits for it, until its deadline; it takes it over at once where
//! the owner is a thread that has ended, or belongs to another process (a fork child has a copy of its parent's turns).
//! An owner that lives is never robbed: two would write the same file.

use super::guard::Guard;
use super::os::deadline::Deadline;
use super::os::{cancel, clock, signals, spare_stack, sys};
use super::own_memory;
use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};

/// Longest time that an errand waits, for all that it waits for.
pub(crate) const PATIENCE_NS: u64 = 2_000_000_000;

/// Proof that this is an errand.
pub(crate) struct Errand {
    deadline: Deadline,
    /// The turn that it has.
    held: Cell<Option<&'static Turn>>,
}

impl Errand {
    /// Runs work that is no visit. `None`: there was no memory for it, or not enough; what it was about stays undone.
    #[cold]
    #[inline(never)]
    pub(crate) fn run<T>(work: impl FnOnce(&Errand) -> T) -> Option<T> {
        Errand::begin(clock::monotonic_ns()).go(work)
    }

    /// Runs the last work of a process that began to end at that instant of CLOCK_MONOTONIC. `exit` may be called by a
    /// signal handler that interrupted this very thread inside jemalloc, or while another was stopped there for good:
    /// nothing here may want its locks.
    #[cold]
    #[inline(never)]
    pub(crate) fn last<T>(began_ns: u64, work: impl FnOnce(&Errand) -> T) -> Option<T> {
        own_memory::without_jemalloc(|| Errand::begin(began_ns).go(work))
    }

    fn begin(began_ns: u64) -> Errand {
        Errand { deadline: Deadline::after(began_ns, PATIENCE_NS), held: Cell::new(None) }
    }

    fn go<T>(self, work: impl FnOnce(&Errand) -> T) -> Option<T> {
        // A visit that sends us holds one already.
        let guard = Guard::enter();
        sys::keep_errno(|| {
            cancel::put_off(|| {
                let result = signals::shielded(|| spare_stack::with_room(|| work(&self)));
                // Work that was given up drops nothing.
                self.let_go();
                // Before a cancellation that waits: nothing is held then.
                drop(guard);
                result
            })
        })
    }

    /// Waits until something is so. `false`: the deadline has come first.
    pub(crate) fn wait_until(&self, is_so: impl FnMut() -> bool) -> bool {
        self.deadline.wait_until(is_so)
    }

    /// Takes this turn, and waits for it if need be. `None`: the deadline has come first.
    pub(crate) fn take<'a>(&'a self, turn: &'static Turn) -> Option<Held<'a>> {
        let own = Turn::of_this_thread();
        if !self.wait_until(|| turn.is_taken_by(own)) {
            return None;
        }
        self.held.set(Some(turn));
        Some(Held(self))
    }

    fn let_go(&self) {
        if let Some(turn) = self.held.take() {
            turn.owner.store(0, Ordering::Release);
        }
    }
}

/// A turn that an errand has, until it is dropped.
pub(crate) struct Held<'a>(&'a Errand);

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

/// A lock of errands: its owner may do what only one thread can do at a time.
pub(crate) struct Turn {
    /// Process and thread that have it, as the kernel numbers them; 0: none.
    owner: AtomicU64,
}

impl Turn {
    /// A free turn.
    pub(crate) const fn new() -> Turn {
        Turn { owner: AtomicU64::new(0) }
    }

    /// Frees it, whichever thread has it: in a fork child, which has no other threads.
    pub(crate) fn forget(&self) {
        self.owner.store(0, Ordering::Release);
    }

    fn of_this_thread() -> u64 {
        u64::from(sys::process_id()) << 32 | u64::from(sys::thread_id())
    }

    /// A turn that seems to be one's own is what is left of an errand that a handler jumped out of, or that will never
    /// go on because this is the end.
    fn is_taken_by(&self, own: u64) -> bool {
        let owner = self.owner.load(Ordering::Relaxed);
        let (process, thread) = ((owner >> 32) as u32, owner as u32);
        let is_free = owner == 0 || owner == own || owner >> 32 != own >> 32 || sys::has_ended(process, thread);
        // Acquire: what the last owner wrote came before.
        is_free && self.owner.compare_exchange(owner, own, Ordering::Acquire, Ordering::Relaxed).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn a_turn_is_waited_for_and_given_back() {
        static TURN: Turn = Turn::new();
        let is_inside = AtomicBool::new(false);
        let once = || {
            Errand::run(|errand| {
                let _turn = errand.take(&TURN)?;
                assert!(!is_inside.swap(true, Ordering::SeqCst));
                thread::yield_now();
                is_inside.store(false, Ordering::SeqCst);
                Some(())
            })
        };
        // On a busy machine an errand's two seconds may be over while others have the turn.
        let enter = || (0..60).find_map(|_| once().flatten());
        thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(|| (0..20).all(|_| enter().is_some()))).collect();
            assert!(threads.into_iter().all(|thread| thread.join().unwrap()));
        });
    }

    #[test]
    fn a_turn_is_taken_over_from_the_dead_and_from_other_processes() {
        static TURN: Turn = Turn::new();
        let own_process = u64::from(sys::process_id()) << 32;
        let dead = u64::from(thread::spawn(sys::thread_id).join().unwrap());
        let takes = |owner: u64| {
            TURN.owner.store(owner, Ordering::Relaxed);
            Errand::run(|errand| errand.take(&TURN).is_some())
        };
        assert_eq!(takes(own_process | dead), Some(true));
        assert_eq!(takes(1 << 32 | 1), Some(true));
        assert_eq!(takes(Turn::of_this_thread()), Some(true));
        assert_eq!(TURN.owner.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_turn_of_the_living_is_waited_for_until_the_deadline() {
        static TURN: Turn = Turn::new();
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let owner = scope.spawn(|| {
                TURN.owner.store(Turn::of_this_thread(), Ordering::Relaxed);
                while !is_over.load(Ordering::Relaxed) {
                    thread::yield_now();
                }
            });
            while TURN.owner.load(Ordering::Relaxed) == 0 {
                thread::yield_now();
            }
            assert_eq!(Errand::run(|errand| errand.take(&TURN).is_some()), Some(false));
            is_over.store(true, Ordering::Relaxed);
            owner.join().unwrap();
        });
    }

    #[test]
    fn work_that_is_given_up_keeps_no_turn() {
        static TURN: Turn = Turn::new();
        let given_up = Errand::run(|errand| {
            let _turn = errand.take(&TURN);
            spare_stack::give_up();
        });
        assert_eq!((given_up, TURN.owner.load(Ordering::Relaxed)), (None, 0));
        assert!(Guard::enter().is_some());
    }

    #[test]
    fn nested_allocations_stand_below_the_guard_and_errno_stays() {
        sys::set_errno(77);
        let nested = Errand::run(|_| {
            sys::set_errno(1);
            Guard::enter().is_none()
        });
        assert_eq!((nested, sys::errno()), (Some(true), 77));
        assert!(Guard::enter().is_some());
    }
}
