//! What memory the machine holds for itself: the reserved Java heap, the card table, its classes, and how
//! much of the heap is in use.
//!
//! For the keeper alone, some times a minute at most, and never on a sample's way: so this file may allocate. It reads
//! while the machine runs. Static fields lie in the library; all else is read by checked copies, as classes may be
//! unloaded meanwhile, and is believed only where two places agree: the card table covers the heap, a class's constants
//! name the class. What does not agree is not told.

use super::memory::{Block, copy_some, copy_value};
use super::vmstructs::VmStructs;
use std::collections::BTreeSet;
use std::ops::Range;

/// Classes that are looked at; a machine with more of them is told in part.
const MOST_CLASSES: usize = 1 << 18;
/// Bytes at a class's begin that hold all fields that are read.
const CLASS_BYTES: usize = 320;
/// Metaspace is committed in pieces of this size at least (metaspaceSettings.hpp), before JDK 16 of a few pages.
const PIECE: usize = 64 << 10;
/// Flags that the list of them is searched for.
const MOST_FLAGS: usize = 4096;

/// Where the fields stand. Each is absent where a release does not export it.
#[derive(Debug)]
pub(super) struct Holdings {
    vm: Block,
    collected_heap: usize,
    reserved: MemRegion,
    cards: Option<Cards>,
    classes: Option<Classes>,
    usage: Option<Usage>,
}

/// A pointer and a number of words.
#[derive(Clone, Copy, Debug)]
struct MemRegion {
    start: usize,
    words: usize,
}

impl MemRegion {
    fn derive(tables: &VmStructs, type_name: &str, field: &str) -> Option<MemRegion> {
        let at = tables.offset(type_name, field)?;
        let start = at + tables.offset("MemRegion", "_start")?;
        Some(MemRegion { start, words: at + tables.offset("MemRegion", "_word_size")? })
    }

    /// The region of an object, if it is one of pages in user space.
    fn read(self, object: usize) -> Option<Range<usize>> {
        let start = word(object, self.start)?;
        let end = start.checked_add(word(object, self.words)?.checked_mul(8)?)?;
        (start > 0 && start.is_multiple_of(4096) && start < end && end < 1 << 48).then_some(start..end)
    }
}

/// From the heap or the library to the card table.
#[derive(Clone, Copy, Debug)]
enum Way {
    /// JDK 8: the heap's barrier set is the table.
    Heap(usize),
    /// Later ones: a static pointer to the barrier set, and its pointer to the table.
    Static(usize, usize),
}

#[derive(Clone, Copy, Debug)]
struct Cards {
    way: Way,
    whole_heap: MemRegion,
    map: usize,
}

impl Cards {
    fn derive(tables: &VmStructs) -> Option<Cards> {
        let (type_name, way) = match tables.address("BarrierSet", "_barrier_set") {
            Some(place) => ("CardTable", Way::Static(place, tables.offset("CardTableBarrierSet", "_card_table")?)),
            None => ("CardTableModRefBS", Way::Heap(tables.offset("CollectedHeap", "_barrier_set")?)),
        };
        let whole_heap = MemRegion::derive(tables, type_name, "_whole_heap")?;
        Some(Cards { way, whole_heap, map: tables.offset(type_name, "_byte_map")? })
    }

    /// Where the table begins; `None` with a collector that has none: what lies in its place covers no heap.
    fn find(&self, vm: Block, object: usize, heap: &Range<usize>) -> Option<usize> {
        let table = match self.way {
            Way::Heap(offset) => word(object, offset)?,
            Way::Static(place, offset) => word(vm.read_at(place)?, offset)?,
        };
        let covered = self.whole_heap.read(table)?;
        (covered.start == heap.start && covered.end <= heap.end).then(|| word(table, self.map)).flatten()
    }
}

/// Where the tree of classes begins, and its fields.
#[derive(Clone, Copy, Debug)]
struct Classes {
    root: usize,
    subclass: usize,
    sibling: usize,
    layout: usize,
    constants: usize,
    holder: usize,
}

