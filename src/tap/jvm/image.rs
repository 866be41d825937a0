//! The loaded `libjvm.so`: where it lies, its build id, and the addresses of the symbols it exports.
//!
//! Used once, when the first pc without an ELF object is met. The sample may come from inside `dlopen`, so no
//! call into the dynamic linker is possible: the object is found among the mappings, by raw system calls on an errand,
//! and its own `.dynsym` is searched through DT_GNU_HASH or DT_HASH (some builds have only the latter). Nothing
//! allocates or locks.
//!
//! # Safety
//!
//! The object's segments are vouched for by the kernel's list of mappings and its program headers. A JVM never
//! unloads itself (its `JNI_DestroyJavaVM` leaves the library loaded).
#![allow(unsafe_code)]

use super::memory::{Block, Bytes};
use crate::tap::errand::Errand;
use crate::tap::os::file::File;
use crate::wire::elf;
use crate::wire::maps_line::MapsLine;

/// Bytes of `/proc/self/maps` looked at in one go; a longer line than this is none of ours.
const CHUNK: usize = 4096;
/// The file name that every HotSpot has; OpenJ9 uses it too, but exports no tables.
const FILE_NAME: &[u8] = b"/libjvm.so";

const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
/// Entries that a dynamic section may have before we call it damaged.
const MANY: usize = 256;
/// Bytes of a segment of notes that are looked at; a build id and what may stand before it take a hundred.
const NOTES_BYTES: usize = 256;
/// Size of an Elf64_Sym, and where its value stands.
const SYMBOL_SIZE: usize = 24;
const SYMBOL_VALUE: usize = 8;

/// A shared object in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Image {
    memory: Block,
    bias: usize,
    symbols: Symbols,
}

/// Addresses of the dynamic symbol table's parts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Symbols {
    table: usize,
    names: usize,
    gnu_hash: Option<usize>,
    sysv_hash: Option<usize>,
}

impl Image {
    /// Finds `libjvm.so` among the mappings of this process.
    pub(super) fn find(_: &Errand) -> Option<Image> {
        let base = base_of_libjvm()?;
        // SAFETY: the kernel lists a mapping of the file's first page at `base`; an ELF header and its program
        // headers lie in the first page of every linker's output.
        let head = unsafe { Block::vouched(base, CHUNK) };
        Image::at(base, head)
    }

    /// Reads the program headers and the dynamic section of the object whose first page is `head`: what the loader has
    /// mapped the object by.
    fn at(base: usize, head: Block) -> Option<Image> {
        let (mut first, mut end, mut dynamic) = (None::<usize>, 0, None);
        for segment in segments(head)? {
            let segment = segment?;
            let (address, size) = (segment.address as usize, segment.memory_bytes as usize);
            match segment.kind {
                elf::PT_LOAD => {
                    first = Some(first.map_or(address, |lowest| lowest.min(address)));
                    end = end.max(address.checked_add(size)?);
                }
                elf::PT_DYNAMIC => dynamic = Some((address, size)),
                _ => {}
            }
        }
        let (first, (dynamic, dynamic_size)) = (first? & !(CHUNK - 1), dynamic?);
        let bias = base.wrapping_sub(first);
        // SAFETY: these are the object's own segments as the dynamic linker mapped them; holes between
        // segments are never read, because every address comes from the object's own tables.
        let memory = unsafe { Block::vouched(base, end.checked_sub(first)?) };
        let section = memory.part(dynamic.checked_sub(first)?, dynamic_size)?;
        Some(Image { memory, bias, symbols: Symbols::from_dynamic(section, memory, bias)? })
    }

    /// The object's bytes, `.bss` included.
    pub(super) fn memory(&self) -> Block {
        self.memory
    }

    /// What is added to the object's own addresses.
    pub(super) fn bias(&self) -> usize {
        self.bias
    }

