//! Floor 1: the embedded jemalloc, and in it the heap of sampled allocations.
//!
//! Unsampled requests are forwarded by the exports themselves. Sampled ones come from a few arenas of
//! their own whose extents all lie in the reserved [`Range`], so that `free` can tell them from
//! an address alone; they never enter a thread cache, where an unsampled request could pick them up.
//! Each is of the size class that an unsampled block would be of, and eight bytes longer: those are the *trailer*,
//! which says which record is whose. Nothing here knows what a record is.
//!
//! # Safety
//! Pointers go to jemalloc only if they came from it. The extent hooks are called by jemalloc with
//! extents of our arenas, and hand out only memory that the range has just given.
#![allow(unsafe_code)]

mod conf;
mod controls;
mod size_class;
mod spares;

use super::os::{map, range::Range};
pub(crate) use conf::Conf;
use controls::Name;
#[cfg_attr(test, allow(unused_imports, reason = "the exports, which use them, are not part of unit tests"))]
pub(crate) use controls::{OwnArena, boot, page_bytes, purge, stop_retaining};
use spares::Spares;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use tikv_jemalloc_ctl::raw;
use tikv_jemalloc_sys as je;

/// Bytes of the trailer at the end of each sampled block.
const TRAILER: usize = 8;
/// What blocks of more than eight bytes are aligned to without asking.
const NATURAL_ALIGNMENT: usize = 16;
/// log2 of the smallest page that jemalloc may have been built for.
const LG_SMALLEST_PAGE: u32 = 12;
/// Arenas of sampled blocks: one alone is a bottleneck, more than a few only cost memory.
const ARENAS: usize = 4;

/// Size that an unsampled request of this size would get.
#[inline]
pub(crate) fn size_class(size: usize, alignment: usize) -> usize {
    if alignment <= NATURAL_ALIGNMENT
        && let Some(class) = size_class::of(size)
    {
        return class.bytes;
    }
    // SAFETY: computes from numbers; the size is not zero, the alignment a power of two.
    let class = unsafe { je::nallocx(size.max(1), align_flags(alignment)) };
    class.max(size)
}

/// What the program has of a sampled block of that size class: the class below, and the trailer lies in between.
/// Large classes are whole pages, whose size is jemalloc's own.
#[inline]
fn usable_of(bytes: usize) -> usize {
    size_class::before(bytes).unwrap_or_else(|| {
        let steps = LG_SMALLEST_PAGE..=size_class::lg_distance(bytes);
        // SAFETY: computes from numbers; large classes are larger than their distances.
        let mut below = steps.map(|lg| unsafe { je::nallocx(bytes - (1 << lg), 0) });
        below.find(|&class| class < bytes).unwrap_or(bytes - TRAILER)
    })
}

fn align_flags(alignment: usize) -> c_int {
    if alignment > NATURAL_ALIGNMENT { je::MALLOCX_ALIGN(alignment) } else { 0 }
}

/// A live sampled block.
#[derive(Clone, Copy)]
pub(crate) struct SampledBlock {
    start: NonNull<c_void>,
    usable: usize,
}

impl SampledBlock {
    /// What the program has.
    #[inline]
    pub(crate) fn start(self) -> NonNull<c_void> {
        self.start
    }

    /// Bytes that the program may use.
    #[inline]
    pub(crate) fn usable(self) -> usize {
        self.usable
    }

    /// The trailer of the block.
    #[inline]
    pub(crate) fn trailer(&self) -> &AtomicU64 {
        let trailer = self.start.as_ptr().wrapping_byte_add(self.usable).cast::<AtomicU64>();
        // SAFETY: `allocate` asked for eight bytes more, size classes are multiples of eight; and the program,
        // told only of `usable` bytes, has no business there. Who made `self` holds a live block.
        unsafe { &*trailer }
    }
}

/// The heap of sampled blocks.
#[repr(C)]
pub(crate) struct SampledHeap {
    /// First, so that jemalloc's pointer to the hooks is a pointer to the heap.
    hooks: je::extent_hooks_t,
    range: Range,
    /// Arena indices plus one; 0: not made yet, `u32::MAX`: cannot be made.
    arenas: [AtomicU32; ARENAS],
    spares: Spares,
}

// SAFETY: the hooks are never written; everything else is atomic.
unsafe impl Sync for SampledHeap {}

impl SampledHeap {
    /// A heap without a range: every allocation fails.
    pub(crate) const fn new() -> SampledHeap {
        SampledHeap {
            hooks: je::extent_hooks_t {
                alloc: Some(extent_alloc),
                dalloc: None,
                destroy: None,
                commit: None,
                decommit: None,
                purge_lazy: None,
                purge_forced: Some(extent_purge),
                split: Some(extent_split),
                merge: Some(extent_merge),
            },
            range: Range::new(),
            arenas: [const { AtomicU32::new(0) }; ARENAS],
            spares: Spares::new(),
        }
    }

