//! The allocator that is kept under `prof_allocator:keep`: its name, and what it told of itself last.
//!
//! # Safety
//! The name is written during the first call and only read after it.
#![allow(unsafe_code)]

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// The file of the allocator that is kept; null: the embedded one serves. The loader's own text, which stays.
static FILE: AtomicPtr<c_char> = AtomicPtr::new(ptr::null_mut());

/// Nothing was told. No allocator holds so many bytes.
const UNKNOWN: u64 = u64::MAX;

/// What was told last. Relaxed: numbers that stand for themselves.
static TOLD: [AtomicU64; 3] = [const { AtomicU64::new(UNKNOWN) }; 3];

/// Notes that another allocator than the embedded one serves from now on, and its file: a text of the loader's.
pub(crate) fn note(file: *mut c_char) {
    FILE.store(file, Ordering::Relaxed);
}

/// Whether another allocator than the embedded one serves.
pub(crate) fn is_next_kept() -> bool {
    !FILE.load(Ordering::Relaxed).is_null()
}

/// The file name of the allocator that is kept, without its folder. `None`: the embedded one serves.
pub(crate) fn next_name() -> Option<&'static str> {
    let file = FILE.load(Ordering::Relaxed);
    if file.is_null() {
        return None;
    }
    // SAFETY: the loader's text, which stays as long as the library.
    let path = unsafe { CStr::from_ptr(file) }.to_str().unwrap_or("?");
    path.rsplit('/').next()
}

/// What the allocator that is kept holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Usage {
    /// Bytes of blocks that the program has, with the allocator's own headers; sampled blocks are not among them.
    pub(crate) in_use: Option<u64>,
    /// Bytes that it keeps for later.
    pub(crate) kept: Option<u64>,
    /// Arenas among which both are spread.
    pub(crate) arenas: Option<u64>,
}

/// What was told last, by anybody's asking.
pub(crate) fn last() -> Usage {
    let [in_use, kept, arenas] =
        TOLD.each_ref().map(|told| Some(told.load(Ordering::Relaxed)).filter(|&told| told != UNKNOWN));
    Usage { in_use, kept, arenas }
}

/// Notes what was told.
pub(crate) fn tell(usage: Usage) {
    let Usage { in_use, kept, arenas } = usage;
    for (told, value) in TOLD.iter().zip([in_use, kept, arenas]) {
        if let Some(value) = value {
            told.store(value, Ordering::Relaxed);
        }
    }
}
