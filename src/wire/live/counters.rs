//! What the tap counts about itself: words in the region's first section.
//!
//! There are [`SHARDS`] sets of all counters, and a counter's value is the sum (wrapping) over them: threads count in
//! different sets, or the cache line of one set would go to and fro between processors with every sample.

use super::Words;
use super::layout::{Layout, SectionId};
use crate::wire::stack_end::StackEnd;

/// Sets of counters.
pub(crate) const SHARDS: usize = 8;
/// Words of a set.
pub(crate) const SHARD_WORDS: usize = 64;

/// A counter. Sums since the region was made, unless it says otherwise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub(crate) enum Counter {
    /// Samples taken (allocations that got a record).
    Samples = 0,
    /// Samples whose memory was freed.
    Retired = 1,
    /// Bytes that live samples stand for, estimated, now.
    LiveBytes = 2,
    /// Requested bytes that all draws so far stood for: about all bytes ever allocated.
    AllocatedBytes = 3,
    /// Nanoseconds that application threads spent in the profiler.
    ProfilerNs = 4,
    /// Dumps written.
    Dumps = 5,
    /// Dumps that could not be written.
    DumpsFailed = 6,
    /// Lost: the reserved address range is full.
    LostRange = 8,
    /// Lost: the sample table is full.
    LostSamples = 9,
    /// Lost: the stack tables are full.
    LostStacks = 10,
    /// Lost: a nested call, or no scratch space for the stack.
    LostNested = 11,
    /// Frees whose record was found by search: something overwrote the end of the block.
    TrailerDamaged = 12,
    /// Frees whose record was not found at all: the sample stays as a phantom.
    TrailerLost = 13,
}

/// First word of the counters of [`StackEnd`] reasons.
const STACK_ENDS_AT: usize = 32;

/// Counters with the names under which dumps and reports show them.
pub(crate) const NAMED: [(Counter, &str); 13] = [
    (Counter::Samples, "samples"),
    (Counter::Retired, "retired"),
    (Counter::LiveBytes, "live_bytes"),
    (Counter::AllocatedBytes, "allocated_bytes"),
    (Counter::ProfilerNs, "profiler_ns"),
    (Counter::Dumps, "dumps"),
    (Counter::DumpsFailed, "dumps_failed"),
    (Counter::LostRange, "lost_range"),
    (Counter::LostSamples, "lost_samples"),
    (Counter::LostStacks, "lost_stacks"),
    (Counter::LostNested, "lost_nested"),
    (Counter::TrailerDamaged, "trailer_damaged"),
    (Counter::TrailerLost, "trailer_lost"),
];

/// Words of all sets together; what else the section has is not used.
pub(crate) const WORDS: usize = SHARDS * SHARD_WORDS;

/// The value of the counter at this index of the sets. A mirror has one set only, and that may be cut short.
pub(crate) fn sum(words: &(impl Words + ?Sized), layout: &Layout, index: usize) -> u64 {
    let section = layout.section(SectionId::Counters);
    let places = (0..SHARDS).map(|shard| shard * SHARD_WORDS + index).take_while(|&at| at < section.capacity);
    places.fold(0, |sum: u64, at| sum.wrapping_add(words.word(section.start + at)))
}

/// Index, within a set, of the counter of stacks that ended this way.
pub(crate) fn stack_end_index(end: StackEnd) -> usize {
    STACK_ENDS_AT + end as usize
}
