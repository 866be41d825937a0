//! What earlier samples found out: fake pcs of known (method, bytecode index) pairs, and whole compiled frames.
//!
//! Two set-associative tables in mapped memory, without locks. Any thread reads and overwrites any entry at any time:
//! each entry carries a 64-bit hash of all that it holds and was found under, so that a torn, stale or foreign entry
//! is a miss and never a wrong answer. All accesses are relaxed: an entry proves itself, and publishes nothing but
//! its own words.

use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::Hash;
use super::memory;

/// A method: key, fake pc, proof. One more word keeps two of them in a cache line.
const METHOD: usize = 4;
/// A compiled frame: proof, sizes, fake pcs.
const FRAME: usize = 2 + MANY_METHODS;
/// Entries that a key may stand in.
const WAYS: usize = 4;
/// 32 K methods: 1 MiB once all are in use, 4 KiB for the first.
const METHOD_SETS: usize = 8 * 1024;
/// 16 K compiled frames: 2 MiB once all are in use.
const FRAME_SETS: usize = 4 * 1024;
/// Methods that a cached compiled frame can hold; deeper inlining is decoded each time.
const MANY_METHODS: usize = 14;

/// What the table knows of a method at a bytecode index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its fake pc.
    Pc(u64),
    /// The address was a method once, but this is another one.
    Changed,
    /// Nothing.
    Nothing,
}

/// The Java methods of one compiled frame, innermost first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CompiledFrame {
    /// Bytes from its stack pointer to the caller's.
    pub(super) bytes: u32,
    /// Whether the stack pointer of this frame stands in the frame pointer (JDK 8 method handle calls).
    pub(super) sp_in_fp: bool,
    count: u8,
    pcs: [u64; MANY_METHODS],
}

impl CompiledFrame {
    pub(super) fn of_size(bytes: u32) -> CompiledFrame {
        CompiledFrame { bytes, ..CompiledFrame::default() }
    }

    /// Adds the next outer method. `false`: it does not fit.
    pub(super) fn push(&mut self, pc: u64) -> bool {
        let Some(place) = self.pcs.get_mut(usize::from(self.count)) else { return false };
        *place = pc;
        self.count += 1;
        true
    }

    /// The fake pcs, innermost first.
    pub(super) fn pcs(&self) -> &[u64] {
        self.pcs.get(..usize::from(self.count)).unwrap_or(&[])
    }

    fn sizes(&self) -> u64 {
        u64::from(self.bytes) | u64::from(self.count) << 32 | u64::from(self.sp_in_fp) << 40
    }

    /// What `hash` becomes when the frame's own words are mixed in: differs for every other frame.
    fn proof(&self, hash: u64) -> u64 {
        self.pcs().iter().fold(hash ^ self.sizes(), |proof, &pc| proof.rotate_left(5) ^ pc)
    }
}

/// Both tables.
#[derive(Debug)]
pub(super) struct Cache {
    methods: &'static [AtomicU64],
    frames: &'static [AtomicU64],
}

impl Cache {
    /// Maps the tables.
    pub(super) fn new() -> Option<Cache> {
        Some(Cache {
            methods: memory::lasting_words(METHOD_SETS * WAYS * METHOD)?,
            frames: memory::lasting_words(FRAME_SETS * WAYS * FRAME)?,
        })
    }

    /// Whether `key` was inserted and not displaced.
    #[inline]
    pub(super) fn has_method(&self, key: u64) -> bool {
        self.method_set(key).chunks_exact(METHOD).any(|entry| load(entry, 0) == key)
    }

    /// Looks up a method. `identity` is asked only when the key is known; it must be what was given to `insert_method`.
    #[inline]
    pub(super) fn method(&self, key: u64, generation: u32, identity: impl FnOnce() -> Option<u64>) -> Known {
        let Some(entry) = self.method_set(key).chunks_exact(METHOD).find(|entry| load(entry, 0) == key) else {
            return Known::Nothing;
        };
        let (pc, proof) = (load(entry, 1), load(entry, 2));
        match identity() {
            Some(identity) if proof == method_proof(key, identity, generation, pc) => Known::Pc(pc),
            _ => Known::Changed,
        }
    }

    /// Remembers the fake pc of a method.
    pub(super) fn insert_method(&self, key: u64, identity: u64, generation: u32, pc: u64) {
        let set = self.method_set(key);
        let usable = |entry: &&[AtomicU64]| [0, key].contains(&load(entry, 0));
        let proof = method_proof(key, identity, generation, pc);
        // A full set loses the entry that the proof happens to point at.
        let victim = || set.chunks_exact(METHOD).nth(proof as usize % WAYS);
        let Some(entry) = set.chunks_exact(METHOD).find(usable).or_else(victim) else { return };
        store(entry, 2, 0);
        store(entry, 0, key);
        store(entry, 1, pc);
        store(entry, 2, proof);
    }

