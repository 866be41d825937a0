//! Free slots of one section: lock-free stacks of slot numbers, linked through the slots themselves.
//!
//! Each of a few heads serves some threads. A thread that finds its own head empty takes a slot never used before,
//! then one of another head. A head is {tag, slot + 1}; the tag grows with each change, so that a
//! slot taken and given back in between is noticed (ABA). A link that is read stale is discarded with
//! the failed exchange, and slots are never unmapped, so reading it is harmless.

use super::region::Region;
use crate::tap::os::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::wire::live::layout::SectionId;
use std::array;

const HEADS: usize = 8;
/// Word of a free slot that holds the link: not the state word, which readers look at.
const LINK: usize = 1;

#[repr(align(64))]
struct FreeList(AtomicU64);

/// The free slots of a section.
pub(crate) struct SlotPool {
    id: SectionId,
    fresh: AtomicU32,
    heads: [FreeList; HEADS],
}

impl SlotPool {
    /// All slots of the section from `first` on are free.
    pub(crate) fn new(id: SectionId, first: u32) -> SlotPool {
        let heads = array::from_fn(|_| FreeList(AtomicU64::new(0)));
        SlotPool { id, fresh: AtomicU32::new(first), heads }
    }

    /// A free slot, if there is one. `hint` spreads threads.
    pub(crate) fn take(&self, region: &Region, hint: usize) -> Option<u32> {
        let own = hint % HEADS;
        self.pop(region, own)
            .or_else(|| self.take_fresh(region))
            .or_else(|| (1..HEADS).find_map(|other| self.pop(region, (own + other) % HEADS)))
    }

    /// Gives a slot back.
    pub(crate) fn give(&self, region: &Region, hint: usize, slot: u32) {
        let (Some(head), Some(at)) = (self.heads.get(hint % HEADS), self.record(region, slot)) else {
            return;
        };
        let link = region.at(at + LINK);
        let push = |head: u64| {
            link.store(head & u64::from(u32::MAX), Ordering::Relaxed);
            Some(next_tag(head) | (u64::from(slot) + 1))
        };
        // Release: the thread that pops the slot sees the link.
        let _ = head.0.fetch_update(Ordering::Release, Ordering::Relaxed, push);
    }

    fn pop(&self, region: &Region, head: usize) -> Option<u32> {
        let mut taken = None;
        let pop = |head: u64| {
            let slot = (head as u32).checked_sub(1)?;
            taken = Some(slot);
            let next = region.at(self.record(region, slot)? + LINK).load(Ordering::Relaxed) as u32;
            Some(next_tag(head) | u64::from(next))
        };
        self.heads.get(head)?.0.fetch_update(Ordering::Acquire, Ordering::Acquire, pop).ok()?;
        taken
    }

    fn take_fresh(&self, region: &Region) -> Option<u32> {
        let capacity = region.section(self.id).capacity as u32;
        let step = |fresh: u32| (fresh < capacity && region.back(self.id, fresh)).then_some(fresh + 1);
        // Relaxed: the number alone decides who owns the slot.
        let slot = self.fresh.fetch_update(Ordering::Relaxed, Ordering::Relaxed, step).ok()?;
        region.note_used(self.id, slot + 1);
        Some(slot)
    }

    /// Where a slot's record lies, if it was ever in use: only then has it memory.
    #[inline]
    pub(crate) fn record(&self, region: &Region, slot: u32) -> Option<usize> {
        if slot < self.used() { region.section(self.id).record(slot) } else { None }
    }

    /// Slots that were ever in use: all records lie below.
    pub(crate) fn used(&self) -> u32 {
        self.fresh.load(Ordering::Relaxed)
    }
}

fn next_tag(head: u64) -> u64 {
    (head >> 32).wrapping_add(1) << 32
}
