//! Memory that is not malloc's: which ranges are mapped, by which stack.
//!
//! Each call that maps or unmaps becomes an event. Events are queued, and whoever finds nobody at it applies them, one
//! after the other; who finds somebody leaves his event to that thread. So nobody waits, a signal handler that
//! interrupted the applying thread included, and each range of addresses changes hands in the order of the calls: an
//! unmap is queued before the kernel is asked, a mapping afterwards, so the kernel cannot have given a range anew whose
//! unmap comes later in the queue.
//!
//! `mremap` may fail, and often does: what it is about is parked before the call, and comes back or moves afterwards.

use super::event_queue::{EVENT_WORDS, EventQueue};
use super::ranges::{Entry, Ranges};
use super::region::Region;
use super::slots::SlotPool;
use super::stacks::Stacks;
use crate::tap::os::sys;
use crate::wire::live::counters::Counter;
use crate::wire::live::layout::SectionId;
use crate::wire::live::mapped::{MAPPING_RESIDENT, MappingRecord};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Events that may wait: what several threads make of mappings while the one that applies them has no processor.
const CELLS: u64 = 4096;
/// Ranges that may be parked at once.
const PARKED: usize = 32;

/// A range of addresses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Span {
    /// First address.
    pub(crate) start: u64,
    /// One past the last.
    pub(crate) end: u64,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// A range was mapped; `joins`: in a range that the program had reserved, piece by piece.
    Map {
        /// What is known of it.
        record: MappingRecord,
        /// Whether it joins a neighbour of the same stack.
        joins: bool,
    },
    /// A range is unmapped: what was mapped there before that time. With a thread's id the stack of that thread, and of
    /// no other.
    Unmap(Span, u32, u64),
    /// A range may move: its number.
    Park(Span, u64),
    /// The range of that number stays.
    Stay(u64),
    /// The range of that number is this one now; the record is that of a range that nobody knew.
    Move(u64, MappingRecord),
}

impl Event {
    fn pack(&self) -> [u64; EVENT_WORDS] {
        let of = |number: u64, token: u64, record: &MappingRecord| {
            let [start, bytes, birth_ns, indices, kind, ..] = record.pack();
            // Kinds are small, and thread ids have 22 bits.
            [number | kind << 8, start, bytes, birth_ns, indices, token]
        };
        let span = |number: u64, span: &Span, last: u64| [number, span.start, span.end, 0, 0, last];
        match self {
            Event::Map { record, joins } => of(0, u64::from(*joins), record),
            Event::Unmap(range, tid, before_ns) => [1, range.start, range.end, *before_ns, 0, u64::from(*tid)],
            Event::Park(range, token) => span(2, range, *token),
            Event::Stay(token) => span(3, &Span::default(), *token),
            Event::Move(token, record) => of(4, *token, record),
        }
    }

    fn unpack(words: [u64; EVENT_WORDS]) -> Event {
        let [number, start, end, birth_ns, indices, last] = words;
        let record = || MappingRecord::unpack([start, end, birth_ns, indices, number >> 8, 0, 0]);
        match number & 0xff {
            0 => Event::Map { record: record(), joins: last != 0 },
            1 => Event::Unmap(Span { start, end }, last as u32, birth_ns),
            2 => Event::Park(Span { start, end }, last),
            3 => Event::Stay(last),
            _ => Event::Move(last, record()),
        }
    }
}

/// A range that may move.
#[derive(Default)]
struct Parked {
    token: AtomicU64,
    slot: AtomicU32,
}

/// The ranges of a region.
pub(crate) struct Mappings {
    queue: EventQueue,
    slots: SlotPool,
    ranges: Ranges,
    parked: [Parked; PARKED],
    tokens: AtomicU64,
}

/// What the application of an event changes.
struct Table<'a> {
    all: &'a Mappings,
    region: &'a Region,
    stacks: &'a Stacks,
}

