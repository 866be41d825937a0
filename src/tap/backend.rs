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

mod size_class;
mod spares;

use super::os::{map, range::Range};
use spares::Spares;
use std::cell::UnsafeCell;
use std::ffi::{c_int, c_uint, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
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
/// The index that stands for all arenas (MALLCTL_ARENAS_ALL in jemalloc.h).
const ALL_ARENAS: u64 = 4096;
/// Bytes that jemalloc's options may take, with the NUL.
const CONF_BYTES: usize = 4096;

std::arch::global_asm!(
    // jemalloc's own definition is weak; hidden, or it would be one more export.
    ".pushsection .bss.heaptap_conf,\"aw\",@nobits",
    ".globl heaptap_conf",
    ".hidden heaptap_conf",
    "heaptap_conf: .zero 4096",
    ".popsection",
    ".pushsection .data.rel.ro.heaptap_conf,\"aw\"",
    ".p2align 3",
    ".globl _rjem_malloc_conf",
    ".hidden _rjem_malloc_conf",
    ".type _rjem_malloc_conf,@object",
    ".size _rjem_malloc_conf,8",
    "_rjem_malloc_conf: .quad heaptap_conf",
    ".popsection",
);

unsafe extern "C" {
    static heaptap_conf: UnsafeConf;
    /// jemalloc's `opt.retain`, by the name that the crate's build gives it.
    static _rjem_je_opt_retain: AtomicBool;
}

#[repr(transparent)]
struct UnsafeConf(UnsafeCell<[u8; CONF_BYTES]>);

// SAFETY: written only by `Conf`, before jemalloc's first call, and read only by jemalloc after.
unsafe impl Sync for UnsafeConf {}

/// jemalloc's option string, to be filled before its first call.
pub(crate) struct Conf {
    len: usize,
}

impl Conf {
    /// An empty option string.
    ///
    /// # Safety
    /// One thread, once, before anything calls jemalloc.
    pub(crate) unsafe fn begin() -> Conf {
        Conf { len: 0 }
    }

    /// Adds a pair. `false`: no room left, the pair is dropped.
    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) -> bool {
        let separator: &[u8] = if self.len == 0 { b"" } else { b"," };
        let parts = [separator, key, b":", value];
        let bytes: usize = parts.iter().map(|part| part.len()).sum();
        if self.len + bytes >= CONF_BYTES {
            return false;
        }
        // SAFETY: `begin`'s caller promised that nobody else uses the buffer now.
        let buffer = unsafe { &mut *heaptap_conf.0.get() };
        for byte in parts.into_iter().flatten() {
            if let Some(slot) = buffer.get_mut(self.len) {
                *slot = *byte;
                self.len += 1;
            }
        }
        true
    }
}

/// Boots jemalloc, so that its own fork handlers are registered before ours.
pub(crate) fn boot() {
    // SAFETY: reads a number under a NUL-terminated name.
    let _ = unsafe { raw::read::<c_uint>(b"arenas.narenas\0") };
}

/// An arena that no other thread allocates from. A child of a raw `clone` runs no handler of fork and finds the
/// locks as they were: those of an arena that only the keeper uses are nothing to it.
pub(crate) struct OwnArena(Option<c_uint>);

impl OwnArena {
    /// Moves this thread to an arena of its own; where none can be had, it stays where it is.
    pub(crate) fn settle() -> OwnArena {
        // SAFETY: reads the index of the new arena, an `unsigned`, under a NUL-terminated name.
        let made = unsafe { raw::read::<c_uint>(b"arenas.create\0") }.ok();
        // SAFETY: the control takes the index of an arena.
        OwnArena(made.filter(|&arena| unsafe { raw::write(b"thread.arena\0", arena) }.is_ok()))
    }

    /// Gives its unused memory back to the system at once, not in ten seconds: it is not the program's.
    pub(crate) fn purge(&self) {
        if let Some(arena) = self.0 {
            purge_arena(u64::from(arena));
        }
    }
}

/// From now on address space goes back to the system with the memory. jemalloc keeps freed address space in pieces;
/// under a limit a large request then fails for ever. It looks at this option whenever it frees pages.
pub(crate) fn stop_retaining() {
    // SAFETY: a `bool` of jemalloc's, which is true or false and is only ever read there.
    unsafe { _rjem_je_opt_retain.store(false, Ordering::Relaxed) };
}

/// Gives unused memory of all arenas back to the system.
pub(crate) fn purge() {
    purge_arena(ALL_ARENAS);
}

fn purge_arena(arena: u64) {
    let mut name = Name::new();
    name.push(b"arena.").number(arena).push(b".purge\0");
    // SAFETY: the name is NUL-terminated, and this control takes and gives nothing.
    unsafe { je::mallctl(name.as_ptr(), ptr::null_mut(), ptr::null_mut(), ptr::null_mut(), 0) };
}

/// Bytes of the pages that blocks lie in, and of the free pages that jemalloc keeps for later. It keeps count
/// of these without its statistics, which are compiled out.
pub(crate) fn page_bytes() -> [usize; 2] {
    // SAFETY: any number refreshes what the names below read.
    let _ = unsafe { raw::write(b"epoch\0", 1u64) };
    // jemalloc's own pages, which may be larger than the kernel's.
    // SAFETY: reads a `size_t` under a NUL-terminated name.
    let page = unsafe { raw::read::<usize>(b"arenas.page\0") }.unwrap_or(0);
    let pages = |kind: &[u8]| {
        let mut name = Name::new();
        name.push(b"stats.arenas.").number(ALL_ARENAS).push(kind);
        // SAFETY: reads a `size_t` under a NUL-terminated name.
        unsafe { raw::read::<usize>(name.as_bytes()) }.unwrap_or(0).saturating_mul(page)
    };
    [pages(b".pactive\0"), pages(b".pdirty\0") + pages(b".pmuzzy\0")]
}

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

/// A mallctl name put together without allocating.
struct Name {
    bytes: [u8; 64],
    len: usize,
}

impl Name {
    fn new() -> Name {
        Name { bytes: [0; 64], len: 0 }
    }

    fn push(&mut self, part: &[u8]) -> &mut Name {
        for byte in part {
            if let Some(slot) = self.bytes.get_mut(self.len) {
                *slot = *byte;
                self.len += 1;
            }
        }
        self
    }

    fn number(&mut self, number: u64) -> &mut Name {
        let mut divisor = 1;
        while number / divisor >= 10 {
            divisor *= 10;
        }
        while divisor > 0 {
            self.push(&[b'0' + (number / divisor % 10) as u8]);
            divisor /= 10;
        }
        self
    }

    fn as_bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(b"\0")
    }

    fn as_ptr(&self) -> *const std::ffi::c_char {
        self.as_bytes().as_ptr().cast()
    }
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
