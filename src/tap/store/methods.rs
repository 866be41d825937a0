//! Java methods (and pseudo frames): interned names, whose numbers fake pcs are made of.
//!
//! Append-only: a number is never given to another name within a token. Hidden classes and lambdas
//! come with their suffixes folded, so servers that make classes for weeks do not fill the table. Nothing here
//! locks: threads that meet one method at the same time each write it, and all go by the record that the index
//! names first; the others are never referred to.

use super::index::{Index, fold};
use super::region::Region;
use crate::wire::java_pc;
use crate::wire::live::layout::SectionId;
use crate::wire::live::records::{JavaMethodRecord, METHOD_HASH, StringRef};
use std::sync::atomic::{AtomicU32, Ordering};

/// The slot of a Java frame whose name could not be kept: the first one.
pub(crate) const UNNAMED: u32 = 0;
/// Names longer than this are cut.
const MAX_NAME: usize = 1024;

/// The table of methods.
pub(crate) struct Methods {
    methods: Index,
    strings: Index,
    /// Number of the next method. Relaxed, like the next field: a number that nobody else gets is all that is wanted.
    next_method: AtomicU32,
    /// First word of the next name.
    next_word: AtomicU32,
}

impl Methods {
    /// A table for this region that holds [`UNNAMED`] only.
    pub(crate) fn new(region: &Region) -> Option<Methods> {
        let capacity = region.section(SectionId::JavaMethods).capacity;
        let methods = Methods {
            methods: Index::new(capacity * 2)?,
            strings: Index::new(capacity * 4)?,
            next_method: AtomicU32::new(0),
            next_word: AtomicU32::new(0),
        };
        methods.intern(region, b"", b"[unnamed Java frame]", 0).filter(|&slot| slot == UNNAMED)?;
        Some(methods)
    }

    /// The slot of a line of a method (see [`java_pc`]). `None`: the table is full.
    pub(crate) fn intern(&self, region: &Region, class: &[u8], method: &[u8], line: u32) -> Option<u32> {
        let hash = fold(hash(class), hash(method).rotate_left(21));
        let known = self.find(region, hash).or_else(|| self.add(region, class, method, hash))?;
        Some(java_pc::slot(known, line))
    }

    fn find(&self, region: &Region, hash: u64) -> Option<u32> {
        let section = region.section(SectionId::JavaMethods);
        self.methods.find(hash, |method| {
            section.record(method).is_some_and(|at| region.at(at + METHOD_HASH).load(Ordering::Relaxed) == hash)
        })
    }

    fn add(&self, region: &Region, class: &[u8], method: &[u8], hash: u64) -> Option<u32> {
        let section = region.section(SectionId::JavaMethods);
        let (class, method) = (self.string(region, class)?, self.string(region, method)?);
        let number = take(&self.next_method, 1, section.capacity)?;
        if !region.back(SectionId::JavaMethods, number) {
            return None;
        }
        region.publish(section.record(number)?, &JavaMethodRecord { class, method, hash }.pack());
        region.note_used(SectionId::JavaMethods, number + 1);
        self.methods.insert(hash, number);
        // Entries are never taken out, so the first that is found stays the first.
        self.find(region, hash).or(Some(number))
    }

    /// Writes a name, or finds it among those written. An entry of the index is the name's first word.
    fn string(&self, region: &Region, name: &[u8]) -> Option<StringRef> {
        let name = name.get(..name.len().min(MAX_NAME)).unwrap_or(name);
        let section = region.section(SectionId::Strings);
        let same = |word: u32| {
            let at = |n: usize| section.record(word + n as u32).map(|at| region.at(at).load(Ordering::Relaxed));
            words(name).enumerate().all(|(n, expected)| at(n) == Some(expected))
        };
        let hash = hash(name);
        let len = name.len() as u32;
        if let Some(word) = self.strings.find(hash, same) {
            return Some(StringRef { offset: word * 8, len });
        }
        let count = name.len().div_ceil(8) as u32;
        let first = take(&self.next_word, count, section.capacity)?;
        if !region.back(SectionId::Strings, first + count) {
            return None;
        }
        for (n, word) in words(name).enumerate() {
            region.at(section.record(first + n as u32)?).store(word, Ordering::Relaxed);
        }
        region.note_used(SectionId::Strings, first + count);
        self.strings.insert(hash, first);
        Some(StringRef { offset: first * 8, len })
    }
}

/// Takes `count` numbers of `capacity`, and returns the first; `None`: there are not so many left.
fn take(next: &AtomicU32, count: u32, capacity: usize) -> Option<u32> {
    let after = |first: u32| first.checked_add(count).filter(|&after| after as usize <= capacity);
    next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after).ok()
}

/// A name's bytes, eight to a word, padded with zeros.
fn words(name: &[u8]) -> impl Iterator<Item = u64> {
    name.chunks(8).map(|bytes| {
        let mut word = [0; 8];
        word.iter_mut().zip(bytes).for_each(|(to, from)| *to = *from);
        u64::from_le_bytes(word)
    })
}

fn hash(name: &[u8]) -> u64 {
    const ODD: u64 = 0x9e37_79b9_7f4a_7c15;
    words(name).fold(ODD ^ name.len() as u64, |hash, word| fold(hash ^ word, ODD))
}
