//! Sampling: a block in the range for a request that is due, its stack, and the record in the store. No lock, no
//! allocation but the block.

use super::capture::Capture;
use super::profiler::Profiler;
use super::request::{Request, Taken, Wait};
use super::scratch::{Loan, SCRATCH};
use super::stopwatch::Stopwatch;
use crate::tap::governor::Spent;
use crate::tap::heap::{self, Block, NO_RECORD, Shape, Size};
use crate::tap::os::clock;
use crate::tap::os::range::Refusal;
use crate::tap::os::tls::ThreadBlock;
use crate::tap::sampler::{self, Sampler};
use crate::tap::store::{Lane, Sampled, Store};
use crate::tap::visit::Visit;
use crate::wire::live::counters::Counter;
use std::sync::atomic::Ordering;

impl Profiler {
    /// Draws a thread's next wait.
    pub(crate) fn draw(&self, thread: &ThreadBlock) {
        let (state, random) = sampler::next_random(thread.random.get());
        thread.random.set(state);
        let sampler = Sampler::new(self.period.load(Ordering::Relaxed));
        let wait = sampler.draw(random);
        thread.period.set(sampler.period());
        thread.drawn.set(wait);
        self.put_wait(thread, wait);
    }

    /// Samples a request that is due: a block in the range, with its record. `wait`: the wait that ended with the
    /// request.
    pub(crate) fn sample(&'static self, visit: &Visit, request: &Request, shape: &Shape, wait: Wait) -> Taken {
        let thread = visit.thread();
        let Some(store) = self.admit(thread) else { return Taken::default() };
        let watch = Stopwatch::start(thread);
        let Some(block) = self.heap.allocate(shape, thread.hint()) else { return Taken::lost() };
        let interval_over = self.record(visit, store, request, shape.size, &block, wait);
        let is_check_due = watch.is_check_due();
        self.end_visit(watch, store);
        Taken { block: Some(block), interval_over, is_check_due, is_lost: false }
    }

