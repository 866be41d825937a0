//! Floor 2 of the CLI: gives a profile's locations their names. The only floor that opens ELF files.
//!
//! Order per location: Java name from the dump's metadata; for code without a file a runtime's list
//! of what it compiled (`perf_map`); what a pack recorded; then the symbols of the mapped file
//! (`native`), else `library+0x…`. A file that is not the one that was mapped gives plausible
//! nonsense, so a differing build id is refused aloud. No error ever stops a report: a place
//! without a name keeps its address.

pub(crate) mod apart;
mod compiled;
mod debug_file;
pub(crate) mod elf;
mod java;
mod module_file;
mod names;
mod native;
mod perf_map;
mod process;
pub(crate) mod recorded;

use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, FunctionId, Line, LocationId, Origin};
use recorded::Recorded;
use rustc_hash::FxHashMap;
use std::fmt;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::SystemTime;

/// Where and how to look for names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    /// Directory that stands for `/` of the machine the dump came from.
    pub(crate) sysroot: Option<PathBuf>,
    /// More places for separate debug files, before the usual ones.
    pub(crate) debug_dirs: Vec<PathBuf>,
    /// Where a runtime may have left names of compiled code; the first that can be read is used.
    pub(crate) perf_maps: Vec<PathBuf>,
    /// Source lines and inlined functions from DWARF: seconds and hundreds of MiB for a libjvm.
    pub(crate) with_lines: bool,
    /// When the newest dump was written: a younger library is suspect.
    pub(crate) written: Option<SystemTime>,
    /// The process, if it may still run: then its files are found through `/proc`.
    pub(crate) running: Option<u32>,
    /// Names that came with the dumps, in a pack.
    pub(crate) recorded: Rc<Recorded>,
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
    fn of(mapped: &MappedFile, source: Source) -> Module {
        let (path, build_id) = (mapped.path.clone(), mapped.build_id.clone());
        Module { path, build_id, places: mapped.places.len(), named: 0, source, warning: None }
    }
}

/// Names every location of `profile`. Returns one entry per file, most places first. `progress` is
/// told how many files of how many are done.
pub(crate) fn symbolize(
    profile: &mut Profile,
    options: &Options,
    progress: &mut dyn FnMut(usize, usize),
) -> Vec<Module> {
    let running = options.running.filter(|pid| process::is_that_of(*pid, profile));
    let mut options = Options { running, ..options.clone() };
    options.perf_maps.retain(|path| running.is_some() || !path.starts_with("/proc"));
    let options = &options;
    let mut table = FunctionTable::default();
    let mut modules: Vec<Module> = java::name(profile, &mut table).into_iter().collect();
    modules.extend(compiled::name(profile, &mut table, options));
    let files = unnamed_by_file(profile);
    for (done, file) in files.iter().enumerate() {
        progress(done, files.len());
        let (module, names) = name_file(file, options);
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

/// From the pack if it knows the file, else from this machine.
fn name_file(file: &MappedFile, options: &Options) -> (Module, native::Names) {
    let Some(recorded) = options.recorded.module(&file.path, file.build_id.as_deref()) else {
        let native::Named { module, names } = native::name(file, options);
        return (module, names);
    };
    let found = |place: &Place| Some((place.location, recorded.places.get(&place.file_offset)?.clone()));
    let names: native::Names = file.places.iter().filter_map(found).collect();
    let module = Module { named: names.len(), ..Module::of(file, Source::Recorded(recorded.source.clone())) };
    (module, names)
}

/// A file that was mapped, and the places in it that want a name.
#[derive(Clone, Debug, Default)]
struct MappedFile {
    path: String,
    is_deleted: bool,
    build_id: Option<String>,
    /// Bounds of one of its mappings.
    range: (u64, u64),
    places: Vec<Place>,
}

/// A place in a file.
#[derive(Clone, Copy, Debug)]
struct Place {
    location: LocationId,
    file_offset: u64,
}

/// By path and build id: profiles of several processes may hold two versions of one file.
fn unnamed_by_file(profile: &Profile) -> Vec<MappedFile> {
    let mut files: FxHashMap<(&str, Option<&str>), MappedFile> = FxHashMap::default();
    for (index, location) in profile.locations.iter().enumerate().filter(|(_, location)| location.lines.is_empty()) {
        let Some(mapping) = location.mapping.and_then(|id| profile.mapping(id)).filter(|mapping| mapping.is_file())
        else {
            continue;
        };
        let file = files.entry((&mapping.path, mapping.build_id.as_deref())).or_insert_with(|| MappedFile {
            path: mapping.path.clone(),
            is_deleted: mapping.is_deleted,
            build_id: mapping.build_id.clone(),
            range: (mapping.start, mapping.end),
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
