//! The heap of sampled allocations. It owns what a sampled block *is*: allocate, resize, free, usable.
//!
//! Unsampled requests are forwarded to jemalloc by the exports themselves. Sampled ones come from a few [`arenas`] of
//! their own, whose extents all lie in the reserved range. A [`Block`] has a header in front of what the program gets;
//! its word `record` is the profiler's, and nothing here knows what a record is. The program gets as many usable bytes
//! as jemalloc would give it (`nallocx(3)`), also under options that change jemalloc's size classes ([`facts`]).
//!
//! A block that lies in the range stays there: whether a resize is sampled decides about its record, not about its
//! place. So it is resized as jemalloc would resize it: not at all within a size class, large ones in place or
//! else moved within the arenas.
//!
//! # What may run on a thread that is ending
//! After a thread's destructors have run (pthread keys, C++ `thread_local`), glibc still frees: buffers of its own, and
//! in `pthread_create` and at a thread's end the TLS blocks of others. jemalloc makes the state of a thread that has
//! none when it is called, and a whole state has a destructor, which then never runs: the next tour over all threads
//! follows a pointer into unmapped memory. Only its malloc, which glibc does not call there, and `free` and `dallocx`,
//! which make a minimal state, are safe. `sallocx`, `nallocx`, `malloc_usable_size`, `xallocx`, `rallocx` and every
//! `mallctl` make a whole one. These paths may run there, and call nothing of jemalloc but `dallocx` and `free`:
//! - `free`, `cfree`, `free_sized`, `dallocx`, `sdallocx` of a sampled block ([`find`](SampledHeap::find),
//!   [`free`](SampledHeap::free)): tests/host/detached_workers.c, tests/host/late_free.c
//! - the same of an unsampled block below the range's end (valgrind): they go straight on to jemalloc
//! - the check of the thread's life and the retirement of the record, in the profiler: they allocate nothing
//!
//! # Safety
//! Blocks come from `allocate` or `resize` and are alive.
#![allow(unsafe_code)]

mod arenas;
mod block;
mod facts;
mod shape;
mod size_class;
mod spares;
#[cfg(test)]
mod tests;

