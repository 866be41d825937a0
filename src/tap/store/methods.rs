//! Java methods (and pseudo frames): interned names, whose numbers fake pcs are made of.
//!
//! Hidden classes and lambdas come with their suffixes folded, so most servers never fill the table. One that makes
//! classes for weeks does. Then methods that no live stack holds are forgotten, and their records are given to others,
//! under other numbers (see [`java_pc`]): a number never stands for two names within a token.
//!
//! A sample that asks for a method leaves the current *epoch* in its record. To forget, the keeper begins a new epoch,
//! by which all numbers that the walker has cached are void; a second later, when no stack taken before is still on its
//! way into the store, it takes back what neither a live stack holds nor a sample has asked for since. (A thread that
//! slept longer than that in the middle of a sample has frames without a name, and never a wrong one.) Asking and
//! taking back meet in one word of the record, by compare-and-exchange.
//!
//! Without a keeper (`prof_keeper:false`) a full table stays full, and new methods have no names.
//!
//! Nothing here locks but what only the keeper does: threads that meet one method at the same time each write it, and
//! all go by the record that the index names first; the others are never referred to.

use super::chunks::Chunks;
use super::index::Index;
use super::region::Region;
use super::slots::SlotPool;
use super::stacks::Stacks;
use crate::tap::hash::{ODD, fold};
use crate::tap::os::atomic::{AtomicU32, Ordering};
use crate::wire::java_pc;
use crate::wire::live::layout::SectionId;
use crate::wire::live::records::{JavaMethodRecord, METHOD_HASH, METHOD_USED};
use crate::wire::live::state;
use crate::wire::word;
use parking_lot::Mutex;

/// The fake pc of a Java frame whose name could not be kept: that of the first record.
pub(crate) const UNNAMED: u64 = java_pc::BASE + 1;

/// Longer class names are cut.
const MAX_CLASS: usize = 512;
/// Longer method names are cut.
const MAX_METHOD: usize = 256;
const MAX_WORDS: usize = word::needed_for(MAX_CLASS + MAX_METHOD);

/// In the place of an epoch: the record is free.
const FORGOTTEN: u64 = 0;
const FIRST_EPOCH: u32 = 1;

/// Hundredths of the table from which on methods are forgotten.
const CROWDED: usize = 60;
/// Far longer than a sample takes.
const GRACE_NS: u64 = 1_000_000_000;
/// A table that stays full of what is in use is looked at so often.
const PAUSE_NS: u64 = 60_000_000_000;

/// The table of methods.
pub(crate) struct Methods {
    records: SlotPool,
    names: Chunks,
    index: Index,
    epoch: AtomicU32,
    /// Methods and chunks of names in use. Relaxed: about right is enough.
    methods: AtomicU32,
    chunks: AtomicU32,
    /// Set when there was no room for one.
    wanted: AtomicU32,
    tidying: Mutex<Tidying>,
}

/// Where the keeper stands.
#[derive(Clone, Copy, Debug, Default)]
struct Tidying {
    /// When the current epoch was begun, if nothing was forgotten since.
    begun_ns: Option<u64>,
    /// When methods were last forgotten, and how full the table was then.
    ended_ns: u64,
    left: usize,
}

impl Methods {
    /// A table for this region that holds [`UNNAMED`] only.
    pub(crate) fn new(region: &Region) -> Option<Methods> {
        let capacity = region.section(SectionId::JavaMethods).capacity;
        let methods = Methods {
            records: SlotPool::new(SectionId::JavaMethods, 0),
            names: Chunks::new(SectionId::Names),
            index: Index::new(capacity * 2)?,
            epoch: AtomicU32::new(FIRST_EPOCH),
            methods: AtomicU32::new(0),
            chunks: AtomicU32::new(0),
            wanted: AtomicU32::new(0),
            tidying: Mutex::new(Tidying::default()),
        };
        methods.intern(region, b"", b"[unnamed Java frame]", 0).filter(|&pc| pc == UNNAMED)?;
        Some(methods)
    }

    /// The fake pc of a line of a method (see [`java_pc`]), good in this epoch. `None`: the table is full.
    pub(crate) fn intern(&self, region: &Region, class: &[u8], method: &[u8], line: u32) -> Option<u64> {
        let class = class.get(..class.len().min(MAX_CLASS)).unwrap_or(class);
        let method = method.get(..method.len().min(MAX_METHOD)).unwrap_or(method);
        let hash = hash(class, method);
        let known = self.find(region, hash).or_else(|| self.add(region, class, method, hash))?;
        Some(java_pc::pc(known, line))
    }

