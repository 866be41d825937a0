//! Facts about jemalloc that the heap relies on: asked before the first sampled block, and compared with what is
//! computed here.
//!
//! Where jemalloc's small size classes are not those of [`size_class`], nothing is sampled and one line says so.
//! Everything else that options change is followed: large size classes (asked each time), fills (`zero`, `junk`), page
//! alignment of large blocks (`cache_oblivious:false`), and what becomes of `realloc(p, 0)`.
//!
//! # Safety
//! Names are NUL-terminated, and each control gives a value of its type: jemalloc(3).
#![allow(unsafe_code)]

use super::size_class;
use crate::tap::os::stderr;
use std::ffi::{CStr, c_char};
use std::sync::atomic::{AtomicU32, Ordering};
use tikv_jemalloc_ctl::raw;
use tikv_jemalloc_sys as je;

/// What `realloc(p, 0)` does (`opt.zero_realloc`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ZeroRealloc {
    /// It frees the block.
    Free,
    /// It returns a small block.
    Alloc,
    /// It ends the process.
    Abort,
}

/// Answers, as bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Facts(u32);

/// They were asked for.
const KNOWN: u32 = 1;
/// Size classes are not those that are computed.
const STRANGE: u32 = 1 << 1;
/// Fresh memory is zeroed.
const ZEROES: u32 = 1 << 2;
/// Fresh memory is filled with [`JUNK`].
const FILLS: u32 = 1 << 3;
/// Freed memory is filled.
const FILLS_FREED: u32 = 1 << 4;
/// Large blocks begin at pages.
const PAGES: u32 = 1 << 5;
const ZERO_REALLOC_ALLOC: u32 = 1 << 6;
const ZERO_REALLOC_ABORT: u32 = 1 << 7;

/// The byte that jemalloc fills fresh memory with (`JEMALLOC_ALLOC_JUNK`).
pub(super) const JUNK: u8 = 0xa5;

/// The place of the answers.
pub(super) struct FactsCell(AtomicU32);

impl FactsCell {
    /// Nothing asked yet.
    pub(super) const fn new() -> FactsCell {
        FactsCell(AtomicU32::new(0))
    }

    /// The answers. The first to ask is about to allocate a sampled block; a path that frees one finds them known.
    #[inline]
    pub(super) fn get(&self) -> Facts {
        // Relaxed: the word is all there is, and a second question has the same answers.
        match self.0.load(Ordering::Relaxed) {
            0 => self.ask(),
            known => Facts(known),
        }
    }

    #[cold]
    #[inline(never)]
    fn ask(&self) -> Facts {
        let junk = option(c"opt.junk");
        let zero_realloc = option(c"opt.zero_realloc");
        let bits = [
            (KNOWN, true),
            (STRANGE, !classes_are_as_computed(ask_class)),
            (ZEROES, flag(c"opt.zero", false)),
            (FILLS, junk == b"true" || junk == b"alloc"),
            (FILLS_FREED, junk == b"true" || junk == b"free"),
            (PAGES, !flag(c"opt.cache_oblivious", true)),
            (ZERO_REALLOC_ALLOC, zero_realloc == b"alloc"),
            (ZERO_REALLOC_ABORT, zero_realloc == b"abort"),
        ];
        let word = bits.iter().filter(|(_, is_so)| *is_so).fold(0, |word, (bit, _)| word | bit);
        if self.0.swap(word, Ordering::Relaxed) == 0 && word & STRANGE != 0 {
            stderr::say(&[b"heaptap: this jemalloc has other size classes than heaptap knows: nothing is sampled"]);
        }
        Facts(word)
    }
}

impl Facts {
    /// Whether blocks can be made at all.
    #[inline]
    pub(super) fn are_usual(self) -> bool {
        self.0 & STRANGE == 0
    }

    /// Whether freed blocks may be handed out again as they are: no option says what memory must read as.
    #[inline]
    pub(super) fn may_keep_spares(self) -> bool {
        self.0 & (ZEROES | FILLS | FILLS_FREED) == 0
    }

    /// The bytes that fresh memory reads as, where options or the request say so.
    #[inline]
    pub(super) fn fill(self, zeroed: bool) -> Option<u8> {
        match self.0 & (ZEROES | FILLS) {
            _ if zeroed => Some(0),
            0 => None,
            bits if bits & ZEROES != 0 => Some(0),
            _ => Some(JUNK),
        }
    }

    /// Whether large blocks begin at pages.
    #[inline]
    pub(super) fn large_blocks_are_pages(self) -> bool {
        self.0 & PAGES != 0
    }

    /// What `realloc(p, 0)` does.
    pub(super) fn zero_realloc(self) -> ZeroRealloc {
        match self.0 & (ZERO_REALLOC_ALLOC | ZERO_REALLOC_ABORT) {
            ZERO_REALLOC_ALLOC => ZeroRealloc::Alloc,
            ZERO_REALLOC_ABORT => ZeroRealloc::Abort,
            _ => ZeroRealloc::Free,
        }
    }
}

/// The size class that jemalloc has for so many bytes.
fn ask_class(bytes: usize) -> usize {
    // SAFETY: computes from numbers; the size is not zero.
    unsafe { je::nallocx(bytes.max(1), 0) }
}

/// Whether each class ends where it is computed to end, and the next one begins a byte later.
fn classes_are_as_computed(class_of: impl Fn(usize) -> usize) -> bool {
    let mut bytes = 1;
    while let Some(class) = size_class::of(bytes) {
        if class_of(bytes) != class.bytes || class_of(class.bytes) != class.bytes {
            return false;
        }
        bytes = class.bytes + 1;
    }
    true
}

fn flag(name: &CStr, otherwise: bool) -> bool {
    // SAFETY: these controls give a `bool`.
    unsafe { raw::read::<bool>(name.to_bytes_with_nul()) }.unwrap_or(otherwise)
}

fn option(name: &CStr) -> &'static [u8] {
    // SAFETY: these controls give a `const char *`.
    match unsafe { raw::read::<*const c_char>(name.to_bytes_with_nul()) } {
        // SAFETY: a C string constant of jemalloc's.
        Ok(text) if !text.is_null() => unsafe { CStr::from_ptr(text) }.to_bytes(),
        _ => b"",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn classes_are_those_of_jemalloc_and_others_are_noticed() {
        assert!(classes_are_as_computed(ask_class));
        assert!(!classes_are_as_computed(|bytes| bytes.next_multiple_of(16)));
        assert!(!classes_are_as_computed(|bytes| if bytes > 30 << 10 { 36 << 10 } else { ask_class(bytes) }));
        let facts = FactsCell::new().get();
        assert!(facts.are_usual() && facts.may_keep_spares() && facts.zero_realloc() == ZeroRealloc::Free);
        assert_eq!((facts.fill(false), facts.fill(true)), (None, Some(0)));
    }
}
