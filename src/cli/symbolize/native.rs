//! Names of machine code, by blazesym: symbol table first, DWARF only on request.
//!
//! blazesym is given *virtual* addresses that we compute from the mapped file's own segments: a
//! separate debug file has none to compute from. It never searches for debug files itself
//! (`debug_file` says why), and its errors only cost names.

use super::elf::Elf;
use super::{MappedFile, Module, Options, Place, Source, debug_file, names};
use crate::cli::profile::location::{Function, LocationId, Origin};
use blazesym::symbolize::{self, Input, Sym, Symbolized, Symbolizer};
use rustc_hash::FxHashSet;
use std::path::{Path, PathBuf};

/// Functions of locations, innermost first, with their source lines.
pub(super) type Names = Vec<(LocationId, Vec<(Function, u32)>)>;

/// What one file gave.
pub(super) struct Named {
    pub(super) module: Module,
    pub(super) names: Names,
}

/// Names the places of a mapped file.
pub(super) fn name(mapped: &MappedFile, options: &Options) -> Named {
    let mut module = Module {
        path: mapped.path.clone(),
        places: mapped.places.len(),
        named: 0,
        source: Source::Exports,
        warning: None,
    };
    let mut names = Vec::new();
    match open(mapped, options) {
        Ok(file) => {
            module.warning = file.suspicion(options);
            let (found, source) = file.names(&mapped.places, options);
            (names, module.source) = (found, source);
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

/// A file that may be asked.
struct ModuleFile {
    path: PathBuf,
    elf: Elf,
    /// Its build id is the one that the process had mapped.
    is_proven: bool,
}

fn open(mapped: &MappedFile, options: &Options) -> Result<ModuleFile, String> {
    let on_disk = match &options.sysroot {
        Some(root) => root.join(mapped.path.trim_start_matches('/')),
        None => PathBuf::from(&mapped.path),
    };
    let (is_deleted, wanted) = (mapped.is_deleted, mapped.build_id.as_deref());
    let elf = Elf::open(&on_disk).map_err(|error| match error {
        super::elf::ElfError::Io(_) if is_deleted => "the file had been deleted".to_owned(),
        error => error.to_string(),
    })?;
    match (wanted, elf.build_id.as_deref()) {
        (Some(wanted), Some(found)) if wanted != found => Err(format!(
            "{} has build id {found}, the process had {wanted}: another version, its names would be wrong. \
             Name the right files with --sysroot",
            on_disk.display()
        )),
        (None, _) if is_deleted => {
            Err("the file had been deleted or replaced, and the dump has no build id to tell whether this is it"
                .to_owned())
        }
        (wanted, _) => Ok(ModuleFile { path: on_disk, elf, is_proven: wanted.is_some() }),
    }
}

impl ModuleFile {
    /// A stock dump has no build id; a file younger than the dump is probably another one.
    fn suspicion(&self, options: &Options) -> Option<String> {
        let changed = std::fs::metadata(&self.path).and_then(|meta| meta.modified()).ok()?;
        let is_younger = !self.is_proven && options.written.is_some_and(|written| changed > written);
        is_younger.then(|| {
            format!("{} is newer than the dump, which has no build ids: its names may be wrong", self.path.display())
        })
    }

    /// Asks the best source, then the file's exports for what is left.
    fn names(&self, places: &[Place], options: &Options) -> (Names, Source) {
        let wants_debug_file = !self.elf.has_symbol_table || options.with_lines;
        let debug_file = self.elf.build_id.as_deref().filter(|_| wants_debug_file);
        let debug_file = debug_file.and_then(|id| debug_file::find(id, options));
        let source = match (&debug_file, self.elf.has_symbol_table) {
            (Some(path), _) => Source::DebugFile(path.clone()),
            (None, true) => Source::SymbolTable,
            (None, false) => Source::Exports,
        };
        let library = self.path.file_name().map_or(String::new(), |name| name.to_string_lossy().into_owned());
        let mut addresses = Vec::new();
        for place in places {
            addresses.extend(self.elf.virtual_address(place.file_offset).map(|address| (place.location, address)));
        }
        let mut names = Vec::new();
        for path in debug_file.iter().chain([&self.path]) {
            let found = ask(path, &addresses, options.with_lines, &library);
            let named: FxHashSet<LocationId> = found.iter().map(|(location, _)| *location).collect();
            addresses.retain(|(location, _)| !named.contains(location));
            names.extend(found);
            if addresses.is_empty() {
                break;
            }
        }
        (names, source)
    }
}

/// One question to blazesym about all addresses of one file.
fn ask(path: &Path, addresses: &[(LocationId, u64)], with_lines: bool, library: &str) -> Names {
    let builder = Symbolizer::builder().enable_auto_reload(false).enable_code_info(with_lines);
    let symbolizer = builder.enable_inlined_fns(with_lines).set_debug_dirs(Some([] as [&Path; 0])).build();
    let mut file = symbolize::source::Elf::new(path);
    file.debug_syms = with_lines;
    let numbers: Vec<u64> = addresses.iter().map(|(_, address)| *address).collect();
    let source = symbolize::source::Source::Elf(file);
    let Ok(answers) = symbolizer.symbolize(&source, Input::VirtOffset(&numbers)) else { return Vec::new() };
    let named = addresses.iter().zip(answers).filter_map(|((location, _), answer)| match answer {
        Symbolized::Sym(sym) => Some((*location, functions(&sym, library))),
        Symbolized::Unknown(_) => None,
    });
    named.collect()
}

/// The functions at one address, innermost first. blazesym lists inlined calls from the outside in,
/// and gives each the place of the call *in* it.
fn functions(sym: &Sym<'_>, library: &str) -> Vec<(Function, u32)> {
    let outer = function(&sym.name, sym.code_info.as_deref(), library);
    let inlined = sym.inlined.iter().map(|inlined| function(&inlined.name, inlined.code_info.as_ref(), library));
    let mut lines: Vec<_> = std::iter::once(outer).chain(inlined).collect();
    lines.reverse();
    lines
}

fn function(name: &str, place: Option<&symbolize::CodeInfo<'_>>, library: &str) -> (Function, u32) {
    let short = names::short(name).to_owned();
    let full_name = if short == name { String::new() } else { name.to_owned() };
    let file = place.map_or(String::new(), |place| place.to_path().display().to_string());
    let line = place.and_then(|place| place.line).unwrap_or(0);
    (Function { name: short, full_name, file, library: library.to_owned(), origin: Origin::Native }, line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::profile::mapping::Mapping;

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
            for with_lines in [false, true] {
                name(&subject, &Options { with_lines, ..Options::default() });
            }
        }
        std::fs::remove_file(&path).unwrap();
    }

    const ROUNDS: usize = 1000;
}
