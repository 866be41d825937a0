//! Mutexes and condition variables in the memory of libc's types, for jemalloc, which alone uses them here.
//!
//! A mutex is one futex word, as in Drepper's "Futexes are tricky", mutex 2: 0 free, 1 taken, 2 taken and a thread may
//! sleep. libc's initialisers are zeros there. jemalloc has spun before it comes to [`mutex_lock`]. After fork it
//! initialises its mutexes anew, which frees them.
//!
//! A condition variable is a count of signals; a waiter sleeps while the count stays the same. It may wake for
//! nothing, as POSIX allows.
//!
//! Ordering: taking acquires what the last owner released. The count needs no more: its readers hold the mutex.
//!
//! # Safety
//! As for the rest of the entries.
#![allow(unsafe_code)]

use super::raw;
use std::ffi::{c_int, c_void};
use std::sync::atomic::{AtomicU32, Ordering};

const FREE: u32 = 0;
const TAKEN: u32 = 1;
const CONTENDED: u32 = 2;

const WAIT: i32 = libc::FUTEX_WAIT | libc::FUTEX_PRIVATE_FLAG;
const WAIT_UNTIL: i32 = libc::FUTEX_WAIT_BITSET | libc::FUTEX_PRIVATE_FLAG | libc::FUTEX_CLOCK_REALTIME;
const WAKE: i32 = libc::FUTEX_WAKE | libc::FUTEX_PRIVATE_FLAG;

/// The first word of a `pthread_mutex_t` or `pthread_cond_t`.
///
/// # Safety
/// `object` is such a one, and stays while the word is used.
unsafe fn word<'a>(object: *mut c_void) -> &'a AtomicU32 {
    // SAFETY: both begin with a word, aligned; it is used by these functions alone.
    unsafe { AtomicU32::from_ptr(object.cast()) }
}

/// Sleeps while the word holds `expected`, at most until `time`; spurious wakes are allowed. What the kernel said.
fn sleep(word: &AtomicU32, operation: i32, expected: u32, time: *const libc::timespec) -> isize {
    let arguments =
        [word.as_ptr() as usize, operation as usize, expected as usize, time as usize, 0, u32::MAX as usize];
    // SAFETY: the word lives, `time` is null or the caller's.
    unsafe { raw::call(libc::SYS_futex, arguments) }
}

fn wake_one(word: &AtomicU32) {
    // SAFETY: only the address of the word is used.
    unsafe { raw::call(libc::SYS_futex, [word.as_ptr() as usize, WAKE as usize, 1, 0, 0, 0]) };
}

fn try_lock(word: &AtomicU32) -> bool {
    word.compare_exchange(FREE, TAKEN, Ordering::Acquire, Ordering::Relaxed).is_ok()
}

fn lock(word: &AtomicU32) {
    if !try_lock(word) {
        while word.swap(CONTENDED, Ordering::Acquire) != FREE {
            sleep(word, WAIT, CONTENDED, std::ptr::null());
        }
    }
}

fn unlock(word: &AtomicU32) {
    if word.swap(FREE, Ordering::Release) == CONTENDED {
        wake_one(word);
    }
}

/// pthread_mutex_init(3); there is one kind.
pub(super) unsafe extern "C" fn mutex_init(mutex: *mut c_void, _attributes: *const c_void) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { word(mutex) }.store(FREE, Ordering::Relaxed);
    0
}

/// pthread_mutex_lock(3).
pub(super) unsafe extern "C" fn mutex_lock(mutex: *mut c_void) -> c_int {
    // SAFETY: passed on to the caller.
    lock(unsafe { word(mutex) });
    0
}

/// pthread_mutex_trylock(3).
pub(super) unsafe extern "C" fn mutex_trylock(mutex: *mut c_void) -> c_int {
    // SAFETY: passed on to the caller.
    if try_lock(unsafe { word(mutex) }) { 0 } else { libc::EBUSY }
}

/// pthread_mutex_unlock(3).
pub(super) unsafe extern "C" fn mutex_unlock(mutex: *mut c_void) -> c_int {
    // SAFETY: passed on to the caller.
    unlock(unsafe { word(mutex) });
    0
}

/// pthread_mutexattr_init(3).
pub(super) extern "C" fn attributes_init(_attributes: *mut c_void) -> c_int {
    0
}

/// pthread_mutexattr_settype(3).
pub(super) extern "C" fn attributes_settype(_attributes: *mut c_void, _kind: c_int) -> c_int {
    0
}

/// pthread_mutexattr_destroy(3).
pub(super) extern "C" fn attributes_destroy(_attributes: *mut c_void) -> c_int {
    0
}