impl Mappings {
    /// None yet.
    pub(super) fn new(region: &Region) -> Option<Mappings> {
        Some(Mappings {
            queue: EventQueue::new(CELLS)?,
            slots: SlotPool::new(SectionId::Mappings, 0),
            ranges: Ranges::new(region.section(SectionId::Mappings).capacity)?,
            parked: [const { Parked { token: AtomicU64::new(0), slot: AtomicU32::new(0) } }; PARKED],
            tokens: AtomicU64::new(1),
        })
    }

    /// A number for a range that may move.
    pub(super) fn token(&self) -> u64 {
        self.tokens.fetch_add(1, Ordering::Relaxed)
    }

    /// Records an event of the calling thread. `is_outermost`: this thread is not in here already. `false`: there was
    /// no room, and nothing is known of it.
    pub(super) fn tell(&self, region: &Region, stacks: &Stacks, event: &Event, tid: u32, is_outermost: bool) -> bool {
        let words = event.pack();
        let is_told = self.queue.push(&words) || {
            self.apply(region, stacks, tid, is_outermost);
            self.queue.push(&words)
        };
        self.apply(region, stacks, tid, is_outermost);
        is_told
    }

    /// Applies what is queued, unless another thread is at it.
    pub(super) fn apply(&self, region: &Region, stacks: &Stacks, tid: u32, is_outermost: bool) {
        let table = Table { all: self, region, stacks };
        // What seems to be this thread's own is what a handler jumped out of, and so it may be of one that has ended.
        let is_left = |owner| owner == tid && is_outermost || self.has_ended(owner, tid);
        self.queue.read(tid, is_left, || table.fill(), |words| table.apply(Event::unpack(words)));
    }

    /// Whether the thread that applies events is gone. Asked rarely: with one event in 64.
    fn has_ended(&self, owner: u32, tid: u32) -> bool {
        owner != tid
            && self.queue.is_at_look()
            && sys::known_process_id().is_some_and(|process| sys::has_ended(process, owner))
    }

    /// Calls `each` with every record, its state word's place and value.
    pub(super) fn each(&self, region: &Region, mut each: impl FnMut(&MappingRecord, usize, u64)) {
        for slot in 0..self.slots.used() {
            let Some(at) = self.slots.record(region, slot) else { return };
            let Some(word) = region.live_word(at) else { continue };
            let Some(words) = region.record::<7>(at + 1) else { return };
            let record = MappingRecord::unpack(words.each_ref().map(|word| word.load(Ordering::Acquire)));
            if region.live_word(at) == Some(word) {
                each(&record, at, word);
            }
        }
    }
}

