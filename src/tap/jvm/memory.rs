//! Reads of the virtual machine's memory: bounded plain loads, and loads that the kernel checks.
//!
//! The lowest file of `jvm`: all others read through a [`Block`], whose bytes are known to be readable, or through
//! [`copy`], where that is not known. Nothing here allocates, locks, faults or panics.
//!
//! # Safety
//!
//! A `Block` is made by an unsafe constructor whose caller vouches that the bytes stay readable for as
//! long as the block is used; reads check bounds and alignment and are volatile, because the virtual
//! machine writes to the same memory. [`copy`] needs no promise: the kernel reports unmapped memory.
#![allow(unsafe_code)]

use std::cell::Cell;
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::AtomicU64;

use crate::tap::os::recent_pages::{Mark, RECENT_PAGES};
use crate::tap::os::{checked, faults};
use crate::tap::unwind;

pub(super) use crate::tap::os::checked::{Copied, copy};

/// Integers of which every bit pattern is a value.
pub(super) trait Plain: Copy {
    /// The value that was read, as the build for fault injection hands it out: itself in every other build.
    #[inline(always)]
    fn read(mut self) -> Self {
        if cfg!(feature = "faults") {
            // SAFETY: the bytes of an integer of our own, each bit pattern of which is a value.
            faults::spoil(unsafe { std::slice::from_raw_parts_mut((&raw mut self).cast::<u8>(), size_of::<Self>()) });
        }
        self
    }
}

impl Plain for u8 {}
impl Plain for u16 {}
impl Plain for u32 {}
impl Plain for i32 {}
impl Plain for u64 {}
impl Plain for usize {}

/// Readable bytes: `len` of them from `start` on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Block {
    start: usize,
    len: usize,
}

impl Block {
    /// The bytes `start .. start + len`.
    ///
    /// # Safety
    ///
    /// They must be readable as long as this block, a copy or a part of it is in use.
    pub(super) const unsafe fn vouched(start: usize, len: usize) -> Block {
        Block { start, len }
    }

    /// Address of the first byte.
    pub(super) fn start(self) -> usize {
        self.start
    }

    /// Whether `address` lies inside.
    pub(super) fn contains(self, address: usize) -> bool {
        address.wrapping_sub(self.start) < self.len
    }

    /// The value at `offset`; `None` if it is not wholly inside or not aligned.
    #[inline]
    pub(super) fn read<T: Plain>(self, offset: usize) -> Option<T> {
        let value = self.stored::<T>(offset)?;
        if faults::is_refused() { None } else { Some(value.read()) }
    }

    /// The same, and never a bad value where faults are injected: for searches, which compare thousands.
    #[inline]
    pub(super) fn stored<T: Plain>(self, offset: usize) -> Option<T> {
        let address = self.start.wrapping_add(offset);
        if offset > self.len || self.len - offset < size_of::<T>() || !address.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: inside the vouched bytes and aligned (both just checked); `Plain` takes any bits.
        Some(unsafe { ptr::with_exposed_provenance::<T>(address).read_volatile() })
    }

    /// A copy of the `N` bytes at `offset`, as they are stored; `None` if they are not wholly inside.
    pub(super) fn bytes<const N: usize>(self, offset: usize) -> Option<[u8; N]> {
        let block = self.part(offset, N)?;
        let mut bytes = [0; N];
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = block.stored(at)?;
        }
        Some(bytes)
    }

    /// The value at an absolute address, if that is inside.
    #[inline]
    pub(super) fn read_at<T: Plain>(self, address: usize) -> Option<T> {
        self.read(address.wrapping_sub(self.start))
    }

    /// The bytes `offset .. offset + len` of this block, if they are inside.
    pub(super) fn part(self, offset: usize, len: usize) -> Option<Block> {
        let end = offset.checked_add(len)?;
        (end <= self.len).then_some(Block { start: self.start.wrapping_add(offset), len })
    }

    /// The bytes from `offset` to the end.
    pub(super) fn rest(self, offset: usize) -> Option<Block> {
        self.part(offset, self.len.checked_sub(offset)?)
    }

    /// Whether a NUL-terminated string at `address` begins with `prefix`.
    pub(super) fn text_begins(self, address: usize, prefix: &[u8]) -> bool {
        let stored = |index: usize| self.stored::<u8>(address.wrapping_add(index).wrapping_sub(self.start));
        (0..).zip(prefix).all(|(index, &byte)| stored(index) == Some(byte))
    }

    /// Whether the NUL-terminated string at `address` is `text`.
    pub(super) fn text_is(self, address: usize, text: &[u8]) -> bool {
        let end = address.wrapping_add(text.len()).wrapping_sub(self.start);
        self.text_begins(address, text) && self.stored::<u8>(end) == Some(0)
    }
}

