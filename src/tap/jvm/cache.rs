//! The walker's cache: fake pcs of known (method, bytecode index) pairs, and whole compiled frames.
//!
//! Two set-associative tables in mapped memory, without locks. Any thread reads and overwrites any entry at any time:
//! each entry carries a proof of all that it holds and was found under, so that a torn, stale or foreign entry is a
//! miss and never a wrong answer (by chance once in 2^64). All accesses are relaxed: an entry proves itself, and
//! publishes nothing but its own words.
//!
//! ```text
//! methods   a set is two cache lines: 4 keys, 4 proofs | 4 fake pcs
//! frames    an entry is one cache line: pc, blob, sizes, proof, 4 fake pcs; a table of its own holds up to 24 more
//! ```

use super::cache_size::{FRAME_SETS, METHOD_SETS};
use super::memory;
use crate::tap::code_address::ReturnAddress;
use crate::tap::hash::Hash;
use crate::tap::os::atomic::{AtomicU64, Ordering};
use crate::tap::stack::StackTrace;

/// Entries that a key may stand in.
const WAYS: usize = 4;
/// Words of a set of methods, a quarter of them unused.
const METHOD_SET: usize = 4 * WAYS;
/// Words of a frame's entry, and of those the first that is a fake pc.
const HEAD: usize = 8;
const FIRST_PC: usize = 4;
/// Words of what does not fit.
const TAIL: usize = 24;
/// Methods that a cached compiled frame can hold; deeper inlining is decoded each time.
const MANY: usize = HEAD - FIRST_PC + TAIL;

/// Odd factors, one for each word of a frame: a sum of products, unlike a chain, does not make one word wait for
/// another.
const FACTORS: [u64; FIRST_PC + MANY] = factors();

/// The cache's answer about a method at a bytecode index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its fake pc.
    Pc(u64),
    /// The address was a method once, but this is another one, or the fake pc is void.
    Changed,
    /// Nothing.
    Nothing,
}

/// One compilation of a method: where its code blob lies, and a number that no other compilation has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) blob: usize,
    pub(super) compile_id: u32,
}

/// The Java methods of one compiled frame, innermost first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct CompiledFrame {
    owner: Owner,
    bytes: usize,
    count: usize,
    pcs: [u64; MANY],
}

impl CompiledFrame {
    /// A frame without methods; `bytes`: from its stack pointer to the caller's.
    pub(super) fn new(owner: Owner, bytes: usize) -> CompiledFrame {
        CompiledFrame { owner, bytes, count: 0, pcs: [0; MANY] }
    }

    /// Adds the next outer method. `false`: it does not fit.
    pub(super) fn push(&mut self, pc: u64) -> bool {
        let Some(place) = self.pcs.get_mut(self.count) else { return false };
        *place = pc;
        self.count += 1;
        true
    }

    fn pcs(&self) -> &[u64] {
        self.pcs.get(..self.count).unwrap_or(&[])
    }

    fn sizes(&self) -> u64 {
        u64::from(self.owner.compile_id) << 32 | (self.count as u64) << 24 | (self.bytes / 8) as u64 & 0xff_ffff
    }
}

/// The outcome of looking a frame up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// So many methods were pushed; the frame has so many bytes.
    Frame { count: usize, bytes: usize },
    /// It is known, but the trace is full.
    Full,
    /// It is not known; nothing was pushed.
    Nothing,
}

/// Both tables.
#[derive(Debug)]
pub(super) struct Cache {
    methods: &'static [AtomicU64],
    heads: &'static [AtomicU64],
    tails: &'static [AtomicU64],
}

impl Cache {
    /// Maps the tables.
    pub(super) fn new() -> Option<Cache> {
        Some(Cache {
            methods: memory::lasting_words(METHOD_SETS * METHOD_SET)?,
            heads: memory::lasting_words(FRAME_SETS * WAYS * HEAD)?,
            tails: memory::lasting_words(FRAME_SETS * WAYS * TAIL)?,
        })
    }

