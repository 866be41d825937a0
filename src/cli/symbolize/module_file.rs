//! The file that a process had mapped: found where it lies now, and proven to be that one.
//!
//! Candidates in order: below `--sysroot` (then nowhere else); what a process that still runs has
//! mapped (`/proc/<pid>/map_files`, which also leads to deleted files, then `/proc/<pid>/root`, into
//! its container); the path itself. The first with the right build id is taken. A file that is not
//! the one that was mapped gives plausible nonsense, so another build id is refused aloud, and a
//! deleted file is not replaced by its successor. Paths come from the profile, so files are opened by `cli/open`,
//! and one without a proof is believed only if root, the reader or the profile's owner owns it.

use super::elf::{Elf, ElfError};
use super::mapped_file::MappedFile;
use super::options::Options;
use crate::cli::open;
use std::fs::File;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A file that may be asked for names.
pub(super) struct ModuleFile {
    /// Where it is read.
    pub(super) path: PathBuf,
    /// Held open: what becomes of its name does not matter.
    pub(super) file: File,
    /// Its facts.
    pub(super) elf: Elf,
    /// It is the one that the process had mapped, beyond doubt.
    is_proven: bool,
}

/// A place where the file may be.
struct Candidate {
    path: PathBuf,
    file: io::Result<File>,
    /// Why it may be the file, whoever owns it.
    trust: Trust,
}

/// What speaks for a file beside its build id.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Trust {
    /// A running process has this very file mapped.
    IsMapped,
    /// The user named the folder.
    IsTyped,
    /// Nothing: its owner counts.
    None,
}

impl ModuleFile {
    /// Finds it; the error says why not.
    pub(super) fn find(mapped: &MappedFile, options: &Options) -> Result<ModuleFile, String> {
        let mut first_error = None;
        for candidate in candidates(mapped, options) {
            match try_one(mapped, candidate, options) {
                Ok(file) => return Ok(file),
                Err(error) => first_error = Some(worse(first_error, error)),
            }
        }
        Err(first_error.map_or_else(|| "no such file".to_owned(), |(_, why)| why))
    }

    /// A stock dump has no build id; a file younger than the dump is probably another one.
    pub(super) fn suspicion(&self, options: &Options) -> Option<String> {
        let changed = self.file.metadata().and_then(|meta| meta.modified()).ok()?;
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
    let inside = Path::new(&mapped.path);
    let below = |root: &Path| root.join(mapped.path.trim_start_matches('/'));
    if let Some(root) = &options.sysroot {
        return vec![Candidate { path: below(root), file: open::within(root, inside), trust: Trust::IsTyped }];
    }
    let mut candidates = Vec::new();
    if let Some(pid) = options.running {
        let (start, end) = mapped.range;
        let path = PathBuf::from(format!("/proc/{pid}/map_files/{start:x}-{end:x}"));
        let target = std::fs::read_link(&path).unwrap_or_default();
        if target.to_string_lossy().trim_end_matches(" (deleted)") == mapped.path {
            candidates.push(Candidate { file: open::regular(&path), path, trust: Trust::IsMapped });
        }
        // Who rules in there could put any file in the way: only with a build id to prove it.
        if mapped.build_id.is_some() {
            let root = PathBuf::from(format!("/proc/{pid}/root"));
            candidates.push(Candidate { path: below(&root), file: open::within(&root, inside), trust: Trust::None });
        }
    }
    candidates.push(Candidate { path: inside.to_path_buf(), file: open::named(inside), trust: Trust::None });
    candidates
}

fn try_one(mapped: &MappedFile, candidate: Candidate, options: &Options) -> Result<ModuleFile, (u8, String)> {
    let Candidate { path, file, trust } = candidate;
    let is_mapped_now = trust == Trust::IsMapped;
    let failed = |error: ElfError| match error {
        ElfError::Io(_) if mapped.is_deleted => (1, "the file had been deleted".to_owned()),
        error => (0, error.to_string()),
    };
    let file = file.map_err(ElfError::Io).map_err(failed)?;
    let elf = Elf::read(&file).map_err(failed)?;
    let owner = file.metadata().map_or(u32::MAX, |meta| meta.uid());
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
        (None, _) if trust == Trust::None && !options.owners.has(owner) => Err((
            2,
            format!(
                "{} belongs to user {owner}, and the dump has no build id to tell whether this is it: --sysroot / \
                 believes it",
                path.display()
            ),
        )),
        (wanted, _) => Ok(ModuleFile { path, file, elf, is_proven: wanted.is_some() || is_mapped_now }),
    }
}
