//! One line of `/proc/<pid>/maps`: which file lies where in the process.
//!
//! Only executable mappings matter to a profile. Lines that are not of this shape are skipped, as
//! the section is a verbatim copy of a kernel file and may hold anything in its names.

use crate::wire::maps_line::MapsLine;

/// Index of a [`Mapping`] in its profile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct MappingId(pub(crate) u32);

impl MappingId {
    /// Position in `Profile::mappings`.
    pub(crate) fn index(self) -> usize {
        self.0 as usize
    }
}

/// A piece of executable memory and the file it came from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) struct Mapping {
    /// First address.
    pub(crate) start: u64,
    /// One past the last address.
    pub(crate) end: u64,
    /// Where in the file it begins.
    pub(crate) offset: u64,
    /// File name without the kernel's ` (deleted)`; empty for anonymous memory.
    pub(crate) path: String,
    /// The file had been unlinked or replaced when the dump was written.
    pub(crate) is_deleted: bool,
    /// GNU build id as hex, when the dump tells it.
    pub(crate) build_id: Option<String>,
}

impl Mapping {
    /// Reads a maps line; `None` if it is of another shape or not executable.
    pub(crate) fn parse(line: &str) -> Option<Mapping> {
        let MapsLine { start, end, offset, path, is_deleted, .. } =
            MapsLine::read(line.as_bytes()).filter(MapsLine::is_code)?;
        let path = String::from_utf8_lossy(path).into_owned();
        Some(Mapping { start, end, offset, path, is_deleted, build_id: None })
    }

    /// Whether it was mapped from a file, rather than from the kernel or from nothing.
    pub(crate) fn is_file(&self) -> bool {
        self.path.starts_with('/') && !self.path.starts_with("//anon") && !self.path.starts_with("/memfd:")
    }

    /// Whether the file's name is that of a shared library (`x.so`, `x.so.1.2`).
    pub(crate) fn is_library(&self) -> bool {
        let name = self.file_name();
        name.ends_with(".so") || name.contains(".so.")
    }

    /// The last part of the path: what a reader recognises.
    pub(crate) fn file_name(&self) -> &str {
        Mapping::file_name_of(&self.path)
    }

    /// The last part of any mapping's path.
    pub(crate) fn file_name_of(path: &str) -> &str {
        path.rsplit('/').next().unwrap_or(path)
    }

    /// Where `address` lies in the file.
    pub(crate) fn file_offset(&self, address: u64) -> u64 {
        address.wrapping_sub(self.start).wrapping_add(self.offset)
    }
}

/// The mapping that holds `address`, in a list sorted by start.
pub(crate) fn find(mappings: &[Mapping], address: u64) -> Option<MappingId> {
    let after = mappings.partition_point(|mapping| mapping.start <= address);
    let index = after.checked_sub(1)?;
    mappings.get(index).filter(|mapping| address < mapping.end)?;
    Some(MappingId(u32::try_from(index).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_lines_are_read() {
        let line = "7fe0be244000-7fe0be39a000 r-xp 00026000 fe:00 326269                     /usr/lib/libc.so.6";
        let mapping = Mapping::parse(line).unwrap();
        assert_eq!((mapping.start, mapping.end, mapping.offset), (0x7fe0be244000, 0x7fe0be39a000, 0x26000));
        assert_eq!((mapping.path.as_str(), mapping.is_deleted), ("/usr/lib/libc.so.6", false));
        assert!(mapping.is_file() && mapping.is_library());
        assert_eq!(mapping.file_offset(0x7fe0be244010), 0x26010);
    }

    #[test]
    fn blanks_deleted_files_and_anonymous_code_are_understood() {
        let mapping = Mapping::parse("1000-2000 r-xp 00000000 fe:00 7  /tmp/a b/libx.so (deleted)").unwrap();
        assert_eq!((mapping.path.as_str(), mapping.is_deleted), ("/tmp/a b/libx.so", true));
        let mapping = Mapping::parse("1000-2000 rwxp 00000000 00:00 0 ").unwrap();
        assert_eq!((mapping.path.as_str(), mapping.is_file()), ("", false));
        assert!(Mapping::parse("1000-2000 rwxp 00000000 00:00 0").is_some());
    }

    #[test]
    fn other_lines_are_skipped() {
        for line in ["", "1000-2000", "2000-1000 r-xp 0 0:0 0", "1000-2000 rw-p 00000000 00:00 0", "x-y r-xp 0 0:0 0"] {
            assert_eq!(Mapping::parse(line), None, "{line}");
        }
    }

    #[test]
    fn an_address_finds_its_mapping_only() {
        let at = |start, end| Mapping { start, end, ..Mapping::default() };
        let mappings = [at(0x1000, 0x2000), at(0x3000, 0x4000)];
        assert_eq!(find(&mappings, 0x1fff), Some(MappingId(0)));
        assert_eq!(find(&mappings, 0x3000), Some(MappingId(1)));
        assert!([0xfff, 0x2000, 0x4000].iter().all(|&address| find(&mappings, address).is_none()));
    }
}
