//! The keeper's looks at where the process's memory is: its classes (`wire/resident`), from `/proc/self/smaps`.
//!
//! The kernel walks the page tables for that text, some milliseconds for a GiB of small pages, and holds the list of
//! mappings for reading meanwhile, one mapping at a time. So a look's processor time is measured, and the next one
//! comes when it is a five-hundredth of what has passed since: 0.2 % of a processor at most, and less as checkpoints
//! become rarer. Processes so large that one walk could keep an `mmap` waiting for half a second are not looked at.
//! What a look took is counted in the region. It also tells what is resident of each mapping that is recorded.

use super::pace::Pace;
use crate::tap::jvm::Memory;
use crate::tap::os::clock;
use crate::tap::os::file::File;
use crate::tap::profiler::PROFILER;
use crate::tap::store::Region;
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::{MOST_RANGES, RANGES_AT};
use crate::wire::resident::areas::{Area, Areas, Backing};
use crate::wire::resident::known::{Known, Owner};
use crate::wire::resident::sums::Sums;
use std::ffi::CStr;
use std::sync::atomic::Ordering;

/// A look may cost one part in so many of a processor's time.
const SHARE: u64 = 500;
/// Resident bytes from which on nobody looks.
const MOST_RESIDENT: u64 = 128 << 30;
/// Bytes of the text that are read in one go.
const CHUNK: usize = 1 << 14;
/// Longest line that is understood.
const MOST_LINE: usize = 8192;
/// Metaspace comes in pieces of this size, at its multiples, where [`Memory::has_aligned_metaspace`] says so.
const PIECE: u64 = 4 << 20;

/// What a look found.
pub(super) struct Seen {
    /// The classes.
    pub(super) sums: Sums,
    /// Bytes committed to the Java heap.
    pub(super) java_committed: Option<u64>,
}

/// When to look.
pub(super) struct Looks {
    pace: Pace,
}

impl Looks {
    /// None yet.
    pub(super) const fn new() -> Looks {
        Looks { pace: Pace::new(SHARE) }
    }

    /// Looks, if it is time for it. `resident`: what is known to be resident; `malloc`: pages that the allocator has.
    pub(super) fn take(
        &mut self,
        region: &Region,
        now_ns: u64,
        resident: Option<u64>,
        malloc: Option<u64>,
    ) -> Option<Seen> {
        if !self.pace.is_due(now_ns) || resident.is_none_or(|bytes| bytes > MOST_RESIDENT) {
            return None;
        }
        let (seen, took_ns) = self.pace.spend(now_ns, || look(region, malloc));
        region.count(Counter::LookNs, took_ns);
        region.count(Counter::Looks, 1);
        seen
    }
}

fn look(region: &Region, malloc_bytes: Option<u64>) -> Option<Seen> {
    // That of this thread: of an ended main thread the list is empty.
    let begun_ns = clock::tick_ns();
    let areas = [c"/proc/thread-self/smaps", c"/proc/self/smaps"].into_iter().find_map(areas)?;
    PROFILER.look_at_mappings(&areas, begun_ns);
    let memory = if areas.is_jvm() { PROFILER.java_memory() } else { None };
    let mut known = Known { ranges: ranges(&areas, memory.as_ref()), malloc_bytes, ..Known::default() };
    known.add_tables(&areas);
    tell(region, &known);
    let sums = Sums::of(&areas, &known);
    Some(Seen { sums, java_committed: committed(&areas, &known) })
}

fn areas(path: &CStr) -> Option<Areas> {
    let file = File::open(path)?;
    let mut areas = Areas::default();
    let mut text = Vec::with_capacity(CHUNK + MOST_LINE);
    let mut piece = [0u8; CHUNK];
    loop {
        let length = file.read(&mut piece)?;
        text.extend_from_slice(piece.get(..length).unwrap_or_default());
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let lines = text.get(..whole).unwrap_or_default().split(|&byte| byte == b'\n');
        lines.for_each(|line| areas.take(line));
        text.drain(..whole);
        if length == 0 || text.len() > MOST_LINE {
            return (!areas.all().is_empty()).then_some(areas);
        }
    }
}

/// Whose which addresses are.
fn ranges(areas: &Areas, memory: Option<&Memory>) -> Vec<(Owner, std::ops::Range<u64>)> {
    let Some(memory) = memory else { return Vec::new() };
    let wide = |range: &std::ops::Range<usize>| range.start as u64..range.end as u64;
    let heap = memory.java_heap.as_ref().map(|range| (Owner::JavaHeap, wide(range)));
    // The collector's other tables lie beside the cards.
    let cards = memory.card_table.and_then(|at| areas.row(at as u64, Area::is_table));
    let cards = cards.map(|row| (Owner::GcStructures, row));
    let code = memory.code_cache.iter().map(|range| (Owner::CodeCache, wide(range)));
    let mut ranges: Vec<_> = heap.into_iter().chain(code).chain(cards).collect();
    ranges.extend(metaspace(areas, memory).into_iter().map(|range| (Owner::Metaspace, range)));
    ranges
}

/// The mappings that classes lie in.
fn metaspace(areas: &Areas, memory: &Memory) -> Vec<std::ops::Range<u64>> {
    let mut classes: Vec<u64> = memory.classes.iter().map(|&address| address as u64).collect();
    classes.sort_unstable();
    let mut ranges: Vec<std::ops::Range<u64>> = Vec::new();
    for area in areas.all().iter().filter(|area| area.is_data() && area.is_writable && !area.is_unreserved) {
        let from = classes.partition_point(|&address| address < area.start);
        let to = classes.partition_point(|&address| address < area.end);
        let Some([first, .., last] | [first @ last]) = classes.get(from..to) else { continue };
        let range = match memory.has_aligned_metaspace {
            true => area.start.max(first / PIECE * PIECE)..area.end.min(last / PIECE * PIECE + PIECE),
            false => area.start..area.end,
        };
        match ranges.last_mut().filter(|before| before.end == range.start) {
            Some(before) => before.end = range.end,
            None => ranges.push(range),
        }
    }
    ranges
}

/// Bytes that may be written in the reserved heap, or in ZGC's file.
fn committed(areas: &Areas, known: &Known) -> Option<u64> {
    let heap = known.first(Owner::JavaHeap).unwrap_or_default();
    let is_heap = |area: &&Area| {
        let is_inside = heap.contains(&area.start) && area.backing != Backing::Kernel;
        area.is_writable && (is_inside || area.backing == Backing::JavaHeap)
    };
    let bytes: u64 = areas.all().iter().filter(is_heap).map(|area| area.end - area.start).sum();
    (bytes > 0).then_some(bytes)
}

/// Writes the ranges where other processes find them.
fn tell(region: &Region, known: &Known) {
    let words = known.pack().chain(std::iter::repeat([0; 2]));
    for (at, [start, end]) in (RANGES_AT..).step_by(2).zip(words).take(MOST_RANGES) {
        // The end first: without a start there is no range.
        region.at(at + 1).store(end, Ordering::Relaxed);
        region.at(at).store(start, Ordering::Release);
    }
}
