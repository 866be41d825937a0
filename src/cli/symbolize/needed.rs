//! The libraries that an ELF file needs by name (DT_NEEDED): a loader that finds one of them nowhere refuses the file.

use super::elf::{entries, read_at};
use crate::wire::elf::{self, HEADER_BYTES, Header, SECTION_BYTES, SHT_DYNAMIC};
use std::fs::File;

const DT_NEEDED: u64 = 1;

/// Their names. `None`: no ELF file of ours, or a damaged one; a file without a dynamic section needs none.
pub(crate) fn libraries(file: &File) -> Option<Vec<String>> {
    let header = Header::read(&read_at(file, 0, HEADER_BYTES as u64)?).ok()?;
    let table = entries(file, header.sections, SECTION_BYTES)?;
    let section = |entry: &[u8]| {
        let (offset, bytes) = elf::section_place(entry)?;
        read_at(file, offset, bytes)
    };
    let mut sections = table.chunks_exact(SECTION_BYTES);
    let Some(dynamic) = sections.find(|entry| elf::section_kind(entry) == Some(SHT_DYNAMIC)) else {
        return Some(Vec::new());
    };
    let names = section(table.chunks_exact(SECTION_BYTES).nth(elf::section_link(dynamic)?)?)?;
    let name = |at: u64| {
        let rest = names.get(usize::try_from(at).ok()?..)?;
        Some(String::from_utf8_lossy(rest.split(|&byte| byte == 0).next()?).into_owned())
    };
    let word = |entry: &[u8], at: usize| Some(u64::from_le_bytes(entry.get(at..at + 8)?.try_into().ok()?));
    let bytes = section(dynamic)?;
    let entries = bytes.chunks_exact(16).map(|entry| Some((word(entry, 0)?, word(entry, 8)?)));
    let needed = entries.filter(|entry| entry.is_none_or(|(tag, _)| tag == DT_NEEDED));
    needed.map(|entry| name(entry?.1)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_program_needs_libc() {
        let own = File::open(std::env::current_exe().unwrap()).unwrap();
        let needed = libraries(&own).unwrap();
        assert!(needed.iter().any(|name| name == "libc.so.6"), "{needed:?}");
        assert_eq!(libraries(&File::open("/etc/passwd").unwrap()), None);
    }
}
