//! The place of the process's one store: empty, then full, and empty again in a fork child.
//!
//! # Safety
//! A store put here is leaked: it is never freed, so references to it last as long as the process.
#![allow(unsafe_code)]

use super::Store;
use crate::tap::os::spare_stack;
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicPtr, Ordering};

/// The place.
pub(crate) struct StoreCell {
    store: AtomicPtr<Store>,
}

impl StoreCell {
    /// An empty place.
    pub(crate) const fn new() -> StoreCell {
        StoreCell { store: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The store, if there is one.
    #[inline]
    pub(crate) fn get(&self) -> Option<&'static Store> {
        let store = NonNull::new(self.store.load(Ordering::Acquire))?;
        // SAFETY: a leaked Box.
        Some(unsafe { store.as_ref() })
    }

    /// The store, made now if there is none.
    #[inline]
    pub(crate) fn get_or_open(&self, open: impl FnOnce() -> Option<Store>) -> Option<&'static Store> {
        // A store on its way into its box needs more stack than the caller may have.
        self.get().or_else(|| spare_stack::with_room(|| self.open(open)).flatten())
    }

    /// Losers of a race throw their store away.
    #[cold]
    #[inline(never)]
    fn open(&self, open: impl FnOnce() -> Option<Store>) -> Option<&'static Store> {
        let store = Box::into_raw(Box::new(open()?));
        let null = ptr::null_mut();
        if self.store.compare_exchange(null, store, Ordering::AcqRel, Ordering::Acquire).is_err() {
            // SAFETY: made above, and given to nobody.
            drop(unsafe { Box::from_raw(store) });
        }
        self.get()
    }

    /// Empties the place, in a fork child: what the parent recorded is not its own.
    pub(crate) fn forget(&self) {
        if let Some(parents) = self.get() {
            self.store.store(ptr::null_mut(), Ordering::Release);
            parents.region().leave();
        }
    }
}
