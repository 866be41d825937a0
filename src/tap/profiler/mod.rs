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
mod dumps;
mod lives;
mod sampling;
mod scratch;
mod stopwatch;

use super::backend::SampledHeap;
use super::dump::Dumper;
use super::governor::Governor;
use super::jvm::Hotspot;
use super::os::filter::Deadly;
use super::os::life::Life;
use super::os::tls::ThreadBlock;
use super::os::{map, sys};
use super::sampler;
use super::settings::Settings;
use super::stack::Registers;
use super::store::{Store, StoreCell};
use crate::wire::live::counters::Counter;
use once_cell::race::OnceBox;
use std::ffi::c_void;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

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
}
