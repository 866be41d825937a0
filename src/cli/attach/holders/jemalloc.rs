//! Which block of the embedded jemalloc an address lies in, read from outside: its tree of pages (`rtree.h`), its
//! extents (`edata.h`) and their maps of free regions (`slab_data.h`), of jemalloc 5.3.1.
//!
//! The region says where the tree lies. How it is built depends on the widest address that the build knew (48 or 57
//! bits), so both forms are tried on the sampled blocks, whose places are known: a form that does not find nearly all
//! of them is not believed, and no block is known then. Everything read here changes meanwhile; it is a hint, never
//! trusted further than to be a number.

use super::lies::Lies;
use crate::cli::attach::peer_memory::{PAGE, PeerMemory};
use rustc_hash::{FxHashMap, FxHashSet};

/// Where the root of the tree may lie behind its first word, a pointer and a mutex: by the size of that.
const ROOTS: std::ops::Range<u64> = 64..320;
/// Sampled blocks that a form is tried on.
const TRIED: usize = 64;
/// Pages that are walked back from inside a large block to the entry of its first one: those of 16 GiB.
const MOST_BACK: u64 = 1 << 22;
/// What jemalloc takes for its own structures is a multiple of this, and begins at one (HUGEPAGE).
const HUGE_PAGE: u64 = 2 << 20;
/// Nodes of the tree that are kept at a time.
const MOST_NODES: usize = 256;
/// Extents that are kept at a time.
const MOST_EXTENTS: usize = 1 << 16;
/// Words of an extent that are read: the map of free regions ends with the 16th.
const EXTENT_WORDS: usize = 16;

/// How a tree is built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// Two levels of 18 bits; leaves of one word.
    Narrow,
    /// Three levels of 15 bits; leaves of two words.
    Wide,
}

/// An entry of the tree.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Leaf {
    extent: u64,
    size_class: u64,
    is_active: bool,
    is_slab: bool,
}

/// The tree.
pub(super) struct Jemalloc<'a> {
    memory: &'a PeerMemory,
    root: u64,
    form: Form,
    /// Leaves as they were read, by the page that the first entry is of.
    nodes: FxHashMap<u64, Option<Vec<u64>>>,
    extents: FxHashMap<u64, Option<Extent>>,
    /// Huge pages that have structures of its own.
    notes: FxHashSet<u64>,
}

