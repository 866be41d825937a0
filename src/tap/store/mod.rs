//! Floor 3: the live profile. What is allocated now, by which stack and thread, since when.
//!
//! The store *is* the region (`wire::live`): its records are written so that another process can read
//! them at any instant. Its entries are [`Store::insert`] and [`Store::retire`]; both are lock-free
//! and allocate nothing. A retire never fails for want of room, so no freed block stays as a phantom.

mod cell;
mod chunks;
mod index;
mod methods;
mod region;
mod slots;
mod stacks;

pub(crate) use cell::StoreCell;
pub(crate) use methods::UNNAMED;
pub(crate) use region::{Identity, Region};

use super::os::tls::ThreadBlock;
use super::stack::StackTrace;
use crate::wire::live::counters::{self, Counter};
use crate::wire::live::layout::SectionId;
use crate::wire::live::records::{self, SampleRecord, ThreadRecord};
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
    threads: SlotPool,
    stacks: Stacks,
    methods: Methods,
    /// Whole intervals between dumps that were allocated so far.
    intervals: AtomicU64,
}

impl Store {
    /// An empty store over this region.
    pub(crate) fn new(region: Region, keep_all_stacks: bool) -> Option<Store> {
        let store = Store {
            samples: SlotPool::new(SectionId::Samples, 0),
            threads: SlotPool::new(SectionId::Threads, OTHER_THREADS + 1),
            stacks: Stacks::new(&region, keep_all_stacks)?,
            methods: Methods::new(&region)?,
            intervals: AtomicU64::new(0),
            region,
        };
        let others = ThreadRecord { tid: 0, name: *b"(other threads)\0" };
        store.write_thread(OTHER_THREADS, &others);
        store.region.note_used(SectionId::Threads, OTHER_THREADS + 1);
        Some(store)
    }

    /// The region, for counters and snapshots.
    pub(crate) fn region(&self) -> &Region {
        &self.region
    }

