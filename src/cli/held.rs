//! A lock that is taken whatever became of who held it before.
//!
//! What our locks protect is whole after each statement, so a thread that panicked while it held one has left nothing
//! half done: the others go on.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Waits for the lock, and takes it.
pub(crate) fn held<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_elsewhere_is_no_end() {
        let mutex = Mutex::new(1);
        std::thread::scope(|scope| {
            let panics = scope.spawn(|| {
                let _held = held(&mutex);
                panic!("while the lock is held, as this test wants it");
            });
            assert!(panics.join().is_err());
        });
        assert!(mutex.is_poisoned());
        *held(&mutex) += 1;
        assert_eq!(*held(&mutex), 2);
    }
}
