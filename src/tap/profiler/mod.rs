//! Floor 5: the profiler, THE static of the tap, and what an allocation and a free mean to it.
//!
//! ```text
//! sample: guard held, wait drawn → block in the reserved range → stack → store → trailer
//! free:   block in the range → trailer → record taken back → memory given back
//! ```
//!
//! **Lock order**: there is none to keep. Sampling takes try-locks only (the stack table's sweep), freeing
//! takes no lock, and nothing is held across unwinding or into jemalloc. The dump lock (`dump`) is
//! taken by the keeper and by an exiting thread, with a deadline, never while sampling.
//!
//! Every trouble here costs one counted sample and nothing else: the caller gets `None` and allocates
//! as if nothing had happened.

mod capture;
mod scratch;
mod stopwatch;

use super::backend::{self, SampledBlock, SampledHeap};
use super::dump::{Dumper, Mirror, Occasion, Reason};
use super::governor::{Governor, Spent};
use super::jvm::Hotspot;
use super::os::filter::Deadly;
use super::os::life::Life;
use super::os::tls::ThreadBlock;
use super::os::{clock, map, signals, spare_stack, sys};
use super::sampler::{self, Sampler};
use super::settings::Settings;
use super::stack::Registers;
use super::store::{Identity, Region, Sampled, Store, StoreCell};
use super::unwind;
use crate::wire::live::counters::Counter;
use crate::wire::live::snapshot::Snapshot;
use capture::Capture;
use once_cell::race::OnceBox;
use scratch::SCRATCH;
use std::collections::BTreeSet;
use std::ffi::c_void;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use stopwatch::Stopwatch;

/// The one profiler of the process.
pub(crate) static PROFILER: Profiler = Profiler::new();

/// A request that was chosen, or may be chosen, to be sampled.
#[derive(Clone, Copy)]
pub(crate) struct Request {
    /// Bytes asked for.
    pub(crate) size: usize,
    /// Alignment asked for, a power of two; 1 where none was.
    pub(crate) alignment: usize,
    /// Whether the memory must read as zeros.
    pub(crate) zeroed: bool,
    /// Code address of `malloc`, which begins every stack.
    pub(crate) entry: usize,
    /// The frame that called, where the export knows it; else unwinding begins in our own frames.
    pub(crate) caller: Option<Registers>,
}

/// A wait that is over: how it was drawn, and how far the thread came.
#[derive(Clone, Copy)]
pub(crate) struct Wait {
    /// Sampling period that it was drawn with, bytes.
    pub(crate) period: u64,
    /// Bytes that the thread has allocated since.
    pub(crate) used: u64,
}

impl Wait {
    /// The wait of this thread, before the next one is drawn.
    pub(crate) fn of(thread: &ThreadBlock) -> Wait {
        let used = thread.drawn.get().wrapping_sub(thread.bytes_left.get());
        Wait { period: thread.period.get(), used }
    }
}

/// Bit of the keeper's triggers: it shall end.
pub(crate) const STOP: u32 = 2;

/// What became of a request whose turn it was.
#[derive(Default)]
pub(crate) struct Taken {
    /// The sampled block; `None`: to be allocated as if nothing had happened.
    pub(crate) block: Option<NonNull<c_void>>,
    /// An interval between dumps is over.
    pub(crate) interval_over: bool,
    /// True once in a while: time for what need not be looked at each time.
    pub(crate) is_check_due: bool,
}

/// All state of the tap.
pub(crate) struct Profiler {
    /// Blocks of sampled allocations.
    pub(crate) heap: SampledHeap,
    dumper: Dumper,
    settings: OnceBox<Settings>,
    store: StoreCell,
    active: AtomicBool,
    /// Mean bytes between two samples, in force for the next wait that is drawn.
    period: AtomicU64,
    governor: Governor,
    life: Life,
    hotspot: Hotspot,
    /// A seccomp filter kills for what sampling does, or for what files need: never again, then.
    deadly: [AtomicBool; 2],
    /// Whether threads that start from now on are sampled.
    pub(crate) thread_active: AtomicBool,
    /// Whether new maxima of live bytes are dumped.
    pub(crate) gdump: AtomicBool,
    /// The live bytes at which the next of those is due.
    next_maximum: AtomicU64,
    /// Binary logarithm of the bytes between two interval dumps; 64: none.
    lg_interval: AtomicU32,
    /// What the keeper shall do, as bits of its own; its futex.
    pub(crate) triggers: AtomicU32,
    /// Whether the keeper was started in this life.
    pub(crate) keeper_started: AtomicBool,
    /// Its kernel thread id, 0: not known yet.
    pub(crate) keeper_thread: AtomicU32,
}