/// The bytes of a block, one after the other, from an offset on.
pub(super) struct Bytes {
    block: Block,
    offset: usize,
}

impl Bytes {
    /// Reads `block` from `offset` to its end.
    pub(super) fn new(block: Block, offset: usize) -> Bytes {
        Bytes { block, offset }
    }
}

impl Iterator for Bytes {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let byte = self.block.read(self.offset)?;
        self.offset += 1;
        Some(byte)
    }
}

const PAGE: usize = 4096;
/// Nothing that is looked at in one piece is larger.
const MOST_BYTES: usize = 1 << 31;

/// Pages that the kernel has found readable during one walk. What a pointer of the machine leads to is asked about
/// before it is read plainly: a pointer that is none makes a frame that is not plausible, and never a fault.
///
/// (A page may go between the question and the load; but what is on the running stack keeps what it refers to, so that
/// only a pointer that is none *and* leads to memory that just goes could meet that.)
#[derive(Debug)]
pub(super) struct Pages {
    /// Direct-mapped, each page by its number.
    readable: [Cell<usize>; 16],
    /// What other walks have just found counts as well, and this walk's mark once it was taken.
    shared: Option<Cell<Option<Mark>>>,
}

impl Pages {
    /// None is known.
    pub(super) const fn new() -> Pages {
        Pages { readable: [const { Cell::new(0) }; 16], shared: None }
    }

    /// The same for a walk of the running stack: what another one has just found readable is believed.
    pub(super) const fn of_walk() -> Pages {
        Pages { shared: Some(Cell::new(None)), ..Pages::new() }
    }

    /// The bytes `start .. start + len`, if all of them can be read. Costs a tenth of a microsecond for a page that was
    /// not asked about yet.
    #[inline]
    pub(super) fn block(&self, start: usize, len: usize) -> Option<Block> {
        let last = start.checked_add(len.checked_sub(1)?)?;
        // Addresses of the first page and beyond user space are never metadata.
        if start < PAGE || last >= 1 << 48 || len > MOST_BYTES {
            return None;
        }
        let is_readable = (start / PAGE..=last / PAGE).all(|page| self.holds(page));
        // SAFETY: the kernel has just found them readable; see above.
        is_readable.then(|| unsafe { Block::vouched(start, len) })
    }

    #[inline]
    fn holds(&self, page: usize) -> bool {
        let Some(known) = self.readable.get(page % self.readable.len()) else { return false };
        if known.get() == page {
            return true;
        }
        let ask = || unwind::is_readable(page * PAGE);
        let is_readable = match &self.shared {
            None => ask(),
            Some(mark) => {
                let taken = mark.get().unwrap_or_else(|| RECENT_PAGES.mark());
                mark.set(Some(taken));
                RECENT_PAGES.is_readable(page, taken, ask)
            }
        };
        if is_readable {
            known.set(page);
        }
        is_readable
    }
}

/// Copies what is readable from an address on that nobody vouched for: how many bytes. Where the kernel does not copy,
/// it is asked what can be read.
pub(super) fn copy_some(address: usize, into: &mut [u8]) -> usize {
    match checked::copy_some(address, into) {
        Ok(count) => count,
        Err(Copied::Refused) => {
            let pages = Pages::new();
            let here = into.len().min(PAGE - address % PAGE);
            let Some(block) = pages.block(address, here) else { return 0 };
            into.iter_mut().zip(Bytes::new(block, 0)).for_each(|(into, byte)| *into = byte);
            here
        }
        Err(_) => 0,
    }
}

