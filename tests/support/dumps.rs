//! Dump files as a test sees them: by name, by number, and by the totals of their second line.
//!
//! Written from the format's description, not with the crate's own types: a black box must not agree with
//! a mistake of the box.

use std::fs;
use std::path::{Path, PathBuf};

/// One dump file, its name taken apart: `<prefix>.<pid>.<seq>.<kind>.heap`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Dump {
    /// Absolute path.
    pub(crate) path: PathBuf,
    /// The process that wrote it.
    pub(crate) pid: u32,
    /// Its number within that process, from 0.
    pub(crate) seq: u64,
    /// `f`, `i0`, `u0`, `m0` …
    pub(crate) kind: String,
}

impl Dump {
    /// Takes a path apart; `None` where the name is not a dump's.
    pub(crate) fn from_path(path: &Path) -> Option<Dump> {
        let mut parts = path.file_name()?.to_str()?.strip_suffix(".heap")?.rsplit('.');
        let kind = parts.next()?.to_owned();
        let seq = parts.next()?.parse().ok()?;
        let pid = parts.next()?.parse().ok()?;
        Some(Dump { path: path.to_path_buf(), pid, seq, kind })
    }

    /// True for the dump of a process's end.
    pub(crate) fn is_final(&self) -> bool {
        self.kind == "f"
    }

    /// The whole file.
    pub(crate) fn text(&self) -> String {
        fs::read_to_string(&self.path).unwrap_or_else(|error| panic!("reading {}: {error}", self.path.display()))
    }

    /// Live objects and bytes of all threads as the dump states them (not yet scaled to the truth).
    pub(crate) fn totals(&self) -> (u64, u64) {
        let text = self.text();
        let line = text.lines().find_map(|line| line.trim_start().strip_prefix("t*: "));
        let mut numbers = line.unwrap_or_default().split([':', '[']).map(|word| word.trim().parse());
        match (numbers.next(), numbers.next()) {
            (Some(Ok(objects)), Some(Ok(bytes))) => (objects, bytes),
            _ => panic!("{} has no line of totals", self.path.display()),
        }
    }
}

/// The dumps of a folder (not of folders below it), by process and number.
pub(crate) fn collect(folder: &Path) -> Vec<Dump> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut dumps: Vec<Dump> = entries.flatten().filter_map(|entry| Dump::from_path(&entry.path())).collect();
    dumps.sort_by_key(|dump| (dump.pid, dump.seq));
    dumps
}