/// pthread_cond_init(3); its clock is CLOCK_REALTIME.
pub(super) unsafe extern "C" fn condition_init(condition: *mut c_void, _attributes: *const c_void) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { word(condition) }.store(0, Ordering::Relaxed);
    0
}

/// pthread_cond_signal(3).
pub(super) unsafe extern "C" fn condition_signal(condition: *mut c_void) -> c_int {
    // SAFETY: passed on to the caller.
    let signals = unsafe { word(condition) };
    signals.fetch_add(1, Ordering::Relaxed);
    wake_one(signals);
    0
}

/// pthread_cond_wait(3).
pub(super) unsafe extern "C" fn condition_wait(condition: *mut c_void, mutex: *mut c_void) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { wait(condition, mutex, WAIT, std::ptr::null()) }
}

/// pthread_cond_timedwait(3).
pub(super) unsafe extern "C" fn condition_timedwait(
    condition: *mut c_void,
    mutex: *mut c_void,
    until: *const libc::timespec,
) -> c_int {
    // SAFETY: passed on to the caller.
    unsafe { wait(condition, mutex, WAIT_UNTIL, until) }
}

/// # Safety
/// As for pthread_cond_timedwait(3).
unsafe fn wait(condition: *mut c_void, mutex: *mut c_void, operation: i32, until: *const libc::timespec) -> c_int {
    // SAFETY: passed on to the caller.
    let (signals, mutex) = unsafe { (word(condition), word(mutex)) };
    let before = signals.load(Ordering::Relaxed);
    unlock(mutex);
    let result = sleep(signals, operation, before, until);
    lock(mutex);
    if result == -(libc::ETIMEDOUT as isize) { libc::ETIMEDOUT } else { 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::UnsafeCell;
    use std::thread;

    /// A mutex, a condition variable, and what they protect.
    struct Shared {
        mutex: UnsafeCell<libc::pthread_mutex_t>,
        condition: UnsafeCell<libc::pthread_cond_t>,
        count: UnsafeCell<u64>,
    }

    // SAFETY: that is what is tested.
    unsafe impl Sync for Shared {}

    impl Shared {
        fn new() -> Shared {
            Shared {
                mutex: UnsafeCell::new(libc::PTHREAD_MUTEX_INITIALIZER),
                condition: UnsafeCell::new(libc::PTHREAD_COND_INITIALIZER),
                count: UnsafeCell::new(0),
            }
        }

        fn lock(&self) {
            // SAFETY: the mutex lives.
            assert_eq!(unsafe { mutex_lock(self.mutex.get().cast()) }, 0);
        }

        fn is_taken(&self) -> bool {
            // SAFETY: the mutex lives.
            unsafe { mutex_trylock(self.mutex.get().cast()) == libc::EBUSY }
        }

        fn unlock(&self) {
            // SAFETY: the mutex lives.
            assert_eq!(unsafe { mutex_unlock(self.mutex.get().cast()) }, 0);
        }

        /// For the mutex's owner.
        fn add(&self, number: u64) -> u64 {
            let count = self.count.get();
            // SAFETY: the owner alone comes here.
            unsafe { count.write(count.read() + number) };
            // SAFETY: as above.
            unsafe { count.read() }
        }

        fn wait(&self) {
            // SAFETY: both live, the mutex is the caller's.
            unsafe { condition_wait(self.condition.get().cast(), self.mutex.get().cast()) };
        }
    }

    #[test]
    fn one_owner_at_a_time() {
        let shared = Shared::new();
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for n in 0..20_000 {
                        shared.lock();
                        shared.add(1);
                        if n % 1000 == 0 {
                            thread::yield_now();
                            assert!(shared.is_taken());
                        }
                        shared.unlock();
                    }
                });
            }
        });
        assert_eq!(shared.add(0), 80_000);
    }

    #[test]
    fn who_waits_is_woken() {
        let shared = Shared::new();
        thread::scope(|scope| {
            scope.spawn(|| {
                shared.lock();
                while shared.add(0) == 0 {
                    shared.wait();
                }
                shared.unlock();
            });
            shared.lock();
            shared.add(1);
            // SAFETY: the condition lives.
            unsafe { condition_signal(shared.condition.get().cast()) };
            shared.unlock();
        });
    }

    #[test]
    fn a_wait_ends_at_its_time() {
        let shared = Shared::new();
        let past = libc::timespec { tv_sec: 1, tv_nsec: 0 };
        shared.lock();
        let (condition, mutex) = (shared.condition.get().cast(), shared.mutex.get().cast());
        // SAFETY: both live, the mutex is ours.
        assert_eq!(unsafe { condition_timedwait(condition, mutex, &raw const past) }, libc::ETIMEDOUT);
        assert!(shared.is_taken());
    }
}
