//! Which block of glibc's malloc an address lies in, read from outside (malloc.c, "struct malloc_chunk"): where the
//! program's own allocator is kept, or a library has blocks from before the tap.
//!
//! A heap is a row of chunks, each as long as its second word says. So a heap is walked once, and every 64 KiB one
//! chunk's place is kept, from which the walk goes on to any address. Where the row begins behind glibc's own structure
//! is not the same in all versions: the place from which it ends exactly at the heap's end is the right one. Large
//! blocks have a mapping of their own, and say so in their first words.

use super::ground::{Area, Kind};
use super::lies::Lies;
use crate::cli::attach::peer_memory::{PAGE, PeerMemory};
use rustc_hash::FxHashMap;
use std::ops::Range;

/// Bytes of a chunk before the program's.
const HEAD: u64 = 16;
/// Bytes of the smallest chunk.
const LEAST: u64 = 32;
/// The length of each chunk is a multiple of so many bytes.
const ALIGNMENT: u64 = 16;
/// Flags in a chunk's length: the one before is in use; it is a mapping of its own.
const FLAGS: u64 = 7;
const PREVIOUS_IN_USE: u64 = 1;
const IS_MAPPED: u64 = 2;
/// Where the heaps of further arenas begin (`HEAP_MAX_SIZE`).
const HEAP_ALIGNMENT: u64 = 64 << 20;
/// Bytes in which the row of chunks begins behind a heap's own structures.
const MOST_BEFORE: u64 = 4096;
/// Distance of the places that are kept.
const STRIDE: u64 = 64 << 10;
/// Words that are read at once.
const WORDS: usize = 32 << 10;
/// Pages that are walked back from inside a large block.
const MOST_BACK: u64 = 1 << 16;
/// Bytes of the structure that has a thread's cache of freed chunks, and its bins.
const CACHE_BYTES: u64 = 0x288;
const BINS: usize = 64;

/// What is known of a process's heaps.
pub(super) struct Glibc<'a> {
    memory: &'a PeerMemory,
    /// Rows of chunks by the first address of their mapping; `None`: it holds none.
    rows: FxHashMap<u64, Option<Row>>,
    /// Blocks that are mappings of their own, by a page of them.
    mapped: FxHashMap<u64, Range<u64>>,
    /// Up to where in a mapping no such block begins, by the first address of the mapping.
    barren: FxHashMap<u64, u64>,
}

/// A row of chunks.
struct Row {
    end: u64,
    /// Chunks, one in each stride, in their order.
    places: Vec<u64>,
}

impl<'a> Glibc<'a> {
    /// Nothing is read yet.
    pub(super) fn new(memory: &'a PeerMemory) -> Glibc<'a> {
        Glibc { memory, rows: FxHashMap::default(), mapped: FxHashMap::default(), barren: FxHashMap::default() }
    }

    /// Forgets what was read, so that it is read anew.
    pub(super) fn forget(&mut self) {
        self.rows.clear();
        self.mapped.clear();
        self.barren.clear();
    }

    /// What lies at an address of a mapping.
    pub(super) fn at(&mut self, address: u64, area: &Area) -> Lies {
        if !matches!(area.kind, Kind::Break | Kind::Anonymous) {
            return Lies::Elsewhere;
        }
        let (memory, first) = (self.memory, area.range.start);
        let row = self.rows.entry(first).or_insert_with(|| Row::find(memory, area));
        match row {
            Some(row) if address < row.end => row.at(memory, address),
            Some(_) => Lies::Elsewhere,
            None => self.mapped_at(address, area),
        }
    }

    /// Whether a chunk of a heap begins at an address.
    pub(super) fn is_chunk(&mut self, at: u64, area: &Area) -> bool {
        self.at(at + HEAD, area);
        let row = self.rows.get(&area.range.start).and_then(Option::as_ref);
        row.is_some_and(|row| row.begins(self.memory, at))
    }

    /// Whether a block is a thread's cache of freed chunks: what it points to is nobody's.
    pub(super) fn is_cache(&self, start: u64, bytes: u64) -> bool {
        let mut words = [0; BINS / 4 + BINS];
        if bytes != CACHE_BYTES || self.memory.read(start, &mut words) < words.len() {
            return false;
        }
        let (counts, entries) = words.split_at(BINS / 4);
        let count = |bin: usize| counts.get(bin / 4).map_or(0, |word| word >> (16 * (bin % 4)) & 0xffff);
        entries.iter().enumerate().all(|(bin, entry)| count(bin) < 1024 && (count(bin) == 0 || *entry != 0))
    }

    /// The large block that an address lies in.
    fn mapped_at(&mut self, address: u64, area: &Area) -> Lies {
        let page = address / PAGE * PAGE;
        if let Some(known) = self.mapped.get(&page).filter(|known| known.contains(&address)) {
            return block(known);
        }
        let barren = self.barren.get(&area.range.start).copied().unwrap_or(area.range.start);
        let floor = barren.max(page.saturating_sub(MOST_BACK * PAGE));
        let mut at = page;
        while at >= floor {
            let mut words = [0; 2];
            if self.memory.read(at, &mut words) == 2 {
                let length = words[1] & !FLAGS;
                let is_head = words[0] == 0 && words[1] & FLAGS == IS_MAPPED && length.is_multiple_of(PAGE);
                if is_head && address < at.saturating_add(length) && at + length <= area.range.end {
                    let found = at..at + length;
                    self.mapped.insert(page, found.clone());
                    return block(&found);
                }
            }
            at -= PAGE;
        }
        if floor == barren {
            self.barren.insert(area.range.start, barren.max(page + PAGE));
        }
        Lies::Elsewhere
    }
}

fn block(mapping: &Range<u64>) -> Lies {
    Lies::Block { start: mapping.start + HEAD, bytes: mapping.end - mapping.start - HEAD }
}

impl Row {
    /// The row of chunks of a mapping, if it is a heap.
    fn find(memory: &PeerMemory, area: &Area) -> Option<Row> {
        let range = area.range.clone();
        if area.kind == Kind::Break {
            let starts = (0..MOST_BEFORE).step_by(ALIGNMENT as usize);
            return starts.map(|before| range.start + before).find_map(|at| Row::walk(memory, at, range.end));
        }
        if !range.start.is_multiple_of(HEAP_ALIGNMENT) {
            return None;
        }
        // The arena, the heap before, how long it is, how much of that may be touched (arena.c, `heap_info`).
        let mut head = [0; 4];
        (memory.read(range.start, &mut head) == 4).then_some(())?;
        let end = range.start.checked_add(head[2]).filter(|end| *end <= range.end && head[2] >= PAGE)?;
        let starts = (32..MOST_BEFORE).step_by(ALIGNMENT as usize);
        starts.map(|before| range.start + before).find_map(|at| Row::walk(memory, at, end))
    }

