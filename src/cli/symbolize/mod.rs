//! Floor 2 of the CLI: gives a profile's locations their names. The only floor that opens ELF files.
//!
//! Order per location: Java name from the dump's metadata, then the symbols of the mapped file
//! (`native`), else `library+0x…`. A file that is not the one that was mapped gives plausible
//! nonsense, so a differing build id is refused aloud. No error ever stops a report: a place
//! without a name keeps its address.

mod debug_file;
pub(crate) mod elf;
mod java;
mod names;
mod native;

use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, FunctionId, Line, LocationId, Origin};
use rustc_hash::FxHashMap;
use std::path::PathBuf;
use std::time::SystemTime;

/// Where and how to look for names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Directory that stands for `/` of the machine the dump came from.
    pub(crate) sysroot: Option<PathBuf>,
    /// More places for separate debug files, before the usual ones.
    pub(crate) debug_dirs: Vec<PathBuf>,
    /// Source lines and inlined functions from DWARF: seconds and hundreds of MiB for a libjvm.
    pub(crate) with_lines: bool,
    /// When the newest dump was written: a younger library is suspect.
    pub(crate) written: Option<SystemTime>,
}

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
    /// No names, and why.
    Nothing(String),
}

/// What became of one mapped file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Module {
    /// Its path in the process.
    pub(crate) path: String,
    /// Distinct places of the profile in it.
    pub(crate) places: usize,
    /// How many of them got a name.
    pub(crate) named: usize,
    /// Whence.
    pub(crate) source: Source,
    /// Something the user should know.
    pub(crate) warning: Option<String>,
}

/// Names every location of `profile`. Returns one entry per file, most places first.
pub(crate) fn symbolize(profile: &mut Profile, options: &Options) -> Vec<Module> {
    let mut table = FunctionTable::default();
    let mut modules: Vec<Module> = java::name(profile, &mut table).into_iter().collect();
    for file in unnamed_by_file(profile) {
        let native::Named { module, names } = native::name(&file, options);
        for (id, lines) in names {
            table.set(profile, id, lines);
        }
        modules.push(module);
    }
    name_the_rest(profile, &mut table);
    profile.functions = table.functions;
    modules.sort_by(|a, b| b.places.cmp(&a.places).then_with(|| a.path.cmp(&b.path)));
    modules
}

/// A file that was mapped, and the places in it that want a name.
#[derive(Clone, Debug, Default)]
struct MappedFile {
    path: String,
    is_deleted: bool,
    build_id: Option<String>,
    places: Vec<Place>,
}

/// A place in a file.
#[derive(Clone, Copy, Debug)]
struct Place {
    location: LocationId,
    file_offset: u64,
}

fn unnamed_by_file(profile: &Profile) -> Vec<MappedFile> {
    let mut files: FxHashMap<&str, MappedFile> = FxHashMap::default();
    for (index, location) in profile.locations.iter().enumerate().filter(|(_, location)| location.lines.is_empty()) {
        let Some(mapping) = location.mapping.and_then(|id| profile.mapping(id)).filter(|mapping| mapping.is_file())
        else {
            continue;
        };
        let file = files.entry(&mapping.path).or_insert_with(|| MappedFile {
            path: mapping.path.clone(),
            is_deleted: mapping.is_deleted,
            build_id: mapping.build_id.clone(),
            places: Vec::new(),
        });
        file.is_deleted |= mapping.is_deleted;
        let location = LocationId(u32::try_from(index).unwrap_or(u32::MAX));
        file.places.push(Place { location, file_offset: mapping.file_offset(profile.location(location).address) });
    }
    files.into_values().collect()
}

/// Places without a symbol: one name for all anonymous code, an offset for the rest.
fn name_the_rest(profile: &mut Profile, table: &mut FunctionTable) {
    let is_jvm = profile.mappings.iter().any(|mapping| mapping.file_name() == "libjvm.so");
    for index in 0..profile.locations.len() {
        let Some(location) = profile.locations.get(index).filter(|location| location.lines.is_empty()) else {
            continue;
        };
        let mapping = location.mapping.and_then(|id| profile.mapping(id));
        let (name, library) = match mapping {
            Some(mapping) if mapping.path.is_empty() && is_jvm => ("[Java code]".to_owned(), String::new()),
            Some(mapping) if mapping.path.is_empty() => ("[anonymous code]".to_owned(), String::new()),
            Some(mapping) => {
                let library = mapping.file_name().to_owned();
                (format!("{library}+{:#x}", mapping.file_offset(location.address)), library)
            }
            None => (format!("{:#x}", location.address), String::new()),
        };
        let function = Function { name, library, origin: Origin::Unknown, ..Function::default() };
        let line = Line { function: table.id(function), line: 0 };
        if let Some(location) = profile.locations.get_mut(index) {
            location.lines.push(line);
        }
    }
}

/// Functions, each once.
#[derive(Default)]
struct FunctionTable {
    functions: Vec<Function>,
    ids: FxHashMap<Function, FunctionId>,
}

impl FunctionTable {
    fn id(&mut self, function: Function) -> FunctionId {
        let functions = &mut self.functions;
        *self.ids.entry(function).or_insert_with_key(|function| {
            functions.push(function.clone());
            FunctionId(u32::try_from(functions.len() - 1).unwrap_or(u32::MAX))
        })
    }

    fn set(&mut self, profile: &mut Profile, id: LocationId, lines: Vec<(Function, u32)>) {
        let lines = lines.into_iter().map(|(function, line)| Line { function: self.id(function), line }).collect();
        if let Some(location) = profile.locations.get_mut(id.index()) {
            location.lines = lines;
        }
    }
}