impl Profiler {
    const fn new() -> Profiler {
        Profiler {
            heap: SampledHeap::new(),
            dumper: Dumper::new(),
            settings: OnceBox::new(),
            store: StoreCell::new(),
            active: AtomicBool::new(false),
            period: AtomicU64::new(1 << 19),
            governor: Governor::new(),
            life: Life::new(),
            hotspot: Hotspot::new(),
            deadly: [const { AtomicBool::new(false) }; 2],
            thread_active: AtomicBool::new(true),
            gdump: AtomicBool::new(false),
            next_maximum: AtomicU64::new(1),
            lg_interval: AtomicU32::new(u64::BITS),
            triggers: AtomicU32::new(0),
            keeper_started: AtomicBool::new(false),
            keeper_thread: AtomicU32::new(0),
        }
    }

    /// Sets everything up. Called once, by the process's first call, before jemalloc's.
    pub(crate) fn start(&'static self, settings: Settings) {
        let options = settings.options;
        let random = settings.random;
        let _ = self.settings.set(Box::new(settings));
        self.life.begin(random);
        self.set_period(1 << options.lg_prof_sample);
        self.lg_interval.store(options.lg_prof_interval.unwrap_or(u64::BITS), Ordering::Relaxed);
        self.thread_active.store(options.prof_thread_active_init, Ordering::Relaxed);
        self.gdump.store(options.prof_gdump, Ordering::Relaxed);
        if !options.prof {
            return;
        }
        let most = map::most_reserved(map::address_space_limit(), map::locked_memory_limit());
        // Mixed: these are also the words that libc guards stacks and pointers with.
        let (_, place) = sampler::next_random((random[0] ^ random[1].rotate_left(29)) | 1);
        if self.heap.reserve(most, place) {
            self.active.store(options.prof_active, Ordering::Release);
        } else {
            sys::say(&[b"heaptap: no address space left (RLIMIT_AS?), profiling is off; the program is not affected"]);
        }
    }

    /// Options and environment; `None` before the first call.
    pub(crate) fn settings(&self) -> Option<&Settings> {
        self.settings.get()
    }