    /// The current epoch.
    #[inline]
    pub(crate) fn epoch(&self) -> u32 {
        // Relaxed: a thread that still sees the last one began its sample before the keeper began to wait.
        self.epoch.load(Ordering::Relaxed)
    }

    fn find(&self, region: &Region, hash: u64) -> Option<u64> {
        let mut found = None;
        self.index.find(hash, |record| {
            found = self.number_if(region, record, hash);
            found.is_some()
        })?;
        found
    }

    /// The number of the method in this record, if that is the one of this hash. A record that is given to another
    /// method meanwhile, because this thread slept for seconds, has another number afterwards.
    fn number_if(&self, region: &Region, record: u32, hash: u64) -> Option<u64> {
        let at = region.section(SectionId::JavaMethods).record(record)?;
        let before = number(region, record)?;
        let is_it = self.touch(region, at) && region.at(at + METHOD_HASH).load(Ordering::Acquire) == hash;
        (is_it && number(region, record) == Some(before)).then_some(before)
    }

    /// Keeps a record from being forgotten in this epoch. `false`: it was, and may be written to. Once touched it is
    /// one method's: look whose afterwards.
    fn touch(&self, region: &Region, at: usize) -> bool {
        let (used, epoch) = (region.at(at + METHOD_USED), u64::from(self.epoch()));
        let mut last = used.load(Ordering::Acquire);
        while last != FORGOTTEN && last != epoch {
            match used.compare_exchange_weak(last, epoch, Ordering::Acquire, Ordering::Acquire) {
                Ok(_) => return true,
                Err(now) => last = now,
            }
        }
        last != FORGOTTEN
    }

    fn add(&self, region: &Region, class: &[u8], method: &[u8], hash: u64) -> Option<u64> {
        let written = self.write(region, class, method, hash);
        if written.is_none() {
            self.wanted.store(1, Ordering::Relaxed);
        }
        let (record, number) = written?;
        self.index.insert(hash, record);
        self.find(region, hash).or(Some(number))
    }

    /// Writes a new record: which, and its number.
    fn write(&self, region: &Region, class: &[u8], method: &[u8], hash: u64) -> Option<(u32, u64)> {
        let mut words = [0; MAX_WORDS];
        let bytes = class.iter().chain(method).enumerate();
        bytes.for_each(|(n, byte)| {
            let (word, shift) = word::place_of(n);
            words.get_mut(word).into_iter().for_each(|word| *word |= u64::from(*byte) << shift)
        });
        let words = words.get(..word::needed_for(class.len() + method.len())).unwrap_or(&words);
        let hint = hash as usize;
        let record = self.records.take(region, hint)?;
        let at = region.section(SectionId::JavaMethods).record(record)?;
        let Some(first_chunk) = self.names.write(region, words, hint) else {
            self.records.give(region, hint, record);
            return None;
        };
        let names =
            JavaMethodRecord { first_chunk, class_len: class.len() as u16, method_len: method.len() as u16 }.pack();
        region.publish(at, &[names, FORGOTTEN, hash]);
        let number = number(region, record)?;
        // Release: a thread that touches the record sees all of it.
        region.at(at + METHOD_USED).store(u64::from(self.epoch()), Ordering::Release);
        self.methods.fetch_add(1, Ordering::Relaxed);
        self.chunks.fetch_add(self.names.chunks_for(region, words.len()), Ordering::Relaxed);
        Some((record, number))
    }

    /// Begins to forget when the table becomes full, and forgets when it is safe to.
    pub(crate) fn tidy(&self, region: &Region, stacks: &Stacks, now_ns: u64) {
        let Some(mut tidying) = self.tidying.try_lock() else { return };
        match tidying.begun_ns {
            None if self.is_crowded(region, &tidying, now_ns) => {
                self.epoch.fetch_add(1, Ordering::Relaxed);
                tidying.begun_ns = Some(now_ns);
            }
            Some(begun_ns) if now_ns.saturating_sub(begun_ns) >= GRACE_NS => {
                self.forget(region, stacks);
                let left = self.fill(region);
                *tidying = Tidying { begun_ns: None, ended_ns: now_ns, left };
            }
            _ => {}
        }
    }

    /// Hundredths of the room that are taken.
    fn fill(&self, region: &Region) -> usize {
        let taken = [(&self.methods, SectionId::JavaMethods), (&self.chunks, SectionId::Names)];
        let fill =
            taken.map(|(count, id)| count.load(Ordering::Relaxed) as usize * 100 / region.section(id).capacity.max(1));
        fill.into_iter().max().unwrap_or(0)
    }

