//! The few facts of an ELF file that heaptap needs itself: where segments lie, the build id, the
//! interpreter. Symbols and DWARF are blazesym's.
//!
//! Reads by offset, little at a time, and believes nothing: sizes are bounded, every read checked.
//! Little-endian 64-bit files only, which is what heaptap profiles.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;

/// Longest interpreter path or note section that is read.
const MAX_READ: u64 = 64 * 1024;

const PT_LOAD: u32 = 1;
const PT_DYNAMIC: u32 = 2;
const PT_INTERP: u32 = 3;
const PT_NOTE: u32 = 4;
const SHT_SYMTAB: u32 = 2;
const NT_GNU_BUILD_ID: u32 = 3;

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

/// A loadable segment: file bytes at `offset` stand at `vaddr`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    offset: u64,
    vaddr: u64,
    file_size: u64,
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
    /// Reads the facts of a regular file.
    pub(crate) fn open(path: &Path) -> Result<Elf, ElfError> {
        let file = File::open(path).map_err(ElfError::Io)?;
        let is_file = file.metadata().map_err(ElfError::Io)?.is_file();
        if is_file { Elf::read(&file) } else { Err(ElfError::NotElf) }
    }

    fn read(file: &File) -> Result<Elf, ElfError> {
        let header = read_at(file, 0, 64).ok_or(ElfError::NotElf)?;
        if header.get(..4) != Some(b"\x7fELF") {
            return Err(ElfError::NotElf);
        }
        if header.get(4..6) != Some(&[2, 1]) {
            return Err(ElfError::OtherClass);
        }
        let mut elf = Elf {
            machine: machine(u16_at(&header, 18).unwrap_or(0)),
            segments: Vec::new(),
            interpreter: None,
            is_dynamic: false,
            build_id: None,
            has_symbol_table: false,
        };
        elf.program_headers(file, &header).ok_or(ElfError::Damaged)?;
        elf.has_symbol_table = has_symbol_table(file, &header).unwrap_or(false);
        Ok(elf)
    }

    fn program_headers(&mut self, file: &File, header: &[u8]) -> Option<()> {
        let (offset, count) = (u64_at(header, 32)?, u16_at(header, 56)?);
        let table = read_at(file, offset, u64::from(count) * 56)?;
        for entry in table.chunks_exact(56) {
            let (kind, offset, size) = (u32_at(entry, 0)?, u64_at(entry, 8)?, u64_at(entry, 32)?);
            match kind {
                PT_LOAD => self.segments.push(Segment { offset, vaddr: u64_at(entry, 16)?, file_size: size }),
                PT_DYNAMIC => self.is_dynamic = true,
                PT_INTERP => {
                    self.interpreter = read_at(file, offset, size.min(MAX_READ)).and_then(|bytes| text(&bytes))
                }
                PT_NOTE if self.build_id.is_none() => {
                    self.build_id = read_at(file, offset, size.min(MAX_READ)).and_then(|notes| build_id(&notes));
                }
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
        let segment = self
            .segments
            .iter()
            .find(|segment| file_offset.checked_sub(segment.offset).is_some_and(|within| within < segment.file_size))?;
        segment.vaddr.checked_add(file_offset - segment.offset)
    }
}

fn machine(number: u16) -> Machine {
    match number {
        62 => Machine::X86_64,
        183 => Machine::Aarch64,
        other => Machine::Other(other),
    }
}

fn has_symbol_table(file: &File, header: &[u8]) -> Option<bool> {
    let (offset, count) = (u64_at(header, 40)?, u16_at(header, 60)?);
    let table = read_at(file, offset, u64::from(count) * 64)?;
    Some(table.chunks_exact(64).any(|entry| u32_at(entry, 4) == Some(SHT_SYMTAB)))
}

/// Walks notes: name size, description size, type, name, description, each padded to 4.
fn build_id(mut notes: &[u8]) -> Option<String> {
    loop {
        let (name_size, size, kind) = (u32_at(notes, 0)?, u32_at(notes, 4)?, u32_at(notes, 8)?);
        let (name_size, size) = (usize::try_from(name_size).ok()?, usize::try_from(size).ok()?);
        let name_end = name_size.checked_next_multiple_of(4)?.checked_add(12)?;
        let end = name_end.checked_add(size)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..16) == Some(b"GNU\0") {
            return Some(notes.get(name_end..end)?.iter().map(|byte| format!("{byte:02x}")).collect());
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

fn text(bytes: &[u8]) -> Option<String> {
    let end = bytes.iter().position(|&byte| byte == 0).unwrap_or(bytes.len());
    String::from_utf8(bytes.get(..end)?.to_vec()).ok()
}

/// Reads exactly `size` bytes; at most what a table of 65,535 entries can need.
fn read_at(file: &File, offset: u64, size: u64) -> Option<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(size).ok().filter(|&size| size <= 65_535 * 64)?];
    file.read_exact_at(&mut bytes, offset).ok()?;
    Some(bytes)
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
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
        assert!(matches!(Elf::open("/".as_ref()), Err(ElfError::NotElf)));
        assert!(matches!(Elf::open("/no/such".as_ref()), Err(ElfError::Io(_))));
    }

    #[test]
    fn notes_are_walked_and_damage_ends_the_walk() {
        let note = |kind: u32, name: &[u8], description: &[u8]| {
            let mut bytes = Vec::new();
            for word in [name.len() as u32, description.len() as u32, kind] {
                bytes.extend(word.to_le_bytes());
            }
            bytes.extend(name);
            bytes.extend(description);
            bytes
        };
        let mut notes = note(5, b"GNU\0", &[0; 8]);
        notes.extend(note(NT_GNU_BUILD_ID, b"GNU\0", &[0xde, 0xad, 0xbe, 0xef]));
        assert_eq!(build_id(&notes).as_deref(), Some("deadbeef"));
        for length in 0..notes.len() {
            assert_eq!(build_id(&notes[..length]), None);
        }
        assert_eq!(build_id(&[0xff; 64]), None);
    }
}
