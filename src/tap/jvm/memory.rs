//! Reads of the virtual machine's memory: bounded plain loads, and loads that the kernel checks.
//!
//! The lowest stone of `jvm`: everything else there reads through a [`Block`] (somebody vouched for its
//! bytes) or through [`copy`] (nobody did yet). Nothing here allocates, locks, faults or panics.
//!
//! # Safety
//!
//! A `Block` is made by an unsafe constructor whose caller vouches that the bytes stay readable for as
//! long as the block is used; reads check bounds and alignment and are volatile, because the virtual
//! machine writes to the same memory. [`copy`] needs no promise: the kernel reports unmapped memory.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::AtomicU64;

/// Integers of which every bit pattern is a value.
pub(super) trait Plain: Copy {}

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
        let address = self.start.wrapping_add(offset);
        if offset > self.len || self.len - offset < size_of::<T>() || !address.is_multiple_of(align_of::<T>()) {
            return None;
        }
        // SAFETY: inside the vouched bytes and aligned (both just checked); `Plain` takes any bits.
        Some(unsafe { ptr::with_exposed_provenance::<T>(address).read_volatile() })
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
        (0..).zip(prefix).all(|(index, &byte)| self.read_at::<u8>(address.wrapping_add(index)) == Some(byte))
    }

    /// Whether the NUL-terminated string at `address` is `text`.
    pub(super) fn text_is(self, address: usize, text: &[u8]) -> bool {
        self.text_begins(address, text) && self.read_at::<u8>(address.wrapping_add(text.len())) == Some(0)
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

/// What the kernel said to a checked copy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// All bytes are there.
    Whole,
    /// Some of the bytes are not mapped, or not readable.
    Fault,
    /// The kernel, an emulator or a sandbox does not let us ask.
    Refused,
}

/// Copies `into.len()` bytes from `address` on; the kernel (`process_vm_readv(2)`, 0.5-2.5 µs) checks them.
pub(super) fn copy(address: usize, into: &mut [u8]) -> Copied {
    let local = libc::iovec { iov_base: into.as_mut_ptr().cast(), iov_len: into.len() };
    let remote = libc::iovec { iov_base: ptr::with_exposed_provenance_mut(address), iov_len: into.len() };
    // SAFETY: getpid has no precondition; it is asked each time because a fork child has another one.
    let pid = unsafe { libc::getpid() };
    // SAFETY: `local` is the caller's exclusive buffer; the kernel checks `remote`, which is our own process.
    let count = unsafe { libc::process_vm_readv(pid, &raw const local, 1, &raw const remote, 1, 0) };
    if usize::try_from(count) == Ok(into.len()) {
        return Copied::Whole;
    }
    // SAFETY: `__errno_location` is this thread's errno.
    let errno = unsafe { *libc::__errno_location() };
    if count < 0 && errno != libc::EFAULT { Copied::Refused } else { Copied::Fault }
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
    // SAFETY: a new mapping at an address of the kernel's choice disturbs nobody.
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
