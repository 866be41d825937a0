//! Lists of words that are longer than a record: in chunks of one section, each with the number of the next.
//!
//! A list belongs to the record that names its first chunk. It is given back after that record is taken back, so a
//! reader that finds the record unchanged has read the list unchanged.

use super::region::Region;
use super::slots::SlotPool;
use crate::tap::os::atomic::{Ordering, fence};
use crate::wire::live::layout::SectionId;

/// The chunks of one section.
pub(crate) struct Chunks {
    id: SectionId,
    slots: SlotPool,
}

impl Chunks {
    /// All chunks of the section are free.
    pub(crate) fn new(id: SectionId) -> Chunks {
        Chunks { id, slots: SlotPool::new(id, 0) }
    }

    /// Writes a list and returns the number of its first chunk. `None`: there is no room.
    pub(crate) fn write(&self, region: &Region, words: &[u64], hint: usize) -> Option<u32> {
        let section = region.section(self.id);
        let mut next = 0;
        // From the far end, so that each chunk knows the one that follows it.
        for words in words.chunks(section.record_words.saturating_sub(1).max(1)).rev() {
            let Some(chunk) = self.slots.take(region, hint) else {
                self.free_from(region, next, hint);
                return None;
            };
            let at = section.record(chunk)?;
            // A reader that sees a word of this list also sees that the record of the last one was taken back, by
            // whichever thread: the slot came from it.
            fence(Ordering::Release);
            region.at(at).store(u64::from(next), Ordering::Relaxed);
            for (offset, word) in words.iter().enumerate() {
                region.at(at + 1 + offset).store(*word, Ordering::Relaxed);
            }
            next = chunk + 1;
        }
        Some(next.wrapping_sub(1))
    }

    /// How many chunks so many words take.
    pub(crate) fn chunks_for(&self, region: &Region, words: usize) -> u32 {
        words.div_ceil(region.section(self.id).record_words.saturating_sub(1).max(1)) as u32
    }

    /// Gives a list back.
    pub(crate) fn free(&self, region: &Region, first: u32, hint: usize) {
        self.free_from(region, first.wrapping_add(1), hint);
    }

    /// The same; `next` is the first chunk's number plus one.
    fn free_from(&self, region: &Region, mut next: u32, hint: usize) {
        while let Some(chunk) = next.checked_sub(1) {
            let Some(at) = self.slots.record(region, chunk) else { return };
            next = region.at(at).load(Ordering::Relaxed) as u32;
            self.slots.give(region, hint, chunk);
        }
    }

    /// Calls `each` with the first `count` words of a list. It may be another list's meanwhile: then they are any
    /// words.
    pub(crate) fn read(&self, region: &Region, first: u32, count: usize, mut each: impl FnMut(u64)) {
        let section = region.section(self.id);
        let (mut chunk, mut left) = (Some(first), count);
        while let Some(at) = chunk.filter(|_| left > 0).and_then(|chunk| self.slots.record(region, chunk)) {
            let here = left.min(section.record_words.saturating_sub(1));
            (0..here).for_each(|n| each(region.at(at + 1 + n).load(Ordering::Relaxed)));
            left -= here;
            chunk = (region.at(at).load(Ordering::Relaxed) as u32).checked_sub(1);
        }
    }
}