    /// Gives a block in the range another shape. That is a free and an allocation, as for jemalloc's profiler: the
    /// record goes, and the new block has one if a wait ended with the request (`wait`). No block: there is no room,
    /// and the old one is as it was.
    ///
    /// # Safety
    /// `block` is alive, and nobody uses it any more if there is a new one.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn resize(
        &'static self,
        block: Block,
        visit: &Visit,
        request: &Request,
        shape: &Shape,
        wait: Option<Wait>,
    ) -> Taken {
        let thread = visit.thread();
        let admitted = wait.and_then(|wait| Some((self.admit(thread)?, wait)));
        let record = block.record().load(Ordering::Relaxed);
        // Before jemalloc can give the place to another thread. Where there is no room the block is about to move out.
        self.tell_free(record, block.start());
        // SAFETY: passed on to the caller.
        let Some(resized) = (unsafe { self.heap.resize(block, shape, thread.hint()) }) else {
            return Taken { is_lost: admitted.is_some(), ..Taken::default() };
        };
        self.take_back(visit, record, block.start());
        let Some((store, wait)) = admitted else { return Taken { block: Some(resized), ..Taken::default() } };
        self.renew(visit, store, request, shape.size, &resized, wait)
    }

    /// Changes the size of a block in the range in place, if that can be done: the same without a move.
    ///
    /// # Safety
    /// `block` is alive.
    #[allow(unsafe_code)]
    pub(crate) unsafe fn resize_in_place(
        &'static self,
        block: Block,
        visit: &Visit,
        request: &Request,
        [least, most]: [&Shape; 2],
        wait: Option<Wait>,
    ) -> Taken {
        let thread = visit.thread();
        let record = block.record().load(Ordering::Relaxed);
        // SAFETY: passed on to the caller.
        let resized = unsafe { self.heap.resize_in_place(block, least, most) };
        if resized.usable() == block.usable() {
            return Taken::default();
        }
        self.retire(visit, record, block.start());
        resized.record().store(NO_RECORD, Ordering::Relaxed);
        match wait.and_then(|wait| Some((self.admit(thread)?, wait))) {
            Some((store, wait)) => self.renew(visit, store, request, least.size, &resized, wait),
            None => Taken { block: Some(resized), ..Taken::default() },
        }
    }

    /// Records a block that was resized.
    fn renew(&self, visit: &Visit, store: &Store, request: &Request, size: Size, block: &Block, wait: Wait) -> Taken {
        let thread = visit.thread();
        let watch = Stopwatch::start(thread);
        let interval_over = self.record(visit, store, request, size, block, wait);
        let is_check_due = watch.is_check_due();
        self.end_visit(watch, store);
        Taken { block: Some(*block), interval_over, is_check_due, is_lost: false }
    }

    /// The store, if this thread's allocations are sampled now.
    #[inline(always)]
    fn admit(&'static self, thread: &ThreadBlock) -> Option<&'static Store> {
        if !self.active.load(Ordering::Acquire) || thread.muted.get() || self.may_not_sample() {
            return None;
        }
        self.open_store()
    }

    /// A sampled request found no room in the range, and was then served elsewhere: what it stands for is counted at
    /// its stack. Whether an interval is over.
    #[cold]
    pub(crate) fn lose(&self, visit: &Visit, request: &Request, wait: Wait) -> bool {
        let Some(store) = self.store() else { return false };
        let why = match self.heap.last_refusal() {
            Refusal::Room => Counter::LostRange,
            Refusal::Memory => Counter::LostMemory,
            Refusal::None => Counter::LostArena,
        };
        let usable = request.shape().and_then(|shape| heap::usable(&shape)).unwrap_or(request.bytes);
        let weight_bytes = weight_of(usable, request.bytes, wait.period);
        let scratch = self.capture(visit, store, request);
        store.count_lost(why, weight_bytes, scratch.as_ref().map(|scratch| &scratch.trace), visit.thread());
        self.count(store, wait, scratch.as_ref().map(Loan::lane))
    }

    /// The stack of a request. `None`: no place to put it.
    #[inline(always)]
    pub(super) fn capture(&self, visit: &Visit, store: &Store, request: &Request) -> Option<Loan<'static>> {
        let hint = visit.thread().hint();
        let (limit, java) =
            self.settings().map_or((0, false), |settings| (settings.options.prof_bt_max, settings.options.prof_java));
        let mut scratch = SCRATCH.borrow(hint, limit)?;
        // To look for a machine is to open a file.
        let java = java && (self.hotspot.is_known() || !self.may_not_open());
        Capture { java: java.then_some((&self.hotspot, store)) }.take(visit, request, &mut scratch);
        store.region().count_end(Some(scratch.lane()), scratch.trace.end());
        Some(scratch)
    }

    /// The native stack of a request from before there is a store.
    #[cold]
    pub(super) fn capture_early(&self, visit: &Visit, request: &Request) -> Option<Loan<'static>> {
        let limit = self.settings().map_or(0, |settings| settings.options.prof_bt_max);
        let mut scratch = SCRATCH.borrow(visit.thread().hint(), limit)?;
        Capture { java: None }.take(visit, request, &mut scratch);
        Some(scratch)
    }

    /// Counts what a thread allocated in a wait that is over; only once the request that ended it has been served.
    /// Whether an interval between dumps is over.
    #[inline]
    fn count(&self, store: &Store, wait: Wait, lane: Option<Lane>) -> bool {
        store.count_allocated(wait.used, self.lg_interval.load(Ordering::Relaxed), lane)
    }

    /// Publishes the record of a block, and notes in the block which it is. Whether an interval between dumps is over.
    /// Apart, so that what it keeps on the stack is not there while jemalloc allocates.
    #[inline(never)]
    fn record(&self, visit: &Visit, store: &Store, request: &Request, size: Size, block: &Block, wait: Wait) -> bool {
        let (requested, usable, period) = (size.bytes(), block.usable(), wait.period);
        let weight_bytes = weight_of(usable, requested, period);
        let Some(scratch) = self.capture(visit, store, request) else {
            store.count_lost(Counter::LostNested, weight_bytes, None, visit.thread());
            return self.count(store, wait, None);
        };
        let lane = Some(scratch.lane());
        let address = block.start().as_ptr() as u64;
        let sampled = Sampled {
            address,
            usable: usable as u64,
            requested: requested as u64,
            birth_ns: clock::tick_ns(),
            weight_bytes,
            period,
        };
        if let Some(slot) = store.insert(&sampled, &scratch.trace, visit.thread(), lane) {
            block.record().store(self.name_of(slot, address), Ordering::Relaxed);
            self.tell_alloc(address, sampled.requested, period);
        }
        self.count(store, wait, lane)
    }

    #[inline]
    pub(super) fn end_visit(&self, watch: Stopwatch, store: &Store) {
        if let Some(profiler_ns) = watch.stop(store)
            && self.governor.is_due(clock::tick_ns())
        {
            self.govern(profiler_ns);
        }
    }

    /// Raises the period where sampling costs too much, and lowers it again where it does not any more.
    #[cold]
    #[inline(never)]
    fn govern(&self, profiler_ns: u64) {
        let Some(settings) = self.settings() else { return };
        let counter = |counter| self.store().map_or(0, |store| store.region().counter(counter));
        let visits = counter(Counter::Samples) + counter(Counter::Retired);
        let spent = Spent { cpu_ns: clock::process_cpu_ns(), profiler_ns, visits };
        let period = self.period.load(Ordering::Relaxed);
        if let Some(next) = self.governor.judge(spent, settings.options.prof_max_overhead, period)
            && next != period
        {
            self.put_period(next);
        }
    }
}

/// Bytes that a sampled block of so many usable bytes stands for.
#[inline]
fn weight_of(usable: usize, requested: usize, period: u64) -> u64 {
    (usable as f64 * Sampler::new(period).weight(requested as u64) + 0.5) as u64
}
