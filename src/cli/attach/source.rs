//! What the arguments of a command name: from words to sources, each once. Nothing of them is read yet.
//!
//! Accepts what users of jeprof type: a program in front of the dumps (ignored, the dump knows its program),
//! directories, quoted patterns; and the pid of a running or killed process.

use super::discovery::{self, Found};
use super::{glob, region};
use crate::cli::open;
use anyhow::{Context, Result, bail};
use std::collections::HashSet;
use std::io::Read;
use std::path::{Path, PathBuf};

/// Where profiles come from.
pub(crate) enum Source {
    /// A dump or a pack through a pipe.
    Stdin,
    /// A dump or a pack.
    File {
        /// Its path.
        path: PathBuf,
        /// The user named it; else it was listed in a folder, where others may have put it.
        is_typed: bool,
    },
    /// The region or mirror of a process.
    Region(Found),
}

impl Source {
    /// What it is called.
    pub(crate) fn path(&self) -> &Path {
        match self {
            Source::Stdin => Path::new("-"),
            Source::File { path, .. } => path,
            Source::Region(found) => &found.path,
        }
    }

    /// A file that was listed in a folder. What still is in memory is newer than its mirror.
    pub(super) fn listed(path: PathBuf) -> Source {
        let is_mirror = path.extension().is_some_and(|extension| extension == "live");
        let region = if is_mirror { discovery::region_of(&path) } else { None };
        Source::of(region.unwrap_or(path), false)
    }

    fn of(path: PathBuf, is_typed: bool) -> Source {
        match () {
            () if path == Path::new("-") => Source::Stdin,
            () if region::is_region(&path) => Source::Region(discovery::of_file(&path)),
            () => Source::File { path, is_typed },
        }
    }
}

/// Sources in the order given, each once; directories stand for the dumps in them. `notes`: what the user should know.
pub(crate) fn all(arguments: &[PathBuf], notes: &mut Vec<String>) -> Result<Vec<Source>> {
    let mut sources = Vec::new();
    let listed = |path: PathBuf| {
        let is_typed = arguments.contains(&path);
        Source::of(path, is_typed)
    };
    for (index, argument) in arguments.iter().enumerate() {
        let pid = argument.to_str().and_then(|text| text.parse().ok());
        if let Some(pid) = pid.filter(|_| !argument.exists()) {
            sources.push(Source::Region(discovery::of_process(pid, &discovery::usual_folders())?));
        } else if glob::is_pattern(argument) {
            let fitting = glob::expand(argument);
            if fitting.is_empty() {
                bail!("no file fits `{}`", argument.display());
            }
            sources.extend(fitting.into_iter().map(listed));
        } else if argument.is_dir() {
            sources.extend(dumps_in(argument)?.into_iter().map(listed));
        } else if index == 0 && arguments.len() > 1 && is_program(argument) {
            notes.push(format!("`{}` is ignored: a dump knows its program", argument.display()));
        } else {
            sources.push(Source::of(argument.clone(), true));
        }
    }
    let mut seen = HashSet::new();
    let name = |source: &Source| source.path().canonicalize().unwrap_or_else(|_| source.path().to_owned());
    sources.retain(|source| seen.insert(name(source)));
    Ok(sources)
}

/// Whether an argument is the program that jeprof wants in front: an ELF file or a bare name.
fn is_program(path: &Path) -> bool {
    let mut magic = [0; 4];
    match open::regular(path) {
        Ok(mut file) => file.read_exact(&mut magic).is_ok() && magic == *b"\x7fELF",
        Err(_) => path != Path::new("-") && path.extension().is_none() && path.components().count() == 1,
    }
}

fn dumps_in(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(directory).with_context(|| format!("listing {}", directory.display()))?;
    let mut dumps: Vec<PathBuf> = entries.filter_map(|entry| Some(entry.ok()?.path())).collect();
    dumps.retain(|path| path.extension().is_some_and(|extension| extension == "heap" || extension == "live"));
    dumps.sort();
    for path in &mut dumps {
        // What still is in memory is newer than its mirror.
        if let Some(region) = discovery::region_of(path) {
            *path = region;
        }
    }
    if dumps.is_empty() {
        bail!(
            "{} holds no *.heap and no *.live file: name the directory that `prof_prefix` points to",
            directory.display()
        );
    }
    Ok(dumps)
}
