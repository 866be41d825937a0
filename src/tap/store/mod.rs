//! The live profile. What is allocated now, by which stack and thread, since when.
//!
//! The store *is* the region (`wire::live`): its records are written so that another process can read
//! them at any instant. Its entries are [`Store::insert`] and [`Store::retire`]; both are lock-free
//! and allocate nothing. A retire never fails for want of room, so no freed block stays as a phantom.

mod chunks;
mod entries;
mod event_queue;
mod index;
mod lane;
mod mappings;
mod methods;
mod publication;
mod ranges;
mod region;
mod rows;
mod slots;
mod stacks;

pub(crate) use lane::Lane;
pub(crate) use mappings::{Event, Span};
pub(crate) use methods::UNNAMED;
pub(crate) use region::{Origin, Region};
pub(crate) use rows::Rows;

use super::os::tls::ThreadBlock;
use super::stack::StackTrace;
use crate::wire::live::counters::{self, Counter};
use crate::wire::live::layout::{Head, SectionId};
use crate::wire::live::mapped::MappingRecord;
use crate::wire::live::records::{self, SampleRecord, ThreadRecord};
use crate::wire::live::supply::Supply;
use crate::wire::live::totals::Totals;
use crate::wire::stack_end::StackEnd;
use lane::SpareSlots;
use mappings::Mappings;
use methods::Methods;
use slots::SlotPool;
use stacks::Stacks;
use std::sync::atomic::{AtomicU64, Ordering};

/// Thread record that stands for all threads that got none of their own.
const OTHER_THREADS: u32 = 0;

/// One sampled allocation, as the profiler saw it.
pub(crate) struct Sampled {
    /// Address that the program gets.
    pub(crate) address: u64,
    /// Size class of the request, bytes.
    pub(crate) usable: u64,
    /// Requested size, bytes.
    pub(crate) requested: u64,
    /// CLOCK_MONOTONIC, nanoseconds.
    pub(crate) birth_ns: u64,
    /// Bytes that the sample stands for.
    pub(crate) weight_bytes: u64,
    /// Sampling period in force.
    pub(crate) period: u64,
}

/// The live profile of this process.
pub(crate) struct Store {
    region: Region,
    samples: SlotPool,
    /// Slots of samples that lanes keep.
    spares: SpareSlots,
    threads: SlotPool,
    stacks: Stacks,
    methods: Methods,
    mappings: Mappings,
    /// Whole intervals between dumps that were allocated so far.
    intervals: AtomicU64,
}

impl Store {
    /// An empty store over this region.
    pub(crate) fn new(region: Region, keep_all_stacks: bool) -> Option<Store> {
        let store = Store {
            samples: SlotPool::new(SectionId::Samples, 0),
            spares: SpareSlots::new(),
            threads: SlotPool::new(SectionId::Threads, OTHER_THREADS + 1),
            stacks: Stacks::new(&region, keep_all_stacks)?,
            methods: Methods::new(&region)?,
            mappings: Mappings::new(&region)?,
            intervals: AtomicU64::new(0),
            region,
        };
        let others = ThreadRecord { tid: 0, name: *b"(other threads)\0" };
        if !store.region.back(SectionId::Threads, OTHER_THREADS) {
            return None;
        }
        store.write_thread(OTHER_THREADS, &others);
        store.region.note_used(SectionId::Threads, OTHER_THREADS + 1);
        Some(store)
    }