    /// The row that begins at an address, if it ends exactly where it should.
    fn walk(memory: &PeerMemory, start: u64, end: u64) -> Option<Row> {
        let mut row = Row { end, places: Vec::new() };
        let mut window = Window { memory, start: 0, words: Vec::new() };
        let mut at = start;
        while at < end {
            if row.places.last().is_none_or(|last| at - last >= STRIDE) {
                row.places.push(at);
            }
            let length = window.word(at + 8)? & !FLAGS;
            let is_sound = length >= LEAST && length.is_multiple_of(ALIGNMENT);
            at = at.checked_add(length).filter(|next| is_sound && *next <= end)?;
        }
        (row.places.len() > 1 || end - start > LEAST).then_some(row)
    }

    /// Whether a chunk begins at an address.
    fn begins(&self, memory: &PeerMemory, address: u64) -> bool {
        let after = self.places.partition_point(|place| *place <= address);
        let Some(mut at) = after.checked_sub(1).and_then(|index| self.places.get(index)).copied() else {
            return false;
        };
        let mut window = Window { memory, start: 0, words: Vec::new() };
        while at < address {
            let Some(length) = window.word(at + 8).map(|word| word & !FLAGS).filter(|length| *length >= LEAST) else {
                return false;
            };
            at += length;
        }
        at == address
    }

    /// What lies at an address before its end.
    fn at(&self, memory: &PeerMemory, address: u64) -> Lies {
        let after = self.places.partition_point(|place| *place <= address);
        let Some(mut at) = after.checked_sub(1).and_then(|index| self.places.get(index)).copied() else {
            // Before the first chunk lies what glibc notes of the heap and of its arena.
            return Lies::Note;
        };
        let mut window = Window { memory, start: 0, words: Vec::new() };
        while at < self.end {
            let Some(length) = window.word(at + 8).map(|word| word & !FLAGS) else { return Lies::Free };
            if length < LEAST || !length.is_multiple_of(ALIGNMENT) {
                return Lies::Free;
            }
            // The first word of the next chunk is still this one's.
            if address < at + length + 8 && address >= at + HEAD {
                let is_top = at + length >= self.end;
                let next = if is_top { None } else { window.word(at + length + 8) };
                let is_used = next.is_some_and(|word| word & PREVIOUS_IN_USE != 0);
                return match is_used {
                    true => Lies::Block { start: at + HEAD, bytes: length - 8 },
                    false => Lies::Free,
                };
            }
            if address < at + HEAD {
                return Lies::Free;
            }
            at += length;
        }
        Lies::Free
    }
}

/// Words that were read together.
struct Window<'a> {
    memory: &'a PeerMemory,
    start: u64,
    words: Vec<u64>,
}

impl Window<'_> {
    fn word(&mut self, at: u64) -> Option<u64> {
        let index = |start: u64| usize::try_from(at.checked_sub(start)? / 8).ok();
        if index(self.start).is_none_or(|index| index >= self.words.len()) {
            self.words.resize(WORDS, 0);
            // Up to the end of what can be read.
            let mut read = self.memory.read(at, &mut self.words);
            if read == 0 {
                let to_page = ((PAGE - at % PAGE) / 8) as usize;
                read = self.memory.read(at, self.words.get_mut(..to_page)?);
            }
            (self.start, _) = (at, self.words.truncate(read));
        }
        self.words.get(index(self.start)?).copied()
    }
}
