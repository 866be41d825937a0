//! The few facts of an ELF file that heaptap needs itself: where segments lie, the build id, the
//! interpreter. Symbols and DWARF are blazesym's.
//!
//! Reads by offset, little at a time, and believes nothing: sizes are bounded, every read checked.
//! Little-endian 64-bit files only, which is what heaptap profiles.

use crate::cli::open;
use crate::wire::elf::{
    self, HEADER_BYTES, Header, PT_DYNAMIC, PT_INTERP, PT_LOAD, PT_NOTE, Refusal, SECTION_BYTES, SEGMENT_BYTES,
    SHT_SYMTAB, Segment, Segments, Table,
};
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Longest interpreter path or note section that is read.
const MAX_READ: u64 = 64 * 1024;

/// What kind of machine a file is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Machine {
    /// EM_X86_64.
    X86_64,
    /// EM_AARCH64.
    Aarch64,
    /// Another number of `e_machine`.
    Other(u16),
}

impl Machine {
    /// The machine that this program was built for.
    pub(crate) const OURS: Machine = if cfg!(target_arch = "aarch64") { Machine::Aarch64 } else { Machine::X86_64 };
}

/// The facts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Elf {
    /// What it runs on.
    pub(crate) machine: Machine,
    /// PT_LOAD entries.
    pub(crate) segments: Vec<Segment>,
    /// Path in PT_INTERP: the loader of a dynamic program.
    pub(crate) interpreter: Option<String>,
    /// Has PT_DYNAMIC: the loader has something to do.
    pub(crate) is_dynamic: bool,
    /// GNU build id as lower-case hex.
    pub(crate) build_id: Option<String>,
    /// Has a full symbol table, not only exports.
    pub(crate) has_symbol_table: bool,
    /// A section says where more debug information lies: in which file, by name.
    pub(crate) names_other_files: bool,
}

/// Why a file gave no facts.
#[derive(Debug)]
pub(crate) enum ElfError {
    /// It could not be read.
    Io(io::Error),
    /// It does not begin as ELF does.
    NotElf,
    /// 32-bit or big-endian.
    OtherClass,
    /// Its tables point outside it.
    Damaged,
}

impl std::fmt::Display for ElfError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            ElfError::Io(error) => write!(f, "{error}"),
            ElfError::NotElf => f.write_str("not an ELF file"),
            ElfError::OtherClass => f.write_str("a 32-bit or big-endian ELF file"),
            ElfError::Damaged => f.write_str("a damaged ELF file"),
        }
    }
}

impl Elf {
    /// Reads the facts of a regular file that the user named.
    pub(crate) fn open(path: &Path) -> Result<Elf, ElfError> {
        Elf::read(&open::regular(path).map_err(ElfError::Io)?)
    }

    /// Reads the facts of a file.
    pub(crate) fn read(file: &File) -> Result<Elf, ElfError> {
        let header = read_at(file, 0, HEADER_BYTES as u64).ok_or(ElfError::NotElf)?;
        let header = Header::read(&header).map_err(|refusal| match refusal {
            Refusal::NotElf => ElfError::NotElf,
            Refusal::OtherClass => ElfError::OtherClass,
            Refusal::Damaged => ElfError::Damaged,
        })?;
        let mut elf = Elf {
            machine: machine(header.machine),
            segments: Vec::new(),
            interpreter: None,
            is_dynamic: false,
            build_id: None,
            has_symbol_table: false,
            names_other_files: false,
        };
        elf.program_headers(file, &header).ok_or(ElfError::Damaged)?;
        elf.has_symbol_table = has_symbol_table(file, &header).unwrap_or(false);
        elf.names_other_files = names_other_files(file, &header).unwrap_or(true);
        Ok(elf)
    }

