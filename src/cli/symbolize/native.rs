//! Names of machine code, by blazesym: symbol table first, DWARF only on request.
//!
//! blazesym (`blaze`) is given *virtual* addresses that we compute from the mapped file's own segments: a
//! separate debug file has none to compute from.

use super::mapped_file::{MappedFile, Place};
use super::module::{Module, Source};
use super::module_file::ModuleFile;
use super::options::Options;
use super::recorded::Frames;
use super::{blaze, debug_file, subprocess};
use crate::cli::profile::location::LocationId;
use crate::cli::profile::mapping::Mapping;

/// Functions of locations, innermost first, with their source lines.
pub(super) type Names = Vec<(LocationId, Frames)>;

/// What one file gave.
pub(super) struct Named {
    pub(super) module: Module,
    pub(super) names: Names,
}

/// Names the places of a mapped file.
pub(super) fn name(mapped: &MappedFile, options: &Options) -> Named {
    let mut module = Module::of(mapped, Source::Exports);
    let mut names = Vec::new();
    match ModuleFile::find(mapped, options) {
        Ok(file) => {
            module.warning = file.suspicion(options);
            names = names_from(&file, mapped, options, &mut module);
            module.named = names.len();
        }
        Err(why) => {
            module.warning = is_refusal(&why).then(|| why.clone());
            module.source = Source::Nothing(why);
        }
    }
    Named { module, names }
}

/// The wrong file must be told aloud; a missing one shows by itself.
fn is_refusal(why: &str) -> bool {
    why.contains("build id")
}

/// Asks the best source, then the file's own symbols for what is left.
fn names_from(file: &ModuleFile, mapped: &MappedFile, options: &Options, module: &mut Module) -> Names {
    let wants_debug_file = !file.elf.has_symbol_table || options.with_lines;
    let debug_file = file.elf.build_id.as_deref().filter(|_| wants_debug_file);
    let debug_file = debug_file.and_then(|id| debug_file::find(id, &file.path, options));
    module.source = match (&debug_file, file.elf.has_symbol_table) {
        (Some((path, _)), _) => Source::DebugFile(path.clone()),
        (None, true) => Source::SymbolTable,
        (None, false) => Source::Exports,
    };
    let address = |place: &Place| Some((place.location, file.elf.virtual_address(place.file_offset)?));
    let mut open: Vec<(LocationId, u64)> = mapped.places.iter().filter_map(address).collect();
    let mut names = Names::new();
    if options.with_lines {
        let (path, file) = debug_file.as_ref().map_or((&file.path, &file.file), |(path, file)| (path, file));
        let numbers: Vec<u64> = open.iter().map(|(_, address)| *address).collect();
        match subprocess::ask(file, &numbers) {
            Ok(found) => take(&mut open, &mut names, |_, address| found.get(&address).cloned()),
            Err(why) => module.warning = Some(format!("{}: {why}; names without lines are used", path.display())),
        }
    }
    for file in debug_file.iter().map(|(_, file)| file).chain([&file.file]) {
        if open.is_empty() {
            break;
        }
        let numbers: Vec<u64> = open.iter().map(|(_, address)| *address).collect();
        let found = blaze::ask(file, &numbers, false);
        take(&mut open, &mut names, |index, _| found.get(index).cloned().flatten());
    }
    let library = Mapping::file_name_of(&mapped.path);
    names.iter_mut().flat_map(|(_, frames)| frames).for_each(|(function, _)| function.library = library.to_owned());
    names
}

/// Moves places that have got a name from the open ones to the named ones.
fn take(open: &mut Vec<(LocationId, u64)>, names: &mut Names, mut named: impl FnMut(usize, u64) -> Option<Frames>) {
    let mut index = 0;
    open.retain(|(location, address)| {
        let found = named(index, *address);
        index += 1;
        let is_open = found.is_none();
        names.extend(found.map(|frames| (*location, frames)));
        is_open
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, offsets: &[u64]) -> MappedFile {
        let places = offsets.iter().map(|&file_offset| Place { location: LocationId(0), file_offset }).collect();
        MappedFile { path: path.to_owned(), places, ..MappedFile::default() }
    }

    /// The library that this test's `qsort` lives in, and where in it.
    fn libc() -> (Mapping, u64) {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        let address = libc::qsort as *const () as usize as u64;
        let mapping =
            maps.lines().filter_map(Mapping::parse).find(|mapping| (mapping.start..mapping.end).contains(&address));
        let mapping = mapping.unwrap();
        let offset = mapping.file_offset(address);
        (mapping, offset)
    }

    #[test]
    fn a_function_of_libc_is_named() {
        let (mapping, offset) = libc();
        let named = name(&file(&mapping.path, &[offset + 1]), &Options::default());
        assert_eq!((named.module.named, named.module.warning), (1, None));
        assert!(named.names[0].1[0].0.name.contains("qsort"), "{:?}", named.names);
    }

    #[test]
    fn another_build_id_is_refused_aloud() {
        let (mapping, offset) = libc();
        let other = MappedFile { build_id: Some("00".repeat(20)), ..file(&mapping.path, &[offset]) };
        let named = name(&other, &Options::default());
        assert!(named.names.is_empty());
        assert!(named.module.warning.unwrap().contains("another version"));
        assert!(matches!(named.module.source, Source::Nothing(_)));
    }

    #[test]
    fn a_deleted_file_is_not_replaced_by_its_successor() {
        let (mapping, offset) = libc();
        let deleted = MappedFile { is_deleted: true, ..file(&mapping.path, &[offset]) };
        let named = name(&deleted, &Options::default());
        assert!(named.names.is_empty());
        assert!(matches!(named.module.source, Source::Nothing(_)));
    }

    #[test]
    fn no_damaged_file_panics() {
        let whole = std::fs::read("/bin/true").or_else(|_| std::fs::read("/usr/bin/true")).unwrap();
        let path = std::env::temp_dir().join(format!("heaptap-test-{}-damaged", std::process::id()));
        let mut random = 7u64;
        let mut next = |below: usize| {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (random >> 33) as usize % below
        };
        for round in 0..ROUNDS {
            let mut bytes = whole.clone();
            // Headers and tables stand at both ends.
            for _ in 0..1 + next(24) {
                let span = bytes.len().min(4096);
                let at = if next(2) == 0 { next(span) } else { bytes.len() - 1 - next(span) };
                bytes[at] = [0, 0xff, 1, 0x7f][next(4)] ^ (next(256) as u8 * (next(2) as u8));
            }
            if round % 5 == 0 {
                bytes.truncate(next(bytes.len()));
            }
            std::fs::write(&path, &bytes).unwrap();
            let subject = file(path.to_str().unwrap(), &[0, 0x2000, 0x3000, u64::MAX]);
            // What reads lines is another process (`apart`), and has a test of its own.
            name(&subject, &Options::default());
        }
        std::fs::remove_file(&path).unwrap();
    }

    const ROUNDS: usize = 1000;
}