/// Checked copy of one value at an address that nobody vouched for.
pub(super) fn copy_value<T: Plain>(address: usize) -> Result<T, Copied> {
    if !address.is_multiple_of(align_of::<T>()) {
        return Err(Copied::Fault);
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `value` is `size_of::<T>()` zeroed bytes that nothing else refers to.
    let bytes = unsafe { std::slice::from_raw_parts_mut(value.as_mut_ptr().cast::<u8>(), size_of::<T>()) };
    match copy(address, bytes) {
        // SAFETY: every bit pattern of a `Plain` is a value, and all bytes are initialised.
        Copied::Whole => Ok(unsafe { value.assume_init() }),
        trouble => Err(trouble),
    }
}

/// `count` zeroed words that stay for ever, in a mapping of their own: pages cost memory once they are written to.
pub(super) fn lasting_words(count: usize) -> Option<&'static [AtomicU64]> {
    let bytes = count.checked_mul(size_of::<u64>())?;
    let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
    // SAFETY: a new mapping at an address of the kernel's choice disturbs no other mapping.
    let start = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags | libc::MAP_NORESERVE, -1, 0) };
    if start == libc::MAP_FAILED {
        return None;
    }
    // SAFETY: the kernel gave `bytes` zeroed, page-aligned bytes; we never unmap them and touch them only as atomics.
    Some(unsafe { std::slice::from_raw_parts(start.cast::<AtomicU64>(), count) })
}

/// Moves `value` to memory that stays for ever.
pub(super) fn lasting<T: Sync>(value: T) -> Option<&'static T> {
    const { assert!(align_of::<T>() <= 4096) };
    let place = lasting_words(size_of::<T>().div_ceil(size_of::<u64>()))?.as_ptr().cast_mut().cast::<T>();
    // SAFETY: fresh, page-aligned memory that is large enough, never unmapped, and known to nobody else.
    unsafe { place.write(value) };
    // SAFETY: just written, and only ever shared from now on.
    Some(unsafe { &*place })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn block_of(bytes: &[u64]) -> Block {
        // SAFETY: the tests keep `bytes` alive while they use the block.
        unsafe { Block::vouched(bytes.as_ptr().expose_provenance(), size_of_val(bytes)) }
    }

    #[test]
    fn reads_stop_at_both_ends_and_want_alignment() {
        let words = [0x0102_0304_0506_0708, 9];
        let block = block_of(&words);
        assert_eq!(block.read::<u64>(8), Some(9));
        assert_eq!(block.read::<u8>(15), Some(0));
        assert_eq!((block.read::<u64>(16), block.read::<u64>(usize::MAX), block.read::<u16>(1)), (None, None, None));
        assert_eq!(block.read_at::<u64>(block.start() - 8), None);
        assert_eq!((block.part(8, 9), block.rest(17)), (None, None));
        assert_eq!(Bytes::new(block, 14).count(), 2);
    }

    #[test]
    fn text_is_compared_to_its_end() {
        let words = [u64::from_le_bytes(*b"nmethod\0")];
        let block = block_of(&words);
        assert!(block.text_is(block.start(), b"nmethod") && block.text_begins(block.start(), b"nmeth"));
        assert!(!block.text_is(block.start(), b"nmetho") && !block.text_begins(block.start(), b"nmethods"));
    }

    #[test]
    fn what_a_pointer_leads_to_is_asked_about_before_it_is_read() {
        let words = [7_u64; 1024];
        let pages = Pages::new();
        let start = (&raw const words).expose_provenance();
        let block = pages.block(start, size_of_val(&words)).expect("it is there");
        assert_eq!((block.read::<u64>(8 * 1023), block.read::<u64>(8 * 1024)), (Some(7), None));
        let wild = [0, 8, 4095, 1 << 47, usize::MAX - 7].map(|start| pages.block(start, 8));
        assert_eq!(wild, [None; 5]);
        assert_eq!((pages.block(start, 0), pages.block(start, usize::MAX)), (None, None));
        let mut text = [0; 16];
        assert_eq!((copy_some(start, &mut text), copy_some(8, &mut text)), (16, 0));
    }

    #[test]
    fn a_checked_copy_survives_unmapped_memory() {
        let word = 77_u64;
        match copy_value::<u64>((&raw const word).expose_provenance()) {
            Ok(value) => assert_eq!(value, 77),
            Err(trouble) => assert_eq!(trouble, Copied::Refused),
        }
        assert!(copy_value::<u64>(8).is_err());
        assert_eq!(copy_value::<u64>(9), Err(Copied::Fault));
    }
}