impl<'a> Jemalloc<'a> {
    /// The tree at an address, if it explains where these blocks lie.
    pub(super) fn find(memory: &'a PeerMemory, tree: u64, blocks: &[u64]) -> Option<Jemalloc<'a>> {
        if tree == 0 || blocks.is_empty() {
            return None;
        }
        let tried: Vec<u64> = blocks.iter().step_by(blocks.len().div_ceil(TRIED)).copied().collect();
        for offset in ROOTS.step_by(8) {
            for form in [Form::Wide, Form::Narrow] {
                let mut jemalloc = Jemalloc {
                    memory,
                    root: tree + offset,
                    form,
                    nodes: FxHashMap::default(),
                    extents: FxHashMap::default(),
                    notes: FxHashSet::default(),
                };
                let holds = |jemalloc: &mut Jemalloc<'_>, block: u64| matches!(jemalloc.at(block, 0), Lies::Block { start, bytes } if start < block && block < start + bytes);
                // Wrong places lead to nothing at once, so the first block decides nearly always.
                if !tried.first().is_some_and(|first| holds(&mut jemalloc, *first)) {
                    continue;
                }
                let right = tried.iter().filter(|block| holds(&mut jemalloc, **block)).count();
                if right * 10 >= tried.len() * 9 {
                    return Some(jemalloc);
                }
            }
        }
        None
    }

    /// Forgets what was read, so that it is read anew.
    pub(super) fn forget(&mut self) {
        self.nodes.clear();
        self.extents.clear();
    }

    /// What lies at an address; nothing that begins before `floor` does.
    pub(super) fn at(&mut self, address: u64, floor: u64) -> Lies {
        let page = address / PAGE;
        let mut leaf = self.leaf(page);
        if leaf.extent == 0 {
            leaf = self.leaf_before(page, floor / PAGE);
        }
        let elsewhere = if self.is_note(address) { Lies::Note } else { Lies::Elsewhere };
        let Some(extent) = self.extent(leaf.extent) else { return elsewhere };
        let (start, bytes) = (extent.start, extent.bytes);
        if !(start..start.saturating_add(bytes)).contains(&address) {
            return elsewhere;
        }
        self.notes.insert(leaf.extent / HUGE_PAGE);
        let Some(size) = size_of_class(leaf.size_class).filter(|_| leaf.is_active) else { return Lies::Free };
        if !leaf.is_slab {
            // Large blocks may begin some cache lines behind their extent (`opt.cache_oblivious`): all of it is theirs.
            return Lies::Block { start, bytes };
        }
        let region = (address - start) / size;
        let is_free = extent.free.get((region / 64) as usize).is_none_or(|word| word >> (region % 64) & 1 == 1);
        let begins = start + region * size;
        if is_free || begins + size > start + bytes { Lies::Free } else { Lies::Block { start: begins, bytes: size } }
    }

    /// Whether an address lies in memory that jemalloc took for its own structures: it takes that in whole huge pages
    /// (base.c), and extents lie in them.
    fn is_note(&self, address: u64) -> bool {
        self.notes.contains(&(address / HUGE_PAGE))
    }

    /// The entry of the nearest page below that has one: large extents have entries for their first and last pages
    /// only.
    fn leaf_before(&mut self, page: u64, floor: u64) -> Leaf {
        let (form, floor) = (self.form, floor.max(page.saturating_sub(MOST_BACK)));
        let mut end = page;
        while end > floor {
            let first = (end - 1) & !((1 << form.leaf_bits()) - 1);
            let pages = first.max(floor)..end;
            if let Some(words) = self.loaded(first, end - 1) {
                let entry =
                    |page: &u64| words.get((page - first) as usize * form.leaf_words()).is_some_and(|word| *word != 0);
                if let Some(found) = pages.clone().rev().find(entry) {
                    return self.leaf(found);
                }
            }
            end = pages.start;
        }
        Leaf::default()
    }

    /// The entry of a page.
    fn leaf(&mut self, page: u64) -> Leaf {
        let (form, bits) = (self.form, self.form.leaf_bits());
        let (first, index) = (page & !((1 << bits) - 1), (page & ((1 << bits) - 1)) as usize);
        let Some(words) = self.loaded(first, page) else { return Leaf::default() };
        let word = |at: usize| words.get(at).copied().unwrap_or(0);
        form.leaf([word(index * form.leaf_words()), word(index * form.leaf_words() + form.leaf_words() - 1)])
    }

    /// The leaf node whose first entry is of the page `first`; `page` is any page of it.
    fn loaded(&mut self, first: u64, page: u64) -> Option<&[u64]> {
        if !self.nodes.contains_key(&first) {
            if self.nodes.len() >= MOST_NODES {
                self.nodes.clear();
            }
            let node = self.node(page);
            self.nodes.insert(first, node);
        }
        self.nodes.get(&first)?.as_deref()
    }

    /// Reads the leaf node that has the entry of a page.
    fn node(&self, page: u64) -> Option<Vec<u64>> {
        let at = match self.form {
            Form::Narrow => self.child(self.root, page >> 18)?,
            Form::Wide => self.child(self.child(self.root, page >> 30)?, page >> 15 & 0x7fff)?,
        };
        let mut words = vec![0; self.form.leaf_words() << self.form.leaf_bits()];
        // What was never written to reads as zeros, like the rest.
        let (mut done, mut was_read) = (0, false);
        while done < words.len() {
            let end = (done + 65_536).min(words.len());
            let piece = words.get_mut(done..end)?;
            was_read |= self.memory.read(at + done as u64 * 8, piece) > 0;
            done = end;
        }
        was_read.then_some(words)
    }

    fn child(&self, node: u64, index: u64) -> Option<u64> {
        let bits = if self.form == Form::Narrow { 18 } else { 15 };
        let is_inside = index < 1 << bits;
        let child = self.memory.word(node.checked_add(index.checked_mul(8)?)?).filter(|_| is_inside)?;
        (child != 0 && child.is_multiple_of(8) && child < 1 << 56).then_some(child)
    }

    fn extent(&mut self, at: u64) -> Option<Extent> {
        if at == 0 || !at.is_multiple_of(8) {
            return None;
        }
        if self.extents.len() >= MOST_EXTENTS {
            self.extents.clear();
        }
        let memory = self.memory;
        *self.extents.entry(at).or_insert_with(|| {
            let mut words = [0; EXTENT_WORDS];
            (memory.read(at, &mut words) == EXTENT_WORDS).then_some(())?;
            let [_, start, size, _, _, _, _, _, free @ ..] = words;
            Some(Extent { start, bytes: size & !(PAGE - 1), free })
        })
    }
}

/// An extent, as far as it matters.
#[derive(Clone, Copy, Debug)]
struct Extent {
    start: u64,
    bytes: u64,
    /// A bit for each region of a slab: 1 where it is free.
    free: [u64; 8],
}

impl Form {
    /// Binary digits of a page's number that choose the entry in a leaf node.
    fn leaf_bits(self) -> u32 {
        if self == Form::Narrow { 18 } else { 15 }
    }

