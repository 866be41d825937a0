//! What earlier samples found out: slots of known (method, bytecode index) pairs, and whole compiled frames.
//!
//! Two set-associative tables in mapped memory, without locks. Any thread reads and overwrites any entry at any time:
//! each entry carries a hash of everything that it was found under, so that a torn, stale or foreign entry
//! is a miss and never a wrong answer (2^-32 for a method, 2^-64 for a compiled frame). All accesses are relaxed:
//! an entry proves itself, and publishes nothing but its own words.

use std::sync::atomic::{AtomicU64, Ordering};

use super::hash::Hash;
use super::memory;

/// Words of a cache line, which is one set of methods or one compiled frame.
const LINE: usize = 8;
/// 64 K methods in sets of four: 1 MiB once full, 4 KiB for the first.
const METHOD_SETS: usize = 16 * 1024;
/// 16 K compiled frames in pairs: 1 MiB once full.
const FRAME_PAIRS: usize = 8 * 1024;
/// Methods that a cached compiled frame can hold; deeper inlining is decoded each time.
pub(super) const MANY_SLOTS: usize = 12;

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
    /// Whether the stack pointer of this frame stands in the frame pointer (JDK 8 method handle calls).
    pub(super) sp_in_fp: bool,
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
    pub(super) fn slots(&self) -> &[u32] {
        self.slots.get(..usize::from(self.count)).unwrap_or(&[])
    }

    fn to_words(self) -> [u64; LINE - 1] {
        let mut words = [0; LINE - 1];
        words[0] = u64::from(self.bytes) | u64::from(self.count) << 32 | u64::from(self.sp_in_fp) << 40;
        for (word, pair) in words.iter_mut().skip(1).zip(self.slots.chunks_exact(2)) {
            *word = u64::from(pair[0]) | u64::from(pair[1]) << 32;
        }
        words
    }

    fn from_words(words: [u64; LINE - 1]) -> CompiledFrame {
        let mut slots = [0; MANY_SLOTS];
        for (pair, word) in slots.chunks_exact_mut(2).zip(words.iter().skip(1)) {
            pair[0] = *word as u32;
            pair[1] = (*word >> 32) as u32;
        }
        let count = (words[0] >> 32) as u8;
        CompiledFrame { bytes: words[0] as u32, sp_in_fp: words[0] >> 40 & 1 == 1, count, slots }
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
            methods: memory::lasting_words(METHOD_SETS * LINE)?,
            frames: memory::lasting_words(FRAME_PAIRS * 2 * LINE)?,
        })
    }

    /// Whether `key` was inserted and not displaced.
    #[inline]
    pub(super) fn has_method(&self, key: u64) -> bool {
        self.method_set(key).chunks_exact(2).any(|entry| load(entry, 0) == key)
    }

    /// Looks up a method. `identity` is asked only when the key is known; it must be what was given to `insert_method`.
    #[inline]
    pub(super) fn method(&self, key: u64, generation: u32, identity: impl FnOnce() -> Option<u64>) -> Known {
        let Some(entry) = self.method_set(key).chunks_exact(2).find(|entry| load(entry, 0) == key) else {
            return Known::Nothing;
        };
        let value = load(entry, 1);
        match identity() {
            Some(identity) if value >> 32 == proof(key, identity, generation) => Known::Slot(value as u32),
            _ => Known::Changed,
        }
    }

    /// Remembers the slot of a method.
    pub(super) fn insert_method(&self, key: u64, identity: u64, generation: u32, slot: u32) {
        let set = self.method_set(key);
        let usable = |entry: &&[AtomicU64]| matches!(load(entry, 0), 0) || load(entry, 0) == key;
        // A full set loses the entry that the identity happens to point at.
        let victim = || set.chunks_exact(2).nth((identity % 4) as usize);
        let Some(entry) = set.chunks_exact(2).find(usable).or_else(victim) else { return };
        store(entry, 1, 0);
        store(entry, 0, key);
        store(entry, 1, proof(key, identity, generation) << 32 | u64::from(slot));
    }

    fn method_set(&self, key: u64) -> &[AtomicU64] {
        let set = Hash::new().with(key).finish() as usize % METHOD_SETS;
        self.methods.get(set * LINE..(set + 1) * LINE).unwrap_or(&[])
    }

    /// Looks up a compiled frame by the hash of what determines it.
    #[inline]
    pub(super) fn frame(&self, hash: u64) -> Option<CompiledFrame> {
        self.frame_pair(hash).chunks_exact(LINE).find_map(|line| {
            let mut words = [0; LINE - 1];
            words.iter_mut().enumerate().for_each(|(index, word)| *word = load(line, index + 1));
            let proven = load(line, 0) ^ words.iter().fold(0, |sum, word| sum ^ word) == hash;
            (proven && words[0] != 0).then(|| CompiledFrame::from_words(words))
        })
    }

    /// Remembers a compiled frame.
    pub(super) fn insert_frame(&self, hash: u64, frame: CompiledFrame) {
        let words = frame.to_words();
        let pair = self.frame_pair(hash);
        let free = pair.chunks_exact(LINE).find(|line| load(line, 1) == 0);
        let victim = || pair.chunks_exact(LINE).nth((hash >> 63) as usize);
        let Some(line) = free.or_else(victim) else { return };
        words.iter().enumerate().for_each(|(index, &word)| store(line, index + 1, word));
        store(line, 0, words.iter().fold(hash, |sum, word| sum ^ word));
    }

    fn frame_pair(&self, hash: u64) -> &[AtomicU64] {
        let pair = hash as usize % FRAME_PAIRS;
        self.frames.get(2 * pair * LINE..2 * (pair + 1) * LINE).unwrap_or(&[])
    }
}

/// 32 bits that tell entries of the same key apart.
#[inline]
fn proof(key: u64, identity: u64, generation: u32) -> u64 {
    Hash::new().with(key).with(identity).with(generation.into()).finish() >> 32
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
        let keys = 1..=3 * 4 * METHOD_SETS as u64;
        keys.clone().for_each(|key| cache.insert_method(key, key * 3, 0, key as u32));
        let found = keys.clone().filter(|&key| cache.method(key, 0, || Some(key * 3)) == Known::Slot(key as u32));
        assert!(found.count() > 3 * METHOD_SETS);
        let wrong = keys
            .filter(|&key| matches!(cache.method(key, 0, || Some(key * 3)), Known::Slot(slot) if slot != key as u32));
        assert_eq!(wrong.count(), 0);
    }

    #[test]
    fn a_compiled_frame_comes_back_whole() {
        let cache = Cache::new().unwrap();
        let mut frame = CompiledFrame { sp_in_fp: true, ..CompiledFrame::of_size(96) };
        (1..=12).for_each(|slot| assert!(frame.push(slot * 0x1000_0001)));
        assert!(!frame.push(13));
        cache.insert_frame(42, frame);
        assert_eq!(cache.frame(42), Some(frame));
        assert_eq!(cache.frame(42 + FRAME_PAIRS as u64), None);
    }

    #[test]
    fn a_torn_frame_is_a_miss() {
        let cache = Cache::new().unwrap();
        let mut frame = CompiledFrame::of_size(64);
        assert!(frame.push(9));
        cache.insert_frame(42, frame);
        store(cache.frame_pair(42), 2, 10);
        assert_eq!(cache.frame(42), None);
    }
}
