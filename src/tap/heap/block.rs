//! A sampled block: a header of two words, and the program's bytes behind it.
//!
//! ```text
//! base                                start
//! │ (nothing)   │ record  │ shape   │ usable bytes …                 │ (rest of jemalloc's size class)
//!               ╰─ 8 ─────┴─ 8 ────╯
//! ╰──── offset: 16, 64, or the alignment ────╯
//! ```
//!
//! The header lies in front, so neither jemalloc's size classes nor the options that change them can put it into the
//! program's part, it moves along when jemalloc moves the block, and `free` finds it without a call of jemalloc.
//!
//! *record* is the profiler's: which sample record is the block's, or [`NO_RECORD`]. *shape* is the heap's: usable
//! bytes (48 bits), log2 of the offset (6), a check against the address (10). A program that writes over the end of the
//! block before spoils *record* first. A shape whose check fails belongs to no block.
//!
//! # Safety
//! A [`Block`] is made of a live block, whose header no other thread writes.
#![allow(unsafe_code)]

use crate::tap::hash;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of the header.
pub(super) const HEADER: usize = 16;
/// A block without a sample record.
pub(crate) const NO_RECORD: u64 = u64::MAX;

const USABLE_BITS: u32 = 48;
const OFFSET_BITS: u32 = 6;
const CHECK_BITS: u32 = 10;
const _: () = assert!(USABLE_BITS + OFFSET_BITS + CHECK_BITS == u64::BITS);

/// A live sampled block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block {
    start: NonNull<c_void>,
    usable: usize,
    lg_offset: u32,
}

impl Block {
    /// Writes the header of a block at `base`. `None`: no block has that many bytes.
    ///
    /// # Safety
    /// At `base` is memory of the caller's, `offset` (a power of two) and `usable` bytes.
    #[inline]
    pub(super) unsafe fn write(base: NonNull<c_void>, offset: usize, usable: usize) -> Option<Block> {
        if usable >> USABLE_BITS != 0 {
            return None;
        }
        let start = NonNull::new(base.as_ptr().wrapping_byte_add(offset))?;
        let block = Block { start, usable, lg_offset: offset.trailing_zeros() };
        block.word(1).store(seal(start, usable, block.lg_offset), Ordering::Relaxed);
        Some(block)
    }

    /// The block that begins here. `None`: its header was written over, or there is none.
    ///
    /// # Safety
    /// `start` is readable from 16 bytes below on.
    #[inline]
    pub(super) unsafe fn read(start: NonNull<c_void>) -> Option<Block> {
        if !(start.as_ptr() as usize).is_multiple_of(HEADER) {
            return None;
        }
        let mut block = Block { start, usable: 0, lg_offset: 0 };
        let shape = block.word(1).load(Ordering::Relaxed);
        block.usable = (shape & ((1 << USABLE_BITS) - 1)) as usize;
        block.lg_offset = (shape >> USABLE_BITS) as u32 & ((1 << OFFSET_BITS) - 1);
        (shape == seal(start, block.usable, block.lg_offset)).then_some(block)
    }

    /// The program's pointer.
    #[inline]
    pub(crate) fn start(self) -> NonNull<c_void> {
        self.start
    }

    /// Bytes that the program may use: what `nallocx` says of the request.
    #[inline]
    pub(crate) fn usable(self) -> usize {
        self.usable
    }

    /// Which sample record is the block's: a word of the profiler's.
    #[inline]
    pub(crate) fn record(&self) -> &AtomicU64 {
        self.word(0)
    }

    /// Bytes from jemalloc's block to the program's.
    #[inline]
    pub(super) fn offset(self) -> usize {
        1usize.checked_shl(self.lg_offset).unwrap_or(0)
    }

    /// The pointer that jemalloc handed out.
    #[inline]
    pub(super) fn base(self) -> *mut c_void {
        self.start.as_ptr().wrapping_byte_sub(self.offset())
    }

    /// Ends the block: a second free of the same pointer finds none.
    #[inline]
    pub(super) fn erase(self) {
        self.word(1).store(0, Ordering::Relaxed);
    }

    #[inline]
    fn word(&self, number: usize) -> &AtomicU64 {
        let word = self.start.as_ptr().cast::<AtomicU64>().wrapping_sub(2).wrapping_add(number);
        // SAFETY: see the head. The start is a multiple of 16, and the program, which is told of what comes behind it,
        // has no business in front.
        unsafe { &*word }
    }
}

/// The shape word of a block. Zero is the shape of none.
#[inline]
fn seal(start: NonNull<c_void>, usable: usize, lg_offset: u32) -> u64 {
    let shape = u64::from(lg_offset) << USABLE_BITS | usable as u64;
    let check = hash::spread(start.as_ptr() as u64 ^ shape.rotate_left(21) ^ 0x5bd1) >> (64 - CHECK_BITS);
    check << (USABLE_BITS + OFFSET_BITS) | shape
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(align(64))]
    struct Memory([u8; 256]);

    #[test]
    fn a_header_is_believed_only_where_it_was_written() {
        let mut memory = Memory([0; 256]);
        let base = NonNull::new(memory.0.as_mut_ptr().cast::<c_void>()).unwrap();
        for (offset, usable) in [(16, 8), (16, 112), (64, 1 << 40), (32, 0)] {
            // SAFETY: headers lie in our memory.
            let block = unsafe { Block::write(base, offset, usable) }.unwrap();
            block.record().store(NO_RECORD - 1, Ordering::Relaxed);
            // SAFETY: as above.
            let found = unsafe { Block::read(block.start()) }.unwrap();
            assert_eq!((found.base(), found.usable(), found.offset()), (base.as_ptr(), usable, offset));
            assert_eq!(found.record().load(Ordering::Relaxed), NO_RECORD - 1);
            for spoilt in [8, 13, 15] {
                let at = found.start().as_ptr().cast::<u8>().wrapping_sub(16).wrapping_add(spoilt);
                // SAFETY: in our memory.
                unsafe { at.write(at.read() ^ 1) };
                // SAFETY: as above.
                assert!(unsafe { Block::read(block.start()) }.is_none(), "{spoilt}");
                // SAFETY: as above.
                unsafe { at.write(at.read() ^ 1) };
            }
            found.erase();
            // SAFETY: as above.
            assert!(unsafe { Block::read(block.start()) }.is_none());
        }
        // SAFETY: nothing is written there.
        assert!(unsafe { Block::write(base, 16, 1 << USABLE_BITS) }.is_none());
    }
}
