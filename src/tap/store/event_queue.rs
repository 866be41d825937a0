//! Events on their way to the one thread that applies them: a bounded queue without a lock, for any number of writers
//! and one reader at a time.
//!
//! A position's cell holds, beside the event, which lap of the ring it is ready for: a whole lap is free, one more is
//! filled. A writer claims a position by the tail and fills its cell; the reader goes on at the first filled cell.
//! A writer that is interrupted in between holds the reader up there, and nobody else: who comes meanwhile fills the
//! cells behind, and leaves.
//!
//! Who is the reader is decided by one word. A writer whose event nobody takes meanwhile becomes the reader, and one
//! that leaves looks once more: so when all have left, nothing is queued.

use super::entries::Entries;
use crate::tap::os::atomic::{AtomicU32, AtomicU64, Ordering, fence};

/// Words of an event.
pub(crate) const EVENT_WORDS: usize = 6;
/// Words of a cell: the lap, the event, and one that is not used.
const CELL_WORDS: u64 = 8;

/// The queue.
pub(crate) struct EventQueue {
    words: Entries,
    /// Events that fit, a power of two.
    cells: u64,
    head: AtomicU64,
    tail: AtomicU64,
    /// Kernel id of the thread that is the reader; 0: none is.
    owner: AtomicU32,
}

impl EventQueue {
    /// An empty queue of so many cells, a power of two from two on. `None`: there is no memory.
    pub(crate) fn new(cells: u64) -> Option<EventQueue> {
        let words = Entries::new((cells * CELL_WORDS) as usize)?;
        Some(EventQueue { words, cells, head: AtomicU64::new(0), tail: AtomicU64::new(0), owner: AtomicU32::new(0) })
    }

    /// Takes all events out, unless another thread is at it. `is_left`: whether that thread, by its id, will not go on;
    /// `take_over`: what is to be done first in its place.
    pub(crate) fn read(
        &self,
        tid: u32,
        is_left: impl Fn(u32) -> bool,
        take_over: impl Fn(),
        mut each: impl FnMut([u64; EVENT_WORDS]),
    ) {
        loop {
            // Either who is leaving finds the event that this thread has queued, or this thread finds that nobody is
            // at it. It comes before all looks at the queue: a look that mixes old and new words finds nothing.
            fence(Ordering::SeqCst);
            if !self.has_any() || !self.enter(tid, &is_left, &take_over) {
                return;
            }
            while let Some(event) = self.pop() {
                each(event);
            }
            self.owner.store(0, Ordering::Release);
        }
    }

    /// Makes this thread the reader. `false`: another one is.
    fn enter(&self, tid: u32, is_left: &impl Fn(u32) -> bool, take_over: &impl Fn()) -> bool {
        let owner = self.owner.load(Ordering::Relaxed);
        let must_take_over = owner != 0 && is_left(owner);
        if owner != 0 && !must_take_over {
            return false;
        }
        if self.owner.compare_exchange(owner, tid.max(1), Ordering::Acquire, Ordering::Relaxed).is_err() {
            return false;
        }
        if must_take_over {
            self.finish_pop();
            take_over();
        }
        true
    }

    /// Gives the cell back of an event whose taking was broken off: else it would never be free again.
    fn finish_pop(&self) {
        let Some(position) = self.head.load(Ordering::Relaxed).checked_sub(1) else { return };
        let lap = self.lap(position);
        if self.word(position, 0).load(Ordering::Acquire) == lap + 1 {
            self.word(position, 0).store(lap + self.cells, Ordering::Release);
        }
    }

    /// Adds an event. `false`: it is full.
    pub(crate) fn push(&self, event: &[u64; EVENT_WORDS]) -> bool {
        loop {
            let position = self.tail.load(Ordering::Relaxed);
            let lap = self.lap(position);
            // Acquire: the reader has read what was there.
            let state = self.word(position, 0).load(Ordering::Acquire);
            if state < lap {
                return false;
            }
            // Relaxed: the number alone decides whose the cell is.
            let claim = self.tail.compare_exchange_weak(position, position + 1, Ordering::Relaxed, Ordering::Relaxed);
            if state == lap && claim.is_ok() {
                (1..).zip(event).for_each(|(n, word)| self.word(position, n).store(*word, Ordering::Relaxed));
                // Release: the reader that sees the lap sees the event.
                self.word(position, 0).store(lap + 1, Ordering::Release);
                return true;
            }
        }
    }

