//! The few facts of an ELF file that heaptap needs itself, read from bytes: where its tables lie, its segments, its
//! build id. Whoever has the bytes (a file, a mapping, a checked copy) passes them in, piece by piece.
//!
//! Little-endian 64-bit objects only, which is what heaptap profiles. Allocates nothing, believes nothing, cannot
//! panic: for walks of the stack, too. Rules: the System V ABI, chapters 4 and 5; `NT_GNU_BUILD_ID` of elf.h.

/// Bytes of the header at the start.
pub(crate) const HEADER_BYTES: usize = 64;
/// Bytes of a program header.
pub(crate) const SEGMENT_BYTES: usize = 56;
/// Bytes of a section header.
pub(crate) const SECTION_BYTES: usize = 64;

/// Type of a segment that is loaded.
pub(crate) const PT_LOAD: u32 = 1;
/// Type of the segment that tells the loader what to do.
pub(crate) const PT_DYNAMIC: u32 = 2;
/// Type of the segment that names the loader.
pub(crate) const PT_INTERP: u32 = 3;
/// Type of a segment of notes.
pub(crate) const PT_NOTE: u32 = 4;
/// Type of the segment that is the table of program headers.
pub(crate) const PT_PHDR: u32 = 6;
/// Type of the segment that is `.eh_frame_hdr`.
pub(crate) const PT_GNU_EH_FRAME: u32 = 0x6474_e550;
/// Flag of a segment that is executed.
pub(crate) const PF_X: u32 = 1;
/// Flag of a segment that is read.
pub(crate) const PF_R: u32 = 4;
/// Type of a section that is a full symbol table.
pub(crate) const SHT_SYMTAB: u32 = 2;
/// Type of the section that the loader reads: which libraries a file needs, where its tables are.
pub(crate) const SHT_DYNAMIC: u32 = 6;
/// Type of a section that lists the versions of symbols which a file defines (`.gnu.version_d`).
pub(crate) const SHT_GNU_VERDEF: u32 = 0x6fff_fffd;
/// Type of a section that lists the versions of symbols which a file needs of others (`.gnu.version_r`).
pub(crate) const SHT_GNU_VERNEED: u32 = 0x6fff_fffe;
/// Type of the note that holds a build id.
const NT_GNU_BUILD_ID: u32 = 3;

/// Why a file is none that heaptap reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// It does not begin as ELF does.
    NotElf,
    /// 32-bit or big-endian.
    OtherClass,
    /// Its tables have entries of another size.
    Damaged,
}

/// A table in the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Table {
    /// Where it begins in the file.
    pub(crate) offset: u64,
    /// How many entries it has.
    pub(crate) count: usize,
}

/// The header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// `e_machine`.
    pub(crate) machine: u16,
    /// The program headers, [`SEGMENT_BYTES`] each.
    pub(crate) segments: Table,
    /// The section headers, [`SECTION_BYTES`] each.
    pub(crate) sections: Table,
    /// Which section holds the names of sections.
    pub(crate) names_section: usize,
}

impl Header {
    /// Reads the header at the start of these bytes.
    pub(crate) fn read(bytes: &[u8]) -> Result<Header, Refusal> {
        if !bytes.starts_with(b"\x7fELF") {
            return Err(Refusal::NotElf);
        }
        if bytes.get(4..6) != Some(&[2, 1]) {
            return Err(Refusal::OtherClass);
        }
        let (segments, sections) = (table(bytes, 32, 54, SEGMENT_BYTES), table(bytes, 40, 58, SECTION_BYTES));
        let header = segments.zip(sections).zip(u16_at(bytes, 18)).zip(u16_at(bytes, 62));
        let (((segments, sections), machine), names_section) = header.ok_or(Refusal::Damaged)?;
        Ok(Header { machine, segments, sections, names_section: names_section.into() })
    }
}

/// A table whose offset stands at `offset`, whose entries' size at `size`, and their number behind it.
fn table(bytes: &[u8], offset: usize, size: usize, entry_bytes: usize) -> Option<Table> {
    let table = Table { offset: u64_at(bytes, offset)?, count: u16_at(bytes, size + 2)?.into() };
    (table.count == 0 || usize::from(u16_at(bytes, size)?) == entry_bytes).then_some(table)
}

/// A program header: bytes of the file at `offset` stand at `address`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    /// `PT_…`.
    pub(crate) kind: u32,
    /// `PF_…`.
    pub(crate) flags: u32,
    /// First byte in the file.
    pub(crate) offset: u64,
    /// Its address, as the file has it.
    pub(crate) address: u64,
    /// Bytes of the file.
    pub(crate) file_bytes: u64,
    /// Bytes of memory; what is more than the file's is zeros.
    pub(crate) memory_bytes: u64,
}

impl Segment {
    /// Reads one program header.
    pub(crate) fn read(entry: &[u8]) -> Option<Segment> {
        Some(Segment {
            kind: u32_at(entry, 0)?,
            flags: u32_at(entry, 4)?,
            offset: u64_at(entry, 8)?,
            address: u64_at(entry, 16)?,
            file_bytes: u64_at(entry, 32)?,
            memory_bytes: u64_at(entry, 40)?,
        })
    }
}

/// A table of program headers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segments<'a>(&'a [u8]);

