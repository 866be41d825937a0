//! Allocators that libraries of a process bring with them: their memory comes from mmap, past malloc and the tap.
//!
//! A statically linked allocator shows in what it would say or in its names: text that stays in the file when all
//! symbols are stripped. The files are those that the process has mapped for execution, as it sees them.

use super::openat;
use crate::cli::analyze::resident::Allocator;
use crate::cli::open;
use crate::wire::maps_line::MapsLine;
use std::collections::BTreeSet;
use std::path::Path;

/// Largest file that is searched.
const MOST_BYTES: u64 = 512 << 20;

/// What tells an allocator, with its name. jemalloc's messages all begin so; Rust's crate gives its symbols a prefix
/// of its own, and libraries that hide one use `je_`.
const MARKS: [(&[u8], &str); 6] = [
    (b"<jemalloc>", "jemalloc"),
    (b"_rjem_", "jemalloc"),
    (b"je_mallocx", "jemalloc"),
    (b"je_malloc\0", "jemalloc"),
    (b"mi_malloc", "mimalloc"),
    (b"tcmalloc::", "tcmalloc"),
];
/// Libraries that name allocators and bring none: the Java VM is told of ours, and ours is the one in force.
const OTHERS: [&str; 3] = ["libheaptap", "libjvm.so", "libc.so"];

/// Those of a process; none where it may not be looked at.
pub(crate) fn of_process(pid: u32) -> Vec<Allocator> {
    let maps = open::kernel(Path::new(&format!("/proc/{pid}/maps"))).unwrap_or_default();
    let code = MapsLine::all(maps.as_bytes()).filter(|line| line.is_code() && line.path.starts_with(b"/"));
    let paths: BTreeSet<&[u8]> = code.map(|line| line.path).collect();
    let paths = paths.into_iter().filter_map(|path| std::str::from_utf8(path).ok());
    let paths = paths.filter(|path| !OTHERS.iter().any(|other| name(path).starts_with(other)));
    paths.filter_map(|path| Some(Allocator { library: path.to_owned(), allocator: brought_by(pid, path)? })).collect()
}

fn name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

fn brought_by(pid: u32, path: &str) -> Option<&'static str> {
    let file = openat::open(Path::new(&format!("/proc/{pid}/root{path}")), false).ok()?;
    told_by(&open::bytes(&file, MOST_BYTES).ok()?)
}

/// Which allocator the bytes of a library show.
fn told_by(bytes: &[u8]) -> Option<&'static str> {
    MARKS.iter().find(|(mark, _)| memchr::memmem::find(bytes, mark).is_some()).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_allocator_shows_by_its_words() {
        assert_eq!(told_by(b"\x7fELF..<jemalloc>: Out of memory"), Some("jemalloc"));
        assert_eq!(told_by(b"..\0je_malloc\0.."), Some("jemalloc"));
        assert_eq!(told_by(b"..mi_malloc_aligned.."), Some("mimalloc"));
        assert_eq!((told_by(b"malloc free je_mallo"), told_by(b"")), (None, None));
    }

    #[test]
    fn what_cannot_be_looked_at_brings_none() {
        assert!(of_process(u32::MAX).is_empty());
    }
}
