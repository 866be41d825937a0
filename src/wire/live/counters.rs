//! The tap's counters of itself: words in the region's first section.
//!
//! There are [`SETS`] sets of all counters, and a counter's value is the sum (wrapping) over them. The first set is
//! everybody's; each of the others has one writer at a time, which counts without a locked instruction, and the cache
//! line of one set does not go to and fro between processors with every sample.

use crate::wire::stack_end::StackEnd;

/// Sets that have one writer at a time.
pub(crate) const LANES: usize = 31;
/// Sets of counters.
pub(crate) const SETS: usize = 1 + LANES;
/// Words of a set.
pub(crate) const SET_WORDS: usize = 64;

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
    /// Objects that live samples stand for, estimated and scaled, now.
    LiveObjects = 7,
    /// Lost: the reserved address range is full, and something else lies behind it.
    LostRange = 8,
    /// Lost: the sample table is full.
    LostSamples = 9,
    /// Lost: the stack tables are full.
    LostStacks = 10,
    /// Lost: a nested call, or no scratch space for the stack.
    LostNested = 11,
    /// Frees whose record was found by search: something wrote over the block's header.
    HeaderDamaged = 12,
    /// Frees whose record was not found at all: the sample stays as a phantom.
    HeaderLost = 13,
    /// Lost: the kernel gave no memory for the block (a limit, or none left).
    LostMemory = 14,
    /// Lost: no arena for sampled blocks, or a call from inside the allocator.
    LostArena = 15,
    /// Bytes that all lost samples stand for, estimated: allocated, and not followed to their free.
    UnfollowedBytes = 16,
    /// Bytes allocated at stacks that were recycled since, estimated.
    RecycledBytes = 17,
    /// Objects of those, scaled.
    RecycledObjects = 18,
    /// Requests that the program was refused.
    Refused = 19,
    /// Nanoseconds of processor time that the keeper spent looking where the process's memory is.
    LookNs = 20,
    /// How often it looked.
    Looks = 21,
    /// Threads that the program could not start.
    RefusedThreads = 22,
    /// Mappings that the program was refused.
    RefusedMappings = 23,
    /// Mappings and threads that were not recorded: no room, or met inside the profiler.
    LostMappings = 24,
    /// Mappings that were unmapped unseen, and found out later.
    UnseenUnmaps = 25,
}

impl Counter {
    /// Whether it is about samples, and begins anew when they are forgotten. Live bytes go with each of them.
    pub(crate) fn is_of_samples(self) -> bool {
        let goes_on = [
            Counter::LiveBytes,
            Counter::LiveObjects,
            Counter::AllocatedBytes,
            Counter::ProfilerNs,
            Counter::Dumps,
            Counter::DumpsFailed,
            Counter::Refused,
            Counter::LookNs,
            Counter::Looks,
            Counter::RefusedThreads,
            Counter::RefusedMappings,
            Counter::LostMappings,
            Counter::UnseenUnmaps,
        ];
        !goes_on.contains(&self)
    }
}

/// First word of the counters of [`StackEnd`] reasons.
const STACK_ENDS_AT: usize = 32;

/// Counters with the names under which dumps and reports show them.
pub(crate) const NAMED: [(Counter, &str); 20] = [
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
    (Counter::HeaderDamaged, "header_damaged"),
    (Counter::HeaderLost, "header_lost"),
    (Counter::LostMemory, "lost_memory"),
    (Counter::LostArena, "lost_arena"),
    (Counter::UnfollowedBytes, "unfollowed_bytes"),
    (Counter::LookNs, "memory_look_ns"),
    (Counter::Looks, "memory_looks"),
    (Counter::LostMappings, "unrecorded_mappings"),
    (Counter::UnseenUnmaps, "unseen_unmaps"),
];

/// Words of all sets together; what else the section has is not used.
pub(crate) const WORDS: usize = SETS * SET_WORDS;

/// A counter's value: the sum over its sets.
///
/// A block may be allocated in one set and freed in another. Who reads the first set before the allocation and the
/// second one after the free, because it was kept from going on in between, finds less than nothing live: that is
/// nothing, and not nearly 2^64 bytes.
pub(crate) fn sum(sets: impl Iterator<Item = u64>) -> u64 {
    let sum = sets.fold(0, u64::wrapping_add);
    if sum.cast_signed() < 0 { 0 } else { sum }
}

/// Index, within a set, of the counter of stacks that ended this way.
pub(crate) fn stack_end_index(end: StackEnd) -> usize {
    STACK_ENDS_AT + end as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_freed_before_it_was_seen_is_nothing_live() {
        assert_eq!(sum([7, 0, 3_u64.wrapping_neg(), 5].into_iter()), 9);
        assert_eq!(sum([7, 0, 8_u64.wrapping_neg(), 0].into_iter()), 0);
    }
}
