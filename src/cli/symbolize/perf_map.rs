//! Names of code that a runtime compiled at run time, from the file that it keeps for `perf`.
//!
//!     START SIZE name            both hexadecimal; a later line about the same memory is the newer
//!
//! `/tmp/perf-<pid>.map` is written by node, .NET, Julia and others, and by `jcmd PID
//! Compiler.perfmap`. It is a snapshot: compiled code moves, so it is trusted only as far as its
//! time is near the dump's, and the report says how far that is. Stock jemalloc needs it; our own
//! dumps hold Java names themselves.

use super::names;
use super::options::Options;
use crate::cli::open;
use crate::cli::profile::location::{Function, Origin};
use crate::cli::profile::series::Series;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// Largest file that is read: some servers compile 200,000 methods, 100 bytes each.
const MOST_BYTES: u64 = 256 << 20;

/// Where the file of a process is looked for, unless the user names it, in this order: beside the dump, where it may
/// have been copied to; in the process's own root; here. `running`: its pid as it is seen here, if it lives.
pub(crate) fn usual_places(series: &Series, running: Option<u32>) -> Vec<PathBuf> {
    // As the process saw itself.
    let Some(pid) = series.pid() else { return Vec::new() };
    let name = format!("perf-{pid}.map");
    let beside = series.last().and_then(|dump| Some(dump.path.parent()?.join(&name)));
    let inside = running.map(|running| PathBuf::from(format!("/proc/{running}/root/tmp/{name}")));
    // The same number in a container is another process here.
    let here = running.filter(|running| *running == pid).map(|_| Path::new("/tmp").join(&name));
    beside.into_iter().chain(inside).chain(here).collect()
}

/// A piece of compiled code.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Code {
    start: u64,
    end: u64,
    name: String,
}

/// The names of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct PerfMap {
    /// Where it was read.
    pub(super) path: PathBuf,
    /// When it was written.
    pub(super) modified: Option<SystemTime>,
    /// By start; of two with the same start only the newer.
    code: Vec<Code>,
}

impl PerfMap {
    /// The one that the user named, else the first that can be read, holds names, and is owned by somebody who is
    /// believed: `/tmp` is everybody's. The error names one that is not believed.
    pub(super) fn open(options: &Options) -> Result<Option<PerfMap>, String> {
        let given = options.perf_map.iter().find_map(|path| PerfMap::read(path, open::typed(path)));
        let mut refused = None;
        for path in options.perf_maps.iter().filter(|_| given.is_none()) {
            let Ok(file) = open::named(path) else { continue };
            let owner = file.metadata().map_or(u32::MAX, |meta| meta.uid());
            if !options.owners.has(owner) {
                refused.get_or_insert_with(|| {
                    format!("{} belongs to user {owner}: not believed, unless --perf-map names it", path.display())
                });
            } else if let Some(map) = PerfMap::read(path, Ok(file)) {
                return Ok(Some(map));
            }
        }
        match refused {
            Some(why) if given.is_none() => Err(why),
            _ => Ok(given),
        }
    }

    fn read(path: &Path, file: io::Result<File>) -> Option<PerfMap> {
        let file = file.ok()?;
        let text = open::bytes(&file, MOST_BYTES).ok()?;
        let code = parse(&String::from_utf8_lossy(&text));
        let modified = file.metadata().and_then(|meta| meta.modified()).ok();
        (!code.is_empty()).then(|| PerfMap { path: path.to_owned(), modified, code })
    }

    /// The function at an address.
    pub(super) fn function(&self, address: u64, is_jvm: bool) -> Option<Function> {
        let after = self.code.partition_point(|code| code.start <= address);
        let code = self.code.get(after.checked_sub(1)?).filter(|code| address < code.end)?;
        Some(function(&code.name, is_jvm))
    }

    /// What a reader should know if the file is far from the dump in time.
    pub(super) fn suspicion(&self, written: Option<SystemTime>) -> Option<String> {
        const NEAR_SECONDS: u64 = 600;
        let (map, dump) = (self.modified?, written?);
        let apart = map.duration_since(dump).or_else(|_| dump.duration_since(map)).ok()?.as_secs();
        (apart > NEAR_SECONDS).then(|| {
            format!(
                "{} was written {} min from the dump: code may have moved, its names may be wrong",
                self.path.display(),
                apart / 60
            )
        })
    }
}

fn parse(text: &str) -> Vec<Code> {
    let mut code: Vec<Code> = text.lines().filter_map(line).collect();
    // Stable: of equal starts the last one of the file comes last, and stays.
    code.sort_by_key(|code| code.start);
    code.reverse();
    code.dedup_by_key(|code| code.start);
    code.reverse();
    code
}

fn line(line: &str) -> Option<Code> {
    let (start, rest) = line.split_once(' ')?;
    let (size, name) = rest.split_once(' ')?;
    let hex = |text: &str| u64::from_str_radix(text.strip_prefix("0x").unwrap_or(text), 16).ok();
    let start = hex(start)?;
    let end = start.checked_add(hex(size)?)?;
    let name = name.trim();
    (end > start && !name.is_empty()).then(|| Code { start, end, name: name.to_owned() })
}

/// HotSpot writes `void java.util.zip.Inflater.<init>(boolean)`, perf-map-agent `Ljava/util/zip/Inflater;::<init>`.
fn function(name: &str, is_jvm: bool) -> Function {
    if let Some((class, method)) = name.strip_prefix('L').and_then(|rest| rest.split_once(";::")) {
        let name = format!("{}.{method}", class.replace('/', "."));
        return Function { name, origin: Origin::Java, ..Function::default() };
    }
    let short = names::short(name);
    let is_java = is_jvm && name.contains('(') && short.contains('.');
    let origin = if is_java { Origin::Java } else { Origin::Native };
    let shown = if is_java { short } else { name };
    Function { name: shown.to_owned(), origin, ..Function::default() }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: &str = "7f00 100 void java.util.zip.Inflater.<init>(boolean)\n\
        0x8000 0x80 LazyCompile:~handle /srv/app/server.js:12\n\
        7f00 80 boolean java.lang.String.equals(java.lang.Object)\nnonsense\n9000 0 empty\n\
        9000 10 Ljava/lang/Thread;::run\nffffffffffffffff 10 too far\n";

    fn names(address: u64) -> Option<(String, Origin)> {
        let map = PerfMap { code: parse(MAP), ..PerfMap::default() };
        map.function(address, true).map(|function| (function.name, function.origin))
    }

    #[test]
    fn the_newer_line_names_its_memory_and_only_that() {
        assert_eq!(names(0x7f10), Some(("java.lang.String.equals".into(), Origin::Java)));
        assert_eq!(names(0x7f80), None);
        assert_eq!(names(0x8000), Some(("LazyCompile:~handle /srv/app/server.js:12".into(), Origin::Native)));
        assert_eq!(names(0x900f), Some(("java.lang.Thread.run".into(), Origin::Java)));
        assert_eq!((names(0), names(u64::MAX)), (None, None));
    }

    #[test]
    fn a_constructor_keeps_its_name() {
        assert_eq!(function("void java.util.zip.Inflater.<init>(boolean)", true).name, "java.util.zip.Inflater.<init>");
    }

    #[test]
    fn no_damage_panics_or_invents_names() {
        for at in 0..MAP.len() {
            for flip in [0x01, 0x10, 0x40, 0x80] {
                let mut bytes = MAP.as_bytes().to_vec();
                bytes[at] ^= flip;
                assert!(parse(&String::from_utf8_lossy(&bytes)).len() <= 5);
            }
            assert!(parse(&MAP[..at]).len() <= 5);
        }
    }
}