impl Table<'_> {
    fn apply(&self, event: Event) {
        match event {
            Event::Map { record, joins } => self.map(&record, joins),
            Event::Unmap(span, tid, before_ns) => {
                let cut = self.cut(span, |record| record.birth_ns < before_ns && (tid == 0 || record.tid == tid));
                // What a look found gone. Who unmapped a range where it is seen has told so before, and then there is
                // nothing left to cut; a range that moves is set apart meanwhile.
                if before_ns != u64::MAX && cut > 0 {
                    self.region.count(Counter::UnseenUnmaps, cut);
                }
            }
            Event::Park(span, token) => self.park(span, token),
            Event::Stay(token) => self.come_back(token),
            Event::Move(token, record) => self.settle(token, &record),
        }
    }

    /// Adds a range; what was known of these addresses was unmapped unseen.
    fn map(&self, record: &MappingRecord, joins: bool) {
        let unseen = self.cut(Span { start: record.start, end: record.end() }, |_| true);
        if unseen > 0 {
            self.region.count(Counter::UnseenUnmaps, unseen);
        }
        if record.bytes == 0 || joins && self.join(record) {
            return self.stacks.release(self.region, record.stack);
        }
        self.add(record);
    }

    /// Adds a record with the reference to its stack that the caller has.
    fn add(&self, record: &MappingRecord) {
        let entry = |slot| Entry { start: record.start, end: record.end(), slot };
        let place = self.all.slots.take(self.region, 0).and_then(|slot| {
            let at = self.at(slot)?;
            self.all.ranges.insert(self.all.ranges.first_behind(record.start), entry(slot)).then_some(at)
        });
        let Some(at) = place else {
            self.region.count(Counter::LostMappings, 1);
            return self.stacks.release(self.region, record.stack);
        };
        self.region.publish(at, &record.pack());
        self.stacks.count_mapped(self.region, record.stack, 1, record.bytes);
    }

    /// Makes the neighbour below longer, if it is of the same stack and kind.
    fn join(&self, record: &MappingRecord) -> bool {
        let below = self.all.ranges.first_behind(record.start).checked_sub(1);
        let Some((place, entry)) = below.and_then(|place| Some((place, self.all.ranges.get(place)?))) else {
            return false;
        };
        let Some(known) = self.read(entry.slot) else { return false };
        let is_one = (known.stack, known.kind, known.end()) == (record.stack, record.kind, record.start);
        if is_one {
            // A look that began before does not know the new part.
            let longer = MappingRecord { bytes: known.bytes + record.bytes, birth_ns: record.birth_ns, ..known };
            self.replace(place, &longer, entry.slot);
            self.stacks.count_mapped(self.region, record.stack, 0, record.bytes);
        }
        is_one
    }

    /// Takes a range out of all records that `is_meant`; how many there were. Stacks of threads do not count: libc
    /// unmaps those where nobody sees it.
    fn cut(&self, span: Span, is_meant: impl Fn(&MappingRecord) -> bool) -> u64 {
        let mut place = self.all.ranges.first_behind(span.start);
        let mut cut = 0;
        while let Some(entry) = self.all.ranges.get(place).filter(|entry| entry.start < span.end) {
            match self.read(entry.slot) {
                Some(record) if !is_meant(&record) => place += 1,
                Some(record) => {
                    cut += u64::from(record.tid == 0);
                    place = self.take_out(place, &record, entry.slot, span);
                }
                None => self.all.ranges.remove(place),
            }
        }
        cut
    }

    /// Leaves of a record what lies outside of a range; the place behind it.
    fn take_out(&self, place: usize, record: &MappingRecord, slot: u32, span: Span) -> usize {
        let below = MappingRecord { bytes: span.start.saturating_sub(record.start), ..*record };
        let above = record.end().saturating_sub(span.end);
        let above = MappingRecord { start: span.end, bytes: above, ..*record };
        let gone = record.bytes - below.bytes - above.bytes;
        match (below.bytes, above.bytes) {
            (0, 0) => {
                self.all.ranges.remove(place);
                self.forget(record, slot);
                return place;
            }
            (0, _) => self.replace(place, &above, slot),
            (_, 0) => self.replace(place, &below, slot),
            _ => {
                self.replace(place, &below, slot);
                self.stacks.count_unmapped(self.region, record.stack, 0, gone + above.bytes);
                self.stacks.hold(self.region, record.stack);
                self.add(&above);
                return place + 2;
            }
        }
        self.stacks.count_unmapped(self.region, record.stack, 0, gone);
        place + 1
    }

    /// Takes a record away.
    fn forget(&self, record: &MappingRecord, slot: u32) {
        if let Some(at) = self.at(slot) {
            self.region.withdraw(at);
            self.stacks.count_unmapped(self.region, record.stack, 1, record.bytes);
            self.stacks.release(self.region, record.stack);
            self.all.slots.give(self.region, 0, slot);
        }
    }

    fn replace(&self, place: usize, record: &MappingRecord, slot: u32) {
        self.all.ranges.set(place, Entry { start: record.start, end: record.end(), slot });
        if let Some(at) = self.at(slot) {
            self.region.publish(at, &record.pack());
        }
    }

    /// Sets a range apart: records that lie across its bounds are divided there. Readers go on seeing it.
    fn park(&self, span: Span, token: u64) {
        self.divide(span.start);
        self.divide(span.end);
        let place = self.all.ranges.first_behind(span.start);
        while let Some(entry) = self.all.ranges.get(place).filter(|entry| entry.end <= span.end) {
            let free = self.all.parked.iter().find(|parked| parked.token.load(Ordering::Relaxed) == 0);
            self.all.ranges.remove(place);
            match (free, self.read(entry.slot)) {
                (Some(parked), _) => {
                    parked.slot.store(entry.slot, Ordering::Relaxed);
                    parked.token.store(token, Ordering::Relaxed);
                }
                (None, Some(record)) => {
                    self.region.count(Counter::LostMappings, 1);
                    self.forget(&record, entry.slot);
                }
                (None, None) => {}
            }
        }
    }

    /// Divides the record that lies across an address.
    fn divide(&self, address: u64) {
        let place = self.all.ranges.first_behind(address);
        let Some(entry) = self.all.ranges.get(place).filter(|entry| entry.start < address) else { return };
        if let Some(record) = self.read(entry.slot) {
            let above = MappingRecord { start: address, bytes: record.end() - address, ..record };
            self.replace(place, &MappingRecord { bytes: address - record.start, ..record }, entry.slot);
            self.stacks.count_unmapped(self.region, record.stack, 0, above.bytes);
            self.stacks.hold(self.region, record.stack);
            self.add(&above);
        }
    }

    /// The records that were parked under a number, which they are not any more.
    fn unpark(&self, token: u64) -> impl Iterator<Item = (u32, MappingRecord)> + '_ {
        let is_meant = move |parked: &&Parked| parked.token.load(Ordering::Relaxed) == token;
        self.all.parked.iter().filter(is_meant).filter_map(|parked| {
            parked.token.store(0, Ordering::Relaxed);
            let slot = parked.slot.load(Ordering::Relaxed);
            Some((slot, self.read(slot)?))
        })
    }

    fn come_back(&self, token: u64) {
        for (slot, record) in self.unpark(token) {
            let entry = Entry { start: record.start, end: record.end(), slot };
            if !self.all.ranges.insert(self.all.ranges.first_behind(record.start), entry) {
                self.region.count(Counter::LostMappings, 1);
                self.forget(&record, slot);
            }
        }
    }

    /// The range of that number is another one now. It stays its stack's; without a record it is the caller's.
    fn settle(&self, token: u64, record: &MappingRecord) {
        let mut known: Option<MappingRecord> = None;
        for (slot, parked) in self.unpark(token) {
            if known.is_none() {
                self.stacks.hold(self.region, parked.stack);
                known = Some(parked);
            }
            self.forget(&parked, slot);
        }
        match known {
            Some(parked) => {
                self.stacks.release(self.region, record.stack);
                let MappingRecord { start, bytes, birth_ns, .. } = *record;
                self.map(&MappingRecord { start, bytes, birth_ns, resident: None, ..parked }, false);
            }
            None => self.map(record, false),
        }
    }

    /// Fills the ranges from the records.
    fn fill(&self) {
        self.all.ranges.clear();
        self.all.parked.iter().for_each(|parked| parked.token.store(0, Ordering::Relaxed));
        for slot in 0..self.all.slots.used() {
            let live = self.at(slot).is_some_and(|at| self.region.is_live(at));
            let Some(record) = self.read(slot).filter(|_| live) else { continue };
            let place = self.all.ranges.first_behind(record.start);
            let is_free = self.all.ranges.get(place).is_none_or(|next| next.start >= record.end());
            if is_free {
                self.all.ranges.insert(place, Entry { start: record.start, end: record.end(), slot });
            }
        }
    }

    fn at(&self, slot: u32) -> Option<usize> {
        self.all.slots.record(self.region, slot)
    }

    fn read(&self, slot: u32) -> Option<MappingRecord> {
        let words = self.region.record::<7>(self.at(slot)? + 1)?;
        let record = MappingRecord::unpack(words.each_ref().map(|word| word.load(Ordering::Relaxed)));
        (record.end() > record.start).then_some(record)
    }
}

/// Notes what a look found of a record, if it is still that one.
pub(super) fn note_resident(region: &Region, at: usize, word: u64, bytes: u64) {
    if region.live_word(at) == Some(word) {
        region.at(at + MAPPING_RESIDENT).store(bytes.saturating_add(1), Ordering::Relaxed);
    }
}
