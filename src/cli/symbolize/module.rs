//! What became of one mapped file: how many of its places have names, and whence.

use super::mapped_file::MappedFile;
use std::fmt;
use std::path::PathBuf;

/// Where the names of a module came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The file's own full symbol table.
    SymbolTable,
    /// The file's exported symbols only: local functions have no name.
    Exports,
    /// A separate debug file.
    DebugFile(PathBuf),
    /// Not from a file: Java names of the dump.
    Metadata,
    /// A runtime's list of the code that it compiled.
    PerfMap(PathBuf),
    /// Another machine found them; whence, in words.
    Recorded(String),
    /// No names, and why.
    Nothing(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::SymbolTable => f.write_str("symbol table"),
            Source::Exports => f.write_str("exported symbols only (stripped)"),
            Source::DebugFile(path) => write!(f, "debug file {}", path.display()),
            Source::Metadata => f.write_str("recorded in the dump"),
            Source::PerfMap(path) => write!(f, "perf-map {}", path.display()),
            Source::Recorded(words) => write!(f, "recorded in the pack: {words}"),
            Source::Nothing(why) => write!(f, "none: {why}"),
        }
    }
}

/// What became of one mapped file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its path in the process.
    pub(crate) path: String,
    /// The build id that the process had, when the dump tells it.
    pub(crate) build_id: Option<String>,
    /// Distinct places of the profile in it.
    pub(crate) places: usize,
    /// How many of them got a name.
    pub(crate) named: usize,
    /// Whence.
    pub(crate) source: Source,
    /// Something the user should know.
    pub(crate) warning: Option<String>,
}

impl Module {
    /// Nothing of it has a name yet.
    pub(super) fn of(mapped: &MappedFile, source: Source) -> Module {
        let (path, build_id) = (mapped.path.clone(), mapped.build_id.clone());
        Module { path, build_id, places: mapped.places.len(), named: 0, source, warning: None }
    }
}
