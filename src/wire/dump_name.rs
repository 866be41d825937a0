//! Names of dump files, exactly jemalloc's: `<prefix>.<pid>.<seq>.<kind><n>.heap`.
//!
//! Source of the rule: jemalloc 5.3.1, `src/prof_sys.c`, `prof_dump_filename`. The final dump has
//! no counter of its own; `seq` is one counter for all kinds of one process image.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// Why a dump was written, as its file name tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum DumpKind {
    /// `i<n>`: a trigger of the tap fired (bytes allocated, seconds, growth, watermark).
    Interval(u64),
    /// `u<n>`: a new maximum of mapped memory (`prof_gdump`).
    Gdump(u64),
    /// `m<n>`: a request (`prof.dump`, `heaptap dump`).
    Manual(u64),
    /// `f`: the process ended.
    Final,
}

impl fmt::Display for DumpKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DumpKind::Interval(n) => write!(f, "i{n}"),
            DumpKind::Gdump(n) => write!(f, "u{n}"),
            DumpKind::Manual(n) => write!(f, "m{n}"),
            DumpKind::Final => f.write_str("f"),
        }
    }
}

impl FromStr for DumpKind {
    type Err = ();

    fn from_str(text: &str) -> Result<DumpKind, ()> {
        if text == "f" {
            return Ok(DumpKind::Final);
        }
        let counter = text.get(1..).ok_or(())?.parse().map_err(|_| ())?;
        match text.as_bytes().first() {
            Some(b'i') => Ok(DumpKind::Interval(counter)),
            Some(b'u') => Ok(DumpKind::Gdump(counter)),
            Some(b'm') => Ok(DumpKind::Manual(counter)),
            _ => Err(()),
        }
    }
}

/// A dump file's name, taken apart. `prefix` may hold a directory and dots.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DumpName {
    /// `prof_prefix` as given: directory and first part of the file name.
    pub(crate) prefix: PathBuf,
    /// Process id as the process saw it (inside its pid namespace).
    pub(crate) pid: u32,
    /// Number of the dump within its process image, from 0.
    pub(crate) seq: u64,
    /// Why it was written.
    pub(crate) kind: DumpKind,
}

impl DumpName {
    /// Takes a path apart; `None` if its file name does not have the shape of a dump's.
    pub(crate) fn parse(path: &Path) -> Option<DumpName> {
        let file = path.file_name()?.to_str()?;
        let mut parts = file.strip_suffix(".heap")?.rsplitn(4, '.');
        let kind = parts.next()?.parse().ok()?;
        let seq = parts.next()?.parse().ok()?;
        let pid = parts.next()?.parse().ok()?;
        let prefix = path.with_file_name(parts.next()?);
        Some(DumpName { prefix, pid, seq, kind })
    }

    /// The name as a path.
    pub(crate) fn path(&self) -> PathBuf {
        PathBuf::from(self.to_string())
    }
}

impl fmt::Display for DumpName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let DumpName { prefix, pid, seq, kind } = self;
        write!(f, "{}.{pid}.{seq}.{kind}.heap", prefix.display())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parse_reads_what_display_writes() {
        let kinds = [DumpKind::Interval(3), DumpKind::Gdump(0), DumpKind::Manual(12), DumpKind::Final];
        for prefix in ["jeprof", "/var/log/es/jeprof", "a.b.7.c"] {
            for kind in kinds {
                let name = DumpName { prefix: prefix.into(), pid: 4711, seq: 9, kind };
                assert_eq!(DumpName::parse(Path::new(&name.to_string())), Some(name));
            }
        }
    }

    #[test]
    fn other_names_are_refused() {
        for name in ["jeprof.heap", "jeprof.1.2.x3.heap", "jeprof.1.2.f.txt", "jeprof.1.f.heap", "jeprof.a.0.f.heap"] {
            assert_eq!(DumpName::parse(Path::new(name)), None, "{name}");
        }
    }
}
