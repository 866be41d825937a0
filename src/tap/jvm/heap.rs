//! The code cache: from a pc to the code blob that owns it.
//!
//! HotSpot keeps compiled code, stubs and the interpreter in one reserved range, split into up to four code heaps
//! (JDK 8 has one). A heap is an array of segments; its segment map says for each segment how far back
//! its block begins, in hops of at most 254 (`share/memory/heap.cpp`, `CodeHeap::find_start`). Nothing here
//! allocates or locks: a block that is on the running stack is neither freed nor moved.
//!
//! # Safety
//!
//! Heaps are reserved once and stay. Only the committed part, which the kernel has found readable, is read.
#![allow(unsafe_code)]

use super::memory::{Block, Pages, Plain};
use super::vmstructs::VmStructs;
use std::sync::atomic::{AtomicUsize, Ordering};

/// JDK 9 and later: non-nmethod, profiled, non-profiled; one more in some builds.
const MANY: usize = 8;
/// Mark of a segment that belongs to no block.
const FREE: u8 = 0xff;

/// Where the fields of a code heap stand.
#[derive(Clone, Copy, Debug)]
struct HeapLayout {
    low: usize,
    high: usize,
    segments: usize,
    log2_segment_size: usize,
    block_header: usize,
    block_length: usize,
    length_is_short: bool,
    block_used: usize,
}

impl HeapLayout {
    fn derive(tables: &VmStructs) -> Option<HeapLayout> {
        let memory = tables.offset("CodeHeap", "_memory")?;
        let low = tables.offset("VirtualSpace", "_low")?;
        let header = tables.offset("HeapBlock", "_header")?;
        Some(HeapLayout {
            low: memory + low,
            high: memory + tables.offset("VirtualSpace", "_high")?,
            segments: tables.offset("CodeHeap", "_segmap")? + low,
            log2_segment_size: tables.offset("CodeHeap", "_log2_segment_size")?,
            block_header: tables.size_of("HeapBlock")?,
            block_length: header + tables.offset("HeapBlock::Header", "_length")?,
            length_is_short: tables.is_of_type("HeapBlock::Header", "_length", "uint32_t"),
            block_used: header + tables.offset("HeapBlock::Header", "_used")?,
        })
    }

    /// Bytes of a `CodeHeap` object that are read.
    fn extent(&self) -> usize {
        [self.low, self.high, self.segments, self.log2_segment_size].into_iter().max().map_or(0, |last| last + 8)
    }
}

/// One code heap.
#[derive(Debug)]
struct CodeHeap {
    object: usize,
    low: usize,
    segments: usize,
    log2_segment_size: u32,
    /// Up to where the heap, and the map of that part, was found readable: neither is given back. Relaxed: a number
    /// that stands for itself.
    proven: AtomicUsize,
}

/// All code heaps of the virtual machine.
#[derive(Debug)]
pub(super) struct CodeHeaps {
    layout: HeapLayout,
    low: usize,
    high: usize,
    heaps: [Option<CodeHeap>; MANY],
}

impl CodeHeaps {
    /// Finds the heaps; `None` while the machine has not made them, or if the tables do not tell.
    pub(super) fn find(tables: &VmStructs, vm: Block) -> Option<CodeHeaps> {
        let layout = HeapLayout::derive(tables)?;
        let (objects, count) = heap_objects(tables, vm)?;
        let mut heaps = [const { None }; MANY];
        for (index, slot) in heaps.iter_mut().enumerate().take(count) {
            *slot = Some(CodeHeap::open(objects.read::<usize>(8 * index)?, &layout)?);
        }
        let bound = |field| vm.read_at::<usize>(tables.address("CodeCache", field)?);
        let (low, high) = match (bound("_low_bound"), bound("_high_bound")) {
            (Some(low), Some(high)) => (low, high),
            _ => boundaries(tables, heaps.iter().flatten())?,
        };
        (low != 0 && low < high && count > 0).then_some(CodeHeaps { layout, low, high, heaps })
    }

    /// Whether `pc` lies in the code cache at all.
    #[inline]
    pub(super) fn contains(&self, pc: usize) -> bool {
        self.low <= pc && pc < self.high
    }

