//! Finds the separate debug file of a stripped library by its build id.
//!
//! Never by debuglink and its checksum: on Debian's libjvm.so the checksum differs while the build
//! id is right, and blazesym's own look-up then fails as a whole. Hence our own, and the file that
//! is found must carry the same build id.

use super::elf::Elf;
use super::options::Options;
use crate::cli::open;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// The debug file with this build id that has a symbol table, if one is installed: as a rule below
/// `/usr/lib/debug`, else beside the `stripped` file. In folders that the user named everybody's files are believed.
pub(super) fn find(build_id: &str, stripped: &Path, options: &Options) -> Option<(PathBuf, File)> {
    let (directory, file) = build_id.split_at_checked(2).filter(|(_, file)| !file.is_empty())?;
    if !build_id.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    let name = format!(".build-id/{directory}/{file}.debug");
    let usual = Path::new("usr/lib/debug").join(&name);
    let is_it = |file: &File| {
        Elf::read(file).is_ok_and(|elf| elf.has_symbol_table && elf.build_id.as_deref() == Some(build_id))
    };
    let is_believed = |file: &File| file.metadata().is_ok_and(|meta| options.owners.has(meta.uid())) && is_it(file);
    let given = options.debug_dirs.iter().map(|root| (root.join(&name), open::regular(&root.join(&name))));
    let sysroot = options.sysroot.iter().map(|root| (root.join(&usual), open::within(root, &usual)));
    if let Some(found) = first(given.chain(sysroot), &is_it) {
        return Some(found);
    }
    let container = options.running.map(|pid| PathBuf::from(format!("/proc/{pid}/root")));
    let container = container.iter().map(|root| (root.join(&usual), open::within(root, &usual)));
    let here = Path::new("/").join(&usual);
    let cache = debuginfod_cache().map(|cache| cache.join(build_id).join("debuginfo"));
    let installed = [Some(here), cache].into_iter().flatten().map(|path| (path.clone(), open::regular(&path)));
    let beside = beside(stripped).into_iter().map(|path| (path.clone(), open::named(&path)));
    first(container.chain(installed).chain(beside), &is_believed)
}

fn first(
    candidates: impl Iterator<Item = (PathBuf, io::Result<File>)>,
    is_it: &dyn Fn(&File) -> bool,
) -> Option<(PathBuf, File)> {
    candidates.filter_map(|(path, file)| Some((path, file.ok()?))).find(|(_, file)| is_it(file))
}

/// `libx.so.debug`, `.debug/libx.so.debug`.
fn beside(stripped: &Path) -> Vec<PathBuf> {
    let (Some(folder), Some(file)) = (stripped.parent(), stripped.file_name()) else { return Vec::new() };
    let mut file = file.to_owned();
    file.push(".debug");
    vec![folder.join(&file), folder.join(".debug").join(&file)]
}

/// Where the `debuginfod-find` program keeps what it fetched (see its manual page).
fn debuginfod_cache() -> Option<PathBuf> {
    if let Some(path) = std::env::var_os("DEBUGINFOD_CACHE_PATH") {
        return Some(path.into());
    }
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let cache = cache.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache")))?;
    Some(cache.join("debuginfod_client"))
}
