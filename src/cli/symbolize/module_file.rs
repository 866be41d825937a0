//! The file that a process had mapped: found where it lies now, and proven to be that one.
//!
//! Candidates in order: below `--sysroot` (then nowhere else); what a process that still runs has
//! mapped (`/proc/<pid>/map_files`, which also leads to deleted files, then `/proc/<pid>/root`, into
//! its container); the path itself. The first with the right build id is taken. A file that is not
//! the one that was mapped gives plausible nonsense, so another build id is refused aloud, and a
//! deleted file is not replaced by its successor.

use super::elf::{Elf, ElfError};
use super::{MappedFile, Options};
use std::path::{Path, PathBuf};

/// A file that may be asked for names.
pub(super) struct ModuleFile {
    /// Where it is read.
    pub(super) path: PathBuf,
    /// Its facts.
    pub(super) elf: Elf,
    /// It is the one that the process had mapped, beyond doubt.
    is_proven: bool,
}

/// A place where the file may be.
struct Candidate {
    path: PathBuf,
    /// A running process has this very file mapped.
    is_mapped_now: bool,
}

impl ModuleFile {
    /// Finds it; the error says why not.
    pub(super) fn find(mapped: &MappedFile, options: &Options) -> Result<ModuleFile, String> {
        let mut first_error = None;
        for candidate in candidates(mapped, options) {
            match try_one(mapped, candidate) {
                Ok(file) => return Ok(file),
                Err(error) => first_error = Some(worse(first_error, error)),
            }
        }
        Err(first_error.map_or_else(|| "no such file".to_owned(), |(_, why)| why))
    }

    /// A stock dump has no build id; a file younger than the dump is probably another one.
    pub(super) fn suspicion(&self, options: &Options) -> Option<String> {
        let changed = std::fs::metadata(&self.path).and_then(|meta| meta.modified()).ok()?;
        let is_younger = !self.is_proven && options.written.is_some_and(|written| changed > written);
        is_younger.then(|| {
            format!("{} is newer than the dump, which has no build ids: its names may be wrong", self.path.display())
        })
    }
}

/// A refusal tells more than a missing file: of two errors the one with the higher rank.
fn worse(first: Option<(u8, String)>, second: (u8, String)) -> (u8, String) {
    first.filter(|first| first.0 >= second.0).unwrap_or(second)
}

fn candidates(mapped: &MappedFile, options: &Options) -> Vec<Candidate> {
    let below = |root: &Path| root.join(mapped.path.trim_start_matches('/'));
    let at = |path: PathBuf| Candidate { path, is_mapped_now: false };
    if let Some(root) = &options.sysroot {
        return vec![at(below(root))];
    }
    let mut candidates = Vec::new();
    if let Some(pid) = options.running {
        let (start, end) = mapped.range;
        let link = PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
        let target = std::fs::read_link(&link).unwrap_or_default();
        if target.to_string_lossy().trim_end_matches(" (deleted)") == mapped.path {
            candidates.push(Candidate { path: link, is_mapped_now: true });
        }
        // Who rules in there could put a link to any file of ours in the way: only with a build id to prove it.
        if mapped.build_id.is_some() {
            candidates.push(at(below(Path::new(&format!("/proc/{pid}/root")))));
        }
    }
    candidates.push(at(PathBuf::from(&mapped.path)));
    candidates
}

fn try_one(mapped: &MappedFile, candidate: Candidate) -> Result<ModuleFile, (u8, String)> {
    let Candidate { path, is_mapped_now } = candidate;
    let elf = Elf::open(&path).map_err(|error| match error {
        ElfError::Io(_) if mapped.is_deleted => (1, "the file had been deleted".to_owned()),
        error => (0, error.to_string()),
    })?;
    match (mapped.build_id.as_deref(), elf.build_id.as_deref()) {
        (Some(wanted), Some(found)) if wanted != found => Err((
            2,
            format!(
                "{} has build id {found}, the process had {wanted}: another version, its names would be wrong. \
                 Name the right files with --sysroot",
                path.display()
            ),
        )),
        (None, _) if mapped.is_deleted && !is_mapped_now => Err((
            1,
            "the file had been deleted or replaced, and the dump has no build id to tell whether this is it".to_owned(),
        )),
        (wanted, _) => Ok(ModuleFile { path, elf, is_proven: wanted.is_some() || is_mapped_now }),
    }
}