    /// Whether little room is left, and looking for more is worth it.
    fn is_crowded(&self, region: &Region, tidying: &Tidying, now_ns: u64) -> bool {
        let fill = self.fill(region);
        let is_full = fill > CROWDED || self.wanted.load(Ordering::Relaxed) != 0;
        is_full && (fill > tidying.left + CROWDED / 6 || now_ns.saturating_sub(tidying.ended_ns) > PAUSE_NS)
    }

    /// Takes back every record that no live stack holds and no sample has asked for in this epoch.
    fn forget(&self, region: &Region, stacks: &Stacks) {
        let section = region.section(SectionId::JavaMethods);
        stacks.visit(region, |pc| {
            let held = java_pc::parts(pc).map(|(held, _)| held);
            let record = held.map(java_pc::record).filter(|&record| number(region, record) == held);
            let at = record.and_then(|record| section.record(record));
            // A record that was taken back and given to another method in between is kept, too: no harm.
            let _ = at.is_some_and(|at| self.touch(region, at));
        });
        // The first one is for all that have no room.
        (1..self.records.used()).for_each(|record| self.take_back(region, record));
        self.wanted.store(0, Ordering::Relaxed);
    }

    fn take_back(&self, region: &Region, record: u32) {
        let Some(at) = region.section(SectionId::JavaMethods).record(record) else { return };
        let used = region.at(at + METHOD_USED);
        let last = used.load(Ordering::Relaxed);
        let is_old = last != FORGOTTEN && last != u64::from(self.epoch());
        if !is_old || used.compare_exchange(last, FORGOTTEN, Ordering::Acquire, Ordering::Relaxed).is_err() {
            return;
        }
        let [names, hash] = [1, METHOD_HASH].map(|word| region.at(at + word).load(Ordering::Relaxed));
        self.index.remove(hash, record);
        region.withdraw(at);
        let names = JavaMethodRecord::unpack(names);
        self.names.free(region, names.first_chunk, record as usize);
        self.methods.fetch_sub(1, Ordering::Relaxed);
        let words = word::needed_for(usize::from(names.class_len) + usize::from(names.method_len));
        self.chunks.fetch_sub(self.names.chunks_for(region, words), Ordering::Relaxed);
        if java_pc::has_another_life(life(region, at)) {
            self.records.give(region, record as usize, record);
        }
    }
}

/// The number of the method that a record holds.
fn number(region: &Region, record: u32) -> Option<u64> {
    java_pc::number(record, life(region, region.section(SectionId::JavaMethods).record(record)?))
}

/// Which method of its record this is.
fn life(region: &Region, at: usize) -> u64 {
    state::generation(region.at(at).load(Ordering::Acquire))
}

