//! Each mapping's class, and their sums.
//!
//! What tells anonymous mappings apart:
//!
//! - the Java heap, metaspace and the collector's tables by the ranges that the Java VM's own tables give
//!   ([`Known`]); beside the card table lie the collector's other tables, in one row of mappings;
//! - jemalloc and the tap ask with MAP_NORESERVE (`nr`, glibc's arenas too); the JVM commits without it. So `nr` is
//!   malloc's, as far as the allocator says that it has so much; other allocators ask the same way;
//! - a thread's stack lies on a guard, which is neither reserved (`nr`) nor accounted (`ac`);
//! - code is executable;
//! - right behind a library's data lie its variables that begin as zeros: they are the library's.
//!
//! A mapping that two classes have a part of is divided by length.

use super::areas::{Area, Areas, Backing};
use super::class::{Class, MEASURED};
use super::known::{Known, Owner};
use crate::wire::live::history::CLASSES;

const _: () = assert!(MEASURED.len() + 1 == CLASSES);

/// The sums of a process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sums {
    /// Resident bytes by class, in the order of [`MEASURED`].
    pub(crate) classes: [u64; MEASURED.len()],
    /// Bytes that are swapped out, in no class.
    pub(crate) swapped: u64,
}

/// Owners that may have a part of any private mapping, and their classes.
const OWNERS: [(Owner, Class); 5] = [
    (Owner::JavaHeap, Class::JavaHeap),
    (Owner::CodeCache, Class::CodeCache),
    (Owner::Metaspace, Class::Metaspace),
    (Owner::GcStructures, Class::GcStructures),
    (Owner::Malloc, Class::Malloc),
];

/// An allocator's tables are one part in so many of its pages,
const TABLES: u64 = 64;
/// and this at most besides; the tap's tables are among it.
const SMALL: u64 = 2 << 20;

impl Sums {
    /// Classifies the mappings.
    pub(crate) fn of(areas: &Areas, known: &Known) -> Sums {
        let mut sums = Sums::default();
        let (is_jvm, mut below) = (areas.is_jvm(), Area::default());
        for area in areas.all() {
            let mut rest = area.resident;
            let may_be_shared = matches!(area.backing, Backing::Anonymous | Backing::JavaArchive);
            for (owner, class) in OWNERS.into_iter().filter(|_| may_be_shared) {
                let part = part(area.resident, known.common(owner, area.start, area.end), area).min(rest);
                sums.add(class, part);
                rest -= part;
            }
            let is_next = below.end == area.start;
            match is_next && below.has_more(area) {
                true => sums.add(class(&below, false, is_jvm), rest),
                false => sums.add(class(area, is_next && below.is_guard(), is_jvm), rest),
            }
            sums.swapped = sums.swapped.saturating_add(area.swapped);
            below = *area;
        }
        sums.settle(known);
        sums
    }

    /// As a checkpoint holds them: the classes, and what is swapped out.
    pub(crate) fn words(&self) -> [u64; CLASSES] {
        let mut words = [0; CLASSES];
        words.iter_mut().zip(self.classes.into_iter().chain([self.swapped])).for_each(|(word, sum)| *word = sum);
        words
    }

    /// Reads what [`words`](Self::words) made; `None`: nobody looked.
    #[cfg(any(test, feature = "cli"))]
    pub(crate) fn of_words(words: &[u64; CLASSES]) -> Option<Sums> {
        let mut sums = Sums::default();
        sums.classes.iter_mut().zip(words).for_each(|(sum, word)| *sum = *word);
        sums.swapped = words.last().copied().unwrap_or(0);
        (sums.classes != [0; MEASURED.len()]).then_some(sums)
    }

    /// What is in a class.
    pub(crate) fn get(&self, class: Class) -> u64 {
        class.place().and_then(|at| self.classes.get(at)).copied().unwrap_or(0)
    }

    fn add(&mut self, class: Class, bytes: u64) {
        if let Some(sum) = class.place().and_then(|at| self.classes.get_mut(at)) {
            *sum = sum.saturating_add(bytes);
        }
    }

    fn shift(&mut self, from: Class, to: Class, bytes: u64) {
        let bytes = bytes.min(self.get(from));
        if let Some(sum) = from.place().and_then(|at| self.classes.get_mut(at)) {
            *sum -= bytes;
        }
        self.add(to, bytes);
    }

    /// What is known by size only.
    fn settle(&mut self, known: &Known) {
        if let Some(pages) = known.malloc_bytes {
            // Its own tables are not among its pages: a hundredth, and some MiB in a process of many threads.
            let most = pages.saturating_add(pages / TABLES).saturating_add(SMALL);
            self.shift(Class::Malloc, Class::Other, self.get(Class::Malloc).saturating_sub(most));
        }
        if !known.ranges.iter().any(|(owner, _)| *owner == Owner::Metaspace) {
            self.shift(Class::JvmOther, Class::Metaspace, known.metaspace_bytes);
        }
    }
}

/// So much of a mapping's resident bytes as a part of its length has.
fn part(resident: u64, length: u64, area: &Area) -> u64 {
    let all = area.end.saturating_sub(area.start).max(1);
    if length >= all { resident } else { (u128::from(resident) * u128::from(length) / u128::from(all)) as u64 }
}

fn class(area: &Area, on_guard: bool, is_jvm: bool) -> Class {
    match area.backing {
        Backing::JavaHeap => Class::JavaHeap,
        Backing::Tap => Class::Tap,
        Backing::Break => Class::Malloc,
        Backing::Stack => Class::ThreadStacks,
        Backing::Shared => Class::Shared,
        Backing::File | Backing::JavaArchive | Backing::JavaVm => Class::MappedFiles,
        Backing::Kernel => Class::Other,
        Backing::Anonymous if area.is_code => Class::CodeCache,
        Backing::Anonymous if area.is_unreserved => Class::Malloc,
        Backing::Anonymous if on_guard => Class::ThreadStacks,
        Backing::Anonymous if is_jvm => Class::JvmOther,
        Backing::Anonymous => Class::Other,
    }
}
