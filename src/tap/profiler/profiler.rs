//! The profiler's state, its start, and its switches. The files beside this one use them.

use super::file_groups::FileGroups;
use super::store_cell::StoreCell;
use crate::tap::dump::Dumper;
use crate::tap::governor::Governor;
use crate::tap::heap::SampledHeap;
use crate::tap::jvm::Hotspot;
use crate::tap::os::identity::ProcessIdentity;
use crate::tap::os::known_threads::KnownThreads;
use crate::tap::os::{map, stderr};
use crate::tap::sampler;
use crate::tap::settings::Settings;
use crate::tap::store::Store;
use crate::tap::unwind;
use crate::wire::live::counters::Counter;
use once_cell::race::OnceBox;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// The one profiler of the process.
pub(crate) static PROFILER: Profiler = Profiler::new();

/// Bit of the keeper's triggers: it shall end.
pub(crate) const STOP: u32 = 2;

/// All state of the tap.
pub(crate) struct Profiler {
    /// Blocks of sampled allocations.
    pub(crate) heap: SampledHeap,
    pub(super) dumper: Dumper,
    pub(super) settings: OnceBox<Settings>,
    pub(super) store: StoreCell,
    pub(super) active: AtomicBool,
    /// Mean bytes between two samples, in force for the next wait that is drawn.
    pub(super) period: AtomicU64,
    pub(super) governor: Governor,
    pub(super) life: ProcessIdentity,
    pub(super) hotspot: Hotspot,
    /// How many reasons there are to do without sampling, and without files: seccomp filters that kill for them.
    pub(super) forbidden: [AtomicU32; 2],
    /// It has not lived long enough for a keeper, and shall have one.
    pub(super) is_young: AtomicBool,
    /// It waits for connections, or the process that it was forked from does: a server, and no helper of a script.
    pub(super) serves: AtomicBool,
    /// It is worth a keeper however young it is.
    pub(super) is_settled: AtomicBool,
    /// When it last looked whether it has, nanoseconds.
    pub(super) looked_ns: AtomicU64,
    /// When a sample last looked whether the process has become another user, nanoseconds.
    pub(super) asked_user_ns: AtomicU64,
    /// It was found to be worth a file.
    pub(super) was_significant: AtomicBool,
    /// Mappings are followed, or were at some time.
    pub(super) watches_mappings: AtomicBool,
    /// Bytes that were mapped before there was a live profile.
    pub(super) unstored_bytes: AtomicU64,
    /// Groups of files that mappings are of.
    pub(super) file_groups: FileGroups,
    /// Whether threads that start from now on are sampled.
    pub(crate) thread_active: AtomicBool,
    /// Whether new maxima of live bytes are dumped.
    pub(crate) gdump: AtomicBool,
    /// The live bytes at which the next of those is due.
    pub(super) next_maximum: AtomicU64,
    /// Binary logarithm of the bytes between two interval dumps; 64: none.
    pub(super) lg_interval: AtomicU32,
    /// The program's threads that are known to be still to end; the keeper ends before the last of them.
    pub(crate) threads: KnownThreads,
    /// Threads that began to allocate so far, in all lives: the next one's number (`ThreadBlock::shard`).
    pub(super) next_shard: AtomicU32,
    /// The work that the keeper is asked for, as bits; its futex.
    pub(crate) triggers: AtomicU32,
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
            life: ProcessIdentity::new(),
            hotspot: Hotspot::new(),
            forbidden: [const { AtomicU32::new(0) }; 2],
            is_young: AtomicBool::new(false),
            serves: AtomicBool::new(false),
            is_settled: AtomicBool::new(false),
            looked_ns: AtomicU64::new(0),
            asked_user_ns: AtomicU64::new(0),
            was_significant: AtomicBool::new(false),
            watches_mappings: AtomicBool::new(false),
            unstored_bytes: AtomicU64::new(0),
            file_groups: FileGroups::new(),
            thread_active: AtomicBool::new(true),
            gdump: AtomicBool::new(false),
            next_maximum: AtomicU64::new(1),
            lg_interval: AtomicU32::new(u64::BITS),
            threads: KnownThreads::new(),
            next_shard: AtomicU32::new(0),
            triggers: AtomicU32::new(0),
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
        self.is_young.store(options.prof_keeper, Ordering::Relaxed);
        unwind::note_permanent();
        let limit = map::address_space_limit();
        if limit.is_some() {
            self.heap.heed_limit();
        }
        let most = map::most_reserved(limit, map::locked_memory_limit());
        // Mixed: these are also the words that libc guards stacks and pointers with.
        let (_, place) = sampler::next_random((random[0] ^ random[1].rotate_left(29)) | 1);
        if self.heap.reserve(most, place) {
            self.set_active(options.prof_active);
        } else {
            stderr::say(&[
                b"heaptap: no address space left (RLIMIT_AS?), profiling is off; the program is not affected",
            ]);
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

    /// One more reason to do without sampling, or without files.
    pub(crate) fn forbid(&self, sampling: bool, files: bool) {
        let [of_sampling, of_files] = &self.forbidden;
        of_sampling.fetch_add(u32::from(sampling), Ordering::Relaxed);
        of_files.fetch_add(u32::from(files), Ordering::Relaxed);
    }

    /// Takes such a reason back.
    pub(crate) fn permit(&self, sampling: bool, files: bool) {
        let [of_sampling, of_files] = &self.forbidden;
        of_sampling.fetch_sub(u32::from(sampling), Ordering::Relaxed);
        of_files.fetch_sub(u32::from(files), Ordering::Relaxed);
    }

    /// Whether taking samples would kill the process.
    pub(crate) fn may_not_sample(&self) -> bool {
        self.forbidden[0].load(Ordering::Relaxed) != 0
    }

    /// Whether opening files, or starting a thread, would kill the process.
    pub(crate) fn may_not_open(&self) -> bool {
        self.forbidden[1].load(Ordering::Relaxed) != 0
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
        let active = active && self.heap.is_ready();
        self.active.store(active, Ordering::Release);
        self.watches_mappings.fetch_or(active, Ordering::Relaxed);
    }

    /// Samples with another mean from now on; samples keep the period that they were taken with.
    pub(crate) fn set_period(&self, period: u64) {
        self.governor.want(period);
        self.put_period(period);
    }

    /// The period that was asked for; another one in force is the governor's.
    pub(crate) fn wanted_period(&self) -> u64 {
        self.governor.wanted()
    }

    /// The same, without the governor knowing: its own changes.
    pub(super) fn put_period(&self, period: u64) {
        self.period.store(period, Ordering::Relaxed);
        if let Some(store) = self.store() {
            store.region().set_period(period);
        }
    }
}