    /// Whether `key` was inserted and not displaced.
    #[inline]
    pub(super) fn has_method(&self, key: u64) -> bool {
        self.method_set(key).is_some_and(|set| way_of(set, key).is_some())
    }

    /// Looks up a method. `identity` is asked only when the key is known; it must be what was given to `insert_method`.
    #[inline]
    pub(super) fn method(&self, key: u64, generation: u32, identity: impl FnOnce() -> Option<u64>) -> Known {
        let Some(set) = self.method_set(key) else { return Known::Nothing };
        let Some(way) = way_of(set, key) else { return Known::Nothing };
        let [proof, pc] = [1, 2].map(|row| load(set, row * WAYS + way));
        match identity() {
            Some(identity) if proof == method_proof(key, identity, generation, pc) => Known::Pc(pc),
            _ => Known::Changed,
        }
    }

    /// Remembers the fake pc of a method.
    pub(super) fn insert_method(&self, key: u64, identity: u64, generation: u32, pc: u64) {
        let Some(set) = self.method_set(key) else { return };
        let proof = method_proof(key, identity, generation, pc);
        // A full set loses the entry that the proof happens to point at.
        let way = way_of(set, key).or_else(|| way_of(set, 0)).unwrap_or(proof as usize % WAYS);
        store(set, WAYS + way, 0);
        store(set, way, key);
        store(set, 2 * WAYS + way, pc);
        store(set, WAYS + way, proof);
    }

    #[inline]
    fn method_set(&self, key: u64) -> Option<&[AtomicU64; METHOD_SET]> {
        let first = Hash::new().with(key).finish() as usize % METHOD_SETS * METHOD_SET;
        self.methods.get(first..)?.first_chunk()
    }

    /// Pushes the methods of the compiled frame that returns to `pc`, if it is known and `is_current` says that its
    /// owner has not given its place to another one.
    #[inline]
    pub(super) fn push_frame(
        &self,
        pc: ReturnAddress,
        generation: u32,
        trace: &mut StackTrace,
        is_current: impl FnOnce(Owner) -> bool,
    ) -> Pushed {
        let Some((entry, head)) = self.entry_of(pc) else { return Pushed::Nothing };
        let [blob, sizes, proof] = [1, 2, 3].map(|word| load(head, word));
        let count = (sizes >> 24 & 0xff) as usize;
        let depth = trace.pcs().len();
        let mut sum = frame_proof(pc, blob, sizes, generation);
        let mut is_full = false;
        let tail = if count > HEAD - FIRST_PC { self.tail(entry) } else { &[] };
        let [_, _, _, _, near @ ..] = head;
        for (word, factor) in near.iter().chain(tail).zip(FACTORS.iter().skip(FIRST_PC)).take(count) {
            let fake = word.load(Ordering::Relaxed);
            sum = sum.wrapping_add(fake.wrapping_mul(*factor));
            is_full |= !trace.push(fake);
        }
        let owner = Owner { blob: blob as usize, compile_id: (sizes >> 32) as u32 };
        if sum != proof || !is_current(owner) {
            trace.cut(depth);
            return Pushed::Nothing;
        }
        if is_full { Pushed::Full } else { Pushed::Frame { count, bytes: 8 * (sizes & 0xff_ffff) as usize } }
    }

    /// Remembers a compiled frame.
    pub(super) fn insert_frame(&self, pc: ReturnAddress, generation: u32, frame: &CompiledFrame) {
        let set = set_of(pc);
        let free = || (set..set + WAYS).find(|&entry| self.head(entry).is_some_and(|head| load(head, 0) == 0));
        let known = self.entry_of(pc).map(|(entry, _)| entry);
        let entry = known.or_else(free).unwrap_or(set + (frame.owner.compile_id as usize ^ pc.address()) % WAYS);
        let Some(head) = self.head(entry) else { return };
        let blob = frame.owner.blob as u64;
        let products =
            frame.pcs().iter().zip(FACTORS.iter().skip(FIRST_PC)).map(|(pc, factor)| pc.wrapping_mul(*factor));
        let proof = products.fold(frame_proof(pc, blob, frame.sizes(), generation), u64::wrapping_add);
        store(head, 3, 0);
        for (word, pc) in head.iter().skip(FIRST_PC).chain(self.tail(entry)).zip(frame.pcs()) {
            word.store(*pc, Ordering::Relaxed);
        }
        [pc.address() as u64, blob, frame.sizes(), proof]
            .iter()
            .enumerate()
            .for_each(|(word, value)| store(head, word, *value));
    }

