//! Distinct call stacks: interned without a lock, recycled when nothing refers to them.
//!
//! A private index finds the stack of a trace by its 64-bit hash; with 100,000 stacks two different ones share a hash
//! with a probability of 3e-10, which is accepted. Races are allowed to record one stack twice: readers join records by
//! their frames. A reference keeps a stack alive; when room is needed, a sweep takes stacks without references back, in
//! the order of their numbers, by setting [`GONE`] in the same word.

use super::chunks::Chunks;
use super::index::Index;
use super::region::Region;
use super::slots::SlotPool;
use crate::tap::hash::{ODD, fold};
use crate::tap::os::atomic::Ordering;
use crate::tap::stack::StackTrace;
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::SectionId;
use crate::wire::live::records::{
    self, OBJECTS_LG, STACK_FREED, STACK_HASH, STACK_LOST, STACK_REFERENCES, STACK_SAMPLES, STACK_SHAPE,
};
use crate::wire::live::state;
use crate::wire::live::supply::Supply;
use crate::wire::live::totals::Totals;
use parking_lot::Mutex;

/// In a stack's reference word: it is being taken back, no new references.
const GONE: u64 = 1 << 63;
/// Words of a stack's record.
const RECORD_WORDS: usize = SectionId::Stacks.record_words();
/// Stacks that one sweep looks at.
const SWEEP: u32 = 512;

/// The interning table.
pub(crate) struct Stacks {
    slots: SlotPool,
    frames: Chunks,
    index: Index,
    sweep_from: Mutex<u32>,
    keep_all: bool,
}

impl Stacks {
    /// An empty table for this region. `keep_all`: never take a stack back (`prof_accum`).
    pub(crate) fn new(region: &Region, keep_all: bool) -> Option<Stacks> {
        Some(Stacks {
            slots: SlotPool::new(SectionId::Stacks, 0),
            frames: Chunks::new(SectionId::Chunks),
            index: Index::new(region.section(SectionId::Stacks).capacity * 2)?,
            sweep_from: Mutex::new(0),
            keep_all,
        })
    }

    /// The number of a trace's stack, with a reference that [`release`](Self::release) gives back.
    /// `None`: the tables are full.
    pub(crate) fn intern(&self, region: &Region, trace: &StackTrace, supply: Supply, hint: usize) -> Option<u32> {
        let hash = hash(trace);
        if let Some(found) = self.index.find(hash, |stack| self.acquire(region, stack, hash)) {
            return Some(found);
        }
        let stack = self.record(region, trace, supply, hash, hint).or_else(|| {
            self.sweep(region);
            self.record(region, trace, supply, hash, hint)
        })?;
        self.index.insert(hash, stack);
        Some(stack)
    }

    /// Gives one reference back.
    pub(crate) fn release(&self, region: &Region, stack: u32) {
        if let Some(at) = region.section(SectionId::Stacks).record(stack) {
            // Release: what was counted for the stack happens before it can be taken back.
            region.at(at + STACK_REFERENCES).fetch_sub(1, Ordering::Release);
        }
    }

    /// Takes a reference, if the stack is still this one.
    fn acquire(&self, region: &Region, stack: u32, hash: u64) -> bool {
        let Some(at) = region.section(SectionId::Stacks).record(stack) else { return false };
        let references = region.at(at + STACK_REFERENCES);
        let usable = references.fetch_add(1, Ordering::Acquire) & GONE == 0;
        if usable && region.at(at + STACK_HASH).load(Ordering::Relaxed) == hash {
            return true;
        }
        references.fetch_sub(1, Ordering::Relaxed);
        false
    }

    /// Writes a new stack, with one reference.
    fn record(&self, region: &Region, trace: &StackTrace, supply: Supply, hash: u64, hint: usize) -> Option<u32> {
        let stack = self.slots.take(region, hint)?;
        let at = region.section(SectionId::Stacks).record(stack)?;
        let Some(first_chunk) = self.frames.write(region, trace.pcs(), hint) else {
            self.slots.give(region, hint, stack);
            return None;
        };
        let shape = records::stack_shape(trace.pcs().len() as u16, trace.end() as u8, supply, first_chunk);
        let references = region.at(at + STACK_REFERENCES);
        // Set already in a slot that was taken back. The word is only ever added to: a late look-up of
        // the slot's last stack may be between adding and taking back its reference.
        references.fetch_or(GONE, Ordering::Relaxed);
        region.publish_with(at, || {
            for word in STACK_SAMPLES..RECORD_WORDS {
                region.at(at + word).store(0, Ordering::Relaxed);
            }
            region.at(at + STACK_HASH).store(hash, Ordering::Relaxed);
            region.at(at + STACK_SHAPE).store(shape, Ordering::Relaxed);
        });
        references.fetch_add(GONE.wrapping_neg().wrapping_add(1), Ordering::Release);
        Some(stack)
    }