    /// The region, for counters and snapshots.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Records a sample; its slot, or `None` when a table is full (counted).
    pub(crate) fn insert(
        &self,
        sampled: &Sampled,
        trace: &StackTrace,
        thread: &ThreadBlock,
        lane: Option<Lane>,
    ) -> Option<u32> {
        let hint = thread.hint();
        let thread_record = self.thread_record(thread);
        let Some(stack) = self.stacks.intern(&self.region, trace, Supply::Malloc, hint) else {
            self.count_lost(Counter::LostStacks, sampled.weight_bytes, None, thread);
            return None;
        };
        let place = self.spares.take(lane).or_else(|| self.samples.take(&self.region, hint));
        let at = place.and_then(|slot| self.region.section(SectionId::Samples).record(slot));
        let (Some(slot), Some(at)) = (place, at) else {
            self.count_lost(Counter::LostSamples, sampled.weight_bytes, Some(trace), thread);
            self.stacks.release(&self.region, stack);
            return None;
        };
        let record = SampleRecord {
            address: sampled.address,
            usable: sampled.usable,
            requested: sampled.requested,
            birth_ns: sampled.birth_ns,
            weight_bytes: sampled.weight_bytes,
            stack,
            thread: thread_record,
            period: sampled.period,
        };
        self.region.publish(at, &record.pack());
        self.count_birth(&record, lane);
        Some(slot)
    }

    /// Counts a lost sample, what it stands for, and where it came from, if that is known.
    pub(crate) fn count_lost(&self, why: Counter, weight_bytes: u64, trace: Option<&StackTrace>, thread: &ThreadBlock) {
        let hint = thread.hint();
        self.region.count(why, 1);
        self.region.count(Counter::UnfollowedBytes, weight_bytes);
        if let Some(stack) = trace.and_then(|trace| self.stacks.intern(&self.region, trace, Supply::Malloc, hint))
            && !self.stacks.count_lost(&self.region, stack, weight_bytes)
        {
            self.stacks.release(&self.region, stack);
        }
    }

    /// Records a stack that stays: its number.
    pub(crate) fn keep_stack(&self, trace: &StackTrace, supply: Supply, hint: usize) -> Option<u32> {
        self.stacks.intern(&self.region, trace, supply, hint)
    }

    /// Records that a range was mapped or unmapped; losses are counted.
    ///
    /// `tid`: the calling thread. `is_outermost`: it is not in here already.
    pub(crate) fn tell(&self, event: &Event, tid: u32, is_outermost: bool) {
        if !self.mappings.tell(&self.region, &self.stacks, event, tid, is_outermost) {
            self.region.count(Counter::LostMappings, 1);
            if let Event::Map { record, .. } | Event::Move(_, record) = event {
                self.stacks.release(&self.region, record.stack);
            }
        }
    }

    /// Applies what was told and is not applied yet.
    pub(crate) fn apply_events(&self, tid: u32) {
        self.mappings.apply(&self.region, &self.stacks, tid, false);
    }

    /// A number for a range that may move.
    pub(crate) fn mapping_token(&self) -> u64 {
        self.mappings.token()
    }

    /// The record with its stack, a reference to which it has, and its thread.
    pub(crate) fn with_stack(
        &self,
        record: MappingRecord,
        trace: &StackTrace,
        supply: Supply,
        thread: &ThreadBlock,
    ) -> Option<MappingRecord> {
        let thread_record = self.thread_record(thread);
        let stack = self.stacks.intern(&self.region, trace, supply, thread.hint());
        if stack.is_none() {
            self.region.count(Counter::LostMappings, 1);
        }
        Some(MappingRecord { stack: stack?, thread: thread_record, ..record })
    }

    /// Calls `each` with every mapped range; what it returns is noted as its resident bytes.
    pub(crate) fn each_mapping(&self, mut each: impl FnMut(&MappingRecord) -> Option<u64>) {
        self.mappings.each(&self.region, |record, at, word| {
            if let Some(bytes) = each(record) {
                mappings::note_resident(&self.region, at, word, bytes);
            }
        });
    }

    /// The fake pc (see [`java_pc`](crate::wire::java_pc)) of a line of a Java method: class in internal form,
    /// empty for a pseudo frame. `None`: the table is full. Good as long as [`method_epoch`](Self::method_epoch) is the
    /// same.
    pub(crate) fn intern_method(&self, class: &[u8], method: &[u8], line: u32) -> Option<u64> {
        self.methods.intern(&self.region, class, method, line)
    }