    /// The entry that this pc stands in.
    #[inline]
    fn entry_of(&self, pc: ReturnAddress) -> Option<(usize, &[AtomicU64; HEAD])> {
        let set = set_of(pc);
        let mut entries = (set..set + WAYS).filter_map(|entry| Some((entry, self.head(entry)?)));
        entries.find(|(_, head)| load(head, 0) == pc.address() as u64)
    }

    #[inline]
    fn head(&self, entry: usize) -> Option<&[AtomicU64; HEAD]> {
        self.heads.get(entry * HEAD..)?.first_chunk()
    }

    fn tail(&self, entry: usize) -> &[AtomicU64] {
        self.tails.get(entry * TAIL..(entry + 1) * TAIL).unwrap_or(&[])
    }
}

/// The first entry that a pc may stand in.
#[inline]
fn set_of(pc: ReturnAddress) -> usize {
    Hash::new().with(pc.address() as u64).finish() as usize % FRAME_SETS * WAYS
}

/// The proof of all words of a frame but its fake pcs.
#[inline]
fn frame_proof(pc: ReturnAddress, blob: u64, sizes: u64, generation: u32) -> u64 {
    // One factor for each word: no index can be out of range.
    let [first, second, third, fourth, ..] = FACTORS;
    let sum = (pc.address() as u64).wrapping_mul(first).wrapping_add(blob.wrapping_mul(second));
    // Added once more, so that an entry of zeros proves nothing.
    sum.wrapping_add(sizes.wrapping_mul(third)).wrapping_add((u64::from(generation) + 1).wrapping_mul(fourth))
}

/// Proves all that an entry of a method holds.
#[inline]
fn method_proof(key: u64, identity: u64, generation: u32, pc: u64) -> u64 {
    Hash::new().with(key).with(identity).with(u64::from(generation)).with(pc).finish()
}

/// The way of a set of methods in which a key stands.
#[inline]
fn way_of(set: &[AtomicU64; METHOD_SET], key: u64) -> Option<usize> {
    (0..WAYS).find(|&way| load(set, way) == key)
}