    /// Reserves the address range, at most `most` bytes, at an address that `random` decides. `false`: none can be had.
    pub(crate) fn reserve(&'static self, most: usize, random: u64) -> bool {
        self.range.reserve(most, random)
    }

    /// Gives the range's unused part back, but for so many bytes.
    pub(crate) fn give_back(&self, keep: usize) {
        self.range.give_back(keep);
    }

    /// Whether there is a range.
    pub(crate) fn is_ready(&self) -> bool {
        !self.range.is_empty()
    }

    /// Whether a pointer is a sampled block's.
    #[inline]
    pub(crate) fn holds(&self, block: *const c_void) -> bool {
        self.range.holds(block as usize)
    }

    /// Allocates a block with room for a trailer, whose value is `u64::MAX`. `hint` spreads threads over the arenas.
    pub(crate) fn allocate(
        &'static self,
        size: usize,
        alignment: usize,
        zeroed: bool,
        hint: usize,
    ) -> Option<SampledBlock> {
        // The program has what it would have without us, to the byte (nallocx(3)); the trailer comes behind it.
        let bytes = size_class(size.max(1), alignment).checked_add(TRAILER)?;
        let class = if alignment <= NATURAL_ALIGNMENT { size_class::of(bytes) } else { None };
        let spare = class.and_then(|class| self.spares.take(class, hint));
        let start = match spare {
            Some(spare) => {
                if zeroed {
                    // All of it, as jemalloc does. SAFETY: the spare is nobody's, and of this class.
                    unsafe { spare.cast::<u8>().write_bytes(0, class.map_or(size, |class| class.bytes)) };
                }
                spare
            }
            None => self.fresh(bytes, alignment, zeroed, hint)?,
        };
        let block = match class {
            Some(class) => SampledBlock { start, usable: usable_of(class.bytes) },
            None => self.block(start),
        };
        block.trailer().store(u64::MAX, Ordering::Relaxed);
        Some(block)
    }

    fn fresh(&'static self, bytes: usize, alignment: usize, zeroed: bool, hint: usize) -> Option<NonNull<c_void>> {
        let arena = self.arena(hint)?;
        let zero = if zeroed { je::MALLOCX_ZERO } else { 0 };
        let flags = align_flags(alignment) | zero | je::MALLOCX_ARENA(arena as usize) | je::MALLOCX_TCACHE_NONE;
        // SAFETY: the size is not zero; the arena exists.
        let block = NonNull::new(unsafe { je::mallocx(bytes, flags) })?;
        if !self.holds(block.as_ptr()) {
            // Called by jemalloc itself (pthread_create in its background threads), it takes its arena 0.
            // SAFETY: allocated above.
            unsafe { je::dallocx(block.as_ptr(), je::MALLOCX_TCACHE_NONE) };
            return None;
        }
        Some(block)
    }

    /// The sampled block that begins here.
    pub(crate) fn block(&self, start: NonNull<c_void>) -> SampledBlock {
        // SAFETY: the callers' block is alive and came from `allocate`.
        let bytes = unsafe { je::sallocx(start.as_ptr(), 0) };
        SampledBlock { start, usable: usable_of(bytes) }
    }

    /// Frees a block of [`allocate`](Self::allocate). `hint` spreads threads.
    ///
    /// # Safety
    /// `block` came from `allocate` and was not freed since.
    pub(crate) unsafe fn free(&self, block: SampledBlock, hint: usize) {
        let surplus = match size_class::of(block.usable + TRAILER) {
            Some(class) => self.spares.put(class, hint, block.start),
            None => Some(block.start),
        };
        if let Some(surplus) = surplus {
            // SAFETY: nobody's any more, by our caller or because it was a spare; never in a thread cache.
            unsafe { je::dallocx(surplus.as_ptr(), je::MALLOCX_TCACHE_NONE) };
        }
    }

    fn arena(&'static self, hint: usize) -> Option<u32> {
        let slot = self.arenas.get(hint % ARENAS)?;
        match slot.load(Ordering::Relaxed) {
            0 => self.make_arena(slot),
            u32::MAX => None,
            index => Some(index - 1),
        }
    }

    /// Two threads may both make one; the loser's stays unused.
    fn make_arena(&'static self, slot: &AtomicU32) -> Option<u32> {
        // SAFETY: reads the index of the new arena, an `unsigned`, under a NUL-terminated name.
        let made = unsafe { raw::read::<c_uint>(b"arenas.create\0") };
        let made = made.ok().filter(|&index| self.take_over(index)).map_or(u32::MAX, |index| index + 1);
        let _ = slot.compare_exchange(0, made, Ordering::Relaxed, Ordering::Relaxed);
        match slot.load(Ordering::Relaxed) {
            0 | u32::MAX => None,
            index => Some(index - 1),
        }
    }

