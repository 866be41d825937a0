//! Java methods (and pseudo frames): interned names, whose numbers fake pcs are made of.
//!
//! Append-only: a number is never given to another name within a token. Hidden classes and lambdas
//! come with their suffixes folded, so servers that make classes for weeks do not fill the table. Known
//! methods are found without a lock; a new one takes the lock by trying a few times, or goes without name
//! this once.

use super::index::{Index, fold};
use super::region::Region;
use crate::wire::java_pc;
use crate::wire::live::layout::SectionId;
use crate::wire::live::records::{JavaMethodRecord, METHOD_HASH, StringRef};
use parking_lot::{Mutex, MutexGuard};
use std::sync::atomic::Ordering;

/// The slot of a Java frame whose name could not be kept: the first one.
pub(crate) const UNNAMED: u32 = 0;
/// Tries to get the lock before a new method is given up.
const TRIES: usize = 200;
/// Names longer than this are cut.
const MAX_NAME: usize = 1024;

/// What the next new method gets.
#[derive(Default)]
struct Next {
    method: u32,
    string_bytes: u32,
}

/// The table of methods.
pub(crate) struct Methods {
    methods: Index,
    strings: Index,
    next: Mutex<Next>,
}

impl Methods {
    /// A table for this region that holds [`UNNAMED`] only.
    pub(crate) fn new(region: &Region) -> Option<Methods> {
        let capacity = region.section(SectionId::JavaMethods).capacity;
        let methods = Methods {
            methods: Index::new(capacity * 2)?,
            strings: Index::new(capacity * 4)?,
            next: Mutex::new(Next::default()),
        };
        methods.intern(region, b"", b"[unnamed Java frame]", 0).filter(|&slot| slot == UNNAMED)?;
        Some(methods)
    }

    /// The slot of a line of a method (see [`java_pc`]). `None`: the table is full, or being written to
    /// right now.
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
        let mut next = self.lock()?;
        if let Some(known) = self.find(region, hash) {
            return Some(known);
        }
        let number = next.method;
        if !region.back(SectionId::JavaMethods, number) {
            return None;
        }
        let at = region.section(SectionId::JavaMethods).record(number)?;
        let record = JavaMethodRecord {
            class: self.string(region, &mut next, class)?,
            method: self.string(region, &mut next, method)?,
            hash,
        };
        region.publish(at, &record.pack());
        region.note_used(SectionId::JavaMethods, number + 1);
        next.method = number + 1;
        self.methods.insert(hash, number);
        Some(number)
    }

    /// Writes a name, or finds it among those written. An entry of the index is the name's first word.
    fn string(&self, region: &Region, next: &mut Next, name: &[u8]) -> Option<StringRef> {
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
        let first = next.string_bytes / 8;
        let count = name.len().div_ceil(8) as u32;
        if (first + count) as usize > section.capacity || !region.back(SectionId::Strings, first + count) {
            return None;
        }
        for (n, word) in words(name).enumerate() {
            region.at(section.record(first + n as u32)?).store(word, Ordering::Relaxed);
        }
        next.string_bytes += count * 8;
        region.note_used(SectionId::Strings, first + count);
        self.strings.insert(hash, first);
        Some(StringRef { offset: first * 8, len })
    }

    fn lock(&self) -> Option<MutexGuard<'_, Next>> {
        (0..TRIES).find_map(|_| {
            std::hint::spin_loop();
            self.next.try_lock()
        })
    }
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