    fn program_headers(&mut self, file: &File, header: &Header) -> Option<()> {
        let table = entries(file, header.segments, SEGMENT_BYTES)?;
        for segment in Segments::new(&table).iter() {
            let bytes = || read_at(file, segment.offset, segment.file_bytes.min(MAX_READ));
            match segment.kind {
                PT_LOAD => self.segments.push(segment),
                PT_DYNAMIC => self.is_dynamic = true,
                PT_INTERP => self.interpreter = bytes().and_then(|bytes| text(&bytes)),
                PT_NOTE if self.build_id.is_none() => self.build_id = bytes().and_then(|notes| build_id(&notes)),
                _ => {}
            }
        }
        Some(())
    }

    /// The address in the file's own terms of a byte of the file. A file without segments (the
    /// Java side-car) is its own memory image.
    pub(crate) fn virtual_address(&self, file_offset: u64) -> Option<u64> {
        if self.segments.is_empty() {
            return Some(file_offset);
        }
        let segment = self.segments.iter().find(|segment| {
            file_offset.checked_sub(segment.offset).is_some_and(|within| within < segment.file_bytes)
        })?;
        segment.address.checked_add(file_offset - segment.offset)
    }
}

fn machine(number: u16) -> Machine {
    match number {
        62 => Machine::X86_64,
        183 => Machine::Aarch64,
        other => Machine::Other(other),
    }
}

fn has_symbol_table(file: &File, header: &Header) -> Option<bool> {
    let table = entries(file, header.sections, SECTION_BYTES)?;
    Some(table.chunks_exact(SECTION_BYTES).any(|entry| elf::section_kind(entry) == Some(SHT_SYMTAB)))
}

/// By the names of its sections; `None` if they cannot be told.
fn names_other_files(file: &File, header: &Header) -> Option<bool> {
    const SECTIONS: [&[u8]; 3] = [b".gnu_debuglink", b".gnu_debugaltlink", b".debug_sup"];
    let table = entries(file, header.sections, SECTION_BYTES)?;
    let mut entries = table.chunks_exact(SECTION_BYTES);
    let Some(names) = entries.clone().nth(header.names_section) else { return Some(false) };
    let (offset, size) = elf::section_place(names)?;
    let names = read_at(file, offset, size)?;
    Some(entries.any(|entry| {
        let name =
            elf::section_name(entry).and_then(|at| names.get(at..)).and_then(|name| name.split(|b| *b == 0).next());
        name.is_none_or(|name| SECTIONS.contains(&name))
    }))
}

/// The headers of a table.
pub(super) fn entries(file: &File, table: Table, entry_bytes: usize) -> Option<Vec<u8>> {
    read_at(file, table.offset, (table.count * entry_bytes) as u64)
}

/// As lower-case hex.
fn build_id(notes: &[u8]) -> Option<String> {
    Some(elf::build_id(notes)?.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8(bytes.get(..end)?.to_vec()).ok()
}

/// Reads exactly `size` bytes; at most what a table of 65,535 entries can need.
pub(super) fn read_at(file: &File, offset: u64, size: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).ok().filter(|&size| size <= 65_535 * 64)?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own() -> std::path::PathBuf {
        std::env::current_exe().unwrap()
    }

    #[test]
    fn our_own_program_is_understood() {
        let elf = Elf::open(&own()).unwrap();
        assert_eq!(elf.machine, Machine::OURS);
        assert!(elf.is_dynamic && elf.has_symbol_table);
        assert!(elf.interpreter.unwrap().contains("ld-linux"));
        // A function of ours lies in the file where its mapping says.
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let here = own as *const () as usize as u64;
        let mapping = maps.lines().filter_map(crate::cli::profile::mapping::Mapping::parse);
        let mapping = mapping.into_iter().find(|mapping| (mapping.start..mapping.end).contains(&here)).unwrap();
        let elf = Elf::open(&own()).unwrap();
        assert!(elf.virtual_address(mapping.file_offset(here)).is_some());
        assert_eq!(elf.virtual_address(u64::MAX), None);
    }

    #[test]
    fn other_files_are_told_apart() {
        assert!(matches!(Elf::open("/proc/self/maps".as_ref()), Err(ElfError::NotElf)));
        assert!(matches!(Elf::open("/".as_ref()), Err(ElfError::Io(_))));
        assert!(matches!(Elf::open("/no/such".as_ref()), Err(ElfError::Io(_))));
    }
}
