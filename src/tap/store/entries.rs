//! The memory of an [`Index`](super::index::Index): words of zeros, as many as the next power of two.
//!
//! # Safety
//! The words are an anonymous mapping that lives as long as the process.
#![allow(unsafe_code)]

use crate::tap::os::map;
use crate::wire::word;
use std::ptr::NonNull;
use std::sync::atomic::AtomicU64;

/// The words.
pub(super) struct Entries {
    words: NonNull<AtomicU64>,
    mask: usize,
}

// SAFETY: only atomics behind the pointer.
unsafe impl Send for Entries {}
// SAFETY: the same.
unsafe impl Sync for Entries {}

impl Entries {
    /// At least so many words. `None`: there is no memory.
    pub(super) fn new(capacity: usize) -> Option<Entries> {
        let capacity = capacity.next_power_of_two();
        Some(Entries { words: map::anonymous(word::bytes_of(capacity))?.cast(), mask: capacity - 1 })
    }

    /// The word at an index, which wraps round at the end.
    #[inline]
    pub(super) fn at(&self, index: usize) -> &AtomicU64 {
        // SAFETY: masked to the capacity that `new` mapped; mappings are zeroed and aligned to pages.
        unsafe { self.words.add(index & self.mask).as_ref() }
    }
}