use super::os::range::Refusal;
use arenas::Arenas;
pub(crate) use block::{Block, NO_RECORD};
pub(crate) use facts::ZeroRealloc;
use facts::{Facts, FactsCell, JUNK};
pub(crate) use shape::{Shape, Size};
use size_class::SizeClass;
use spares::Spares;
use std::ffi::{c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;
use tikv_jemalloc_sys as je;

/// Alignment of blocks of more than eight bytes that ask for none.
const NATURAL_ALIGNMENT: usize = 16;
/// From here on jemalloc may resize in place (SC_LARGE_MINCLASS for pages of 4 KiB; of larger ones it refuses some).
const LARGE: usize = 16 << 10;
/// Alignment of large blocks that ask for none: a cache line.
const LARGE_ALIGNMENT: usize = 64;
/// And under `cache_oblivious:false`: the largest page that jemalloc is built for on our machines with 4 KiB.
const PAGE: usize = 4 << 10;

/// Bytes that a block of this shape has for the program: those of an unsampled one. `None`: there are no such blocks.
#[inline]
pub(crate) fn usable(shape: &Shape) -> Option<usize> {
    fit(shape).map(|(usable, _)| usable)
}

/// The same, with the size class if it is one that is computed.
#[inline]
fn fit(shape: &Shape) -> Option<(usize, Option<SizeClass>)> {
    let size = shape.size.bytes();
    if shape.alignment <= NATURAL_ALIGNMENT {
        // Aligned to 16, the smallest block has 16 bytes.
        let least = if shape.alignment == NATURAL_ALIGNMENT { NATURAL_ALIGNMENT } else { 1 };
        if let Some(class) = size_class::of(size.max(least)) {
            return Some((class.bytes, Some(class)));
        }
    }
    // SAFETY: computes from numbers; the size is not zero, the alignment a power of two.
    let bytes = unsafe { je::nallocx(size.max(1), alignment_flag(shape.alignment)) };
    (bytes >= size && bytes > 0).then_some((bytes, None))
}

fn alignment_flag(alignment: usize) -> c_int {
    if alignment > NATURAL_ALIGNMENT { je::MALLOCX_ALIGN(alignment) } else { 0 }
}

/// Where the program's part begins in a block of so many bytes: as aligned as an unsampled one is.
#[inline]
fn offset(usable: usize, alignment: usize, facts: Facts) -> usize {
    let natural = match usable {
        0..LARGE => block::HEADER,
        _ if facts.large_blocks_are_pages() => PAGE,
        _ => LARGE_ALIGNMENT,
    };
    natural.max(alignment)
}

/// The heap of sampled blocks.
pub(crate) struct SampledHeap {
    arenas: Arenas,
    spares: Spares,
    facts: FactsCell,
}

impl SampledHeap {
    /// A heap without a range: every allocation fails.
    pub(crate) const fn new() -> SampledHeap {
        SampledHeap { arenas: Arenas::new(), spares: Spares::new(), facts: FactsCell::new() }
    }

    /// Reserves the address range, at most `most` bytes, at an address that `random` decides. `false`: none can be had.
    pub(crate) fn reserve(&'static self, most: usize, random: u64) -> bool {
        self.arenas.range.reserve(most, random)
    }

    /// Gives the range's unused part back, but for so many bytes; how much that was.
    pub(crate) fn give_back(&self, keep: usize) -> usize {
        self.arenas.range.give_back(keep)
    }

    /// Address space is limited: what is freed goes back with it.
    pub(crate) fn heed_limit(&self) {
        self.arenas.range.heed_limit();
    }

    /// Reserves again what was given back.
    pub(crate) fn restore(&self, bytes: usize) {
        self.arenas.range.restore(bytes);
    }

    /// Before a fork: the range's end stays where it is.
    pub(crate) fn hold_end(&self) {
        self.arenas.range.hold_end();
    }

    /// After a fork, in the parent.
    pub(crate) fn let_end_go(&self) {
        self.arenas.range.let_end_go();
    }

    /// After a fork, in the child.
    pub(crate) fn let_end_go_in_child(&self) {
        self.arenas.range.let_end_go_in_child();
    }

    /// Why [`allocate`](Self::allocate) last gave nothing.
    pub(crate) fn last_refusal(&self) -> Refusal {
        self.arenas.range.last_refusal()
    }

    /// The first call is over: from now on `free` tells sampled blocks from others by their address.
    pub(crate) fn settle(&self) {
        self.arenas.range.settle();
    }

    /// Whether there is a range.
    pub(crate) fn is_ready(&self) -> bool {
        !self.arenas.range.is_empty()
    }

    /// Whether a pointer is a sampled block's.
    #[inline]
    pub(crate) fn holds(&self, start: *const c_void) -> bool {
        self.arenas.range.holds(start as usize)
    }

    /// Whether jemalloc's arena of this index is for sampled blocks: nothing else may be allocated there.
    pub(crate) fn has_arena(&self, index: u32) -> bool {
        self.arenas.has(index)
    }

    /// Sees to it that the calling thread, whose arena may have been set just now, allocates elsewhere.
    pub(crate) fn send_away(&self) {
        if self.is_ready() {
            self.arenas.send_away();
        }
    }

    /// What `realloc(p, 0)` does.
    pub(crate) fn zero_realloc(&self) -> ZeroRealloc {
        self.facts.get().zero_realloc()
    }

    /// The block that the program knows by this address. `None`: its header was written over, or it is free.
    #[inline]
    pub(crate) fn find(&self, start: NonNull<c_void>) -> Option<Block> {
        if !self.holds(start.as_ptr().wrapping_byte_sub(block::HEADER)) {
            return None;
        }
        // SAFETY: the range holds what is 16 bytes below; the program's block is alive, and so is what lies in front of
        // it.
        unsafe { Block::read(start) }
    }

    /// Allocates a block, without a record. `hint` spreads threads over the arenas.
    pub(crate) fn allocate(&'static self, shape: &Shape, hint: usize) -> Option<Block> {
        let facts = self.facts.get();
        if !facts.are_usual() {
            return None;
        }
        let (usable, class) = fit(shape)?;
        let offset = offset(usable, shape.alignment, facts);
        // Of the alignment that is natural to them: pages of `cache_oblivious:false` have no spares.
        let class = class.filter(|_| offset < PAGE);
        let base = match class.and_then(|class| self.spares.take(class, hint)) {
            Some(spare) => {
                if shape.zeroed {
                    // All of it, as jemalloc does. SAFETY: the spare is nobody's, and of this class.
                    unsafe { spare.cast::<u8>().add(offset).write_bytes(0, usable) };
                }
                spare
            }
            None => {
                let zero = if shape.zeroed { je::MALLOCX_ZERO } else { 0 };
                let flags = alignment_flag(shape.alignment.max(if offset > LARGE_ALIGNMENT { offset } else { 1 }));
                self.arenas.allocate(usable.checked_add(offset)?, flags | zero, hint)?
            }
        };
        // SAFETY: as many bytes were allocated.
        let block = unsafe { Block::write(base, offset, usable) };
        if let Some(block) = block {
            block.record().store(NO_RECORD, Ordering::Relaxed);
        }
        block
    }

    /// Frees a block. `hint` spreads threads. For threads that are ending, too: see the head.
    ///
    /// # Safety
    /// `block` is alive, and nobody uses it any more.
    pub(crate) unsafe fn free(&self, block: Block, hint: usize) {
        block.erase();
        let class = spare_class(block.usable(), block.offset()).filter(|_| self.facts.get().may_keep_spares());
        let surplus = match (class, NonNull::new(block.base())) {
            (Some(class), Some(base)) => self.spares.put(class, hint, base),
            (_, base) => base,
        };
        if let Some(surplus) = surplus {
            // SAFETY: nobody's any more, by our caller or because it was a spare.
            unsafe { Arenas::free(surplus.as_ptr()) };
        }
    }

    /// Gives a block another shape, in place or elsewhere in the arenas; what it held is kept up to the smaller of the
    /// usable sizes. The new one has no record. `None`: there is no room, and the block is as it was.
    ///
    /// # Safety
    /// `block` is alive, and nobody uses it any more if there is a new one.
    pub(crate) unsafe fn resize(&'static self, block: Block, shape: &Shape, hint: usize) -> Option<Block> {
        let wanted = usable(shape)?;
        let is_aligned = (block.start().as_ptr() as usize).is_multiple_of(shape.alignment);
        if wanted == block.usable() && is_aligned {
            block.record().store(NO_RECORD, Ordering::Relaxed);
            return Some(block);
        }
        if wanted >= LARGE && block.usable() >= LARGE && shape.alignment <= block.offset() {
            // SAFETY: passed on to the caller.
            return unsafe { self.resize_large(block, wanted, shape, hint) };
        }
        let fresh = self.allocate(shape, hint)?;
        let kept = fresh.usable().min(block.usable());
        // SAFETY: different blocks, which have that many bytes.
        unsafe { ptr::copy_nonoverlapping(block.start().as_ptr().cast::<u8>(), fresh.start().as_ptr().cast(), kept) };
        // SAFETY: passed on to the caller.
        unsafe { self.free(block, hint) };
        Some(fresh)
    }

    /// # Safety
    /// As for [`resize`](Self::resize).
    unsafe fn resize_large(&'static self, block: Block, wanted: usize, shape: &Shape, hint: usize) -> Option<Block> {
        let slack = self.slack(block, shape.zeroed);
        let bytes = block.offset().checked_add(wanted)?;
        let zero = if shape.zeroed { je::MALLOCX_ZERO } else { 0 };
        let flags = alignment_flag(shape.alignment) | zero;
        // SAFETY: the block is large; passed on to the caller.
        let base = unsafe { self.arenas.resize(block.base(), bytes, flags, hint) }?;
        // SAFETY: resized to as many bytes; the offset is a multiple of the alignment.
        let resized = unsafe { Block::write(base, block.offset(), wanted) }?;
        resized.record().store(NO_RECORD, Ordering::Relaxed);
        slack.fill(resized);
        Some(resized)
    }

    /// Resizes a block in place if that can be done: to as much as fits between two sizes. The block as it is then,
    /// with its record.
    ///
    /// # Safety
    /// `block` is alive.
    pub(crate) unsafe fn resize_in_place(&self, block: Block, least: &Shape, most: &Shape) -> Block {
        let (Some(least), Some(top)) = (usable(least), usable(most)) else { return block };
        let before = block.usable();
        let is_aligned = (block.start().as_ptr() as usize).is_multiple_of(most.alignment);
        let is_kept = (least..=top).contains(&before);
        if before < LARGE || top < LARGE || !is_aligned {
            return block;
        }
        // As `large_ralloc_no_move` goes about it.
        let tries = [Some(top).filter(|_| top > before), Some(least).filter(|_| before < least && least < top)];
        let shrink = Some(top).filter(|_| top < before && !is_kept);
        let mut tries = tries.into_iter().chain([shrink]).flatten().filter(|&wanted| wanted >= LARGE);
        // SAFETY: passed on to the caller.
        tries.find_map(|wanted| unsafe { self.stretch(block, wanted, most.zeroed) }).unwrap_or(block)
    }

    /// # Safety
    /// As for [`resize_in_place`](Self::resize_in_place); the block is large.
    unsafe fn stretch(&self, block: Block, wanted: usize, zeroed: bool) -> Option<Block> {
        let slack = self.slack(block, zeroed);
        let bytes = block.offset().checked_add(wanted)?;
        // SAFETY: computes from numbers.
        let class = unsafe { je::nallocx(bytes, 0) };
        let zero = if zeroed { je::MALLOCX_ZERO } else { 0 };
        // SAFETY: passed on to the caller.
        let now = unsafe { Arenas::resize_in_place(block.base(), bytes, zero) };
        if now != class {
            return None;
        }
        let base = NonNull::new(block.base())?;
        // SAFETY: it has as many bytes now.
        let resized = unsafe { Block::write(base, block.offset(), wanted) }?;
        slack.fill(resized);
        Some(resized)
    }

    /// Bytes of a growing block that jemalloc does not fill, because they are the block's already.
    fn slack(&self, block: Block, zeroed: bool) -> Slack {
        let byte = self.facts.get().fill(zeroed);
        // SAFETY: a live block of the arenas.
        let end = byte.map_or(0, |_| unsafe { Arenas::all_bytes(block.base()) }.saturating_sub(block.offset()));
        Slack { byte: byte.unwrap_or(JUNK), from: block.usable(), end }
    }
}

/// The class of a block that spares are kept of: natural in its alignment, so that the class decides what jemalloc
/// gave.
#[inline]
fn spare_class(usable: usize, offset: usize) -> Option<SizeClass> {
    let natural = if usable < LARGE { block::HEADER } else { LARGE_ALIGNMENT };
    if offset == natural { size_class::of(usable) } else { None }
}

/// Bytes at the end of jemalloc's block that the program did not have.
struct Slack {
    byte: u8,
    from: usize,
    end: usize,
}

impl Slack {
    /// Fills what the program comes to have of them.
    fn fill(&self, resized: Block) {
        let end = self.end.min(resized.usable());
        if end > self.from {
            let at = resized.start().as_ptr().cast::<u8>().wrapping_add(self.from);
            // SAFETY: within the usable bytes of a live block.
            unsafe { ptr::write_bytes(at, self.byte, end - self.from) };
        }
    }
}
