//! Names of a program's variables by their addresses: symbols of data, which blazesym does not look for.
//!
//! A variable lies in the data of a mapped file or in the zeros behind it; how far these reach says the file.

use super::mapped_file::MappedFile;
use super::module_file::ModuleFile;
use super::names;
use super::options::Options;
use crate::cli::profile::mapping::Mapping;
use crate::wire::elf::{self, Header, SECTION_BYTES, SHT_SYMTAB};
use crate::wire::maps_line::MapsLine;
use rustc_hash::FxHashMap;
use std::fs::File;
use std::os::unix::fs::FileExt;

/// Section with the symbols that a library exports.
const SHT_DYNSYM: u32 = 11;
/// Bytes of a symbol.
const SYMBOL_BYTES: usize = 24;
/// Type of a symbol of data.
const STT_OBJECT: u8 = 1;
/// Largest table that is read.
const MOST_BYTES: u64 = 1 << 28;

/// A variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Variable {
    /// Its name; `None`: the file has no symbol there.
    pub(crate) name: Option<String>,
    /// Bytes from its beginning, or from the file's.
    pub(crate) offset: u64,
    /// File name of the program or library.
    pub(crate) library: String,
}

/// The variables at addresses of a process that has these files mapped; `None`: none lies there.
pub(crate) fn name(maps: &[u8], addresses: &[u64], options: &Options) -> Vec<Option<Variable>> {
    let lines: Vec<MapsLine<'_>> = MapsLine::all(maps).collect();
    let mut files: FxHashMap<&[u8], Option<Symbols>> = FxHashMap::default();
    let mut one = |address: u64| {
        let after = lines.partition_point(|line| line.start <= address);
        let before = lines.get(..after)?;
        // The file's own mapping, or that which its zeros lie behind.
        let line = before.iter().rev().take(3).find(|line| line.path.starts_with(b"/"))?;
        let symbols = files.entry(line.path).or_insert_with(|| Symbols::of(&lines, line, options));
        symbols.as_ref()?.variable(address)
    };
    addresses.iter().map(|address| one(*address)).collect()
}

/// The variables of one file.
struct Symbols {
    library: String,
    /// What is to be added to the file's addresses.
    bias: u64,
    /// One past the last address of the file's memory, in its own terms.
    end: u64,
    /// First address, bytes and name, sorted.
    all: Vec<(u64, u64, String)>,
}

impl Symbols {
    fn of(lines: &[MapsLine<'_>], line: &MapsLine<'_>, options: &Options) -> Option<Symbols> {
        let path = String::from_utf8_lossy(line.path).into_owned();
        let first = lines.iter().find(|other| other.path == line.path)?;
        let mapped = MappedFile {
            is_deleted: line.is_deleted,
            range: (first.start, first.end),
            path: path.clone(),
            ..MappedFile::default()
        };
        let file = ModuleFile::find(&mapped, options).ok()?;
        let bias = first.start.wrapping_sub(file.elf.virtual_address(first.offset)?);
        let ends = file.elf.segments.iter().map(|segment| segment.address.saturating_add(segment.memory_bytes));
        let debug = file.elf.build_id.as_deref().filter(|_| !file.elf.has_symbol_table);
        let debug = debug.and_then(|id| super::debug_file::find(id, &file.path, options));
        let mut all = debug.map(|(_, file)| read(&file)).unwrap_or_default();
        if all.is_empty() {
            all = read(&file.file);
        }
        all.sort();
        Some(Symbols { library: Mapping::file_name_of(&path).to_owned(), bias, end: ends.max().unwrap_or(0), all })
    }

    fn variable(&self, address: u64) -> Option<Variable> {
        let address = address.wrapping_sub(self.bias);
        if address >= self.end.next_multiple_of(4096) {
            return None;
        }
        let after = self.all.partition_point(|(start, ..)| *start <= address);
        let before = self.all.get(..after).unwrap_or_default().iter().rev().take(8);
        let found = before.into_iter().find(|(start, bytes, _)| address < start.saturating_add((*bytes).max(1)));
        let library = self.library.clone();
        Some(match found {
            Some((start, _, name)) => Variable { name: Some(demangled(name)), offset: address - start, library },
            None => Variable { name: None, offset: address, library },
        })
    }
}

/// As its source calls it: without the numbers that compilers give to static variables of functions, and marks of ABIs.
fn demangled(name: &str) -> String {
    let (short, number) = name.rsplit_once('.').unwrap_or((name, ""));
    let name = if !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()) { short } else { name };
    names::demangled(name).replace("[abi:cxx11]", "")
}

