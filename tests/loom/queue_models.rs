//! The models of the queue of events.

use crate::models::explore;
use crate::tap::os::atomic::Ordering;
use crate::tap::store::queue::event_queue::{EVENT_WORDS, EventQueue};
use loom::sync::Arc;
use loom::sync::atomic::{AtomicU32, AtomicU64};
use loom::thread;

/// What the threads share: a queue, who reads now, and how often each event was read.
struct Shared {
    queue: EventQueue,
    readers: AtomicU32,
    read: [AtomicU64; 3],
}

impl Shared {
    fn of(cells: u64) -> Arc<Shared> {
        let queue = EventQueue::new(cells).unwrap();
        Arc::new(Shared { queue, readers: AtomicU32::new(0), read: std::array::from_fn(|_| AtomicU64::new(0)) })
    }

    fn push(&self, number: u64) -> bool {
        self.queue.push(&[number + 1; EVENT_WORDS])
    }

    /// Reads what is queued, if no other thread does.
    fn apply(&self, tid: u32) {
        self.queue.read(
            tid,
            |_| false,
            || unreachable!("nobody ends"),
            |event| {
                assert_eq!(self.readers.fetch_add(1, Ordering::Relaxed), 0, "two threads read");
                assert!(event.iter().all(|word| *word == event[0]) && event[0] > 0, "an event is read whole");
                self.read[event[0] as usize - 1].fetch_add(1, Ordering::Relaxed);
                self.readers.fetch_sub(1, Ordering::Relaxed);
            },
        );
    }

    /// What a thread does that maps memory.
    fn tell(&self, tid: u32, number: u64) {
        assert!(self.push(number));
        self.apply(tid);
    }

    fn counts(&self) -> [u64; 3] {
        self.read.each_ref().map(|count| count.load(Ordering::Relaxed))
    }
}

/// When all threads have left the queue, each event was applied once, whole, and by one thread at a time: none is left
/// behind where one thread leaves as another one queues.
#[test]
fn no_event_is_left_behind() {
    explore(3, || {
        let shared = Shared::of(4);
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            other.tell(2, 1);
            other.tell(2, 2);
        });
        shared.tell(1, 0);
        thread.join().unwrap();
        assert_eq!(shared.counts(), [1, 1, 1]);
    });
}

/// The same of three threads.
#[test]
fn no_event_of_three_threads_is_left_behind() {
    explore(2, || {
        let shared = Shared::of(4);
        let threads = [1, 2].map(|number| {
            let other = Arc::clone(&shared);
            thread::spawn(move || other.tell(number + 1, u64::from(number)))
        });
        shared.tell(1, 0);
        threads.into_iter().for_each(|thread| thread.join().unwrap());
        assert_eq!(shared.counts(), [1, 1, 1]);
    });
}

/// A cell is not written to again before its event was read, and a writer that finds no cell free says so.
#[test]
fn a_cell_is_used_again_only_when_it_was_read() {
    explore(3, || {
        let shared = Shared::of(2);
        assert!(shared.push(0));
        let other = Arc::clone(&shared);
        let thread = thread::spawn(move || {
            let is_told = other.push(1);
            other.apply(2);
            is_told
        });
        let is_told = shared.push(2);
        shared.apply(1);
        let is_other_told = thread.join().unwrap();
        assert!(is_told || is_other_told);
        assert_eq!(shared.counts(), [1, u64::from(is_other_told), u64::from(is_told)]);
    });
}
