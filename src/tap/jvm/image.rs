//! The loaded `libjvm.so`: where it lies, and the addresses of the symbols it exports.
//!
//! Used once, when the first pc without an ELF object is met. The sample may come from inside `dlopen`, so no
//! call into the dynamic linker is possible: the object is found in `/proc/self/maps` by raw system calls, and
//! its own `.dynsym` is searched through DT_GNU_HASH or DT_HASH (some builds have only the latter). Nothing allocates or locks.
//!
//! # Safety
//!
//! The object's segments are vouched for by the kernel's list of mappings and its program headers. A JVM never
//! unloads itself (its `JNI_DestroyJavaVM` leaves the library loaded).
#![allow(unsafe_code)]

use super::memory::Block;

/// Bytes of `/proc/self/maps` looked at in one go; a longer line than this is none of ours.
const CHUNK: usize = 4096;
/// The file name that every HotSpot has; OpenJ9 uses it too, but exports no tables.
const FILE_NAME: &[u8] = b"/libjvm.so";

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const DT_HASH: u64 = 4;
const DT_STRTAB: u64 = 5;
const DT_SYMTAB: u64 = 6;
const DT_GNU_HASH: u64 = 0x6fff_fef5;
/// Entries that a dynamic section or a program header table may have before we call it damaged.
const MANY: usize = 256;
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
    pub(super) fn find() -> Option<Image> {
        let base = base_of_libjvm()?;
        // SAFETY: the kernel lists a mapping of the file's first page at `base`; an ELF header and its program
        // headers lie in the first page of every linker's output.
        let head = unsafe { Block::vouched(base, CHUNK) };
        Image::at(base, head)
    }

    /// Reads the program headers and the dynamic section of the object whose first page is `head`.
    fn at(base: usize, head: Block) -> Option<Image> {
        if head.read::<u32>(0)? != u32::from_le_bytes(*b"\x7fELF") {
            return None;
        }
        let table = usize::try_from(head.read::<u64>(32)?).ok()?;
        let (entry_size, count) = (head.read::<u16>(54)?, head.read::<u16>(56)?);
        let (mut first, mut end, mut dynamic) = (None::<usize>, 0, None);
        for index in 0..usize::from(count).min(MANY) {
            let entry = table + index * usize::from(entry_size);
            let (address, size) = (head.read::<usize>(entry + 16)?, head.read::<usize>(entry + 40)?);
            match head.read::<u32>(entry)? {
                PT_LOAD => {
                    first = Some(first.map_or(address, |lowest| lowest.min(address)));
                    end = end.max(address.checked_add(size)?);
                }
                PT_DYNAMIC => dynamic = Some((address, size)),
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
    let maps = Descriptor::open(c"/proc/self/maps")?;
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

/// The start of a mapping at file offset 0 of our file name: `lo-hi perm offset dev inode   path`.
fn base_in_line(line: &[u8]) -> Option<usize> {
    let path = line.strip_suffix(b" (deleted)").unwrap_or(line);
    if !path.ends_with(FILE_NAME) {
        return None;
    }
    let mut fields = line.split(|&byte| byte == b' ');
    let range = fields.next()?;
    let offset = fields.nth(1)?;
    let low = range.split(|&byte| byte == b'-').next()?;
    (hex(offset)? == 0).then(|| hex(low)).flatten()
}

fn hex(digits: &[u8]) -> Option<usize> {
    digits.iter().try_fold(0_usize, |number, &digit| {
        let value = char::from(digit).to_digit(16)?;
        number.checked_mul(16)?.checked_add(value as usize)
    })
}

/// An open file descriptor, closed when dropped.
struct Descriptor(i32);

impl Descriptor {
    fn open(path: &std::ffi::CStr) -> Option<Descriptor> {
        // SAFETY: `path` is NUL-terminated and outlives the call.
        let number = unsafe { libc::open(path.as_ptr(), libc::O_RDONLY | libc::O_CLOEXEC) };
        (number >= 0).then_some(Descriptor(number))
    }

    fn read(&self, into: &mut [u8]) -> Option<usize> {
        // SAFETY: `into` is an exclusive buffer of exactly that length.
        let count = unsafe { libc::read(self.0, into.as_mut_ptr().cast(), into.len()) };
        usize::try_from(count).ok()
    }
}

impl Drop for Descriptor {
    fn drop(&mut self) {
        // SAFETY: we opened it and nobody else knows its number.
        unsafe { libc::close(self.0) };
    }
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
        let base = hex(line.split('-').next().unwrap().as_bytes()).unwrap();
        // SAFETY: the line names a mapping of libc's first page, which stays.
        let image = Image::at(base, unsafe { Block::vouched(base, CHUNK) }).unwrap();
        assert_eq!(image.symbol(b"getpid"), Some(expected));
        assert_eq!(image.symbol(b"no_such_symbol_here"), None);
        assert!(image.memory().contains(expected));
    }
}