    /// Puts our extent hooks under a new arena. Its metadata, allocated before, stays outside the range.
    fn take_over(&'static self, arena: u32) -> bool {
        let mut name = Name::new();
        name.push(b"arena.").number(u64::from(arena)).push(b".extent_hooks\0");
        let hooks: *const je::extent_hooks_t = &raw const self.hooks;
        // SAFETY: the control takes a pointer to hooks, which live as long as the process.
        unsafe { raw::write(name.as_bytes(), hooks.cast_mut()) }.is_ok()
    }
}

unsafe extern "C" fn extent_alloc(
    hooks: *mut je::extent_hooks_t,
    new_address: *mut c_void,
    size: usize,
    alignment: usize,
    zero: *mut bool,
    commit: *mut bool,
    _arena: c_uint,
) -> *mut c_void {
    if !new_address.is_null() {
        return ptr::null_mut();
    }
    // SAFETY: our hooks are the first field of the one SampledHeap, which is a static.
    let heap = unsafe { &*hooks.cast::<SampledHeap>() };
    let Some(extent) = heap.range.take(size, alignment.max(1)) else { return ptr::null_mut() };
    // SAFETY: jemalloc passes places for two answers: fresh mappings are zeroed and committed.
    unsafe { zero.write(true) };
    // SAFETY: as above.
    unsafe { commit.write(true) };
    extent.cast()
}

/// Gives pages back; `false` tells jemalloc that it worked. Under mlockall madvise fails and a
/// fresh mapping does it.
unsafe extern "C" fn extent_purge(
    _hooks: *mut je::extent_hooks_t,
    address: *mut c_void,
    _size: usize,
    offset: usize,
    length: usize,
    _arena: c_uint,
) -> bool {
    let start = address.cast::<u8>().wrapping_add(offset);
    // SAFETY: jemalloc owns this extent of our range and needs nothing in this part of it.
    let done = unsafe { map::discard(start, length) }
        // SAFETY: the same.
        || unsafe { map::renew(start, length) };
    !done
}

/// Extents of one mapping can always be split.
unsafe extern "C" fn extent_split(
    _hooks: *mut je::extent_hooks_t,
    _address: *mut c_void,
    _size: usize,
    _first: usize,
    _second: usize,
    _committed: bool,
    _arena: c_uint,
) -> bool {
    false
}

/// Neighbours of one mapping can always be merged.
unsafe extern "C" fn extent_merge(
    _hooks: *mut je::extent_hooks_t,
    _first: *mut c_void,
    _first_size: usize,
    _second: *mut c_void,
    _second_size: usize,
    _committed: bool,
    _arena: c_uint,
) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    static HEAP: SampledHeap = SampledHeap::new();

    #[test]
    fn sampled_blocks_lie_in_the_range_and_keep_their_trailer() {
        assert!(HEAP.reserve(1 << 40, 1 << 33));
        for size in [0, 1, 8, 9, 4096, 100_000, 3 << 20] {
            for alignment in [1, 16, 64, 4096, 1 << 21] {
                let block = HEAP.allocate(size, alignment, true, size).unwrap();
                let start = block.start().as_ptr();
                assert!(HEAP.holds(start) && block.usable() >= size_class(size, alignment));
                assert!(alignment > NATURAL_ALIGNMENT || block.usable() == size_class(size, 1));
                assert_eq!(block.usable(), HEAP.block(block.start()).usable());
                assert!((start as usize).is_multiple_of(alignment));
                block.trailer().store(0x1234, Ordering::Relaxed);
                // SAFETY: the block has `size` bytes, which are ours.
                let bytes = unsafe { std::slice::from_raw_parts_mut(start.cast::<u8>(), size) };
                assert!(bytes.iter().all(|&byte| byte == 0));
                bytes.fill(0xff);
                assert_eq!(block.trailer().load(Ordering::Relaxed), 0x1234);
                // SAFETY: allocated above.
                unsafe { HEAP.free(block, size) };
            }
        }
        assert!(!HEAP.holds(Box::into_raw(Box::new(1)).cast()));
    }

    #[test]
    fn names_are_put_together() {
        let mut name = Name::new();
        name.push(b"arena.").number(4096).push(b".").number(0).push(b"\0");
        assert_eq!(name.as_bytes(), b"arena.4096.0\0");
    }

    #[test]
    fn size_classes_are_those_of_jemalloc() {
        for bytes in 1..=40 << 10 {
            // SAFETY: computes from numbers; the size is not zero.
            let expected = unsafe { je::nallocx(bytes, 0) };
            assert_eq!(size_class(bytes, 1), expected, "{bytes}");
            // SAFETY: as above.
            assert_eq!(usable_of(unsafe { je::nallocx(expected + 1, 0) }), expected, "{bytes}");
        }
        for lg in 16..40 {
            // SAFETY: as above.
            let [one, next] = [0, 1].map(|more| unsafe { je::nallocx((3 << lg) + more, 0) });
            assert_eq!(usable_of(next), one);
        }
        assert_eq!([0, 1, 100, 4096, 4097].map(|size| size_class(size, 1)), [8, 8, 112, 4096, 5120]);
        assert_eq!(size_class(100, 128), 128);
    }
}
