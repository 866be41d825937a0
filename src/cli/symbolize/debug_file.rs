//! Finds the separate debug file of a stripped library by its build id.
//!
//! Never by debuglink and its checksum: on Debian's libjvm.so the checksum differs while the build
//! id is right, and blazesym's own look-up then fails as a whole. Hence our own, and the file that
//! is found must carry the same build id.

use super::Options;
use super::elf::Elf;
use std::path::{Path, PathBuf};

/// The debug file with this build id that has a symbol table, if one is installed: as a rule below
/// `/usr/lib/debug`, else beside the `stripped` file.
pub(super) fn find(build_id: &str, stripped: &Path, options: &Options) -> Option<PathBuf> {
    let (directory, file) = build_id.split_at_checked(2).filter(|(_, file)| !file.is_empty())?;
    let is_hex = build_id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let name = format!(".build-id/{directory}/{file}.debug");
    let mut candidates: Vec<PathBuf> = options.debug_dirs.iter().map(|root| root.join(&name)).collect();
    if let Some(sysroot) = &options.sysroot {
        candidates.push(sysroot.join("usr/lib/debug").join(&name));
    }
    if let Some(pid) = options.running {
        candidates.push(PathBuf::from(format!("/proc/{pid}/root/usr/lib/debug")).join(&name));
    }
    candidates.push(PathBuf::from("/usr/lib/debug").join(&name));
    if let (Some(folder), Some(file)) = (stripped.parent(), stripped.file_name()) {
        let mut file = file.to_owned();
        file.push(".debug");
        candidates.extend([folder.join(&file), folder.join(".debug").join(&file)]);
    }
    candidates.extend(debuginfod_cache().map(|cache| cache.join(build_id).join("debuginfo")));
    let matches = |path: &PathBuf| {
        Elf::open(path).is_ok_and(|elf| elf.has_symbol_table && elf.build_id.as_deref() == Some(build_id))
    };
    candidates.into_iter().filter(|_| is_hex).find(matches)
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