/// The symbols of data of a file.
fn read(file: &File) -> Vec<(u64, u64, String)> {
    tables(file).unwrap_or_default()
}

fn tables(file: &File) -> Option<Vec<(u64, u64, String)>> {
    let header = Header::read(&at(file, 0, elf::HEADER_BYTES as u64)?).ok()?;
    let sections = at(file, header.sections.offset, (header.sections.count * SECTION_BYTES) as u64)?;
    let sections: Vec<&[u8]> = sections.chunks_exact(SECTION_BYTES).collect();
    let of_kind = |kind: u32| sections.iter().find(|section| elf::section_kind(section) == Some(kind));
    let section = of_kind(SHT_SYMTAB).or_else(|| of_kind(SHT_DYNSYM))?;
    let (offset, bytes) = elf::section_place(section)?;
    let symbols = at(file, offset, bytes)?;
    let names = sections.get(u32::from_le_bytes(*section.get(40..)?.first_chunk()?) as usize)?;
    let (offset, bytes) = elf::section_place(names)?;
    let names = at(file, offset, bytes)?;
    Some(symbols.chunks_exact(SYMBOL_BYTES).filter_map(|symbol| variable(symbol, &names)).collect())
}

/// A symbol of data that is defined (elf(5), `Elf64_Sym`).
fn variable(symbol: &[u8], names: &[u8]) -> Option<(u64, u64, String)> {
    let word = |at: usize| symbol.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes));
    let (name, kind) = (u32::from_le_bytes(*symbol.first_chunk()?), symbol.get(4)? & 0xf);
    let is_defined = symbol.get(6..8)? != [0, 0];
    let name = names.get(name as usize..)?.split(|byte| *byte == 0).next()?;
    (kind == STT_OBJECT && is_defined && !name.is_empty()).then_some(())?;
    Some((word(8)?, word(16)?, String::from_utf8_lossy(name).into_owned()))
}

fn at(file: &File, offset: u64, bytes: u64) -> Option<Vec<u8>> {
    let mut all = vec![0; usize::try_from(bytes).ok().filter(|_| bytes <= MOST_BYTES)?];
    file.read_exact_at(&mut all, offset).ok()?;
    Some(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    static SIGN: [u64; 4] = [3; 4];
    static ZEROS: std::sync::atomic::AtomicU64 = std::sync::atomic::AtomicU64::new(0);

    #[test]
    fn our_own_statics_have_names() {
        let maps = std::fs::read("/proc/self/maps").unwrap();
        let other = Box::new(7u64);
        let addresses = [&raw const SIGN[1] as u64, ZEROS.as_ptr() as u64, &raw const *other as u64, 64];
        let names = name(&maps, &addresses, &Options::default());
        let [sign, zeros, other, nothing] = &names[..] else { panic!("{names:?}") };
        let sign = sign.as_ref().unwrap();
        assert!(sign.name.as_ref().unwrap().contains("SIGN") && sign.offset == 8, "{sign:?}");
        assert!(zeros.as_ref().unwrap().name.as_ref().unwrap().contains("ZEROS"), "{zeros:?}");
        assert!(other.is_none() && nothing.is_none());
    }

    #[test]
    fn names_are_as_the_source_has_them() {
        assert_eq!(demangled("_ZN4shop5CacheE"), "shop::Cache");
        assert_eq!((demangled("cache"), demangled("_ZZZ")), ("cache".to_owned(), "_ZZZ".to_owned()));
        assert_eq!(
            (demangled("inner.1"), demangled("_ZN4shop6ordersB5cxx11E")),
            ("inner".into(), "shop::orders".into())
        );
    }
}