    fn leaf_words(self) -> usize {
        if self == Form::Narrow { 1 } else { 2 }
    }

    /// Takes an entry apart: its first and its last word.
    fn leaf(self, [first, last]: [u64; 2]) -> Leaf {
        let (extent, bits, size_class) = match self {
            Form::Narrow => (first & ((1 << 48) - 1) & !0x7f, first, first >> 48),
            Form::Wide => (first, last & 0xffff_ffff, (last & 0xffff_ffff) >> 5),
        };
        Leaf { extent, size_class, is_active: bits >> 2 & 7 == 0, is_slab: bits & 1 == 1 }
    }
}

/// How many freed blocks one of a thread's caches holds, by its head, which points to the last one's address in a block
/// of jemalloc's own, and the word two words behind that (`cache_bin.h`). `None`: these are no cache's words.
///
/// Words of a cache outlive it, on the stack of a thread that ended or wants none any more; their block may be the
/// program's by then. But a cache is emptied before it goes: one that holds nothing says nothing of where it points.
pub(super) fn cached(head: u64, around: u64) -> Option<u16> {
    let [_, full, empty, most] = [0, 16, 32, 48].map(|shift| (around >> shift) as u16);
    let (room, used) = (empty.wrapping_sub(full), empty.wrapping_sub(head as u16));
    let is_one = most > 0 && u32::from(room) == u32::from(most) * 8 && used <= room;
    is_one.then_some(used / 8)
}

/// Bytes of a size class by its number (`sc.h`: steps of 16 bytes up to 128, then four to a doubling).
fn size_of_class(number: u64) -> Option<u64> {
    match number {
        0 => Some(8),
        1..=8 => Some(number * 16),
        _ => {
            let (group, step) = ((number - 9) / 4, (number - 9) % 4);
            let base = 128u64.checked_shl(u32::try_from(group).ok()?).filter(|base| *base < 1 << 60)?;
            Some(base + base / 4 * (step + 1))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn size_classes_are_jemallocs() {
        let sizes: Vec<u64> = (0..14).filter_map(size_of_class).collect();
        assert_eq!(sizes, [8, 16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320]);
        assert_eq!((size_of_class(36), size_of_class(37), size_of_class(232)), (Some(16_384), Some(20_480), None));
    }

    #[test]
    fn a_cache_is_known_by_its_bounds_and_an_empty_one_by_its_head() {
        // As they were found: of a living thread; of one that had given its cache up, in whose place lay a block.
        assert_eq!(cached(0x7fbd_1580_04c0, 0x00c8_0648_0008_04c0), Some(49));
        assert_eq!(cached(0x7fbd_117f_1648, 0x00c8_1648_1008_1648), Some(0));
        // Across the end of what the short numbers count.
        assert_eq!(cached(0x7fbd_1580_fff0, 0x00c8_0008_f9c8_fff0), Some(3));
        for around in [0, 0x7fbd_1580_0000, 0x00c8_0648_0010_04c0, u64::MAX] {
            assert_eq!(cached(0x7fbd_1580_04c0, around), None, "{around:x}");
        }
    }

    #[test]
    fn entries_of_both_forms_are_taken_apart() {
        let narrow = Form::Narrow.leaf([9 << 48 | 0x7f12_3456_7880 | 1, 9 << 48 | 0x7f12_3456_7880 | 1]);
        assert_eq!(narrow, Leaf { extent: 0x7f12_3456_7880, size_class: 9, is_active: true, is_slab: true });
        let wide = Form::Wide.leaf([0x7f12_3456_7880, 40 << 5 | 1 << 2]);
        assert_eq!(wide, Leaf { extent: 0x7f12_3456_7880, size_class: 40, is_active: false, is_slab: false });
    }
}