    /// Takes the next event. One reader at a time.
    fn pop(&self) -> Option<[u64; EVENT_WORDS]> {
        let position = self.head.load(Ordering::Relaxed);
        let lap = self.lap(position);
        if self.word(position, 0).load(Ordering::Acquire) != lap + 1 {
            return None;
        }
        let event = std::array::from_fn(|n| self.word(position, n as u64 + 1).load(Ordering::Relaxed));
        self.head.store(position + 1, Ordering::Relaxed);
        self.word(position, 0).store(lap + self.cells, Ordering::Release);
        Some(event)
    }

    /// Whether an event is there to be taken.
    fn has_any(&self) -> bool {
        let position = self.head.load(Ordering::Relaxed);
        self.word(position, 0).load(Ordering::Relaxed) == self.lap(position) + 1
    }

    /// True once in a while, as positions go by.
    pub(crate) fn is_at_look(&self) -> bool {
        self.tail.load(Ordering::Relaxed).is_multiple_of(64)
    }

    /// The first position of the lap that a position is in.
    fn lap(&self, position: u64) -> u64 {
        position & !(self.cells - 1)
    }

    fn word(&self, position: u64, n: u64) -> &AtomicU64 {
        self.words.at(((position & (self.cells - 1)) * CELL_WORDS + n) as usize)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use std::thread;

    const CELLS: u64 = 64;

    #[test]
    fn events_come_out_in_order_lap_after_lap() {
        let queue = EventQueue::new(CELLS).unwrap();
        let event = |n: u64| [n, n + 1, n + 2, n + 3, n + 4, n + 5];
        for lap in 0..3 {
            for n in 0..CELLS {
                assert!(queue.push(&event(lap * CELLS + n)));
            }
            assert!(!queue.push(&event(0)) && queue.has_any());
            for n in 0..CELLS {
                assert_eq!(queue.pop(), Some(event(lap * CELLS + n)));
            }
            assert!(queue.pop().is_none() && !queue.has_any());
        }
    }

    #[test]
    fn a_reader_that_was_left_is_taken_over_from() {
        let queue = EventQueue::new(2).unwrap();
        let event = |n: u64| [n; EVENT_WORDS];
        assert!(queue.push(&event(1)) && queue.push(&event(2)));
        // Thread 7 was jumped out of between the two words that give a cell back.
        queue.owner.store(7, Ordering::Relaxed);
        queue.head.store(1, Ordering::Relaxed);
        let taken_over = std::cell::Cell::new(0);
        let mut seen = Vec::new();
        let take_over = || taken_over.set(taken_over.get() + 1);
        queue.read(8, |_| false, take_over, |event| seen.push(event[0]));
        assert_eq!((seen.as_slice(), taken_over.get()), (&[][..], 0));
        queue.read(8, |owner| owner == 7, take_over, |event| seen.push(event[0]));
        for n in 3..9 {
            assert!(queue.push(&event(n)));
            queue.read(8, |_| false, take_over, |event| seen.push(event[0]));
        }
        assert_eq!((seen, taken_over.get()), ((2..9).collect(), 1));
    }

    #[test]
    fn no_writer_loses_an_event() {
        const EACH: u64 = 20_000;
        let queue = EventQueue::new(CELLS).unwrap();
        let mut seen = [0u64; 4];
        thread::scope(|scope| {
            for writer in 0..4 {
                let queue = &queue;
                scope.spawn(move || {
                    for n in 1..=EACH {
                        while !queue.push(&[writer, n, writer, n, writer, n]) {
                            thread::yield_now();
                        }
                    }
                });
            }
            while seen.iter().any(|&last| last < EACH) {
                let Some(event) = queue.pop() else {
                    thread::yield_now();
                    continue;
                };
                let [writer, n, ..] = event;
                assert_eq!(event, [writer, n, writer, n, writer, n]);
                assert_eq!(std::mem::replace(&mut seen[writer as usize], n) + 1, n);
            }
        });
    }
}