    /// Records a sample; its slot, or `None` when a table is full (counted).
    pub(crate) fn insert(&self, sampled: &Sampled, trace: &StackTrace, thread: &ThreadBlock) -> Option<u32> {
        let hint = thread.tid.get() as usize;
        let thread_record = self.thread_record(thread);
        let Some(stack) = self.stacks.intern(&self.region, trace, hint) else {
            self.region.count(Counter::LostStacks, 1);
            return None;
        };
        let place = self.samples.take(&self.region, hint);
        let at = place.and_then(|slot| self.region.section(SectionId::Samples).record(slot));
        let (Some(slot), Some(at)) = (place, at) else {
            self.stacks.release(&self.region, stack);
            self.region.count(Counter::LostSamples, 1);
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
        self.count_birth(&record, hint);
        Some(slot)
    }

    /// The fake pc (see [`java_pc`](crate::wire::java_pc)) of a line of a Java method: class in internal form,
    /// empty for a pseudo frame. `None`: the table is full. Good as long as [`method_epoch`](Self::method_epoch) is the same.
    pub(crate) fn intern_method(&self, class: &[u8], method: &[u8], line: u32) -> Option<u64> {
        self.methods.intern(&self.region, class, method, line)
    }

    /// Changes when fake pcs must be asked for anew, because methods will be forgotten that nobody asked for.
    pub(crate) fn method_epoch(&self) -> u32 {
        self.methods.epoch()
    }

    /// Makes room for Java methods where it is needed. For the keeper, every second or so.
    pub(crate) fn tidy_methods(&self, now_ns: u64) {
        self.methods.tidy(&self.region, &self.stacks, now_ns);
    }

    /// Takes the sample of a block back. `false`: there is no live sample of that address there.
    pub(crate) fn retire(&self, slot: u32, address: u64, now_ns: u64, thread: &ThreadBlock) -> bool {
        let Some(at) = self.region.section(SectionId::Samples).record(slot) else { return false };
        let Some(words) = self.region.record::<7>(at + 1) else { return false };
        if !self.region.is_live(at) {
            return false;
        }
        let record = SampleRecord::unpack(words.each_ref().map(|word| word.load(Ordering::Relaxed)));
        if record.address != address {
            return false;
        }
        self.region.withdraw(at);
        self.count_death(&record, now_ns, thread.tid.get() as usize);
        self.stacks.release(&self.region, record.stack);
        self.samples.give(&self.region, slot as usize, slot);
        true
    }

    /// Looks a live sample up by address, one by one: for blocks whose trailer was overwritten.
    pub(crate) fn find(&self, address: u64) -> Option<u32> {
        let section = self.region.section(SectionId::Samples);
        (0..self.samples.used()).find(|&slot| {
            section
                .record(slot)
                .is_some_and(|at| self.region.at(at + 1).load(Ordering::Relaxed) == address && self.region.is_live(at))
        })
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
    pub(crate) fn count_allocated(&self, bytes: u64, lg_interval: u32, thread: &ThreadBlock) -> bool {
        let after = self.region.count_apart(thread.tid.get() as usize, Counter::AllocatedBytes, bytes);
        let before = after.wrapping_sub(bytes);
        let lg_share = lg_interval.saturating_sub(counters::SHARDS.ilog2());
        if lg_interval >= u64::BITS || before >> lg_share == after >> lg_share {
            return false;
        }
        let intervals = self.region.counter(Counter::AllocatedBytes) >> lg_interval;
        // Relaxed: the number alone decides who saw it first.
        self.intervals.fetch_max(intervals, Ordering::Relaxed) < intervals
    }

    fn count_birth(&self, record: &SampleRecord, hint: usize) {
        self.region.count_apart(hint, Counter::Samples, 1);
        self.region.count_apart(hint, Counter::LiveBytes, record.weight_bytes);
        let Some(at) = self.region.section(SectionId::Stacks).record(record.stack) else { return };
        let Some([samples, objects, bytes]) = self.region.record(at + records::STACK_SAMPLES) else { return };
        samples.fetch_add(1, Ordering::Relaxed);
        objects.fetch_add(records::scaled_objects(record.weight_objects()), Ordering::Relaxed);
        bytes.fetch_add(record.weight_bytes, Ordering::Relaxed);
    }

    fn count_death(&self, record: &SampleRecord, now_ns: u64, hint: usize) {
        self.region.count_apart(hint, Counter::Retired, 1);
        self.region.count_apart(hint, Counter::LiveBytes, record.weight_bytes.wrapping_neg());
        let Some(at) = self.region.section(SectionId::Stacks).record(record.stack) else { return };
        let bin = records::age_bin(now_ns.saturating_sub(record.birth_ns));
        let one = 1 << (32 * (bin % 2));
        self.region.at(at + records::STACK_AGES + bin / 2).fetch_add(one, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tap::os::tls;
    use crate::wire::java_pc;
    use crate::wire::live::layout::MIN_BYTES;
    use crate::wire::live::snapshot::Snapshot;
    use crate::wire::stack_end::StackEnd;

    fn store(bytes: usize) -> Store {
        let identity = Identity { pid: 7, token: 8, wall_ns: 9, monotonic_ns: 10, period: 1024, pid_namespace: 0 };
        Store::new(Region::anonymous(bytes, &identity).unwrap(), false).unwrap()
    }

    fn trace(pcs: impl IntoIterator<Item = u64>) -> StackTrace {
        let mut trace = StackTrace::new(512);
        for pc in pcs {
            assert!(trace.push(pc));
        }
        trace.set_end(StackEnd::Root);
        trace
    }

    fn sampled(address: u64) -> Sampled {
        Sampled { address, usable: 112, requested: 100, birth_ns: 5, weight_bytes: 1000, period: 1024 }
    }

    fn live(snapshot: &Snapshot) -> Vec<(u64, Vec<u64>)> {
        let frames = |stack: u32| snapshot.frames(&snapshot.stacks[&stack]).to_vec();
        let mut live: Vec<_> = snapshot.samples.iter().map(|s| (s.address, frames(s.stack))).collect();
        live.sort();
        live
    }

    #[test]
    fn threads_that_meet_the_same_methods_agree_on_their_numbers() {
        let store = store(MIN_BYTES);
        let methods = || (0..400_u32).map(|n| (format!("org/example/Class{}", n % 40), format!("method{n}")));
        let intern = || -> Vec<u64> {
            methods()
                .map(|(class, method)| store.intern_method(class.as_bytes(), method.as_bytes(), 7).unwrap())
                .collect()
        };
        let all = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(intern)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect::<Vec<_>>()
        });
        assert!(all.iter().all(|pcs| *pcs == all[0]));
        let snapshot = Snapshot::take(store.region()).unwrap();
        for (pc, (class, method)) in all[0].iter().zip(methods()) {
            let (number, line) = java_pc::parts(*pc).unwrap();
            let known = &snapshot.java_methods[&number];
            assert_eq!((&known.class[..], &known.method[..], line), (class.as_bytes(), method.as_bytes(), 7));
        }
    }

    #[test]
    fn a_snapshot_holds_what_is_live_with_its_stacks() {
        let store = store(MIN_BYTES);
        let deep: Vec<u64> = (1..=100).collect();
        let first = store.insert(&sampled(64), &trace([1, 2, 3]), tls::thread()).unwrap();
        store.insert(&sampled(128), &trace(deep.clone()), tls::thread()).unwrap();
        store.insert(&sampled(192), &trace([1, 2, 3]), tls::thread()).unwrap();
        assert!(
            !store.retire(first, 65, 0, tls::thread())
                && store.retire(first, 64, 1 << 20, tls::thread())
                && !store.retire(first, 64, 0, tls::thread())
        );
        let snapshot = Snapshot::take(store.region()).unwrap();
        assert_eq!(live(&snapshot), [(128, deep), (192, vec![1, 2, 3])]);
        assert_eq!((snapshot.stacks.len(), snapshot.torn), (2, 0));
        let counts = [Counter::Samples, Counter::Retired, Counter::LiveBytes].map(|c| snapshot.counter(c));
        assert_eq!(counts, [3, 1, 2000]);
        assert_eq!(store.find(192).map(|slot| store.retire(slot, 192, 0, tls::thread())), Some(true));
    }

    #[test]
    fn methods_are_interned_once_and_snapshots_name_them() {
        let store = store(MIN_BYTES);
        let names = |n: u32| (format!("org/example/Class{}", n % 50), format!("method{n}"));
        let intern = |n: u32, line: u32| {
            let (class, method) = names(n);
            store.intern_method(class.as_bytes(), method.as_bytes(), line).unwrap()
        };
        let pcs: Vec<u64> = (0..200).map(|n| intern(n, n)).collect();
        assert_eq!(pcs, (0..200).map(|n| intern(n, n)).collect::<Vec<_>>());
        let snapshot = Snapshot::take(store.region()).unwrap();
        assert_eq!(snapshot.java_methods.len(), 201);
        for (n, pc) in (0..).zip(pcs) {
            let (number, line) = java_pc::parts(pc).unwrap();
            let (class, method) = names(n);
            let found = &snapshot.java_methods[&number];
            assert_eq!((line, &found.class[..], &found.method[..]), (n, class.as_bytes(), method.as_bytes()));
        }
        let full = (0..1_000_000u32).find(|n| store.intern_method(b"x", &n.to_le_bytes(), 1).is_none());
        assert!(full.is_some());
        assert!(store.intern_method(b"org/example/Class7", b"method7", 9).is_some());
    }

    #[test]
    fn full_tables_lose_samples_and_recycle_dead_stacks() {
        let store = store(MIN_BYTES);
        let stacks = store.region().section(SectionId::Stacks).capacity as u64;
        for round in 0..stacks * 3 {
            let slot = store.insert(&sampled(64), &trace([round + 1]), tls::thread()).expect("recycled");
            assert!(store.retire(slot, 64, 0, tls::thread()));
        }
        let mut kept = 0;
        while store.insert(&sampled(64 + kept), &trace([u64::MAX - kept]), tls::thread()).is_some() {
            kept += 1;
        }
        assert_eq!(kept, stacks);
        assert_eq!(store.region().counter(Counter::LostStacks), 1);
        assert_eq!(Snapshot::take(store.region()).unwrap().samples.len() as u64, stacks);
    }

    #[test]
    fn snapshots_during_churn_never_mix_stacks() {
        let store = store(MIN_BYTES);
        let done = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            for worker in 1..=3u64 {
                let (store, done) = (&store, &done);
                scope.spawn(move || {
                    for round in 0..30_000u64 {
                        let key = (worker << 32) | (round % 3000);
                        let slot = store.insert(&sampled(key), &trace([key, key + 1, key + 2]), tls::thread());
                        if let Some(slot) = slot {
                            assert!(store.retire(slot, key, 0, tls::thread()));
                        }
                    }
                    done.store(true, Ordering::Relaxed);
                });
            }
            while !done.load(Ordering::Relaxed) {
                for (key, frames) in live(&Snapshot::take(store.region()).unwrap()) {
                    assert_eq!(frames, [key, key + 1, key + 2]);
                }
            }
        });
        assert_eq!(store.region().counter(Counter::LiveBytes), 0);
    }

    #[test]
    fn an_interval_is_over_once_whichever_threads_fill_it() {
        let store = store(MIN_BYTES);
        let thread = tls::thread();
        let fill = |tids: u32, rounds: u32| {
            let turns = (0..rounds).flat_map(|_| 0..tids).map(|tid| {
                thread.tid.set(tid);
                store.count_allocated(100, 14, thread)
            });
            turns.filter(|&is_over| is_over).count()
        };
        assert_eq!(fill(1, 163), 0);
        assert_eq!((fill(1, 1), fill(1, 163), fill(1, 1)), (1, 0, 1));
        // 32,800 bytes so far; eight times 32,800 more are 16 intervals and a rest.
        assert_eq!(fill(8, 328), 16);
        assert_eq!(store.region().counter(Counter::AllocatedBytes), 9 * 32_800);
        thread.tid.set(0);
        assert!(!store.count_allocated(u64::from(u32::MAX), u64::BITS, thread));
    }
}