impl Classes {
    fn derive(tables: &VmStructs) -> Option<Classes> {
        let names = [
            ("vmClasses", "_klasses[static_cast<int>(vmClassID::Object_klass_knum)]"),
            ("SystemDictionary", "_well_known_klasses[SystemDictionary::Object_klass_knum]"),
        ];
        let classes = Classes {
            root: names.iter().find_map(|(type_name, field)| tables.address(type_name, field))?,
            subclass: tables.offset("Klass", "_subklass")?,
            sibling: tables.offset("Klass", "_next_sibling")?,
            layout: tables.offset("Klass", "_layout_helper")?,
            constants: tables.offset("InstanceKlass", "_constants")?,
            holder: tables.offset("ConstantPool", "_pool_holder")?,
        };
        let fields = [classes.subclass, classes.sibling, classes.layout, classes.constants];
        fields.iter().all(|offset| offset + 8 <= CLASS_BYTES).then_some(classes)
    }

    /// Visits addresses of classes and of their constants: one at least in each piece of memory that holds some. Where
    /// both lie in pieces that are known already, nothing more is asked.
    fn each(&self, vm: Block, visit: &mut dyn FnMut(usize)) {
        let mut waiting: Vec<usize> = vm.read_at(self.root).into_iter().collect();
        let (mut bytes, mut pieces) = ([0; CLASS_BYTES], BTreeSet::new());
        for _ in 0..MOST_CLASSES {
            let Some(class) = waiting.pop() else { return };
            let known = copy_some(class, &mut bytes);
            let field = |offset: usize| {
                let field = bytes.get(..known)?.get(offset..offset + 8)?;
                Some(usize::from_ne_bytes(field.try_into().ok()?)).filter(|&value| value != 0)
            };
            // Of an array the number is negative (klass.hpp); it has no constants of its own.
            let is_array = bytes.get(self.layout + 3).is_some_and(|&byte| byte >= 0x80);
            if !is_array {
                let Some(constants) = field(self.constants) else { continue };
                let of = [class / PIECE, constants / PIECE];
                if !of.iter().all(|piece| pieces.contains(piece)) {
                    if word(constants, self.holder) != Some(class) {
                        continue;
                    }
                    pieces.extend(of);
                    visit(class);
                    visit(constants);
                }
            }
            waiting.extend(field(self.sibling));
            waiting.extend(field(self.subclass));
        }
    }
}

/// How the collector that runs says what is in use.
#[derive(Clone, Copy, Debug)]
enum Usage {
    /// A number in the heap's object.
    Number(usize),
    /// A number behind a pointer in the heap's object.
    Pointed(usize, usize),
    /// Spaces, each from its bottom to its top.
    Spaces { bottom: usize, top: usize, spaces: [Option<Space>; 3] },
}

/// The way to a space: a static pointer or a field of the heap's object, and a pointer in what it leads to.
#[derive(Clone, Copy, Debug)]
struct Space {
    is_static: bool,
    generation: usize,
    space: usize,
}