    /// Calls `each` with every frame of the stacks that something refers to, and perhaps of others.
    pub(crate) fn visit(&self, region: &Region, mut each: impl FnMut(u64)) {
        let section = region.section(SectionId::Stacks);
        for at in (0..self.slots.used()).filter_map(|stack| section.record(stack)) {
            let references = region.at(at + STACK_REFERENCES).load(Ordering::Acquire);
            let is_kept = self.keep_all || (references != 0 && references & GONE == 0);
            if is_kept && region.is_live(at) {
                let shape = region.at(at + STACK_SHAPE).load(Ordering::Relaxed);
                self.frames.read(region, (shape >> 32) as u32, usize::from(shape as u16), &mut each);
            }
        }
    }

    /// Takes another reference of one who has one.
    pub(crate) fn hold(&self, region: &Region, stack: u32) {
        if let Some(at) = self.slots.record(region, stack) {
            region.at(at + STACK_REFERENCES).fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts mapped ranges and bytes; the caller has a reference.
    pub(crate) fn count_mapped(&self, region: &Region, stack: u32, ranges: u64, bytes: u64) {
        let Some(at) = self.slots.record(region, stack) else { return };
        let Some([samples, objects, ever]) = region.record(at + STACK_SAMPLES) else { return };
        samples.fetch_add(ranges, Ordering::Relaxed);
        objects.fetch_add(ranges << OBJECTS_LG, Ordering::Relaxed);
        ever.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Counts what is unmapped of them.
    pub(crate) fn count_unmapped(&self, region: &Region, stack: u32, ranges: u64, bytes: u64) {
        let Some(at) = self.slots.record(region, stack) else { return };
        let Some([objects, freed]) = region.record(at + STACK_FREED) else { return };
        objects.fetch_add(ranges << OBJECTS_LG, Ordering::Relaxed);
        freed.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Calls `each` with the number of every stack, the low half of its record's generation, what gave the memory that
    /// it counts, and its sums.
    pub(crate) fn each(&self, region: &Region, mut each: impl FnMut(u32, u32, Supply, Totals)) {
        for stack in 0..self.slots.used() {
            let Some(at) = region.section(SectionId::Stacks).record(stack) else { return };
            let Some(word) = region.live_word(at) else { continue };
            let Some([ever_objects, ever_bytes]) = region.record(at + STACK_SAMPLES + 1) else { return };
            let Some([freed_objects, freed_bytes]) = region.record(at + STACK_FREED) else { return };
            // What is freed first: it was allocated before.
            let freed = [freed_objects, freed_bytes].map(|word| word.load(Ordering::Acquire));
            let ever = [ever_objects, ever_bytes].map(|word| word.load(Ordering::Acquire));
            if region.live_word(at) == Some(word) {
                let totals = Totals {
                    live_objects: ever[0].saturating_sub(freed[0]),
                    live_bytes: ever[1].saturating_sub(freed[1]),
                    ever_objects: ever[0],
                    ever_bytes: ever[1],
                };
                let supply = records::supply_of(region.at(at + STACK_SHAPE).load(Ordering::Relaxed));
                each(stack, state::generation(word) as u32, supply, totals);
            }
        }
    }

    /// Takes back every stack that nothing refers to, and forgets what was counted of the others.
    pub(crate) fn clear(&self, region: &Region) {
        for stack in 0..self.slots.used() {
            let Some(at) = self.slots.record(region, stack) else { return };
            if region.at(at + STACK_LOST).swap(0, Ordering::Relaxed) != 0 {
                // The reference that `count_lost` has kept.
                self.release(region, stack);
            }
            self.take_back(region, stack);
            // What is mapped is no sample, and stays.
            let is_malloc = records::supply_of(region.at(at + STACK_SHAPE).load(Ordering::Relaxed)) == Supply::Malloc;
            if is_malloc && region.is_live(at) {
                (STACK_SAMPLES..RECORD_WORDS).for_each(|word| region.at(at + word).store(0, Ordering::Relaxed));
            }
        }
    }

    /// Adds to what was lost of a stack, which the caller has a reference to; it keeps the stack, if it is the first.
    /// `false`: the reference is still the caller's.
    pub(crate) fn count_lost(&self, region: &Region, stack: u32, bytes: u64) -> bool {
        let Some(at) = self.slots.record(region, stack) else { return false };
        bytes > 0 && region.at(at + STACK_LOST).fetch_add(bytes, Ordering::Relaxed) == 0
    }

    /// Takes back stacks that nothing refers to. One thread at a time; others go without.
    fn sweep(&self, region: &Region) {
        if self.keep_all {
            return;
        }
        let Some(mut from) = self.sweep_from.try_lock() else { return };
        let used = self.slots.used();
        for _ in 0..SWEEP.min(used) {
            let stack = *from % used;
            *from = stack + 1;
            self.take_back(region, stack);
        }
    }

    fn take_back(&self, region: &Region, stack: u32) {
        let Some(at) = region.section(SectionId::Stacks).record(stack) else { return };
        let references = region.at(at + STACK_REFERENCES);
        if !region.is_live(at) || references.compare_exchange(0, GONE, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        self.index.remove(region.at(at + STACK_HASH).load(Ordering::Relaxed), stack);
        let shape = region.at(at + STACK_SHAPE).load(Ordering::Relaxed);
        let first_chunk = (shape >> 32) as u32;
        if records::supply_of(shape) == Supply::Malloc {
            // The history's totals go on holding it.
            let ever = |word: usize| region.at(at + STACK_SAMPLES + word).load(Ordering::Relaxed);
            region.count(Counter::RecycledObjects, ever(1));
            region.count(Counter::RecycledBytes, ever(2));
        }
        region.withdraw(at);
        self.frames.free(region, first_chunk, stack as usize);
        self.slots.give(region, stack as usize, stack);
    }
}

/// A 64-bit hash of the frames and the reason they end. Each pair of frames is multiplied with each other under keys of
/// its place; the products do not wait for one another. They are summed whole: folded one by one, the compiler makes
/// vectors of them, and half as many instructions again.
fn hash(trace: &StackTrace) -> u64 {
    const STEP: u64 = 0xd1b5_4a32_d192_ed03;
    let mut key = ODD;
    let mut sum = 0u128;
    let mut pairs = trace.pcs().chunks_exact(2);
    for pair in &mut pairs {
        if let [first, second] = pair {
            sum = sum.wrapping_add(u128::from(first ^ key) * u128::from(second ^ key.rotate_left(23)));
            key = key.wrapping_add(STEP);
        }
    }
    let sum = (sum >> 64) as u64 ^ sum as u64;
    let last = pairs.remainder().first().copied().unwrap_or(0);
    let shape = (trace.pcs().len() as u64) << 8 | trace.end() as u64;
    fold(fold(sum ^ last, STEP) ^ shape, ODD)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::stack_end::StackEnd;
    use std::collections::HashSet;

    #[test]
    fn hashes_of_alike_stacks_differ() {
        let base: Vec<u64> = (0..31).map(|n| 0x7f00_1234_5000 + n * 37).collect();
        let hash_of = |pcs: &[u64]| {
            let mut trace = StackTrace::new(512);
            assert_eq!(trace.push_all(pcs.iter().copied()), pcs.len());
            trace.set_end(StackEnd::Root);
            hash(&trace)
        };
        let mut hashes = HashSet::from([hash_of(&base)]);
        let mut stacks = 1;
        for place in 0..base.len() {
            for change in 1..64 {
                let mut pcs = base.clone();
                pcs[place] ^= change;
                hashes.insert(hash_of(&pcs));
                stacks += 1;
            }
            for other in 0..place {
                let mut pcs = base.clone();
                pcs.swap(place, other);
                hashes.insert(hash_of(&pcs));
                stacks += 1;
            }
            hashes.insert(hash_of(&base[..place]));
            stacks += 1;
        }
        assert_eq!(hashes.len(), stacks);
        let low: HashSet<u64> = hashes.iter().map(|hash| hash % 65_536).collect();
        assert!(low.len() > stacks * 9 / 10, "{} of {stacks}", low.len());
    }
}
