//! The versions of symbols in an ELF file: which it needs of which library (`.gnu.version_r`), and which it defines
//! (`.gnu.version_d`). The loader refuses a file if one that it needs is not defined, weak symbol or not.
//!
//! Rules: the Linux Standard Base, "Symbol Versioning". Believes nothing: each list ends where the file does.

use super::elf::{entries, read_at};
use crate::wire::elf::{self, HEADER_BYTES, Header, SECTION_BYTES, SHT_GNU_VERDEF, SHT_GNU_VERNEED, u16_at, u32_at};
use std::fs::File;

/// Entries of a list, at most: a loop in a damaged file must end.
const MOST: usize = 4096;

/// Version names, as they stand in the file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct SymbolVersions {
    /// Library and version name, one for each that is needed.
    pub(crate) needed: Vec<(String, String)>,
    /// The names that it defines.
    pub(crate) defined: Vec<String>,
}

impl SymbolVersions {
    /// Reads the two sections. `None`: no ELF file of ours, or a damaged one; a file without them has empty lists.
    pub(crate) fn read(file: &File) -> Option<SymbolVersions> {
        let header = Header::read(&read_at(file, 0, HEADER_BYTES as u64)?).ok()?;
        let table = entries(file, header.sections, SECTION_BYTES)?;
        let section = |entry: &[u8]| {
            let (offset, bytes) = elf::section_place(entry)?;
            read_at(file, offset, bytes)
        };
        let mut versions = SymbolVersions::default();
        for entry in table.chunks_exact(SECTION_BYTES) {
            let kind = elf::section_kind(entry)?;
            if kind != SHT_GNU_VERNEED && kind != SHT_GNU_VERDEF {
                continue;
            }
            let names = section(table.chunks_exact(SECTION_BYTES).nth(elf::section_link(entry)?)?)?;
            let list = List { bytes: section(entry)?, names };
            match kind {
                SHT_GNU_VERNEED => versions.needed = list.needed()?,
                _ => versions.defined = list.defined()?,
            }
        }
        Some(versions)
    }
}

/// A section of versions, and the one with their names.
struct List {
    bytes: Vec<u8>,
    names: Vec<u8>,
}

impl List {
    /// `Verneed` records of 16 bytes (version, count, file, first, next), each with a chain of `Vernaux` (hash, flags,
    /// number, name, next).
    fn needed(&self) -> Option<Vec<(String, String)>> {
        let mut needed = Vec::new();
        for at in self.chain(0, 12)? {
            let file = self.name(at.checked_add(4)?)?;
            let first = self.step(at, 8)?;
            let versions = self.chain(first, 12)?.into_iter().take(self.count(at)?);
            for version in versions {
                needed.push((file.clone(), self.name(version.checked_add(8)?)?));
            }
        }
        Some(needed)
    }

    /// `Verdef` records of 20 bytes (version, flags, number, count, hash, first, next); the first `Verdaux` (name,
    /// next) is the version's own name.
    fn defined(&self) -> Option<Vec<String>> {
        let name = |at: usize| self.name(self.step(at, 12)?);
        self.chain(0, 16)?.into_iter().map(name).collect()
    }

    /// The records of a chain: each says at `next` how far it is to the one behind it, 0 at the end.
    fn chain(&self, first: usize, next: usize) -> Option<Vec<usize>> {
        let mut found = vec![first];
        while found.len() < MOST {
            let at = *found.last()?;
            let behind = self.step(at, next)?;
            if behind == at {
                return Some(found);
            }
            found.push(behind);
        }
        None
    }

    /// Where the distance at `field` of the record leads.
    fn step(&self, at: usize, field: usize) -> Option<usize> {
        let distance = u32_at(&self.bytes, at.checked_add(field)?)?;
        at.checked_add(usize::try_from(distance).ok()?)
    }

    fn count(&self, at: usize) -> Option<usize> {
        u16_at(&self.bytes, at.checked_add(2)?).map(usize::from)
    }

    fn name(&self, at: usize) -> Option<String> {
        let start = usize::try_from(u32_at(&self.bytes, at)?).ok()?;
        let name = self.names.get(start..)?.split(|&byte| byte == 0).next()?;
        String::from_utf8(name.to_vec()).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(path: &std::path::Path) -> Option<SymbolVersions> {
        SymbolVersions::read(&File::open(path).unwrap())
    }

    #[test]
    fn what_our_own_program_needs_its_libc_defines() {
        let own = of(&std::env::current_exe().unwrap()).unwrap();
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let libc =
            maps.lines().find_map(|line| Some(&line[line.find(" /")? + 1..]).filter(|path| path.contains("/libc")));
        let libc = of(libc.unwrap().as_ref()).unwrap();
        let needed: Vec<&String> =
            own.needed.iter().filter(|(file, _)| file == "libc.so.6").map(|(_, version)| version).collect();
        assert!(!needed.is_empty() && needed.iter().all(|version| libc.defined.contains(version)), "{needed:?}");
        assert!(libc.defined.iter().any(|version| version == "GLIBC_2.17") && own.defined.is_empty());
    }

    #[test]
    fn a_damaged_list_has_an_end() {
        let list =
            |bytes: &[u32]| List { bytes: bytes.iter().flat_map(|word| word.to_le_bytes()).collect(), names: vec![0] };
        // The record behind it is half way into itself; or outside.
        assert_eq!(list(&[0, 0, 0, 4, 0, 0]).needed(), Some(Vec::new()));
        assert_eq!(list(&[0; 5]).defined(), Some(vec![String::new()]));
        assert_eq!(list(&[0, 0, 0, u32::MAX, 0]).defined(), None);
        assert!(of("/proc/self/maps".as_ref()).is_none());
    }
}
