//! One sample, and one free of a sampled block: the slow path's part that is ours. No lock, no allocation but the block.

use super::capture::Capture;
use super::scratch::SCRATCH;
use super::stopwatch::Stopwatch;
use super::{Profiler, Request, Taken, Wait};
use crate::tap::backend::{self, SampledBlock};
use crate::tap::governor::Spent;
use crate::tap::os::clock;
use crate::tap::os::tls::ThreadBlock;
use crate::tap::sampler::{self, Sampler};
use crate::tap::store::{Sampled, Store};
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
        thread.bytes_left.set(wait);
    }

    /// Samples a request whose turn it is; `wait`: the wait whose end it is.
    pub(crate) fn sample(&'static self, request: &Request, thread: &ThreadBlock, wait: Wait) -> Taken {
        if !self.active.load(Ordering::Acquire) || thread.muted.get() || self.may_not_sample() {
            return Taken::default();
        }
        let Some(store) = self.open_store() else { return Taken::default() };
        let watch = Stopwatch::start(thread);
        let lg_interval = self.lg_interval.load(Ordering::Relaxed);
        let interval_over = store.count_allocated(wait.used, lg_interval, thread);
        let hint = thread.tid.get() as usize;
        let Some(block) = self.heap.allocate(request.size, request.alignment, request.zeroed, hint) else {
            store.region().count(Counter::LostRange, 1);
            return Taken { interval_over, ..Taken::default() };
        };
        if let Some(slot) = self.record(store, request, &block, thread, wait.period) {
            block.trailer().store(self.trailer(slot, &block), Ordering::Relaxed);
        }
        let is_check_due = watch.is_check_due();
        self.end_visit(watch, store);
        Taken { block: Some(block.start()), interval_over, is_check_due }
    }

    fn record(
        &self,
        store: &Store,
        request: &Request,
        block: &SampledBlock,
        thread: &ThreadBlock,
        period: u64,
    ) -> Option<u32> {
        let (limit, java) =
            self.settings().map_or((0, false), |settings| (settings.options.prof_bt_max, settings.options.prof_java));
        let Some(mut scratch) = SCRATCH.borrow(thread.tid.get() as usize, limit) else {
            store.region().count(Counter::LostNested, 1);
            return None;
        };
        Capture { store, hotspot: java.then_some(&self.hotspot) }.take(request, thread, &mut scratch);
        store.region().count_end(thread.tid.get() as usize, scratch.trace.end());
        let usable = backend::size_class(request.size, request.alignment) as u64;
        let sampler = Sampler::new(period);
        let sampled = Sampled {
            address: block.start().as_ptr() as u64,
            usable,
            requested: request.size as u64,
            birth_ns: clock::tick_ns(),
            weight_bytes: (usable as f64 * sampler.weight(request.size as u64) + 0.5) as u64,
            period: sampler.period(),
        };
        store.insert(&sampled, &scratch.trace, thread)
    }

    /// Takes back the record of a block that is about to be freed. Blocks that a parent sampled before fork have none here.
    pub(crate) fn retire(&self, block: &SampledBlock, thread: &ThreadBlock) {
        let Some(store) = self.store() else { return };
        let address = block.start().as_ptr() as u64;
        let trailer = block.trailer().load(Ordering::Relaxed);
        if trailer == u64::MAX {
            return;
        }
        let slot = trailer as u32;
        let watch = Stopwatch::start(thread);
        let now = clock::tick_ns();
        if trailer == self.trailer(slot, block) {
            if !store.retire(slot, address, now, thread) {
                store.region().count(Counter::TrailerLost, 1);
            }
            return self.end_visit(watch, store);
        }
        if trailer >> 48 == check(address) {
            return; // sampled by another life of the process, before a fork
        }
        store.region().count(Counter::TrailerDamaged, 1);
        let found = store.find(address).is_some_and(|slot| store.retire(slot, address, now, thread));
        if !found {
            store.region().count(Counter::TrailerLost, 1);
        }
    }

    #[inline]
    fn end_visit(&self, watch: Stopwatch, store: &Store) {
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

    /// What a block's trailer says: slot, life, and a check against the address.
    fn trailer(&self, slot: u32, block: &SampledBlock) -> u64 {
        let life = u64::from(self.life.number() & 0xffff);
        check(block.start().as_ptr() as u64) << 48 | life << 32 | u64::from(slot)
    }
}

/// Fifteen bits that a trailer must share with its block's address.
fn check(address: u64) -> u64 {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) & 0x7fff
}