    /// The addresses that it is reserved in, and those of the segment maps, as far as they are in use.
    pub(super) fn ranges(&self) -> Vec<std::ops::Range<usize>> {
        let map = |heap: &CodeHeap| {
            let high = Pages::new().block(heap.object, self.layout.extent())?.read::<usize>(self.layout.high)?;
            let bytes = high.checked_sub(heap.low)? >> heap.log2_segment_size;
            Some(heap.segments..heap.segments.checked_add(bytes)?.checked_next_multiple_of(4096)?)
        };
        std::iter::once(self.low..self.high).chain(self.heaps.iter().flatten().filter_map(map)).collect()
    }

    /// Whether the block of a blob that [`blob_at`](Self::blob_at) once found is in use: then no other one lies there.
    #[inline]
    pub(super) fn is_used(&self, blob: usize) -> bool {
        self.committed(blob, self.layout.block_used.wrapping_sub(self.layout.block_header)) == Some(1_u8)
    }

    /// Reads a field of such a blob.
    #[inline]
    pub(super) fn committed<T: Plain>(&self, blob: usize, field: usize) -> Option<T> {
        // SAFETY: the machine had committed the blob's block when it was found, and never gives that memory back.
        unsafe { Block::vouched(blob.wrapping_add(field), size_of::<T>()) }.read(0)
    }

    /// The bytes of the code blob that owns `pc`.
    #[inline]
    pub(super) fn blob_at(&self, pc: usize) -> Option<Block> {
        self.heaps.iter().flatten().find_map(|heap| heap.blob_at(pc, &self.layout))
    }
}

impl CodeHeap {
    fn open(address: usize, layout: &HeapLayout) -> Option<CodeHeap> {
        let object = Pages::new().block(address, layout.extent())?;
        let log2_segment_size = object.read::<u32>(layout.log2_segment_size)?;
        let low = object.read(layout.low)?;
        // 32 bytes to 64 KiB; HotSpot's own values are 64 and 128 bytes.
        (address.is_multiple_of(8) && (5..=16).contains(&log2_segment_size)).then_some(CodeHeap {
            object: address,
            low,
            segments: object.read(layout.segments)?,
            log2_segment_size,
            proven: AtomicUsize::new(low),
        })
    }

    /// Where the part ends that holds `pc` and can be read, the map of it included. The heap object is looked at again
    /// only when the heap has grown.
    #[inline]
    fn committed_to(&self, pc: usize, layout: &HeapLayout) -> Option<usize> {
        let proven = self.proven.load(Ordering::Relaxed);
        if pc < proven { Some(proven) } else { self.grow(proven, pc, layout) }
    }

    #[cold]
    fn grow(&self, proven: usize, pc: usize, layout: &HeapLayout) -> Option<usize> {
        let pages = Pages::new();
        let high = pages.block(self.object, layout.extent())?.read::<usize>(layout.high)?;
        if pc >= high {
            return None;
        }
        pages.block(proven, high - proven)?;
        pages.block(self.segments, (high.checked_sub(self.low)? >> self.log2_segment_size).max(1))?;
        self.proven.fetch_max(high, Ordering::Relaxed);
        Some(high)
    }

    #[inline]
    fn blob_at(&self, pc: usize, layout: &HeapLayout) -> Option<Block> {
        if pc < self.low {
            return None;
        }
        let size = self.committed_to(pc, layout)?.checked_sub(self.low)?;
        // SAFETY: found readable by `grow`; the machine never gives the map of a committed segment back.
        let map = unsafe { Block::vouched(self.segments, size >> self.log2_segment_size) };
        // SAFETY: found readable by `grow`; the machine never gives `low..high` back.
        let memory = unsafe { Block::vouched(self.low, size) };
        let mut index = (pc - self.low) >> self.log2_segment_size;
        loop {
            match map.read::<u8>(index)? {
                0 => break,
                FREE => return None,
                hop => index = index.checked_sub(usize::from(hop))?,
            }
        }
        let start = index << self.log2_segment_size;
        let length = match layout.length_is_short {
            true => memory.read::<u32>(start + layout.block_length)? as usize,
            false => memory.read::<usize>(start + layout.block_length)?,
        };
        let bytes = length.checked_mul(1 << self.log2_segment_size)?;
        let last = self.low.checked_add(start)?.checked_add(bytes.checked_sub(1)?)?;
        // A block may begin in the part that is known, and end in what was committed later.
        let size = self.committed_to(last, layout)?.checked_sub(self.low)?;
        // SAFETY: as above.
        let memory = unsafe { Block::vouched(self.low, size) };
        let blob = memory.part(start + layout.block_header, bytes.checked_sub(layout.block_header)?)?;
        (memory.read::<u8>(start + layout.block_used)? == 1 && blob.contains(pc)).then_some(blob)
    }
}