impl Usage {
    fn derive(tables: &VmStructs, vm: Block) -> Option<Usage> {
        let is_set = |flag: &str| flag_value(tables, vm, flag) == Some(1);
        if is_set("UseG1GC") {
            return Some(Usage::Number(tables.offset("G1CollectedHeap", "_summary_bytes_used")?));
        }
        if is_set("UseShenandoahGC") {
            let own = tables.offset("ShenandoahHeap", "_used").map(Usage::Number);
            let global = || {
                let global = tables.offset("ShenandoahHeap", "_global_generation")?;
                Some(Usage::Pointed(global, tables.offset("ShenandoahGeneration", "_used")?))
            };
            return own.or_else(global);
        }
        if is_set("UseZGC") {
            // JDK 21 has two of them, and calls the one without generations X.
            let names = match flag_value(tables, vm, "ZGenerational") {
                Some(0) => ["XCollectedHeap", "XHeap", "XPageAllocator"],
                _ => ["ZCollectedHeap", "ZHeap", "ZPageAllocator"],
            };
            let fields = names.into_iter().zip(["_heap", "_page_allocator", "_used"]);
            let offsets = fields.map(|(type_name, field)| tables.offset(type_name, field));
            return Some(Usage::Number(offsets.sum::<Option<usize>>()?));
        }
        if is_set("UseParallelGC") {
            let space = |place: &str, type_name: &str, field: &str| {
                let generation = tables.address("ParallelScavengeHeap", place)?;
                Some(Space { is_static: true, generation, space: tables.offset(type_name, field)? })
            };
            let spaces = [
                space("_young_gen", "PSYoungGen", "_eden_space"),
                space("_young_gen", "PSYoungGen", "_from_space"),
                space("_old_gen", "PSOldGen", "_object_space"),
            ];
            let bottom = tables.offset("MutableSpace", "_bottom");
            let bottom = bottom.or_else(|| tables.offset("ImmutableSpace", "_bottom"))?;
            return Some(Usage::Spaces { bottom, top: tables.offset("MutableSpace", "_top")?, spaces });
        }
        if is_set("UseSerialGC") {
            let in_heap =
                |field: &str| ["GenCollectedHeap", "SerialHeap"].iter().find_map(|heap| tables.offset(heap, field));
            let space = |place: &str, type_name: &str, field: &str| {
                let space = tables.offset(type_name, field)?;
                Some(Space { is_static: false, generation: in_heap(place)?, space })
            };
            let spaces = [
                space("_young_gen", "DefNewGeneration", "_eden_space"),
                space("_young_gen", "DefNewGeneration", "_from_space"),
                space("_old_gen", "TenuredGeneration", "_the_space"),
            ];
            let bottom = tables.offset("ContiguousSpace", "_bottom").or_else(|| tables.offset("Space", "_bottom"))?;
            return Some(Usage::Spaces { bottom, top: tables.offset("ContiguousSpace", "_top")?, spaces });
        }
        None
    }

    fn read(&self, vm: Block, heap: usize) -> Option<u64> {
        let bytes = match *self {
            Usage::Number(offset) => word(heap, offset)?,
            Usage::Pointed(pointer, offset) => word(word(heap, pointer)?, offset)?,
            Usage::Spaces { bottom, top, spaces } => spaces.into_iter().try_fold(0, |sum: usize, space| {
                let space = space?;
                let generation = match space.is_static {
                    true => vm.read_at(space.generation)?,
                    false => word(heap, space.generation)?,
                };
                let space = word(generation, space.space)?;
                sum.checked_add(word(space, top)?.checked_sub(word(space, bottom)?)?)
            })?,
        };
        // More than user space has is no size.
        (bytes < 1 << 47).then_some(bytes as u64)
    }
}

impl Holdings {
    /// Where they stand in this machine; `None`: it does not say where its heap lies.
    pub(super) fn derive(tables: &VmStructs, vm: Block) -> Option<Holdings> {
        Some(Holdings {
            vm,
            collected_heap: tables.address("Universe", "_collectedHeap")?,
            reserved: MemRegion::derive(tables, "CollectedHeap", "_reserved")?,
            cards: Cards::derive(tables),
            classes: Classes::derive(tables),
            usage: Usage::derive(tables, vm),
        })
    }

    fn heap_object(&self) -> Option<usize> {
        self.vm.read_at(self.collected_heap).filter(|&object| object != 0)
    }

    /// The reserved Java heap; `None` with a collector that reserves it elsewhere (ZGC: the kernel names its mappings).
    pub(super) fn java_heap(&self) -> Option<Range<usize>> {
        self.reserved.read(self.heap_object()?)
    }