    fn method_set(&self, key: u64) -> &[AtomicU64] {
        let first = Hash::new().with(key).finish() as usize % METHOD_SETS * (WAYS * METHOD);
        self.methods.get(first..first + WAYS * METHOD).unwrap_or(&[])
    }

    /// Looks up a compiled frame by the hash of what determines it.
    #[inline]
    pub(super) fn frame(&self, hash: u64) -> Option<CompiledFrame> {
        self.frame_set(hash).chunks_exact(FRAME).find_map(|entry| {
            let sizes = load(entry, 1);
            let mut frame = CompiledFrame {
                bytes: sizes as u32,
                sp_in_fp: sizes >> 40 & 1 == 1,
                count: (sizes >> 32) as u8,
                pcs: [0; MANY_METHODS],
            };
            let pcs = frame.pcs.get_mut(..usize::from(frame.count))?;
            pcs.iter_mut().zip(2..).for_each(|(pc, index)| *pc = load(entry, index));
            (sizes != 0 && load(entry, 0) == frame.proof(hash)).then_some(frame)
        })
    }

    /// Remembers a compiled frame.
    pub(super) fn insert_frame(&self, hash: u64, frame: CompiledFrame) {
        let set = self.frame_set(hash);
        let free = set.chunks_exact(FRAME).find(|entry| load(entry, 1) == 0);
        let victim = || set.chunks_exact(FRAME).nth((hash >> 62) as usize % WAYS);
        let Some(entry) = free.or_else(victim) else { return };
        store(entry, 1, frame.sizes());
        frame.pcs().iter().zip(2..).for_each(|(&pc, index)| store(entry, index, pc));
        store(entry, 0, frame.proof(hash));
    }

    fn frame_set(&self, hash: u64) -> &[AtomicU64] {
        let first = hash as usize % FRAME_SETS * (WAYS * FRAME);
        self.frames.get(first..first + WAYS * FRAME).unwrap_or(&[])
    }
}

/// What tells entries of the same key apart.
#[inline]
fn method_proof(key: u64, identity: u64, generation: u32, pc: u64) -> u64 {
    Hash::new().with(key).with(identity).with(pc ^ u64::from(generation) << 48).finish()
}

#[inline]
fn load(words: &[AtomicU64], index: usize) -> u64 {
    words.get(index).map_or(0, |word| word.load(Ordering::Relaxed))
}

fn store(words: &[AtomicU64], index: usize, value: u64) {
    if let Some(word) = words.get(index) {
        word.store(value, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_known_only_under_its_identity_and_generation() {
        let cache = Cache::new().unwrap();
        assert_eq!(cache.method(77, 0, || unreachable!("nothing is known")), Known::Nothing);
        cache.insert_method(77, 1000, 0, 5);
        assert_eq!(cache.method(77, 0, || Some(1000)), Known::Pc(5));
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
        let wrong = |(key, known): &&(u64, Known)| !matches!(known, Known::Nothing) && *known != Known::Pc(*key);
        assert_eq!(found.iter().find(wrong), None);
    }

    fn frame_of(pcs: impl IntoIterator<Item = u64>) -> CompiledFrame {
        let mut frame = CompiledFrame { sp_in_fp: true, ..CompiledFrame::of_size(96) };
        pcs.into_iter().for_each(|pc| assert!(frame.push(pc)));
        frame
    }

    #[test]
    fn a_compiled_frame_comes_back_whole() {
        let cache = Cache::new().unwrap();
        let mut frame = frame_of((1..=14).map(|method| method << 47 | 1));
        assert!(!frame.push(15));
        cache.insert_frame(42, frame);
        assert_eq!(cache.frame(42), Some(frame));
        assert_eq!(cache.frame(42 + FRAME_SETS as u64), None, "the same set, another frame");
        cache.insert_frame(43, CompiledFrame::of_size(16));
        assert_eq!(cache.frame(43).map(|frame| frame.pcs().len()), Some(0));
    }

    #[test]
    fn a_torn_frame_is_a_miss() {
        let cache = Cache::new().unwrap();
        cache.insert_frame(42, frame_of([9, 10]));
        store(cache.frame_set(42), 2, 10);
        store(cache.frame_set(42), 3, 9);
        assert_eq!(cache.frame(42), None);
    }
}