    /// Changes when fake pcs must be asked for anew, because methods that no sample asked for will be forgotten.
    pub(crate) fn method_epoch(&self) -> u32 {
        self.methods.epoch()
    }

    /// Makes room for Java methods where it is needed. For the keeper, every second or so.
    pub(crate) fn tidy_methods(&self, now_ns: u64) {
        self.methods.tidy(&self.region, &self.stacks, now_ns);
    }

    /// Takes the sample of a block back. `false`: there is no live sample of that address there.
    pub(crate) fn retire(&self, slot: u32, address: u64, now_ns: u64, lane: Option<Lane>) -> bool {
        let Some(record) = self.take_back(slot, Some(address)) else { return false };
        self.count_death(&record, now_ns, lane);
        self.stacks.release(&self.region, record.stack);
        if !self.spares.put(lane, slot) {
            self.samples.give(&self.region, slot as usize, slot);
        }
        true
    }

    /// Takes a live record back, that of a block at this address if one is given. Of several threads one gets it.
    fn take_back(&self, slot: u32, address: Option<u64>) -> Option<SampleRecord> {
        let at = self.samples.record(&self.region, slot)?;
        let word = self.region.live_word(at)?;
        let words = self.region.record::<7>(at + 1)?;
        let record = SampleRecord::unpack(words.each_ref().map(|word| word.load(Ordering::Relaxed)));
        let is_it = address.is_none_or(|address| record.address == address);
        // Still in this state, it was that record all the while.
        (is_it && self.region.withdraw_if(at, word)).then_some(record)
    }

    /// Forgets all samples, and what was counted of them; what was allocated, spent and dumped so far goes on being
    /// counted. Other threads may sample and free meanwhile: what they record is forgotten or kept, each sample whole.
    pub(crate) fn clear(&self) {
        for slot in 0..self.samples.used() {
            if let Some(record) = self.take_back(slot, None) {
                self.region.count(Counter::LiveBytes, record.weight_bytes.wrapping_neg());
                self.region.count(Counter::LiveObjects, record.scaled_objects().wrapping_neg());
                self.stacks.release(&self.region, record.stack);
                self.samples.give(&self.region, slot as usize, slot);
            }
        }
        self.stacks.clear(&self.region);
        let of_samples = counters::NAMED.iter().map(|(counter, _)| *counter).filter(|counter| counter.is_of_samples());
        let unnamed = [Counter::RecycledBytes, Counter::RecycledObjects];
        of_samples.chain(unnamed).for_each(|counter| self.region.clear_counter(counter as usize));
        StackEnd::ALL.into_iter().for_each(|end| self.region.clear_counter(counters::stack_end_index(end)));
        // Release: who sees this sees what was forgotten.
        self.region.at(Head::Resets as usize).fetch_add(1, Ordering::Release);
    }

    /// Calls `each` with the number of every stack, the low half of its record's generation, what gave the memory that
    /// it counts, and its sums.
    pub(crate) fn each_stack(&self, each: impl FnMut(u32, u32, Supply, Totals)) {
        self.stacks.each(&self.region, each);
    }

    /// Looks a live sample up by address, one by one: for blocks whose header was written over.
    pub(crate) fn find(&self, address: u64) -> Option<u32> {
        (0..self.samples.used()).find(|&slot| {
            let at = self.samples.record(&self.region, slot);
            at.is_some_and(|at| self.region.at(at + 1).load(Ordering::Relaxed) == address && self.region.is_live(at))
        })
    }

    /// Usable bytes that a sample record tells of.
    pub(crate) fn usable(&self, slot: u32) -> Option<usize> {
        let at = self.region.section(SectionId::Samples).record(slot)?;
        let words = self.region.record::<7>(at + 1)?;
        Some(SampleRecord::unpack(words.each_ref().map(|word| word.load(Ordering::Relaxed))).usable as usize)
    }

