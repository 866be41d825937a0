//! Memory that is not malloc's: what the program maps and unmaps, and the stacks of the threads that it starts.
//!
//! None of it is sampled: mappings are few. A call may come from anywhere, a signal handler that interrupted the
//! allocator included, so nothing here allocates, opens files or waits: where there is no live profile yet, the
//! thread's next allocation makes it (`early`). Losses are counted. What was unmapped unseen, by a system call of the
//! program's own, is found out by the keeper, and by readers of a living process.

use super::early::{EARLY, FRAMES as EARLY_FRAMES};
use super::profiler::Profiler;
use super::request::Request;
use super::scratch::SCRATCH;
use super::stopwatch::Stopwatch;
use crate::tap::os::tls::ThreadBlock;
use crate::tap::os::{clock, sys};
use crate::tap::store::{Event, Span, Store};
use crate::tap::visit::Visit;
use crate::wire::live::counters::Counter;
use crate::wire::live::mapped::MappingRecord;
use crate::wire::live::supply::Supply;
use crate::wire::resident::areas::Areas;
use std::sync::atomic::Ordering;

/// A process that has mapped so much and sampled nothing is worth a live profile.
const WORTH_A_STORE: u64 = 1 << 20;

/// A range that may move: its number.
pub(crate) struct Parked(u64);

/// Where a range comes from.
#[derive(Clone, Copy)]
pub(crate) struct Source {
    /// What gave it.
    pub(crate) supply: Supply,
    /// Address of the exported function that the program called.
    pub(crate) entry: usize,
    /// The descriptor of the file that it is of.
    pub(crate) file: Option<i32>,
}

impl Profiler {
    /// Whether mappings are followed, or were at some time: then what is unmapped matters.
    #[inline(always)]
    pub(crate) fn watches_mappings(&self) -> bool {
        self.watches_mappings.load(Ordering::Relaxed)
    }

    /// The program got a range. `joins`: it is a part of what the program had reserved.
    #[cold]
    #[inline(never)]
    pub(crate) fn map(&'static self, record: &MappingRecord, source: Source, joins: bool) {
        let Some(visit) = self.begin_mapping(source.supply) else { return };
        let Some(store) = self.store() else { return self.map_early(&visit, record, source) };
        self.take_early(&visit, store);
        if let Some(record) = self.with_stack(&visit, store, record, source) {
            store.tell(&Event::Map { record, joins }, visit.thread().tid.get(), true);
        }
    }

    /// The program gives a range up. Before the kernel is asked.
    #[cold]
    #[inline(never)]
    pub(crate) fn unmap(&self, span: Span) {
        if EARLY.has_any() {
            EARLY.forget(span);
        }
        self.tell(&Event::Unmap(span, 0, u64::MAX));
    }

    /// The program gives the stack of a thread up, which has ended.
    pub(crate) fn unmap_stack(&self, span: Span, tid: u32) {
        self.tell(&Event::Unmap(span, tid, u64::MAX));
    }

    /// A range may move. Before the kernel is asked.
    #[cold]
    #[inline(never)]
    pub(crate) fn park(&self, span: Span) -> Option<Parked> {
        if EARLY.has_any() {
            EARLY.forget(span);
        }
        let token = self.mapped_store()?.mapping_token();
        self.tell(&Event::Park(span, token));
        Some(Parked(token))
    }

    /// It has not moved.
    pub(crate) fn stay(&self, parked: &Parked) {
        self.tell(&Event::Stay(parked.0));
    }

    /// It has moved, or has another length.
    #[cold]
    #[inline(never)]
    pub(crate) fn settle(&'static self, parked: &Parked, record: &MappingRecord, entry: usize) {
        let moved = self.begin_mapping(Supply::Mapping).and_then(|visit| {
            let store = self.store()?;
            let source = Source { supply: Supply::Mapping, entry, file: None };
            let record = self.with_stack(&visit, store, record, source)?;
            store.tell(&Event::Move(parked.0, record), visit.thread().tid.get(), true);
            Some(())
        });
        if moved.is_none() {
            self.stay(parked);
        }
    }

    /// Applies what nobody has applied: its thread was jumped out of, or has ended. For the keeper.
    pub(crate) fn settle_mappings(&self) {
        let Some(store) = self.mapped_store().filter(|_| !self.may_not_sample()) else { return };
        let visit = Visit::begin_nested();
        self.take_early(&visit, store);
        store.apply_events(sys::thread_id());
    }

    /// Takes the stacks back of threads that have ended. For the keeper, and before a dump.
    pub(crate) fn look_after_threads(&self) {
        let Some(store) = self.mapped_store().filter(|_| !self.may_not_sample()) else { return };
        let process = sys::process_id();
        store.each_mapping(|record| {
            if record.tid != 0 && sys::keep_errno(|| sys::has_ended(process, record.tid)) {
                self.unmap_stack(Span { start: record.start, end: record.end() }, record.tid);
            }
            None
        });
    }