impl<'a> Segments<'a> {
    /// The table, as it stands in the file.
    pub(crate) fn new(table: &'a [u8]) -> Segments<'a> {
        Segments(table)
    }

    /// The table of an object that begins with these bytes; `None`: it is no object, or does not lie in them.
    pub(crate) fn of_object(bytes: &'a [u8]) -> Option<Segments<'a>> {
        let Table { offset, count } = Header::read(bytes).ok()?.segments;
        let start = usize::try_from(offset).ok()?;
        let end = count.checked_mul(SEGMENT_BYTES)?.checked_add(start)?;
        bytes.get(start..end).map(Segments)
    }

    /// One after the other.
    pub(crate) fn iter(self) -> impl Iterator<Item = Segment> + use<'a> {
        self.0.chunks_exact(SEGMENT_BYTES).filter_map(Segment::read)
    }

    /// Those that are loaded.
    pub(crate) fn loaded(self) -> impl Iterator<Item = Segment> + use<'a> {
        self.iter().filter(|segment| segment.kind == PT_LOAD)
    }

    /// The first of a type.
    pub(crate) fn first(self, kind: u32) -> Option<Segment> {
        self.iter().find(|segment| segment.kind == kind)
    }
}

/// The type of a section, from its header.
pub(crate) fn section_kind(entry: &[u8]) -> Option<u32> {
    u32_at(entry, 4)
}

/// Where a section's name begins in the section of names, from its header.
pub(crate) fn section_name(entry: &[u8]) -> Option<usize> {
    u32_at(entry, 0).and_then(|at| usize::try_from(at).ok())
}

/// The number of the section that belongs to one, from its header: of versions, the section of their names.
pub(crate) fn section_link(entry: &[u8]) -> Option<usize> {
    u32_at(entry, 40).and_then(|number| usize::try_from(number).ok())
}

/// Where a section lies in the file, and its bytes, from its header.
pub(crate) fn section_place(entry: &[u8]) -> Option<(u64, u64)> {
    Some((u64_at(entry, 24)?, u64_at(entry, 32)?))
}

/// The GNU build id among notes: each three words (length of the name, of the description, type), then both, padded to
/// words.
pub(crate) fn build_id(mut notes: &[u8]) -> Option<&[u8]> {
    loop {
        let size = |at: usize| usize::try_from(u32_at(notes, at)?).ok();
        let (name, description, kind) = (size(0)?, size(4)?, u32_at(notes, 8)?);
        let start = name.checked_next_multiple_of(4)?.checked_add(12)?;
        let end = start.checked_add(description)?;
        if kind == NT_GNU_BUILD_ID && notes.get(12..16) == Some(b"GNU\0") {
            return notes.get(start..end);
        }
        notes = notes.get(end.checked_next_multiple_of(4)?..)?;
    }
}

/// Two bytes of it.
pub(crate) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

/// Four bytes of it.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    bytes.get(at..)?.first_chunk().map(|bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn our_own_program_is_understood() {
        let bytes = std::fs::read("/proc/self/exe").unwrap();
        let header = Header::read(&bytes).unwrap();
        assert_eq!(header.machine, if cfg!(target_arch = "aarch64") { 183 } else { 62 });
        let segments = Segments::of_object(&bytes).unwrap();
        assert_eq!(segments.iter().count(), header.segments.count);
        assert!(segments.loaded().any(|segment| segment.flags & PF_X != 0 && segment.memory_bytes > 0));
        assert!(segments.first(PT_DYNAMIC).is_some() && segments.first(PT_GNU_EH_FRAME).is_some());
        assert!(Segments::of_object(&bytes[..HEADER_BYTES]).is_none());
    }

    #[test]
    #[cfg_attr(miri, ignore = "minutes under Miri")]
    fn other_files_are_told_apart_and_no_damage_panics() {
        let whole = &std::fs::read("/proc/self/exe").unwrap()[..HEADER_BYTES];
        assert_eq!(Header::read(b"#!/bin/sh"), Err(Refusal::NotElf));
        assert_eq!(Header::read(&[&whole[..4], &[1, 1], &whole[6..]].concat()), Err(Refusal::OtherClass));
        assert!((6..HEADER_BYTES).all(|length| Header::read(&whole[..length]) == Err(Refusal::Damaged)));
        for at in 6..HEADER_BYTES {
            for value in [0, 1, 0x7f, 0xff] {
                let mut bytes = whole.to_vec();
                bytes[at] = value;
                let _ = (Header::read(&bytes), Segments::of_object(&bytes).map(|segments| segments.iter().count()));
            }
        }
    }

    #[test]
    fn notes_are_walked_and_damage_ends_the_walk() {
        let note = |kind: u32, name: &[u8], description: &[u8]| {
            let sizes = [name.len() as u32, description.len() as u32, kind].map(u32::to_le_bytes);
            [sizes.as_flattened(), name, description].concat()
        };
        let mut notes = note(5, b"GNU\0", &[0; 8]);
        notes.extend(note(NT_GNU_BUILD_ID, b"GNU\0", &[0xde, 0xad, 0xbe, 0xef]));
        assert_eq!(build_id(&notes), Some(&[0xde, 0xad, 0xbe, 0xef][..]));
        assert!((0..notes.len()).all(|length| build_id(&notes[..length]).is_none()));
        assert_eq!(build_id(&[0xff; 64]), None);
    }
}