/// A hash of both names.
fn hash(class: &[u8], method: &[u8]) -> u64 {
    let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte));
    let hash = |name: &[u8]| name.chunks(8).fold(ODD ^ name.len() as u64, |hash, bytes| fold(hash ^ word(bytes), ODD));
    fold(hash(class), hash(method).rotate_left(21))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::tap::os::tls;
    use crate::tap::stack::StackTrace;
    use crate::tap::store::tests::fixture;
    use crate::tap::store::{Sampled, Store};
    use crate::wire::live::layout::MIN_BYTES;
    use crate::wire::live::snapshot::Snapshot;
    use std::collections::HashMap;
    use std::sync::Mutex;

    fn capacity(store: &Store) -> u32 {
        store.region().section(SectionId::JavaMethods).capacity as u32
    }

    /// Classes have names of very different lengths, so that lists of chunks of one length cannot serve another.
    fn intern(store: &Store, n: u32) -> Option<u64> {
        let class = format!("org/example/Generated{n}{}", "x".repeat(n as usize / 500 % 90));
        store.intern_method(class.as_bytes(), b"run", n % 100)
    }

    fn name_in(snapshot: &Snapshot, pc: u64) -> Option<String> {
        let method = snapshot.java_methods.get(&java_pc::parts(pc)?.0)?;
        Some(String::from_utf8_lossy(&method.class).trim_end_matches('x').to_owned())
    }

    /// Begins to forget, and a second later does.
    fn forget(store: &Store, seconds: &mut u64, meanwhile: impl FnOnce()) {
        store.tidy_methods(*seconds * GRACE_NS);
        meanwhile();
        *seconds += 1;
        store.tidy_methods(*seconds * GRACE_NS);
    }

    #[test]
    fn classes_that_come_and_go_for_ever_neither_fill_the_table_nor_share_a_number() {
        let store = fixture::store(MIN_BYTES);
        let quarter = capacity(&store) / 4;
        let held: Vec<u64> = (0..20).map(|n| intern(&store, n).unwrap()).collect();
        let mut trace = StackTrace::new(64);
        assert_eq!(trace.push_all(held.iter().copied()), held.len());
        let sample = Sampled { address: 64, usable: 64, requested: 64, birth_ns: 5, weight_bytes: 64, period: 1024 };
        let slot = store.insert(&sample, &trace, tls::thread(), None).unwrap();
        let mut owners = HashMap::new();
        let mut seconds = 100;
        for round in 1..=40 {
            for n in round * quarter..(round + 1) * quarter {
                let pc = intern(&store, n).expect("there is room again");
                assert_eq!(owners.insert(java_pc::parts(pc).unwrap().0, n), None, "a number was given twice");
            }
            let mut asked = 0;
            forget(&store, &mut seconds, || asked = intern(&store, round * quarter).unwrap());
            let snapshot = Snapshot::take(store.region()).unwrap();
            let is_held = |(n, pc): (usize, &u64)| name_in(&snapshot, *pc) == Some(format!("org/example/Generated{n}"));
            assert!(held.iter().enumerate().all(is_held), "a live stack lost its names");
            let expected = format!("org/example/Generated{}", round * quarter);
            assert_eq!(name_in(&snapshot, asked), Some(expected), "what was just asked for was forgotten");
        }
        assert!(owners.len() as u32 > 9 * capacity(&store));
        assert!(store.retire(slot, 64, 9, None));
        // Methods that are not held any more go, too.
        let filled = (50 * quarter..).find(|&n| intern(&store, n).is_none());
        assert!(filled.is_some());
        seconds += 61;
        forget(&store, &mut seconds, || {});
        let snapshot = Snapshot::take(store.region()).unwrap();
        assert_eq!(snapshot.java_methods.keys().copied().collect::<Vec<_>>(), [0], "only the unnamed one is left");
    }

    #[test]
    fn a_table_full_of_what_is_in_use_is_left_alone() {
        let store = fixture::store(MIN_BYTES);
        let all: Vec<u32> = (0..capacity(&store) / 8 * 7).collect();
        let pcs: Vec<_> = all.iter().map(|&n| intern(&store, n).unwrap()).collect();
        let mut seconds = 100;
        forget(&store, &mut seconds, || all.iter().for_each(|&n| assert!(intern(&store, n).is_some())));
        let epoch = store.method_epoch();
        (0..30).for_each(|_| forget(&store, &mut seconds, || {}));
        assert_eq!(store.method_epoch(), epoch, "not all is asked for again each second");
        assert_eq!(all.iter().map(|&n| intern(&store, n).unwrap()).collect::<Vec<_>>(), pcs);
    }

    #[test]
    fn threads_that_ask_while_the_keeper_forgets_never_see_a_number_under_two_names() {
        let store = fixture::store(MIN_BYTES);
        let owners = Mutex::new(HashMap::new());
        let window = capacity(&store) / 4;
        let is_over = || store.method_epoch() > 40;
        std::thread::scope(|scope| {
            for worker in 0..3 {
                let (store, owners, is_over) = (&store, &owners, &is_over);
                scope.spawn(move || {
                    for step in (0_u32..).take_while(|_| !is_over()) {
                        let n = step / 4 % 1_000_000 + (step % 10_000 * 7919 + worker * 31) % window;
                        let Some(pc) = intern(store, n) else { continue };
                        let number = java_pc::parts(pc).unwrap().0;
                        assert_eq!(*owners.lock().unwrap().entry(number).or_insert(n), n);
                    }
                });
            }
            let mut seconds = 100;
            while !is_over() {
                forget(&store, &mut seconds, || {});
                seconds += 61;
                let snapshot = Snapshot::take(store.region()).unwrap();
                let owners = owners.lock().unwrap();
                for (number, n) in snapshot.java_methods.keys().filter_map(|number| owners.get_key_value(number)) {
                    let name = name_in(&snapshot, java_pc::pc(*number, 0));
                    assert_eq!(name, Some(format!("org/example/Generated{n}")));
                }
            }
        });
        assert!(owners.lock().unwrap().len() as u32 > 4 * capacity(&store));
    }
}
