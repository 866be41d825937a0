//! Folders that hold the dumps and packs of many processes: finds them, with labels, in parts that can be read one by
//! one. Nothing of them is read yet but files of labels.
//!
//! A *part* holds whole lives: all dumps of one prefix and pid in one folder, or one pack. So a part is all that must
//! be in memory at a time. Labels come from the names of folders and from files called `labels` in them
//! (`profile/labels`); the deeper one wins. What of a path is no label is the label `folder`, and a pack's name `pack`.

use super::source::{self, Source};
use crate::cli::open;
use crate::cli::profile::labels::{self, Labels};
use crate::wire::dump_name::DumpName;
use crate::wire::identity::Identity;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

/// File that tells the labels of its folder, and of all below it.
const LABELS: &str = "labels";
/// Bytes of it that are read.
const MOST_LABELS: u64 = 1 << 16;
/// Folders in one another, at most.
const MOST_DEPTH: usize = 32;

/// Files that hold whole lives, and what these are called by.
pub(crate) struct Part {
    /// The files.
    pub(crate) sources: Vec<Source>,
    /// Labels of all lives in them.
    pub(crate) labels: Arc<Labels>,
}

/// The parts of what the user named, in order of their paths. `notes`: what the user should know.
pub(crate) fn parts(arguments: &[PathBuf], notes: &mut Vec<String>) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for argument in arguments {
        if argument.is_dir() {
            let before = parts.len();
            let mut walk = Walk { parts: &mut parts, notes };
            walk.folder(argument, &labels_of_path(argument), "", 0)?;
            if parts.len() == before {
                bail!("{} holds no *.heap, no *.live and no *.tgz file, and no folder with one", argument.display());
            }
            continue;
        }
        // Files that are named one by one, and pids: each may be of another life, or of the same.
        let sources = source::all(std::slice::from_ref(argument), notes)?;
        let folder = argument.parent().map_or_else(Labels::new, labels_of_path);
        let labels = Arc::new(folder);
        let of = |sources| Part { sources, labels: Arc::clone(&labels) };
        parts.extend(grouped(sources, Source::path).into_values().map(of));
    }
    Ok(parts)
}

/// The labels that the names of a path's folders are.
fn labels_of_path(path: &Path) -> Labels {
    let names = path.components().filter_map(|part| match part {
        Component::Normal(name) => labels::of_folder(name.to_str()?),
        _ => None,
    });
    names.collect()
}

struct Walk<'a> {
    parts: &'a mut Vec<Part>,
    notes: &'a mut Vec<String>,
}

impl Walk<'_> {
    /// Takes a folder and all below it; `place`: the names of its path that are no labels.
    fn folder(&mut self, folder: &Path, labels: &Labels, place: &str, depth: usize) -> Result<()> {
        let listing = || format!("listing {}", folder.display());
        let entries = std::fs::read_dir(folder).with_context(listing)?;
        let mut labels = labels.clone();
        if !place.is_empty() {
            labels.insert("folder".to_owned(), place.to_owned());
        }
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        for entry in entries {
            let entry = entry.with_context(listing)?;
            // Links to folders are not followed: they lead in circles, and out of what was named.
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => folders.push(entry.path()),
                Ok(_) if entry.file_name() == LABELS => self.read_labels(&entry.path(), &mut labels),
                Ok(_) if is_profile(&entry.path()) => files.push(entry.path()),
                _ => {}
            }
        }
        files.sort();
        let (packs, dumps): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(|path| is_pack(path));
        for path in packs {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let name = name.trim_end_matches(".tgz").trim_end_matches(".heaptap").to_owned();
            let mut labels = labels.clone();
            labels.insert("pack".to_owned(), name);
            self.parts.push(Part { sources: vec![Source::listed(path)], labels: Arc::new(labels) });
        }
        let shared = Arc::new(labels.clone());
        let part = |paths: Vec<PathBuf>| Part {
            sources: paths.into_iter().map(Source::listed).collect(),
            labels: Arc::clone(&shared),
        };
        self.parts.extend(grouped(dumps, PathBuf::as_path).into_values().map(part));
        folders.sort();
        for path in folders {
            self.inner(&path, &labels, place, depth + 1)?;
        }
        Ok(())
    }

    fn inner(&mut self, path: &Path, labels: &Labels, place: &str, depth: usize) -> Result<()> {
        if depth > MOST_DEPTH {
            self.notes.push(format!("{}: more than {MOST_DEPTH} folders deep; left out", path.display()));
            return Ok(());
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        match labels::of_folder(&name) {
            Some((key, value)) => {
                let mut labels = labels.clone();
                labels.insert(key, value);
                self.folder(path, &labels, place, depth)
            }
            None if place.is_empty() => self.folder(path, labels, &name, depth),
            None => self.folder(path, labels, &format!("{place}/{name}"), depth),
        }
        .or_else(|error| {
            self.notes.push(format!("{error:#}; left out"));
            Ok(())
        })
    }

    fn read_labels(&mut self, path: &Path, labels: &mut Labels) {
        let text = open::listed(path).and_then(|file| open::bytes(&file, MOST_LABELS));
        match text {
            Ok(text) => {
                let wrong = labels::add_lines(labels, &String::from_utf8_lossy(&text));
                if let Some(line) = wrong.first() {
                    let (path, count) = (path.display(), wrong.len());
                    self.notes.push(format!("{path}: {count} lines are no `key=value`; the first is line {line}"));
                }
            }
            Err(error) => self.notes.push(format!("{}: {error}; its labels are missing", path.display())),
        }
    }
}

