//! The cell of the process's one store: empty, then full, and empty again in a fork child.
//!
//! # Safety
//! A store put here is leaked: it is never freed, so references to it last as long as the process.
#![allow(unsafe_code)]

use crate::tap::errand::Errand;
use crate::tap::store::Store;
use std::cell::Cell;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// The place.
pub(crate) struct StoreCell {
    store: AtomicPtr<Store>,
    opening: AtomicBool,
    /// An opening was given up; what it had made so far is still there.
    was_given_up: AtomicBool,
}

impl StoreCell {
    /// An empty place.
    pub(crate) const fn new() -> StoreCell {
        StoreCell {
            store: AtomicPtr::new(ptr::null_mut()),
            opening: AtomicBool::new(false),
            was_given_up: AtomicBool::new(false),
        }
    }

    /// The store, if there is one.
    #[inline]
    pub(crate) fn get(&self) -> Option<&'static Store> {
        let store = NonNull::new(self.store.load(Ordering::Acquire))?;
        // SAFETY: a leaked Box.
        Some(unsafe { store.as_ref() })
    }

    /// The store, made now if there is none. `open` is told whether an opening before was given up.
    #[inline]
    pub(crate) fn get_or_open(
        &self,
        open: impl FnOnce(bool) -> Option<Store>,
        life: impl Fn() -> u64,
    ) -> Option<&'static Store> {
        // Makes a file, and a store on its way into its box needs more stack than the caller may have.
        self.get().or_else(|| {
            let is_opening = Cell::new(false);
            let opened = Errand::run(|_| self.open(open, life, &is_opening));
            if opened.is_none() && is_opening.get() {
                // The work was given up for want of memory; a later sample tries again.
                self.was_given_up.store(true, Ordering::Relaxed);
                self.opening.store(false, Ordering::Release);
            }
            opened.flatten()
        })
    }

    /// One thread opens it; others go without meanwhile: a region has one file. `is_opening`: whether this one does.
    #[cold]
    #[inline(never)]
    fn open(
        &self,
        open: impl FnOnce(bool) -> Option<Store>,
        life: impl Fn() -> u64,
        is_opening: &Cell<bool>,
    ) -> Option<&'static Store> {
        if self.opening.swap(true, Ordering::Acquire) {
            return None;
        }
        is_opening.set(true);
        let opened_in = life();
        if let Some(store) = self.get().is_none().then(|| open(self.was_given_up.load(Ordering::Relaxed))).flatten() {
            self.store.store(Box::into_raw(Box::new(store)), Ordering::SeqCst);
            // Another thread ended the life meanwhile (`ProcessIdentity::change_user`), and may have found no store to
            // forget.
            if life() != opened_in {
                self.forget();
            }
        }
        self.opening.store(false, Ordering::Release);
        self.get()
    }

    /// Empties the place, in a fork child: what the parent recorded is not its own.
    pub(crate) fn forget(&self) {
        self.opening.store(false, Ordering::Release);
        if let Some(parents) = self.get() {
            self.store.store(ptr::null_mut(), Ordering::Release);
            parents.region().leave();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::os::{clock, spare_stack};
    use crate::tap::store::tests::fixture;
    use crate::tap::store::{Origin, Region};
    use crate::wire::live::layout::MIN_BYTES;

    #[test]
    fn who_gives_up_for_want_of_memory_leaves_it_to_others() {
        static CELL: StoreCell = StoreCell::new();
        let give_up = |_| {
            spare_stack::give_up();
            None
        };
        assert!(CELL.get_or_open(give_up, || 7).is_none());
        let store = CELL.get_or_open(|_| Some(fixture::store(MIN_BYTES)), || 7);
        assert!(store.is_some() && CELL.get().is_some());
    }

    #[test]
    fn who_opens_after_one_that_gave_up_has_a_file_too() {
        static CELL: StoreCell = StoreCell::new();
        let (pid, token) = (std::process::id(), clock::monotonic_ns());
        let origin = Origin { pid, token, wall_ns: 9, monotonic_ns: 10, period: 1024, pid_namespace: 0 };
        let has_file = Cell::new(false);
        let open = |is_again, gives_up: bool| {
            let region = Region::open(is_again, 8 * MIN_BYTES, &origin)?;
            has_file.set(region.path().is_some());
            if gives_up {
                spare_stack::give_up();
            }
            Store::new(region, false)
        };
        assert!(CELL.get_or_open(|is_again| open(is_again, true), || token).is_none());
        if !has_file.get() {
            eprintln!("skipped: no tmpfs with room, or a kernel before 5.14");
            return;
        }
        let store = CELL.get_or_open(|is_again| open(is_again, false), || token).expect("opened");
        assert!(has_file.get(), "the file of the first attempt is in the way");
        store.region().remove_files();
    }
}
