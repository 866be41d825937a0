//! What a process says of its memory beside the kernel's list: where its Java VM lies, what its allocator has.

use super::areas::{Area, Areas};
use std::ops::Range;

/// Whose a range of addresses is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub(crate) enum Owner {
    /// The Java heap, as it was reserved.
    JavaHeap = 1,
    /// Committed metaspace.
    Metaspace = 2,
    /// The collector's tables.
    GcStructures = 3,
    /// The code cache, as it was reserved.
    CodeCache = 4,
    /// Blocks that malloc got one by one from the kernel.
    Malloc = 5,
}

impl Owner {
    const ALL: [Owner; 5] = [Owner::JavaHeap, Owner::Metaspace, Owner::GcStructures, Owner::CodeCache, Owner::Malloc];

    /// Its word in a dump.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Owner::JavaHeap => "java_heap",
            Owner::Metaspace => "metaspace",
            Owner::GcStructures => "gc_structures",
            Owner::CodeCache => "code_cache",
            Owner::Malloc => "malloc",
        }
    }

    /// The owner of that word.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) fn of_word(word: &str) -> Option<Owner> {
        Owner::ALL.into_iter().find(|owner| owner.word() == word)
    }

    /// The owner of that number.
    fn of_number(number: u64) -> Option<Owner> {
        Owner::ALL.into_iter().find(|owner| *owner as u64 == number)
    }
}

/// Bits of a range's first word that say whose it is: ranges begin at pages.
const OWNER_BITS: u64 = 0xfff;

/// Tables end at pages.
const PAGE: u64 = 4096;
/// Bytes of the Java heap that a card stands for (cardTable.hpp).
const CARD_BYTES: u64 = 512;
/// Of heaps whose tables are smaller nothing is guessed: too much has such a length.
const LEAST_TABLE: u64 = 256 << 10;
/// Mappings that a table may consist of, committed and not.
const MOST_PARTS: usize = 8;

/// What is known of one process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Known {
    /// Ranges with their owners.
    pub(crate) ranges: Vec<(Owner, Range<u64>)>,
    /// Bytes of malloc that may be resident, as the allocator counts its pages: what else looks like its is not.
    /// `None`: the allocator does not tell.
    pub(crate) malloc_bytes: Option<u64>,
    /// Bytes of metaspace, where it is not known by its ranges.
    pub(crate) metaspace_bytes: u64,
}

impl Known {
    /// Bytes that a mapping has in common with an owner's ranges.
    pub(crate) fn common(&self, owner: Owner, start: u64, end: u64) -> u64 {
        let ranges = self.ranges.iter().filter(|(of, _)| *of == owner);
        let common = |range: &Range<u64>| range.end.min(end).saturating_sub(range.start.max(start));
        ranges.fold(0u64, |sum, (_, range)| sum.saturating_add(common(range))).min(end.saturating_sub(start))
    }

    /// Who has at least half of a range.
    pub(crate) fn owner(&self, start: u64, end: u64) -> Option<Owner> {
        let half = end.saturating_sub(start) / 2;
        Owner::ALL.into_iter().find(|owner| self.common(*owner, start, end) > half)
    }

    /// The first range of an owner.
    pub(crate) fn first(&self, owner: Owner) -> Option<Range<u64>> {
        self.ranges.iter().find(|(of, _)| *of == owner).map(|(_, range)| range.clone())
    }

    /// Adds the collector's tables that show by their lengths: each covers the reserved heap at a fixed ratio, one byte
    /// for 512 (cards, block offsets) or a multiple of that (mark bitmaps: one bit for a word). So a few adjacent
    /// mappings that are so many 512ths of the heap long, to the byte, are one of them or some of them side by side.
    pub(crate) fn add_tables(&mut self, areas: &Areas) {
        let Some(heap) = self.first(Owner::JavaHeap) else { return };
        let (unit, most) = ((heap.end - heap.start) / CARD_BYTES, (heap.end - heap.start) / 8);
        if unit < LEAST_TABLE {
            return;
        }
        let tables: Vec<&Area> = areas.all().iter().filter(|area| area.is_table()).collect();
        for (at, first) in tables.iter().enumerate() {
            let mut row = first.start..first.start;
            for area in tables.get(at..).unwrap_or_default().iter().take(MOST_PARTS) {
                if area.start != row.end {
                    break;
                }
                row.end = area.end;
                self.add_table(&row, unit, most);
            }
        }
    }

    fn add_table(&mut self, row: &Range<u64>, unit: u64, most: u64) {
        let length = row.end - row.start;
        let is_known = self.ranges.iter().any(|(_, range)| range.start < row.end && row.start < range.end);
        // The parallel collector's sums of regions take two thirds of a card table, and lie behind its bitmap.
        let sums = (unit * 2 / 3).next_multiple_of(PAGE);
        let is_table = length.is_multiple_of(unit) || length >= sums && (length - sums).is_multiple_of(unit);
        if length > 0 && length <= most && is_table && !is_known {
            self.ranges.push((Owner::GcStructures, row.clone()));
        }
    }

    /// The ranges as pairs of words; what does not lie at pages is left out.
    pub(crate) fn pack(&self) -> impl Iterator<Item = [u64; 2]> + '_ {
        let sound = self.ranges.iter().filter(|(_, range)| range.start & OWNER_BITS == 0 && range.start < range.end);
        sound.map(|(owner, range)| [range.start | *owner as u64, range.end])
    }

    /// Reads a pair that [`pack`](Self::pack) made; `None`: it is none.
    pub(crate) fn unpack([start, end]: [u64; 2]) -> Option<(Owner, Range<u64>)> {
        let owner = Owner::of_number(start & OWNER_BITS)?;
        let start = start & !OWNER_BITS;
        (start < end).then_some((owner, start..end))
    }
}