fn is_profile(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    [".heap", ".live", ".tgz", ".heap.gz"].iter().any(|end| name.ends_with(end))
}

fn is_pack(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "tgz")
}

/// Sorts files by the process that their names tell; what has no such name is a process of its folder.
fn grouped<T>(files: Vec<T>, path: impl Fn(&T) -> &Path) -> BTreeMap<(PathBuf, Option<u32>), Vec<T>> {
    let mut groups: BTreeMap<_, Vec<T>> = BTreeMap::new();
    for file in files {
        groups.entry(process(path(&file))).or_default().push(file);
    }
    groups
}

/// Prefix and pid of a dump's name, or of a mirror's (`<prefix>.<pid>.<token>.live`).
fn process(path: &Path) -> (PathBuf, Option<u32>) {
    let bare = if path.extension().is_some_and(|end| end == "gz") { path.with_extension("") } else { path.to_owned() };
    if let Some(name) = DumpName::parse(&bare) {
        return (name.prefix, Some(name.pid));
    }
    match Identity::of_mirror(path) {
        Some(life) => (life.prefix, Some(life.pid)),
        None => (path.parent().unwrap_or(Path::new("")).to_owned(), None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Parts by their first file, with what they are called by.
    fn told(parts: &[Part], home: &Path) -> Vec<String> {
        let told = parts.iter().map(|part| {
            let first = part.sources[0].path().strip_prefix(home).unwrap().display().to_string();
            let labels: Vec<String> = part.labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
            format!("{first} x{}: {}", part.sources.len(), labels.join(" "))
        });
        told.collect()
    }

    #[test]
    fn folders_are_walked_and_lives_stay_together() {
        let home = std::env::temp_dir().join(format!("heaptap-fleet-{}", std::process::id()));
        let _ = fs::remove_dir_all(&home);
        let files = [
            "version=1.4/pod=a/x.1.0.i0.heap",
            "version=1.4/pod=a/x.1.1.f.heap",
            "version=1.4/pod=a/x.1.00000000000000ab.live",
            "version=1.4/pod=a/x.17.0.f.heap",
            "version=1.4/pod=a/other.txt",
            "search/es-0/x.1.0.f.heap.gz",
            "packs/es-1.heaptap.tgz",
            "packs/es-2.heaptap.tgz",
        ];
        for file in files {
            fs::create_dir_all(home.join(file).parent().unwrap()).unwrap();
            fs::write(home.join(file), "").unwrap();
        }
        fs::write(home.join("search/labels"), "version=\"2.0\"\nzone=a\n").unwrap();
        fs::write(home.join("search/es-0/labels"), "zone=b\nnonsense\n").unwrap();
        symlink(&home, home.join("search/circle")).unwrap();
        let mut notes = Vec::new();
        let parts = parts(std::slice::from_ref(&home), &mut notes).unwrap();
        assert_eq!(
            told(&parts, &home),
            [
                "packs/es-1.heaptap.tgz x1: folder=packs pack=es-1",
                "packs/es-2.heaptap.tgz x1: folder=packs pack=es-2",
                "search/es-0/x.1.0.f.heap.gz x1: folder=search/es-0 version=2.0 zone=b",
                "version=1.4/pod=a/x.1.0.i0.heap x3: pod=a version=1.4",
                "version=1.4/pod=a/x.17.0.f.heap x1: pod=a version=1.4",
            ]
        );
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert!(notes[0].contains("1 lines are no `key=value`; the first is line 2"), "{notes:?}");
        fs::remove_dir_all(&home).unwrap();
    }

    #[test]
    fn labels_stand_in_the_path_that_was_named_too() {
        let home = std::env::temp_dir().join(format!("heaptap-fleet-path-{}", std::process::id()));
        let pod = home.join("version=7/pod=b");
        fs::create_dir_all(&pod).unwrap();
        fs::write(pod.join("x.1.0.f.heap"), "").unwrap();
        for argument in [pod.clone(), pod.join("x.1.0.f.heap")] {
            let parts = parts(&[argument], &mut Vec::new()).unwrap();
            let labels = Labels::from([("pod".into(), "b".into()), ("version".into(), "7".into())]);
            assert_eq!(*parts[0].labels, labels);
        }
        fs::remove_file(pod.join("x.1.0.f.heap")).unwrap();
        let error = parts(&[pod], &mut Vec::new()).err().unwrap().to_string();
        assert!(error.contains("holds no *.heap"), "{error}");
        fs::remove_dir_all(&home).unwrap();
    }
}