    /// Gives the threads that have records their current names, as `name_of(tid)` finds them.
    pub(crate) fn refresh_threads(&self, mut name_of: impl FnMut(u32) -> Option<[u8; 16]>) {
        for thread in OTHER_THREADS + 1..self.threads.used() {
            let Some(at) = self.region.section(SectionId::Threads).record(thread) else { return };
            let tid = self.region.at(at + 1).load(Ordering::Relaxed) as u32;
            if let Some(name) = name_of(tid) {
                self.write_thread(thread, &ThreadRecord { tid, name });
            }
        }
    }

    fn thread_record(&self, thread: &ThreadBlock) -> u32 {
        if let Some(record) = thread.record.get().checked_sub(1) {
            return record;
        }
        if thread.tid.get() == 0 {
            return OTHER_THREADS;
        }
        let record = self.threads.take(&self.region, 0);
        if let Some(record) = record {
            let name = super::os::sys::thread_name();
            self.write_thread(record, &ThreadRecord { tid: thread.tid.get(), name });
        }
        let record = record.unwrap_or(OTHER_THREADS);
        thread.record.set(record + 1);
        record
    }

    fn write_thread(&self, index: u32, record: &ThreadRecord) {
        if let Some(at) = self.region.section(SectionId::Threads).record(index) {
            self.region.publish(at, &record.pack());
        }
    }

    /// Counts what a thread allocated since its last draw. Whether 2^`lg_interval` bytes are full with it.
    ///
    /// Each set of counters looks at all of them whenever its share of an interval is full: exact with one thread,
    /// up to an interval late with many.
    pub(crate) fn count_allocated(&self, bytes: u64, lg_interval: u32, lane: Option<Lane>) -> bool {
        let after = self.region.count_in(lane, Counter::AllocatedBytes, bytes);
        let before = after.wrapping_sub(bytes);
        let lg_share = lg_interval.saturating_sub(counters::SETS.ilog2());
        if lg_interval >= u64::BITS || before >> lg_share == after >> lg_share {
            return false;
        }
        let intervals = self.region.counter(Counter::AllocatedBytes) >> lg_interval;
        // Relaxed: the number alone decides who saw it first.
        self.intervals.fetch_max(intervals, Ordering::Relaxed) < intervals
    }

    fn count_birth(&self, record: &SampleRecord, lane: Option<Lane>) {
        self.region.count_in(lane, Counter::Samples, 1);
        self.region.count_in(lane, Counter::LiveBytes, record.weight_bytes);
        let scaled_objects = record.scaled_objects();
        self.region.count_in(lane, Counter::LiveObjects, scaled_objects);
        let Some(at) = self.region.section(SectionId::Stacks).record(record.stack) else { return };
        let Some([samples, objects, bytes]) = self.region.record(at + records::STACK_SAMPLES) else { return };
        samples.fetch_add(1, Ordering::Relaxed);
        objects.fetch_add(scaled_objects, Ordering::Relaxed);
        bytes.fetch_add(record.weight_bytes, Ordering::Relaxed);
    }

    fn count_death(&self, record: &SampleRecord, now_ns: u64, lane: Option<Lane>) {
        self.region.count_in(lane, Counter::Retired, 1);
        self.region.count_in(lane, Counter::LiveBytes, record.weight_bytes.wrapping_neg());
        let scaled_objects = record.scaled_objects();
        self.region.count_in(lane, Counter::LiveObjects, scaled_objects.wrapping_neg());
        let Some(at) = self.region.section(SectionId::Stacks).record(record.stack) else { return };
        let Some([objects, bytes]) = self.region.record(at + records::STACK_FREED) else { return };
        objects.fetch_add(scaled_objects, Ordering::Relaxed);
        bytes.fetch_add(record.weight_bytes, Ordering::Relaxed);
        let bin = records::age_bin(now_ns.saturating_sub(record.birth_ns));
        let one = 1 << (32 * (bin % 2));
        self.region.at(at + records::STACK_AGES + bin / 2).fetch_add(one, Ordering::Relaxed);
    }
}

#[cfg(test)]
pub(crate) mod tests;