    /// Brings the records up to what a look found that began then: what is resident of each, and what is not mapped any
    /// more though nobody saw it go. For the keeper.
    pub(crate) fn look_at_mappings(&self, areas: &Areas, begun_ns: u64) {
        let Some(store) = self.mapped_store() else { return };
        store.each_mapping(|record| {
            // What came since is not among the areas.
            let is_known = record.birth_ns < begun_ns;
            let gaps = if is_known { areas.gaps(record.start, record.end()) } else { Vec::new() };
            let spans = gaps.into_iter().map(|gap| Span { start: gap.start, end: gap.end });
            spans.for_each(|span| self.tell(&Event::Unmap(span, record.tid, begun_ns)));
            is_known.then(|| areas.within(record.start, record.end()).1)
        });
    }

    /// Makes the live profile that mappings wait for. For a thread's allocation.
    #[cold]
    pub(super) fn make_wanted_store(&'static self) {
        if self.unstored_bytes.load(Ordering::Relaxed) >= WORTH_A_STORE && self.store().is_none() {
            self.open_store();
        }
    }

    /// The store of this process's mappings; none in a fork child that has not begun its life.
    fn mapped_store(&self) -> Option<&'static Store> {
        if self.life.is_over() { None } else { self.store() }
    }

    fn tell(&self, event: &Event) {
        let Some(store) = self.mapped_store() else { return };
        let (visit, is_outermost) = match Visit::begin() {
            Some(visit) => (visit, true),
            None => (Visit::begin_nested(), false),
        };
        let thread = visit.thread();
        // The keeper, and threads that have not allocated: to give memory up makes none of them known.
        match thread.tid.get() {
            tid if tid != 0 && thread.life.get() == self.life.number() => store.tell(event, tid, is_outermost),
            _ if self.may_not_sample() => {}
            _ => store.tell(event, sys::thread_id(), is_outermost),
        }
    }

    /// Brings the block of a program's thread up to date; whether it says which thread it is.
    fn is_set_up(&self, thread: &ThreadBlock) -> bool {
        self.check_life(thread);
        thread.tid.get() != 0
    }

    /// Begins to record a range.
    fn begin_mapping(&'static self, supply: Supply) -> Option<Visit> {
        if !self.is_active() || self.may_not_sample() || self.life.is_over() {
            return None;
        }
        let visit = Visit::begin().filter(|visit| self.is_set_up(visit.thread()));
        // The threads that are started in here are the tap's own.
        if let (None, Some(store)) = (&visit, self.store().filter(|_| supply != Supply::Thread)) {
            store.region().count(Counter::LostMappings, 1);
        }
        visit
    }

    /// Records a range before there is a live profile.
    #[cold]
    fn map_early(&self, visit: &Visit, record: &MappingRecord, Source { supply, entry, .. }: Source) {
        let request = Request { bytes: 0, alignment: 1, zeroed: false, entry, caller: None };
        let record = MappingRecord { birth_ns: clock::tick_ns(), ..*record };
        if let Some(scratch) = self.capture_early(visit, &request) {
            EARLY.keep(&record, supply, &scratch.trace);
        }
        self.want_store(visit, record.bytes);
    }

    /// Records the ranges from before there was a live profile.
    fn take_early(&self, visit: &Visit, store: &Store) {
        let thread = visit.thread();
        if !EARLY.has_any() {
            return;
        }
        let Some(mut scratch) = SCRATCH.borrow(thread.hint(), EARLY_FRAMES) else { return };
        EARLY.take(&mut scratch.trace, |record, supply, trace| {
            if let Some(record) = store.with_stack(*record, trace, supply, thread) {
                store.tell(&Event::Map { record, joins: false }, sys::thread_id(), false);
            }
        });
    }

    /// Has the thread's next allocation make the live profile, if mappings are worth one. The rest of its wait comes
    /// after that.
    fn want_store(&self, visit: &Visit, bytes: u64) {
        let before = self.unstored_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) >= WORTH_A_STORE {
            visit.thread().make_due();
        }
    }

    /// The record with the calling stack.
    fn with_stack(
        &'static self,
        visit: &Visit,
        store: &Store,
        record: &MappingRecord,
        Source { supply, entry, file }: Source,
    ) -> Option<MappingRecord> {
        let watch = Stopwatch::start(visit.thread());
        let request = Request { bytes: 0, alignment: 1, zeroed: false, entry, caller: None };
        let record = MappingRecord { birth_ns: clock::tick_ns(), ..*record };
        let found = match self.capture(visit, store, &request) {
            Some(mut scratch) => {
                let group = file.filter(|_| !self.may_not_open()).and_then(|file| self.file_groups.frame(store, file));
                group.into_iter().for_each(|group| scratch.trace.put_above_leaf(group));
                store.with_stack(record, &scratch.trace, supply, visit.thread())
            }
            None => {
                store.region().count(Counter::LostMappings, 1);
                None
            }
        };
        self.end_visit(watch, store);
        found
    }
}
