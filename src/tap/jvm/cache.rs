//! What earlier samples found out: slots of known (method, bytecode index) pairs, and whole compiled frames.
//!
//! Two set-associative tables in mapped memory, without locks. Any thread reads and overwrites any entry at any time:
//! each entry carries a hash of all that it holds and was found under, so that a torn, stale or foreign entry is a
//! miss and never a wrong answer (by chance once in 2^32 re-used method addresses, or 2^64 frames). All accesses are
//! relaxed: an entry proves itself, and publishes nothing but its own words.

use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::Hash;
use super::memory;

/// A method: key; slot and proof. Four fill a cache line.
const METHOD: usize = 2;
/// A compiled frame: proof; sizes; slots in pairs. Two cache lines, of which most frames need one.
const FRAME: usize = 2 + MANY_SLOTS / 2;
/// Entries that a key may stand in.
const WAYS: usize = 4;
/// 64 K methods: 1 MiB once all are in use, 4 KiB for the first.
const METHOD_SETS: usize = 16 * 1024;
/// 16 K compiled frames: 2 MiB once all are in use.
const FRAME_SETS: usize = 4 * 1024;
/// Methods that a cached compiled frame can hold; deeper inlining is decoded each time.
const MANY_SLOTS: usize = 28;

/// What the table knows of a method at a bytecode index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Known {
    /// Its slot.
    Slot(u32),
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
    count: u8,
    slots: [u32; MANY_SLOTS],
}

impl CompiledFrame {
    pub(super) fn of_size(bytes: u32) -> CompiledFrame {
        CompiledFrame { bytes, ..CompiledFrame::default() }
    }

    /// Adds the next outer method. `false`: it does not fit.
    pub(super) fn push(&mut self, slot: u32) -> bool {
        let Some(place) = self.slots.get_mut(usize::from(self.count)) else { return false };
        *place = slot;
        self.count += 1;
        true
    }

    /// The slots, innermost first.
    #[inline]
    pub(super) fn slots(&self) -> &[u32] {
        self.slots.get(..usize::from(self.count)).unwrap_or(&[])
    }

    fn sizes(&self) -> u64 {
        u64::from(self.bytes) | u64::from(self.count) << 32
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
        let value = load(entry, 1);
        match identity() {
            Some(identity) if value >> 32 == method_proof(key, identity, generation, value as u32) => {
                Known::Slot(value as u32)
            }
            _ => Known::Changed,
        }
    }

    /// Remembers the slot of a method.
    pub(super) fn insert_method(&self, key: u64, identity: u64, generation: u32, slot: u32) {
        let set = self.method_set(key);
        let usable = |entry: &&[AtomicU64]| [0, key].contains(&load(entry, 0));
        let proof = method_proof(key, identity, generation, slot);
        // A full set loses the entry that the proof happens to point at.
        let victim = || set.chunks_exact(METHOD).nth(proof as usize % WAYS);
        let Some(entry) = set.chunks_exact(METHOD).find(usable).or_else(victim) else { return };
        store(entry, 1, 0);
        store(entry, 0, key);
        store(entry, 1, proof << 32 | u64::from(slot));
    }

    #[inline]
    fn method_set(&self, key: u64) -> &[AtomicU64] {
        let first = Hash::new().with(key).finish() as usize % METHOD_SETS * (WAYS * METHOD);
        self.methods.get(first..first + WAYS * METHOD).unwrap_or(&[])
    }

    /// Looks up a compiled frame by the hash of what determines it.
    #[inline]
    pub(super) fn frame(&self, hash: u64) -> Option<CompiledFrame> {
        self.frame_set(hash).chunks_exact(FRAME).find_map(|entry| frame_in(entry, hash))
    }

    /// Remembers a compiled frame.
    pub(super) fn insert_frame(&self, hash: u64, frame: CompiledFrame) {
        let set = self.frame_set(hash);
        let free = set.chunks_exact(FRAME).find(|entry| load(entry, 1) == 0);
        let victim = || set.chunks_exact(FRAME).nth((hash >> 48) as usize % WAYS);
        let Some(entry) = free.or_else(victim) else { return };
        let mut proof = hash ^ frame.sizes();
        store(entry, 1, frame.sizes());
        for (pair, index) in frame.slots.chunks_exact(2).zip(2..).take(pairs(frame.count)) {
            let word = pair.iter().rev().fold(0, |word, &slot| word << 32 | u64::from(slot));
            store(entry, index, word);
            proof = proven(proof, word);
        }
        store(entry, 0, proof);
    }