/// Numbers without structure, by the finaliser of MurmurHash3; all odd.
const fn factors() -> [u64; FIRST_PC + MANY] {
    let mut factors = [0; FIRST_PC + MANY];
    let mut index = 0;
    while index < factors.len() {
        let mut bits = (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        bits = (bits ^ bits >> 33).wrapping_mul(0xff51_afd7_ed55_8ccd);
        bits = (bits ^ bits >> 33).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        factors[index] = bits ^ bits >> 33 | 1;
        index += 1;
    }
    factors
}

#[inline]
fn load<const N: usize>(words: &[AtomicU64; N], index: usize) -> u64 {
    words.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
}

fn store<const N: usize>(words: &[AtomicU64; N], index: usize, value: u64) {
    if let Some(word) = words.get(index) {
        word.store(value, Ordering::Relaxed);
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_known_only_under_its_identity_and_generation() {
        let cache = Cache::new().unwrap();
        assert_eq!(cache.method(77, 0, || unreachable!("nothing is known")), Known::Nothing);
        cache.insert_method(77, 1000, 0, 1 << 61);
        assert_eq!(cache.method(77, 0, || Some(1000)), Known::Pc(1 << 61));
        assert_eq!(cache.method(77, 0, || Some(1001)), Known::Changed);
        assert_eq!(cache.method(77, 1, || Some(1000)), Known::Changed);
        assert_eq!(cache.method(77, 0, || None), Known::Changed);
        cache.insert_method(77, 1001, 0, 6);
        assert_eq!(cache.method(77, 0, || Some(1001)), Known::Pc(6));
        assert!(cache.has_method(77) && !cache.has_method(78));
    }

    #[test]
    fn more_methods_than_room_displace_and_never_mix() {
        let cache = Cache::new().unwrap();
        let room = (METHOD_SETS * WAYS) as u64;
        let keys = 1..=3 * room;
        keys.clone().for_each(|key| cache.insert_method(key, key * 3, 0, key));
        let found: Vec<_> = keys.map(|key| (key, cache.method(key, 0, || Some(key * 3)))).collect();
        assert!(found.iter().filter(|(key, known)| *known == Known::Pc(*key)).count() as u64 > room / 2);
        let wrong = |(key, known): &&(u64, Known)| ![Known::Nothing, Known::Pc(*key)].contains(known);
        assert_eq!(found.iter().find(wrong), None);
    }

    const OWNER: Owner = Owner { blob: 0x7f00_1234_5680, compile_id: 77 };

    fn frame_of(pcs: impl IntoIterator<Item = u64>) -> CompiledFrame {
        let mut frame = CompiledFrame::new(OWNER, 96);
        pcs.into_iter().for_each(|pc| assert!(frame.push(pc)));
        frame
    }

    /// What is pushed for a pc.
    fn pushed(cache: &Cache, pc: ReturnAddress, generation: u32) -> Option<Vec<u64>> {
        let mut trace = StackTrace::new(512);
        assert!(trace.push(1));
        match cache.push_frame(pc, generation, &mut trace, |owner| owner == OWNER) {
            Pushed::Frame { count, bytes } => {
                assert_eq!((count + 1, bytes), (trace.pcs().len(), 96));
                Some(trace.pcs()[1..].to_vec())
            }
            Pushed::Full => unreachable!("there is room"),
            Pushed::Nothing => {
                assert_eq!(trace.pcs(), [1], "what was not proven is taken back");
                None
            }
        }
    }

    #[test]
    fn compiled_frames_of_every_depth_come_back_whole() {
        let cache = Cache::new().unwrap();
        for depth in 0..=MANY {
            let pcs: Vec<u64> = (0..depth as u64).map(|pc| 1 << 47 | pc << 17 | 77).collect();
            let pc = ReturnAddress::new(0x7f00_0000_0000 + 16 * depth);
            cache.insert_frame(pc, 3, &frame_of(pcs.iter().copied()));
            assert_eq!(pushed(&cache, pc, 3), Some(pcs));
            assert_eq!((pushed(&cache, pc, 4), pushed(&cache, ReturnAddress::new(pc.address() + 1), 3)), (None, None));
            let mut trace = StackTrace::new(depth);
            assert!(depth == 0 || trace.push(1));
            let full = cache.push_frame(pc, 3, &mut trace, |_| true);
            assert!(depth == 0 || full == Pushed::Full);
            assert_eq!(cache.push_frame(pc, 3, &mut StackTrace::new(512), |_| false), Pushed::Nothing);
        }
        assert!(!frame_of(0..MANY as u64).push(1));
    }

    #[test]
    fn a_torn_frame_is_a_miss() {
        let cache = Cache::new().unwrap();
        cache.insert_frame(ReturnAddress::new(42), 0, &frame_of([9, 10, 11, 12, 13, 14]));
        let (entry, head) = cache.entry_of(ReturnAddress::new(42)).unwrap();
        let words: Vec<&AtomicU64> = head.iter().chain(cache.tail(entry)).take(FIRST_PC + 6).collect();
        for (n, word) in words.iter().enumerate() {
            let sound = word.load(Ordering::Relaxed);
            for (other, value) in words.iter().enumerate().map(|(n, word)| (n, word.load(Ordering::Relaxed))) {
                word.store(value, Ordering::Relaxed);
                assert_eq!(
                    pushed(&cache, ReturnAddress::new(42), 0).is_some(),
                    n == other,
                    "word {other} in the place of word {n}"
                );
                word.store(sound, Ordering::Relaxed);
            }
        }
        assert_eq!(pushed(&cache, ReturnAddress::ZERO, 0), None, "an empty entry is no frame");
    }
}
