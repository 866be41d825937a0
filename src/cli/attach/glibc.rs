//! Whether the tap's library fits the glibc of a program. The loader refuses a preload whose symbol versions its libc
//! does not define, and ends the program with it: a service would fail at every start. So it is asked before.
//!
//! What cannot be told (a libc that is not found or not read) is no refusal.

use crate::cli::open;
use crate::cli::symbolize::elf::Elf;
use crate::cli::symbolize::symbol_versions::SymbolVersions;
use anyhow::{Result, bail};
use std::fmt;
use std::path::{Path, PathBuf};

/// The library that the versions are of.
const LIBC: &str = "libc.so.6";
/// The oldest glibc that a released library is built for.
pub(crate) const RELEASED: Version = Version(2, 17, 0);

/// A version of glibc.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Version(u32, u32, u32);

impl Version {
    /// Of a symbol version's name, `GLIBC_2.34`; `None`: it is no number (`GLIBC_PRIVATE`), or another library's.
    fn parse(name: &str) -> Option<Version> {
        let mut numbers = name.strip_prefix("GLIBC_")?.split('.').map(str::parse);
        let (major, minor) = (numbers.next()?.ok()?, numbers.next()?.ok()?);
        Some(Version(major, minor, numbers.next().unwrap_or(Ok(0)).ok()?))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Version(major, minor, 0) => write!(f, "{major}.{minor}"),
            Version(major, minor, patch) => write!(f, "{major}.{minor}.{patch}"),
        }
    }
}

/// The glibc that a library needs at least.
pub(crate) fn needed(tap: &Path) -> Option<Version> {
    versions(tap)?.needed.iter().filter(|(file, _)| file == LIBC).filter_map(|(_, name)| Version::parse(name)).max()
}

/// The libc beside the loader that a program names.
pub(crate) fn of_program(program: &Path) -> Option<PathBuf> {
    let loader = Elf::open(program).ok()?.interpreter?;
    let libc = Path::new(&loader).canonicalize().ok()?.with_file_name(LIBC);
    libc.is_file().then_some(libc)
}

/// The libc of this machine's usual programs, if it is a glibc.
pub(crate) fn of_this_machine() -> Option<PathBuf> {
    const LOADERS: [&str; 2] = ["/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1"];
    let libc = |loader: &&str| Some(Path::new(loader).canonicalize().ok()?.with_file_name(LIBC));
    LOADERS.iter().find_map(libc).filter(|libc| libc.is_file())
}

/// Refuses a library that this libc would not load. `whose` says in words what runs with it.
pub(crate) fn check(tap: &Path, libc: &Path, whose: &str) -> Result<()> {
    let (Some(tap_versions), Some(libc_versions)) = (versions(tap), versions(libc)) else { return Ok(()) };
    let is_missing = |(file, name): &&(String, String)| file == LIBC && !libc_versions.defined.contains(name);
    let missing =
        tap_versions.needed.iter().filter(is_missing).map(|(_, name)| name).max_by_key(|name| Version::parse(name));
    let (Some(missing), false) = (missing, libc_versions.defined.is_empty()) else { return Ok(()) };
    let there = libc_versions.defined.iter().filter_map(|name| Version::parse(name)).max();
    let there = there.map_or_else(|| "an older one".to_owned(), |version| version.to_string());
    bail!(
        "{} needs glibc {} or newer, and {whose} runs with glibc {there} ({}): the loader would refuse the library, and \
         the program would not start. Use the library of a released archive or package: it needs glibc {RELEASED} \
         (scripts/dist makes it; what cargo builds is for this machine's glibc)",
        tap.display(),
        missing.trim_start_matches("GLIBC_"),
        libc.display(),
    )
}

fn versions(path: &Path) -> Option<SymbolVersions> {
    SymbolVersions::read(&open::regular(path).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_and_not_text() {
        let of = |name| Version::parse(name);
        assert!(of("GLIBC_2.4") < of("GLIBC_2.34") && of("GLIBC_2.2.5") < of("GLIBC_2.3"));
        assert_eq!((of("GLIBC_PRIVATE"), of("GCC_3.0"), of("GLIBC_2")), (None, None, None));
        assert_eq!(of("GLIBC_2.2.5").unwrap().to_string(), "2.2.5");
        assert_eq!(RELEASED.to_string(), "2.17");
    }

    #[test]
    fn our_own_program_fits_its_own_libc() {
        let own = std::env::current_exe().unwrap();
        let libc = of_program(&own).unwrap();
        check(&own, &libc, "a test").unwrap();
        assert_eq!(Some(libc), of_this_machine());
        assert!(needed(&own) >= Some(RELEASED) || needed(&own).is_some());
        // What is no library says nothing.
        check(Path::new("/etc/passwd"), Path::new("/etc/passwd"), "a test").unwrap();
    }
}
