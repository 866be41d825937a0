//! The pc → rule cache: 4-way sets of 16-byte entries, shared by all threads without a lock.
//!
//! An entry is a [`Pair`] of words: halves of two writes are a miss, and so is an entry of another generation, because
//! the key holds it. The table is a quarter MiB of zero pages that become resident as they are used (a JVM needs
//! 800-8,000 rules). No allocation; safe in signal handlers and after fork.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};

use super::pair::{self, Pair};
use super::rule::Rule;
use crate::tap::code_address::LookupAddress;
use crate::tap::hash::spread;

const SETS: usize = 4096;
const WAYS: usize = 4;
/// User-space addresses have 47 bits (x86-64) or 48 (aarch64); what is above holds the generation.
const PC_BITS: u32 = 48;

/// One cache line.
#[repr(align(64))]
struct Set([Pair; WAYS]);

impl Set {
    const fn new() -> Set {
        Set([const { [const { AtomicU64::new(0) }; 2] }; WAYS])
    }
}

/// Rules by pc, and what is needed to replace and to forget them.
pub(super) struct Cache {
    sets: [Set; SETS],
    generation: AtomicU64,
    victim: AtomicU32,
}

/// The key of a rule: a look-up address in one generation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Key(u64);

impl Key {
    /// The key of a look-up address.
    #[inline(always)]
    pub(super) fn new(pc: LookupAddress, generation: u64) -> Key {
        // A garbage pc with high bits is a key of another generation, not another pc's of this one.
        Key(pc.address() as u64 ^ generation << PC_BITS)
    }

    fn set(self) -> usize {
        let pc = self.0 << (64 - PC_BITS);
        (spread(pc) >> (64 - SETS.trailing_zeros())) as usize
    }
}

impl Cache {
    /// An empty cache.
    pub(super) const fn new() -> Cache {
        Cache { sets: [const { Set::new() }; SETS], generation: AtomicU64::new(0), victim: AtomicU32::new(0) }
    }

    /// The present generation: read it once a walk.
    #[inline(always)]
    pub(super) fn generation(&self) -> u64 {
        self.generation.load(Relaxed)
    }

    /// Makes every rule that is stored now a miss.
    pub(super) fn forget(&self) {
        self.generation.fetch_add(1, Relaxed);
    }

    /// The rule stored under this key.
    #[inline(always)]
    pub(super) fn get(&self, key: Key) -> Option<Rule> {
        self.set(key).0.iter().find_map(|entry| pair::get(entry, key.0)).map(Rule::from_bits)
    }

    /// Stores a rule, over an empty entry or one of another generation if there is one, else over any.
    pub(super) fn put(&self, key: Key, rule: Rule) {
        let set = self.set(key);
        let is_free = |entry: &&Pair| {
            let stored = pair::key(entry);
            stored == 0 || stored >> PC_BITS != key.0 >> PC_BITS
        };
        let victim = self.victim.fetch_add(1, Relaxed) as usize;
        let entry = set.0.iter().find(is_free).unwrap_or(&set.0[victim % WAYS]);
        pair::put(entry, key.0, rule.bits());
    }

    #[inline(always)]
    fn set(&self, key: Key) -> &Set {
        // The shift leaves exactly as many bits as there are sets: the compiler drops the check.
        &self.sets[key.set() % SETS]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    static CACHE: Cache = Cache::new();

    #[test]
    fn a_rule_is_found_until_it_is_forgotten() {
        let cache: &Cache = &CACHE;
        let key = Key::new(LookupAddress::inside(0x7f00_1234_5678), cache.generation());
        assert_eq!(cache.get(key), None);
        cache.put(key, Rule::ROOT);
        assert_eq!(cache.get(key), Some(Rule::ROOT));
        assert_eq!(cache.get(Key::new(LookupAddress::inside(0x7f00_1234_5679), cache.generation())), None);
        cache.forget();
        assert_eq!(cache.get(Key::new(LookupAddress::inside(0x7f00_1234_5678), cache.generation())), None);
    }

    #[test]
    fn a_full_set_replaces_and_still_holds_the_newest() {
        static SMALL: Cache = Cache::new();
        let first = Key::new(LookupAddress::inside(0x40_0000), 0);
        let same_set: Vec<Key> = (0x40_0000..)
            .map(|pc| Key::new(LookupAddress::inside(pc), 0))
            .filter(|key| key.set() == first.set())
            .take(WAYS + 3)
            .collect();
        for key in &same_set {
            SMALL.put(*key, Rule::NONE);
            assert_eq!(SMALL.get(*key), Some(Rule::NONE));
        }
        assert_eq!(same_set.iter().filter(|key| SMALL.get(**key).is_some()).count(), WAYS);
    }

    #[test]
    fn halves_of_two_writes_are_no_entry() {
        static TORN: Cache = Cache::new();
        let (old, new) = (Key::new(LookupAddress::inside(0x1000), 0), Key::new(LookupAddress::inside(0x1010), 0));
        TORN.put(old, Rule::ROOT);
        let entry = &TORN.set(old).0[0];
        // The second half of a write of `new` is not visible yet.
        entry[0].store(new.0 ^ spread(Rule::NONE.bits()), Relaxed);
        assert!(TORN.get(old).is_none() && TORN.get(new).is_none());
    }

    #[test]
    fn consecutive_call_sites_spread_over_the_sets() {
        let sets: std::collections::HashSet<usize> =
            (0..2048).map(|call| Key::new(LookupAddress::inside(0x7f12_3450_0000 + call * 23), 0).set()).collect();
        assert!(sets.len() > 1500, "{} sets", sets.len());
    }
}