    #[inline]
    fn frame_set(&self, hash: u64) -> &[AtomicU64] {
        let first = hash as usize % FRAME_SETS * (WAYS * FRAME);
        self.frames.get(first..first + WAYS * FRAME).unwrap_or(&[])
    }
}

/// The frame in this entry, if it is the one with this hash, and whole.
#[inline]
fn frame_in(entry: &[AtomicU64], hash: u64) -> Option<CompiledFrame> {
    let sizes = load(entry, 1);
    let mut frame = CompiledFrame::of_size(sizes as u32);
    frame.count = (sizes >> 32) as u8;
    let mut proof = hash ^ sizes;
    for (pair, index) in frame.slots.chunks_exact_mut(2).zip(2..).take(pairs(frame.count)) {
        let word = load(entry, index);
        pair.iter_mut().zip([word as u32, (word >> 32) as u32]).for_each(|(slot, value)| *slot = value);
        proof = proven(proof, word);
    }
    (sizes != 0 && load(entry, 0) == proof).then_some(frame)
}

fn pairs(count: u8) -> usize {
    usize::from(count).div_ceil(2)
}

/// Mixes one more word into the proof of a frame.
#[inline]
fn proven(proof: u64, word: u64) -> u64 {
    proof.rotate_left(5) ^ word
}

/// 32 bits that tell entries of the same key apart.
#[inline]
fn method_proof(key: u64, identity: u64, generation: u32, slot: u32) -> u64 {
    Hash::new().with(key).with(identity).with(u64::from(generation) << 32 | u64::from(slot)).finish() >> 32
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
        assert_eq!(cache.method(77, 0, || Some(1000)), Known::Slot(5));
        assert_eq!(cache.method(77, 0, || Some(1001)), Known::Changed);
        assert_eq!(cache.method(77, 1, || Some(1000)), Known::Changed);
        assert_eq!(cache.method(77, 0, || None), Known::Changed);
        cache.insert_method(77, 1001, 0, 6);
        assert_eq!(cache.method(77, 0, || Some(1001)), Known::Slot(6));
        assert!(cache.has_method(77) && !cache.has_method(78));
    }

    #[test]
    fn more_methods_than_room_displace_and_never_mix() {
        let cache = Cache::new().unwrap();
        let room = (METHOD_SETS * WAYS) as u64;
        let keys = 1..=3 * room;
        keys.clone().for_each(|key| cache.insert_method(key, key * 3, 0, key as u32));
        let found: Vec<_> = keys.map(|key| (key, cache.method(key, 0, || Some(key * 3)))).collect();
        assert!(found.iter().filter(|(key, known)| *known == Known::Slot(*key as u32)).count() as u64 > room / 2);
        let wrong = |(key, known): &&(u64, Known)| ![Known::Nothing, Known::Slot(*key as u32)].contains(known);
        assert_eq!(found.iter().find(wrong), None);
    }

    fn frame_of(slots: impl IntoIterator<Item = u32>) -> CompiledFrame {
        let mut frame = CompiledFrame::of_size(96);
        slots.into_iter().for_each(|slot| assert!(frame.push(slot)));
        frame
    }

    #[test]
    fn compiled_frames_of_every_depth_come_back_whole() {
        let cache = Cache::new().unwrap();
        for depth in 0..=MANY_SLOTS as u32 {
            let frame = frame_of((0..depth).map(|slot| slot << 16 | 77));
            let hash = u64::from(depth) * FRAME_SETS as u64 + 5;
            cache.insert_frame(hash, frame);
            assert_eq!(cache.frame(hash), Some(frame));
            assert_eq!(cache.frame(hash + 1), None);
        }
        assert!(!frame_of(0..MANY_SLOTS as u32).push(1));
    }

    #[test]
    fn a_torn_frame_is_a_miss() {
        let cache = Cache::new().unwrap();
        cache.insert_frame(42, frame_of([9, 10, 11, 12]));
        let set = cache.frame_set(42);
        let (first, second) = (load(set, 2), load(set, 3));
        store(set, 2, second);
        store(set, 3, first);
        assert_eq!(cache.frame(42), None);
    }
}
