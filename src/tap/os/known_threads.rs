//! The program's threads that are known to be still to end.
//!
//! A thread becomes known with its first sample check, and the main thread in the constructor; it leaves in
//! a destructor of thread-specific data, which runs for `return`, `pthread_exit` and cancellation alike. Threads that
//! never allocate stay unknown. So the count reaches zero early rather than late, which is the safe side: the keeper
//! runs only while a known thread is still to end, and the last one waits for the keeper's end (`keeper`).
//!
//! # Safety
//! The key's value is never followed; the destructor lives as long as the process.
#![allow(unsafe_code)]

use super::tls::ThreadBlock;
use std::ffi::c_void;
use std::ptr;
use std::sync::atomic::{AtomicU32, Ordering};

/// The mark in a thread's block once the thread has left: it does not become known again.
const LEFT: u32 = u32::MAX;

/// The count, and the process that it counts for.
pub(crate) struct KnownThreads {
    /// The key of thread-specific data plus one; 0: none yet, and no thread is known.
    key: AtomicU32,
    /// Number of the process among its ancestors that share this memory image, from 1. Threads of others do not count.
    process: AtomicU32,
    count: AtomicU32,
}

impl KnownThreads {
    /// No thread is known.
    pub(crate) const fn new() -> KnownThreads {
        KnownThreads { key: AtomicU32::new(0), process: AtomicU32::new(1), count: AtomicU32::new(0) }
    }

    /// Begins to count, with the calling thread. `ends` runs at the end of each known thread and must call
    /// [`leave`](Self::leave).
    pub(crate) fn begin(&self, thread: &ThreadBlock, ends: unsafe extern "C" fn(*mut c_void)) {
        let mut key = 0;
        // SAFETY: the destructor lives as long as the process.
        if unsafe { libc::pthread_key_create(&raw mut key, Some(ends)) } == 0 {
            self.key.store(key + 1, Ordering::Release);
            self.join(thread);
        }
    }

    /// Makes the calling thread known. `thread` is its block.
    pub(crate) fn join(&self, thread: &ThreadBlock) {
        let process = self.process();
        let key = self.key.load(Ordering::Acquire);
        if key == 0 || matches!(thread.known_in.get(), known if known == process || known == LEFT) {
            return;
        }
        // SAFETY: the key exists. glibc stores the first 32 keys' values in the thread itself, without allocating.
        if unsafe { libc::pthread_setspecific(key - 1, ptr::dangling()) } == 0 {
            // The mark first: a signal handler that jumps out in between leaves the count too low, not too high.
            thread.known_in.set(process);
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    /// The calling thread ends. `true`: it is the last known one.
    pub(crate) fn leave(&self, thread: &ThreadBlock) -> bool {
        if thread.known_in.replace(LEFT) != self.process() {
            return false;
        }
        let less = |count: u32| count.checked_sub(1);
        self.count.fetch_update(Ordering::AcqRel, Ordering::Acquire, less).is_ok_and(|before| before == 1)
    }

    /// Whether the thread is known and has not left.
    pub(crate) fn knows(&self, thread: &ThreadBlock) -> bool {
        thread.known_in.get() == self.process()
    }

    /// In a child of `fork`, on its only thread.
    pub(crate) fn begin_anew(&self, thread: &ThreadBlock) {
        let was_known = self.knows(thread);
        let process = self.process.fetch_add(1, Ordering::Relaxed) + 1;
        if was_known {
            thread.known_in.set(process);
        }
        self.count.store(u32::from(was_known), Ordering::Relaxed);
    }

    /// Number of this process among its ancestors, from 1.
    pub(crate) fn process(&self) -> u32 {
        self.process.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::os::tls;
    use std::sync::Barrier;

    static THREADS: KnownThreads = KnownThreads::new();
    static LAST: AtomicU32 = AtomicU32::new(0);

    unsafe extern "C" fn ends(_: *mut c_void) {
        LAST.fetch_add(u32::from(THREADS.leave(tls::thread())), Ordering::Relaxed);
    }

    #[test]
    fn the_last_known_thread_is_told_so_once() {
        THREADS.join(tls::thread());
        assert!(!THREADS.knows(tls::thread()), "nothing is counted before the key is there");
        std::thread::spawn(|| {
            THREADS.begin(tls::thread(), ends);
            assert!(THREADS.knows(tls::thread()));
            let together = Barrier::new(8);
            std::thread::scope(|scope| {
                let begin = |_| {
                    scope.spawn(|| {
                        THREADS.join(tls::thread());
                        THREADS.join(tls::thread());
                        together.wait();
                    })
                };
                // Joined one by one: the scope itself waits for their work, and not for their destructors.
                let threads: Vec<_> = (0..8).map(begin).collect();
                threads.into_iter().for_each(|thread| thread.join().unwrap());
            });
            assert_eq!(LAST.load(Ordering::Relaxed), 0);
        })
        .join()
        .unwrap();
        assert_eq!(LAST.load(Ordering::Relaxed), 1);
    }
}
