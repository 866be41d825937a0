//! Gives a profile's locations their names. The only floor that reads ELF files, which `open` opens.
//!
//! Order per location: Java name from the dump's metadata; for code without a file a runtime's list
//! of what it compiled (`perf_map`); what a pack recorded; then the symbols of the mapped file
//! (`native`), else `library+0x…`. A file that is not the one that was mapped gives plausible
//! nonsense, so a differing build id is refused aloud. No error ever stops a report: a place
//! without a name keeps its address.

mod blaze;
mod compiled;
mod debug_file;
pub(crate) mod elf;
mod function_table;
mod java;
pub(crate) mod known;
mod mapped_file;
mod module;
mod module_file;
mod names;
mod native;
pub(crate) mod needed;
mod options;
pub(crate) mod perf_map;
pub(crate) mod process;
pub(crate) mod recorded;
pub(crate) mod subprocess;
pub(crate) mod symbol_versions;
pub(crate) mod variables;

use crate::cli::profile::Profile;
use crate::cli::profile::location::{Function, Line, LocationId, Origin};
use function_table::FunctionTable;
use mapped_file::{MappedFile, Place};
pub(crate) use module::{Module, Source};
pub(crate) use options::Options;
use rustc_hash::FxHashMap;

/// Names every location of `profile`. Returns one entry per file, most places first. `progress` is
/// told how many files of how many are done.
pub(crate) fn symbolize(
    profile: &mut Profile,
    options: &Options,
    progress: &mut dyn FnMut(usize, usize),
) -> Vec<Module> {
    let running = options.running.filter(|pid| process::is_that_of(*pid, profile));
    let mut options = Options { running, ..options.clone() };
    if let Some(user) = running.and_then(process::user) {
        options.owners = options.owners.and(user);
    }
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
        let find = |file: &MappedFile| {
            let native::Named { module, names } = native::name(file, options);
            (module, names)
        };
        return match &options.known {
            Some(known) => known.name(file, (options.owners, options.running), find),
            None => find(file),
        };
    };
    let found = |place: &Place| Some((place.location, recorded.places.get(&place.file_offset)?.clone()));
    let names: native::Names = file.places.iter().filter_map(found).collect();
    let module = Module { named: names.len(), ..Module::of(file, Source::Recorded(recorded.source.clone())) };
    (module, names)
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