    /// The live profile, if anything was sampled.
    pub(crate) fn store(&self) -> Option<&'static Store> {
        self.store.get()
    }

    /// Process id of this life.
    pub(crate) fn pid(&self) -> u32 {
        self.life.pid()
    }

    /// Nanoseconds since the first call.
    pub(crate) fn uptime_ns(&self) -> u64 {
        clock::monotonic_ns().saturating_sub(self.life.start_ns())
    }

    /// Whether this process is worth a file: it lived long enough, holds enough, or was asked for.
    pub(crate) fn is_significant(&self) -> bool {
        let Some(settings) = self.settings() else { return false };
        let options = &settings.options;
        settings.run_pid == Some(self.pid())
            || options.prof_leak
            || self.store().map_or(0, |store| store.region().counter(Counter::LiveBytes)) >= options.prof_min_bytes
            || is_long_life(self.uptime_ns(), clock::process_cpu_ns, options.prof_min_seconds)
    }

    /// Says once in a life what is profiled and where the dumps go.
    pub(crate) fn announce(&self) {
        let Some(settings) = self.settings() else { return };
        let exe = std::fs::read_link("/proc/self/exe").map_or_else(|_| "?".into(), |path| path.display().to_string());
        let prefix = std::path::Path::new(std::ffi::OsStr::from_bytes(settings.prefix()));
        let prefix = std::path::absolute(prefix).unwrap_or_else(|_| prefix.to_path_buf());
        let (pid, period) = (self.pid(), self.period.load(Ordering::Relaxed));
        let text = format!(
            "heaptap: profiling pid {pid} ({exe}), a sample every {period} bytes; dumps: {}.{pid}.*.heap",
            prefix.display()
        );
        sys::say(&[text.as_bytes()]);
    }

    /// Writes a dump, if there is memory for it. Not for threads that are inside an allocation.
    pub(crate) fn dump(&self, reason: Reason) -> Option<PathBuf> {
        self.carefully(|| self.dumper.write(self.open_store()?, self.settings()?, reason, &self.occasion())).flatten()
    }

    /// Writes a dump to this file, in place of what is there. Not for threads that are inside an allocation.
    pub(crate) fn dump_to(&self, path: &Path) -> Option<()> {
        let work = || self.dumper.write_to(self.open_store()?, self.settings()?, path, &self.occasion());
        self.carefully(work).flatten()
    }

    /// Whether samples are taken.
    pub(crate) fn is_active(&self) -> bool {
        self.active.load(Ordering::Relaxed)
    }

    /// A filter of system calls is about to be installed that kills for these.
    pub(crate) fn forbid(&self, deadly: Deadly) {
        let [sampling, files] = &self.deadly;
        sampling.fetch_or(deadly.sampling, Ordering::Relaxed);
        files.fetch_or(deadly.files, Ordering::Relaxed);
    }

    /// Whether taking samples would kill the process.
    pub(crate) fn may_not_sample(&self) -> bool {
        self.deadly[0].load(Ordering::Relaxed)
    }

    /// Whether opening files, or starting a thread, would kill the process.
    pub(crate) fn may_not_open(&self) -> bool {
        self.deadly[1].load(Ordering::Relaxed)
    }

    /// Mean bytes between two samples.
    pub(crate) fn period(&self) -> u64 {
        self.period.load(Ordering::Relaxed)
    }

    /// Bytes between two interval dumps, 0: none.
    pub(crate) fn interval(&self) -> u64 {
        1u64.checked_shl(self.lg_interval.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// Forgets all samples and goes on with another period. Other threads may still be writing to the old region,
    /// which is therefore left where it is; blocks sampled before will be freed without being counted.
    pub(crate) fn reset(&self, lg_period: u32) {
        self.period.store(1 << lg_period.min(63), Ordering::Relaxed);
        self.life.turn_over();
        if let Some(store) = self.store() {
            store.region().remove_own_file();
        }
        self.store.forget();
    }

    /// After a reset: whoever looks from outside finds the process at once, not with its next sample.
    pub(crate) fn begin_again(&self) {
        self.open_store();
    }

    /// Estimated bytes, objects and call stacks of what is live. For the leak summary at the end.
    pub(crate) fn live_totals(&self) -> Option<(u64, u64, usize)> {
        let count = || {
            let snapshot = Snapshot::take(self.store()?.region()).ok()?;
            let samples = snapshot.samples.iter();
            let (bytes, objects) = samples.fold((0, 0.0), |(bytes, objects), sample| {
                (bytes + sample.weight_bytes, objects + sample.weight_objects())
            });
            let stacks: BTreeSet<u32> = snapshot.samples.iter().map(|sample| sample.stack).collect();
            Some((bytes, objects.round() as u64, stacks.len()))
        };
        self.carefully(count).flatten()
    }

    /// Whether live bytes reached a new maximum that `prof_gdump` wants to see: 5 % above the last.
    pub(crate) fn is_new_maximum(&self) -> bool {
        if !self.gdump.load(Ordering::Relaxed) {
            return false;
        }
        let live = self.store().map_or(0, |store| store.region().counter(Counter::LiveBytes));
        let due = self.next_maximum.load(Ordering::Relaxed);
        let next = live.saturating_add(live / 20).max(1);
        live >= due && self.next_maximum.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// Runs work that allocates and writes files: with room on the stack, giving up when there is no memory,
    /// and without the signals that writing may raise.
    fn carefully<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        if self.may_not_open() {
            return None;
        }
        let result = signals::shielded(|| spare_stack::with_room(work));
        if result.is_none() {
            self.dumper.let_go();
        }
        result
    }

    /// Brings up to date what readers of the region find besides samples. For the keeper.
    pub(crate) fn refresh(&self) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.carefully(|| self.dumper.refresh(store, settings, &self.occasion()));
        }
    }

    /// Writes the dumps that killed processes of this user could not write. For the keeper.
    pub(crate) fn adopt(&self) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.carefully(|| self.dumper.adopt(store, settings, || self.triggers.load(Ordering::Relaxed) & STOP != 0));
        }
    }

    /// Writes the mirror, if one is due. For the keeper.
    pub(crate) fn mirror(&self, mirror: &mut Mirror) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.carefully(|| self.dumper.mirror(store, settings, mirror));
        }
    }

    /// Removes what is only for processes that end without their final dump.
    pub(crate) fn leave_nothing(&self) {
        if let (Some(store), Some(settings)) = (self.store(), self.settings()) {
            self.carefully(|| self.dumper.leave_nothing(store, settings));
        }
    }

    fn occasion(&self) -> Occasion {
        if unwind::objects_are_stale() {
            unwind::refresh_objects();
        }
        Occasion { uptime_ns: self.uptime_ns(), java: self.hotspot.to_string() }
    }

    /// Switches sampling on or off. Threads go on drawing waits, so they notice at once.
    pub(crate) fn set_active(&self, active: bool) {
        self.active.store(active && self.heap.is_ready(), Ordering::Release);
    }

    /// Samples with another mean from now on; samples keep the period that they were taken with.
    pub(crate) fn set_period(&self, period: u64) {
        self.governor.want(period);
        self.put_period(period);
    }

    fn put_period(&self, period: u64) {
        self.period.store(period, Ordering::Relaxed);
        if let Some(store) = self.store() {
            store.region().set_period(period);
        }
    }

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

    /// The live profile, made now if there is none yet.
    fn open_store(&self) -> Option<&'static Store> {
        self.store.get_or_open(|| self.new_store())
    }

    fn new_store(&self) -> Option<Store> {
        let options = &self.settings()?.options;
        let identity = Identity {
            pid: self.pid(),
            token: self.life.token(),
            wall_ns: clock::wall_ns().saturating_sub(self.uptime_ns()),
            monotonic_ns: self.life.start_ns(),
            period: self.period.load(Ordering::Relaxed),
            pid_namespace: if self.may_not_open() { 0 } else { sys::pid_namespace() },
        };
        let bytes = options.prof_region_bytes;
        let region =
            if self.may_not_open() { Region::anonymous(bytes, &identity) } else { Region::open(bytes, &identity) };
        let region = region?;
        Store::new(region, options.prof_accum)
    }

    /// Brings a thread's block up to date: new threads, and all threads of a fork child.
    pub(crate) fn check_life(&self, thread: &ThreadBlock) {
        if self.life.is_over() {
            self.begin_life();
        }
        let life = self.life.number();
        if thread.life.get() != life && !self.may_not_sample() {
            thread.life.set(life);
            thread.tid.set(sys::thread_id());
            thread.record.set(0);
            if thread.random.get() == 0 {
                self.greet(thread);
            }
            self.seed(thread);
        }
    }

    /// Decides whether a new thread is sampled.
    #[cold]
    fn greet(&self, thread: &ThreadBlock) {
        // jemalloc's own threads call malloc by way of pthread_create, while locks of its wait for them.
        let is_jemallocs = sys::thread_name().starts_with(b"jemalloc_bg_thd");
        thread.muted.set(is_jemallocs || !self.thread_active.load(Ordering::Relaxed));
    }

    /// In a child of `fork`: it starts a life of its own, and empty.
    pub(crate) fn begin_life(&self) {
        if self.life.begin_anew() {
            self.triggers.store(0, Ordering::Relaxed);
            self.keeper_started.store(false, Ordering::Relaxed);
            self.keeper_thread.store(0, Ordering::Relaxed);
            self.dumper.restart();
            self.governor.restart();
            self.store.forget();
            if self.settings().is_some_and(|settings| !settings.options.prof_fork) {
                self.forbid(Deadly::EVERYTHING);
            }
        }
    }

    /// Seeds a thread's random numbers.
    fn seed(&self, thread: &ThreadBlock) {
        let random = self.settings().map_or([0; 2], |settings| settings.random);
        let own = u64::from(thread.tid.get()).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ clock::monotonic_ns();
        let (_, seed) = sampler::next_random((random[0] ^ random[1].rotate_left(17) ^ own) | 1);
        thread.random.set(seed | 1);
    }
}

/// Whether a process lived that long: so many seconds, half of which it used on a processor, or six times as many
/// whatever it did. On an overloaded machine a helper of a start script lives for ten seconds, too, but does not
/// use five; an idle server is waited for a minute.
fn is_long_life(uptime_ns: u64, cpu_ns: impl FnOnce() -> u64, seconds: u64) -> bool {
    let enough = seconds.saturating_mul(1_000_000_000);
    uptime_ns >= enough.saturating_mul(6) || uptime_ns >= enough && cpu_ns() >= enough / 2
}

/// Fifteen bits that a trailer must share with its block's address.
fn check(address: u64) -> u64 {
    (address.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 48) & 0x7fff
}

#[cfg(test)]
mod tests {
    use super::is_long_life;

    #[test]
    fn time_counts_with_work_or_six_times_over() {
        let second = 1_000_000_000;
        let is = |uptime: u64, cpu: u64| is_long_life(uptime * second, || cpu * second, 10);
        assert_eq!([is(9, 9), is(10, 4), is(10, 5), is(59, 0), is(60, 0)], [false, false, true, false, true]);
        assert!(is_long_life(0, || 0, 0) && !is_long_life(u64::MAX - 1, || 0, u64::MAX));
    }
}