    /// The linker's name for this build, from the notes of the object.
    pub(super) fn build_id(&self) -> Option<BuildId> {
        let notes = segments(self.memory)?.flatten().filter(|segment| segment.kind == elf::PT_NOTE);
        notes
            .filter_map(|segment| {
                let start = self.bias.wrapping_add(segment.address as usize).wrapping_sub(self.memory.start());
                let notes = self.memory.part(start, segment.memory_bytes as usize)?;
                let mut bytes = [0; NOTES_BYTES];
                for (byte, value) in bytes.iter_mut().zip(Bytes::new(notes, 0)) {
                    *byte = value;
                }
                BuildId::of(elf::build_id(&bytes)?)
            })
            .next()
    }

    /// The address of an exported symbol.
    pub(super) fn symbol(&self, name: &[u8]) -> Option<usize> {
        let index = match (self.symbols.gnu_hash, self.symbols.sysv_hash) {
            (Some(table), _) => self.find_by_gnu_hash(table, name),
            (None, Some(table)) => self.find_by_sysv_hash(table, name),
            (None, None) => None,
        }?;
        let value = self.memory.read_at::<usize>(self.symbols.table + index * SYMBOL_SIZE + SYMBOL_VALUE)?;
        Some(self.bias.wrapping_add(value))
    }

    fn is_named(&self, index: usize, name: &[u8]) -> bool {
        let offset = self.memory.read_at::<u32>(self.symbols.table + index * SYMBOL_SIZE);
        offset.is_some_and(|offset| self.memory.text_is(self.symbols.names + offset as usize, name))
    }

    /// DT_GNU_HASH: four words of header, a Bloom filter (skipped: it only speeds up misses), buckets, chains.
    fn find_by_gnu_hash(&self, table: usize, name: &[u8]) -> Option<usize> {
        let word = |index: usize| self.memory.read_at::<u32>(table + 4 * index);
        let (buckets, first_hashed, bloom_words) = (word(0)?, word(1)?, word(2)?);
        let hash = name.iter().fold(5381_u32, |hash, &byte| hash.wrapping_mul(33).wrapping_add(byte.into()));
        let bucket_words = 4 + 2 * bloom_words as usize;
        let mut index = word(bucket_words + hash.checked_rem(buckets)? as usize)?;
        while index >= first_hashed && index != 0 {
            let link = word(bucket_words + buckets as usize + (index - first_hashed) as usize)?;
            if link | 1 == hash | 1 && self.is_named(index as usize, name) {
                return Some(index as usize);
            }
            if link & 1 == 1 {
                break;
            }
            index += 1;
        }
        None
    }

    /// DT_HASH: numbers of buckets and chains, then both arrays.
    fn find_by_sysv_hash(&self, table: usize, name: &[u8]) -> Option<usize> {
        let word = |index: usize| self.memory.read_at::<u32>(table + 4 * index);
        let (buckets, chains) = (word(0)?, word(1)?);
        let hash = name.iter().fold(0_u32, |hash, &byte| {
            let shifted = (hash << 4).wrapping_add(byte.into());
            let high = shifted & 0xf000_0000;
            (shifted ^ (high >> 24)) & !high
        });
        let mut index = word(2 + hash.checked_rem(buckets)? as usize)?;
        for _ in 0..chains {
            if index == 0 {
                break;
            }
            if self.is_named(index as usize, name) {
                return Some(index as usize);
            }
            index = word(2 + buckets as usize + index as usize)?;
        }
        None
    }
}

/// The program headers of an object that begins with `head`; they lie in its first page.
fn segments(head: Block) -> Option<impl Iterator<Item = Option<elf::Segment>>> {
    let header = elf::Header::read(&head.bytes::<{ elf::HEADER_BYTES }>(0)?).ok()?;
    let table = usize::try_from(header.segments.offset).ok()?;
    Some((0..header.segments.count).map(move |index| {
        elf::Segment::read(&head.bytes::<{ elf::SEGMENT_BYTES }>(table.checked_add(index * elf::SEGMENT_BYTES)?)?)
    }))
}

/// A build id: 20 bytes, as linkers make it by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct BuildId {
    bytes: [u8; Self::MOST],
    len: usize,
}

