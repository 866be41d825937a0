//! Blocks that glibc's malloc got one by one from the kernel, in a process whose allocator we cannot ask.
//!
//! Such a block is a mapping of its own, as long as it says in its first words: nothing before it, then its length with
//! the mark `IS_MMAPPED` (malloc.c, "struct malloc_chunk"). Neighbours are one mapping for the kernel. So each page of
//! an anonymous mapping that is there may be the first of a block, and behind a block the next one may begin.
//!
//! Nothing is read of pages that are not resident: a look from outside must not bring them in.

use crate::cli::open;
use crate::wire::resident::areas::{Area, Areas};
use crate::wire::resident::known::Known;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

const PAGE: u64 = 4096;
/// glibc maps no block that is smaller (`DEFAULT_MMAP_THRESHOLD_MIN`), unless the program says so (mallopt(3)).
const LEAST: u64 = 128 << 10;
/// The mark in a length, and the other two bits that such a block never has.
const MARKS: (u64, u64) = (2, 7);
/// Pages that are looked at, at most: 50 ms; and pages of which it is asked whether they are there: 4 GiB.
const MOST_LOOKS: usize = 1 << 16;
const MOST_PAGES: usize = 1 << 20;
/// Pages that are asked for in one go.
const CHUNK: u64 = 512;
/// A page's entry in `/proc/PID/pagemap` (pagemap.rst): present.
const PRESENT: u64 = 1 << 63;

/// The memory of a process, as far as it may be looked at.
struct Memory {
    bytes: File,
    pages: File,
    /// The entries of [`CHUNK`] pages, and the number of the first.
    chunk: (u64, Vec<u8>),
    looks: usize,
    asked: usize,
}

/// The ranges of such blocks in what nobody is known to own; none where the process's memory may not be read.
pub(super) fn ranges(pid: u32, areas: &Areas, known: &Known) -> Vec<Range<u64>> {
    let open = |what: &str| open::kernel_file(Path::new(&format!("/proc/{pid}/{what}"))).ok();
    let (Some(bytes), Some(pages)) = (open("mem"), open("pagemap")) else { return Vec::new() };
    let mut memory = Memory { bytes, pages, chunk: (0, Vec::new()), looks: 0, asked: 0 };
    let is_owned = |area: &Area| known.ranges.iter().any(|(_, range)| range.start < area.end && area.start < range.end);
    let may_hold = |area: &&Area| {
        let is_large = area.end - area.start >= LEAST && area.resident > 0;
        area.is_data() && area.is_writable && !area.is_unreserved && is_large && !is_owned(area)
    };
    areas
        .all()
        .iter()
        .filter(may_hold)
        .flat_map(|area| blocks(area.start..area.end, |at| memory.block_at(at)))
        .collect()
}

/// The blocks in a mapping; `block_at`: how long the block is that begins at an address.
fn blocks(area: Range<u64>, mut block_at: impl FnMut(u64) -> Option<u64>) -> Vec<Range<u64>> {
    let (mut at, mut found) = (area.start, Vec::<Range<u64>>::new());
    while at < area.end {
        let Some(length) = block_at(at).filter(|length| *length <= area.end - at) else {
            at += PAGE;
            continue;
        };
        match found.last_mut().filter(|before| before.end == at) {
            Some(before) => before.end += length,
            None => found.push(at..at + length),
        }
        at += length;
    }
    found
}

impl Memory {
    fn block_at(&mut self, at: u64) -> Option<u64> {
        if self.looks >= MOST_LOOKS || !self.is_present(at / PAGE) {
            return None;
        }
        self.looks += 1;
        let mut words = [0; 16];
        self.bytes.read_exact_at(&mut words, at).ok()?;
        let [before, length] = [words.first_chunk()?, words.last_chunk()?].map(|word| u64::from_ne_bytes(*word));
        block(before, length)
    }

    fn is_present(&mut self, page: u64) -> bool {
        let first = page / CHUNK * CHUNK;
        if self.chunk.0 != first || self.chunk.1.is_empty() {
            if self.asked >= MOST_PAGES {
                return false;
            }
            self.asked += CHUNK as usize;
            let mut entries = vec![0; CHUNK as usize * 8];
            // Behind the last mapping the list ends.
            let length = self.pages.read_at(&mut entries, first * 8).unwrap_or(0);
            entries.truncate(length);
            self.chunk = (first, entries);
        }
        let entry = self.chunk.1.chunks_exact(8).nth((page - first) as usize).and_then(|entry| entry.first_chunk());
        entry.is_some_and(|entry| u64::from_ne_bytes(*entry) & PRESENT != 0)
    }
}

/// The length of the block that begins with these words.
fn block(before: u64, length: u64) -> Option<u64> {
    let (mark, marks) = MARKS;
    let bytes = length & !marks;
    (before == 0 && length & marks == mark && bytes >= LEAST && bytes.is_multiple_of(PAGE)).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_block_says_how_long_it_is() {
        assert_eq!(block(0, 0x21002), Some(0x21000));
        for (before, length) in [(8, 0x21002), (0, 0x21003), (0, 0x21006), (0, 0x21000), (0, 0x1002), (0, 0x21012)] {
            assert_eq!(block(before, length), None, "{before:x} {length:x}");
        }
    }

    #[test]
    fn neighbours_are_one_range_and_others_memory_is_left_out() {
        let begins = |at: u64| match at {
            0x2000 => Some(0x3000),
            0x5000 => Some(0x1000),
            0x8000 => Some(0x9000),
            _ => None,
        };
        let ends = |area| blocks(area, begins).iter().map(|range| (range.start, range.end)).collect::<Vec<_>>();
        assert_eq!(ends(0..0xa000), [(0x2000, 0x6000)]);
        assert_eq!(ends(0x8000..0x11000), [(0x8000, 0x11000)]);
    }
}
