//! The keeper's post: the thread that holds it, and what one keeper leaves to the next.
//!
//! ```text
//! Absent ──claim──▶ Starting ──arrive──▶ Running ──leave──▶ Ended ──claim──▶ Starting …
//!                      └───give_up──▶ Absent                  (only once its thread is gone)
//! ```
//! The word holds the number of the process, too: what a parent's threads did means `Absent` to a fork child.
//!
//! # Safety
//! The knowledge left is a box that one thread puts there and one takes.
#![allow(unsafe_code)]

use super::rounds::Rounds;
use crate::tap::os::{clock, sys};
use crate::tap::profiler::PROFILER;
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};

/// Bits of the word that hold the thread's id: Linux has at most 2^22.
const THREAD_BITS: u32 = 30;
const THREAD_MASK: u32 = (1 << THREAD_BITS) - 1;

/// The holder of the post.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// No keeper.
    Absent,
    /// A thread is being made.
    Starting,
    /// This thread is the keeper.
    Running(u32),
    /// This thread was the keeper, and has nothing left to do but to end.
    Ended(u32),
}

impl State {
    fn to_word(self, process: u32) -> u64 {
        let (kind, thread) = match self {
            State::Absent => (0, 0),
            State::Starting => (1, 0),
            State::Running(thread) => (2, thread),
            State::Ended(thread) => (3, thread),
        };
        u64::from(process) << u32::BITS | u64::from(kind << THREAD_BITS | thread & THREAD_MASK)
    }

    fn from_word(word: u64, process: u32) -> State {
        let low = word as u32;
        match low >> THREAD_BITS {
            _ if word >> u32::BITS != u64::from(process) => State::Absent,
            0 => State::Absent,
            1 => State::Starting,
            2 => State::Running(low & THREAD_MASK),
            _ => State::Ended(low & THREAD_MASK),
        }
    }
}

/// The post.
pub(super) struct Post {
    state: AtomicU64,
    /// The knowledge that the last keeper left to the next, null: none.
    left: AtomicPtr<Rounds>,
    /// The arena that keepers allocate from, plus one, and above it the number of its process.
    arena: AtomicU64,
    /// Whether the keeper has its arena: a futex.
    settled: AtomicU32,
    /// CLOCK_MONOTONIC before which no thread is made: the last attempt failed.
    not_before_ns: AtomicU64,
}

impl Post {
    /// No keeper yet.
    pub(super) const fn new() -> Post {
        Post {
            state: AtomicU64::new(0),
            left: AtomicPtr::new(ptr::null_mut()),
            arena: AtomicU64::new(0),
            settled: AtomicU32::new(0),
            not_before_ns: AtomicU64::new(0),
        }
    }

    /// The holder of the post.
    pub(super) fn state(&self) -> State {
        State::from_word(self.state.load(Ordering::Acquire), PROFILER.threads.process())
    }

    /// Takes it for a thread to be made, unless it is held.
    pub(super) fn claim(&self, now_ns: u64) -> bool {
        let process = PROFILER.threads.process();
        let word = self.state.load(Ordering::Acquire);
        let is_free = match State::from_word(word, process) {
            State::Absent => now_ns >= self.not_before_ns.load(Ordering::Relaxed),
            State::Ended(thread) => !sys::is_thread(PROFILER.pid(), thread),
            State::Starting | State::Running(_) => false,
        };
        let starting = State::Starting.to_word(process);
        let is_claimed =
            is_free && self.state.compare_exchange(word, starting, Ordering::AcqRel, Ordering::Relaxed).is_ok();
        if is_claimed {
            self.settled.store(0, Ordering::Relaxed);
        }
        is_claimed
    }

    /// The keeper has its arena: it takes no lock any more that other threads may want.
    pub(super) fn settle(&self) {
        self.settled.store(1, Ordering::Release);
        sys::futex_wake(&self.settled);
    }

    /// Waits until the keeper has its arena, or for so long.
    pub(super) fn await_settled(&self, most_ns: u64) {
        let end = clock::monotonic_ns().saturating_add(most_ns);
        while self.settled.load(Ordering::Acquire) == 0 {
            let left = end.saturating_sub(clock::monotonic_ns());
            if left == 0 {
                return;
            }
            sys::futex_wait(&self.settled, 0, left);
        }
    }

    /// No thread could be made; the next attempt is `pause_ns` away.
    pub(super) fn give_up(&self, now_ns: u64, pause_ns: u64) {
        self.not_before_ns.store(now_ns.saturating_add(pause_ns), Ordering::Relaxed);
        self.put(State::Absent);
    }

    /// The calling thread is the keeper.
    pub(super) fn arrive(&self) {
        self.put(State::Running(sys::thread_id()));
    }

    /// The calling thread is the keeper no more. It must not touch what it leaves.
    pub(super) fn leave(&self, rounds: Box<Rounds>) {
        // None is there: the last keeper's was taken by this one. Release: the next keeper reads it.
        self.left.store(Box::into_raw(rounds), Ordering::Release);
        self.leave_nothing();
    }

    /// The same of one that found no room for its knowledge.
    pub(super) fn leave_nothing(&self) {
        self.put(State::Ended(sys::thread_id()));
    }

    /// The knowledge of the last keeper. For the keeper. A fork child does not look at that of its parent's: it may
    /// lie in an arena whose lock a thread of the parent held.
    pub(super) fn inherited(&self) -> Option<Box<Rounds>> {
        let left = self.left.swap(ptr::null_mut(), Ordering::Acquire);
        // SAFETY: null, or a box of `leave` that nobody else has taken; it is only read.
        let is_own = unsafe { left.as_ref() }.is_some_and(Rounds::is_of_this_process);
        // SAFETY: a box of `leave`, taken once.
        is_own.then(|| unsafe { Box::from_raw(left) })
    }

    /// The arena of this process's keepers, if there is one.
    pub(super) fn arena(&self) -> Option<u32> {
        let word = self.arena.load(Ordering::Relaxed);
        let is_own = word >> u32::BITS == u64::from(PROFILER.threads.process());
        (word as u32).checked_sub(1).filter(|_| is_own)
    }

    /// Keeps an arena for the next keeper.
    pub(super) fn keep_arena(&self, arena: u32) {
        let process = u64::from(PROFILER.threads.process());
        self.arena.store(process << u32::BITS | u64::from(arena + 1), Ordering::Relaxed);
    }

    /// In a child of `fork` in which jemalloc's handler has put the locks of all arenas right: the parent's is used on.
    pub(super) fn inherit_arena(&self) {
        if let Some(arena) = (self.arena.load(Ordering::Relaxed) as u32).checked_sub(1) {
            self.keep_arena(arena);
        }
    }

    fn put(&self, state: State) {
        self.state.store(state.to_word(PROFILER.threads.process()), Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::State;

    #[test]
    fn words_hold_state_thread_and_process() {
        for state in [State::Absent, State::Starting, State::Running(1), State::Running(1 << 22), State::Ended(7)] {
            assert_eq!(State::from_word(state.to_word(3), 3), state);
            assert_eq!(State::from_word(state.to_word(3), 4), State::Absent);
        }
        assert_eq!(State::from_word(0, 1), State::Absent);
    }
}