impl BuildId {
    const MOST: usize = 32;

    /// `None`: it is longer than any that we know.
    pub(super) fn of(id: &[u8]) -> Option<BuildId> {
        let mut bytes = [0; Self::MOST];
        bytes.get_mut(..id.len())?.copy_from_slice(id);
        Some(BuildId { bytes, len: id.len() })
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Symbols {
    /// Picks the addresses out of the dynamic section, which the linker may or may not have relocated in place.
    fn from_dynamic(section: Block, memory: Block, bias: usize) -> Option<Symbols> {
        let (mut table, mut names, mut gnu_hash, mut sysv_hash) = (None, None, None, None);
        for index in 0..MANY {
            let Some(tag) = section.read::<u64>(16 * index) else { break };
            let value = section.read::<usize>(16 * index + 8)?;
            let address = if memory.contains(value) { value } else { bias.wrapping_add(value) };
            match tag {
                0 => break,
                DT_SYMTAB => table = Some(address),
                DT_STRTAB => names = Some(address),
                DT_GNU_HASH => gnu_hash = Some(address),
                DT_HASH => sysv_hash = Some(address),
                _ => {}
            }
        }
        Some(Symbols { table: table?, names: names?, gnu_hash, sysv_hash })
    }
}

/// Where the kernel has mapped the first page of a `libjvm.so`.
fn base_of_libjvm() -> Option<usize> {
    let maps = File::own_maps()?;
    let mut buffer = [0_u8; CHUNK];
    let mut filled = 0;
    loop {
        let space = buffer.get_mut(filled..)?;
        let count = maps.read(space)?;
        filled += count;
        let lines = buffer.get(..filled)?;
        let complete = lines.iter().rposition(|&byte| byte == b'\n').map_or(0, |end| end + 1);
        if let Some(base) = lines.get(..complete)?.split(|&byte| byte == b'\n').find_map(base_in_line) {
            return Some(base);
        }
        if count == 0 || complete == 0 {
            return None;
        }
        buffer.copy_within(complete..filled, 0);
        filled -= complete;
    }
}

/// The start of a mapping at file offset 0 of our file name.
fn base_in_line(line: &[u8]) -> Option<usize> {
    let line = MapsLine::read(line).filter(|line| line.offset == 0 && line.path.ends_with(FILE_NAME))?;
    usize::try_from(line.start).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_map_line_counts_only_at_offset_zero_and_with_our_name() {
        let base = |line: &str| base_in_line(line.as_bytes());
        assert_eq!(base("7f00a000-7f00b000 r--p 00000000 fe:01 12   /usr/lib/server/libjvm.so"), Some(0x7f00_a000));
        assert_eq!(base("7f00a000-7f00b000 r--p 00000000 fe:01 12   /j d k/libjvm.so (deleted)"), Some(0x7f00_a000));
        assert_eq!(base("7f00a000-7f00b000 r-xp 00001000 fe:01 12   /usr/lib/server/libjvm.so"), None);
        assert_eq!(base("7f00a000-7f00b000 r--p 00000000 fe:01 12   /usr/lib/libjvm.so.bak"), None);
        assert_eq!(base(""), None);
    }

    #[test]
    fn symbols_of_a_real_object_are_found_where_the_linker_found_them() {
        // SAFETY: `getpid` is a function of libc; only its address is taken.
        let expected = libc::getpid as *const () as usize;
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let line = maps.lines().find(|line| line.ends_with("/libc.so.6")).expect("the test runs on glibc");
        let base = MapsLine::read(line.as_bytes()).unwrap().start as usize;
        // SAFETY: the line names a mapping of libc's first page, which stays.
        let image = Image::at(base, unsafe { Block::vouched(base, CHUNK) }).unwrap();
        assert_eq!(image.symbol(b"getpid"), Some(expected));
        assert_eq!(image.symbol(b"no_such_symbol_here"), None);
        assert!(image.memory().contains(expected));
        assert_eq!(image.build_id().map(|id| id.bytes().len()), Some(20), "SHA-1");
    }
}