/// The array of pointers to heaps, and its length.
fn heap_objects(tables: &VmStructs, vm: Block) -> Option<(Block, usize)> {
    if let Some(address) = tables.address("CodeCache", "_heap") {
        return Some((vm.part(address.checked_sub(vm.start())?, 8)?, 1));
    }
    let array = vm.read_at::<usize>(tables.address("CodeCache", "_heaps")?)?;
    if array == 0 {
        return None;
    }
    let length =
        tables.offset("GrowableArrayBase", "_len").or_else(|| tables.offset("GenericGrowableArray", "_len"))?;
    let data = tables.offset("GrowableArray<int>", "_data")?;
    // The machine's own pointer to its list of heaps, which it never replaces.
    let pages = Pages::new();
    let array = pages.block(array, data.max(length) + 8)?;
    let count = usize::try_from(array.read::<i32>(length)?).ok()?.min(MANY);
    Some((pages.block(array.read(data)?, 8 * count)?, count))
}

/// JDK 8 exports no bounds of the code cache: they are those of its reserved heaps.
fn boundaries<'a>(tables: &VmStructs, heaps: impl Iterator<Item = &'a CodeHeap>) -> Option<(usize, usize)> {
    let memory = tables.offset("CodeHeap", "_memory")?;
    let low = memory + tables.offset("VirtualSpace", "_low_boundary")?;
    let high = memory + tables.offset("VirtualSpace", "_high_boundary")?;
    heaps.into_iter().try_fold((usize::MAX, 0), |(lowest, highest), heap| {
        let object = Pages::new().block(heap.object, low.max(high) + 8)?;
        Some((lowest.min(object.read(low)?), highest.max(object.read(high)?)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 64-byte segments; low, high, segment map, log2 of the segment size; headers of 16 bytes.
    const LAYOUT: HeapLayout = HeapLayout {
        low: 0,
        high: 8,
        segments: 16,
        log2_segment_size: 24,
        block_header: 16,
        block_length: 0,
        length_is_short: false,
        block_used: 8,
    };

    #[test]
    fn a_pc_leads_to_the_start_of_its_block_and_no_further() {
        // Segments 0-2: a used block. 3: free. 4-5: a block that was given back. 6: not committed.
        let mut memory = vec![0_u64; 7 * 8];
        (memory[0], memory[1]) = (3, 1);
        (memory[4 * 8], memory[4 * 8 + 1]) = (2, 0);
        let map = [0_u8, 1, 2, FREE, 0, 1, FREE];
        let low = memory.as_ptr().expose_provenance();
        let object = [low, low + 6 * 64, map.as_ptr().expose_provenance(), 6];
        let heap = CodeHeap::open(object.as_ptr().expose_provenance(), &LAYOUT).unwrap();
        let blob = |offset: usize| heap.blob_at(low + offset, &LAYOUT).map(|blob| blob.start() - low);
        assert_eq!([16, 63, 64, 191].map(blob), [Some(16); 4]);
        assert_eq!([0, 15].map(blob), [None; 2], "the header is no code");
        assert_eq!([192, 256, 383, 384, 447].map(blob), [None; 5]);
        assert!(heap.blob_at(low - 1, &LAYOUT).is_none());
    }

    #[test]
    fn a_block_may_end_in_what_was_committed_after_its_beginning_was_seen() {
        // Segments 0-1: a used block, 2-5: another one; the heap ends after segment 3 at first.
        let mut memory = vec![0_u64; 6 * 8];
        (memory[0], memory[1]) = (2, 1);
        (memory[2 * 8], memory[2 * 8 + 1]) = (4, 1);
        let map = [0_u8, 1, 0, 1, 2, 3];
        let low = memory.as_ptr().expose_provenance();
        let object = [low, low + 4 * 64, map.as_ptr().expose_provenance(), 6].map(AtomicUsize::new);
        let heap = CodeHeap::open(object.as_ptr().expose_provenance(), &LAYOUT).unwrap();
        let blob = |offset: usize| heap.blob_at(low + offset, &LAYOUT).map(|blob| blob.start() - low);
        assert_eq!([64, 200].map(blob), [Some(16), None], "the second block is not committed to its end");
        object[1].store(low + 6 * 64, Ordering::Relaxed);
        assert_eq!([200, 383].map(blob), [Some(2 * 64 + 16); 2]);
    }
}
