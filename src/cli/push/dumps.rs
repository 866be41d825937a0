//! Dumps in folders, and in the folders in those: which of them are new.
//!
//! A dump is renamed into place whole, so what has a dump's name can be read. Lists of names are read, and no file is
//! opened before it is known to be new.

use super::super::send::cursor;
use crate::wire::dump_name::DumpName;
use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// A dump that nobody sent yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct NewDump {
    /// The file.
    pub(super) path: PathBuf,
    /// Its name, taken apart.
    pub(super) name: DumpName,
    /// When it was written, nanoseconds since 1970.
    pub(super) modified_ns: u64,
    /// Its name in the cursor.
    pub(super) key: String,
}

/// The dumps of these folders that are not older than `oldest_ns` and not `known`, oldest first.
pub(super) fn new(folders: &[PathBuf], oldest_ns: u64, known: &dyn Fn(&str) -> bool) -> Vec<NewDump> {
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for folder in folders {
        let inside = entries(folder);
        let below = inside.iter().filter(|path| path.symlink_metadata().is_ok_and(|meta| meta.is_dir()));
        let deeper: Vec<PathBuf> = below.flat_map(|folder| entries(folder)).collect();
        for path in inside.iter().chain(&deeper) {
            found.extend(one(path, oldest_ns).filter(|dump| !known(&dump.key) && seen.insert(dump.key.clone())));
        }
    }
    found.sort_by(|a, b| (a.modified_ns, &a.path).cmp(&(b.modified_ns, &b.path)));
    found
}

fn one(path: &Path, oldest_ns: u64) -> Option<NewDump> {
    let name = DumpName::parse(path)?;
    let meta = path.metadata().ok().filter(Metadata::is_file)?;
    let modified_ns = u64::try_from(meta.mtime()).ok()? * 1_000_000_000 + u64::try_from(meta.mtime_nsec()).ok()?;
    let key = cursor::dump(&path.file_name()?.to_string_lossy(), modified_ns, meta.len());
    (modified_ns >= oldest_ns).then(|| NewDump { path: path.to_owned(), name, modified_ns, key })
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_dumps_are_found_one_folder_deep_and_once() {
        let home = std::env::temp_dir().join(format!("heaptap-dumps-{}", std::process::id()));
        fs::create_dir_all(home.join("pod-0/deeper")).unwrap();
        for name in ["jeprof.1.0.i0.heap", "jeprof.1.1.f.heap", "pod-0/x.7.0.m0.heap", "pod-0/deeper/x.8.0.m0.heap"] {
            fs::write(home.join(name), name).unwrap();
        }
        fs::write(home.join("jeprof.1.2.i2.heap.tmp"), "").unwrap();
        fs::write(home.join("jeprof.1.00ff.live"), "").unwrap();
        let folders = [home.clone(), home.join("pod-0")];
        let all = new(&folders, 0, &|_| false);
        let mut names: Vec<_> = all.iter().map(|dump| (dump.name.pid, dump.name.seq)).collect();
        names.sort_unstable();
        assert_eq!(names, [(1, 0), (1, 1), (7, 0), (8, 0)]);
        assert!(all.is_sorted_by_key(|dump| dump.modified_ns));
        let known = all[0].key.clone();
        assert_eq!(new(&folders, 0, &|key| key == known).len(), 3);
        assert!(new(&folders, u64::MAX, &|_| false).is_empty());
        assert!(new(&[home.join("missing")], 0, &|_| false).is_empty());
        fs::remove_dir_all(home).unwrap();
    }
}