    /// Bytes of the heap that are in use.
    pub(super) fn java_used(&self) -> Option<u64> {
        self.usage?.read(self.vm, self.heap_object()?)
    }

    /// An address in the card table.
    pub(super) fn card_table(&self) -> Option<usize> {
        self.cards?.find(self.vm, self.heap_object()?, &self.java_heap()?)
    }

    /// Visits addresses in metaspace: one or two of each class.
    pub(super) fn each_class(&self, visit: &mut dyn FnMut(usize)) {
        if let Some(classes) = &self.classes {
            classes.each(self.vm, visit);
        }
    }
}

/// The word at an offset of an object that nobody vouches for.
fn word(object: usize, offset: usize) -> Option<usize> {
    copy_value::<usize>(object.checked_add(offset)?).ok()
}

/// The first byte of a flag's value.
fn flag_value(tables: &VmStructs, vm: Block, name: &str) -> Option<u8> {
    let type_name = ["JVMFlag", "Flag"].into_iter().find(|type_name| tables.size_of(type_name).is_some())?;
    let size = tables.size_of(type_name)?;
    let (name_at, value_at) = (tables.offset(type_name, "_name")?, tables.offset(type_name, "_addr")?);
    let first: usize = vm.read_at(tables.address(type_name, "flags")?)?;
    let count: usize = vm.read_at(tables.address(type_name, "numFlags")?)?;
    (0..count.min(MOST_FLAGS)).find_map(|index| {
        let flag = first.checked_add(index * size)?;
        vm.text_is(vm.read_at(flag + name_at)?, name.as_bytes())
            .then(|| vm.read_at(vm.read_at(flag + value_at)?))
            .flatten()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_of_classes_is_walked_and_what_is_no_class_is_not_believed() {
        // Fields: 0 layout, 1 subclass, 2 sibling, 3 constants. Constants: 0 holder.
        let mut classes = vec![[0_usize; CLASS_BYTES / 8]; 4];
        let mut pools = [0_usize; 4];
        let class = |n: usize| classes.as_ptr().expose_provenance() + n * CLASS_BYTES;
        let addresses = [0, 1, 2, 3].map(class);
        let pool = |n: usize| pools.as_ptr().expose_provenance() + 8 * n;
        let pool_at = [0, 1, 2, 3].map(pool);
        pools = [addresses[0], 1, addresses[2], addresses[3]];
        let array = 0x8000_0000_usize;
        // The root; below it one whose constants are another's; an array, and its sibling.
        classes[0][..4].copy_from_slice(&[8, addresses[1], 0, pool_at[0]]);
        classes[1][..4].copy_from_slice(&[8, 7, 7, pool_at[1]]);
        classes[2][..4].copy_from_slice(&[array, 0, addresses[3], 0]);
        classes[3][..4].copy_from_slice(&[8, 0, 0, pool_at[3]]);
        let root = addresses[0];
        // SAFETY: a word of this frame.
        #[allow(unsafe_code, reason = "a block over the test's own word")]
        let vm = unsafe { Block::vouched((&raw const root).expose_provenance(), 8) };
        let layout = Classes { root: vm.start(), subclass: 8, sibling: 16, layout: 0, constants: 24, holder: 0 };
        let found = || {
            let mut found = vec![];
            layout.each(vm, &mut |address| found.push(address));
            found
        };
        assert_eq!(found(), [addresses[0], pool_at[0]]);
        classes[0][1] = addresses[2];
        assert_eq!(std::hint::black_box(&pools)[0], addresses[0]);
        // What lies in a piece that is known is not told again.
        let of = |address: &usize| address / PIECE;
        let pieces: BTreeSet<usize> =
            [&addresses[..1], &pool_at[..1], &addresses[3..], &pool_at[3..]].concat().iter().map(of).collect();
        assert_eq!(found().iter().map(of).collect::<BTreeSet<usize>>(), pieces);
        // A circle ends.
        classes[3][2] = addresses[2];
        assert!(found().len() >= 2);
    }
}
